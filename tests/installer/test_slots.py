"""Which copy does not run."""

from pathlib import Path

import pytest

from swagent.errors import SettingsError
from swagent.installer.slots import idle_selection
from swagent.model import Selection

COPY1, COPY2 = Selection("stable", "copy1"), Selection("stable", "copy2")


class Runs:
    """A system that runs from these paths."""

    def __init__(self, *paths: Path, root: str = "179:2") -> None:
        self._paths = [str(path) for path in paths]
        self._root = root

    def root(self) -> str:
        return self._root

    def runs_from(self, path: str) -> bool:
        return path in self._paths


@pytest.fixture
def slots(tmp_path: Path) -> list[tuple[Selection, str]]:
    for name in ("a", "b"):
        (tmp_path / name).touch()
    return [(COPY1, str(tmp_path / "a")), (COPY2, str(tmp_path / "b"))]


def test_the_copy_that_does_not_run(slots: list[tuple[Selection, str]], tmp_path: Path) -> None:
    assert idle_selection(slots, Runs(tmp_path / "a")) == COPY2
    assert idle_selection(slots, Runs(tmp_path / "b")) == COPY1
    assert idle_selection(slots, Runs(tmp_path / "rescue")) == COPY1


def test_without_a_mapping() -> None:
    with pytest.raises(SettingsError) as caught:
        idle_selection([], Runs())
    assert "slots : (" in caught.value.hint


def test_a_device_that_is_not_there_might_be_the_running_one(
    slots: list[tuple[Selection, str]], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).rename(tmp_path / "gone")
        with pytest.raises(SettingsError, match=f"{name} of stable,copy. is not there"):
            idle_selection(slots, Runs(tmp_path / "a"))
        (tmp_path / "gone").rename(tmp_path / name)


def test_an_unknown_root_chooses_nothing(slots: list[tuple[Selection, str]]) -> None:
    with pytest.raises(SettingsError, match="cannot be told"):
        idle_selection(slots, Runs(root=""))


def test_no_other_copy(slots: list[tuple[Selection, str]], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="sits on every slot"):
        idle_selection(slots, Runs(tmp_path / "a", tmp_path / "b"))
