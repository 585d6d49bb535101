"""Power cuts while an update is confirmed or rolled back after its first boot: the verdict is reached all the same.

A reboot is another boot id: that in the journal is changed.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.installer.journal import Journal, State
from swagent.testing.powercut import cuts
from swagent.testing.recording import Recorder

from .unit import Ebg, Grub, Loader, Unit

LOADERS = (Loader, Grub)
CONFIRMED, ROLLED_BACK = 0, 81


class Booted(Unit):
    """A device that confirms updates; what fails goes back to copy a."""

    def __init__(self, folder: Path, loader: Loader) -> None:
        super().__init__(folder, loader)
        on_pass, on_fail = "bootcount=0 upgrade_available=0", "slot=a"
        self.configure(f'confirm-bootenv = "{on_pass}"; confirm-fail-bootenv = "{on_fail}";')
        self.checks = folder / "checks"
        self.checks.mkdir()

    @property
    def slot(self) -> str:
        return self.loader.read(self.root)["slot"]

    @property
    def state(self) -> State:
        journal = Journal(str(self.root / "state"), "")
        record = journal.read().last
        assert record is not None and not journal.problem, journal.problem
        return record.state

    def reboot(self) -> None:
        self.loader.boots(self.root)
        path = self.root / "state" / "journal.json"
        if not path.exists():
            return
        path.write_text(re.sub('"boot_id": "[^"]*"', '"boot_id": "an earlier one"', path.read_text()))

    def confirm(self, *, good: bool) -> int:
        """Ask whether the running system is good."""
        (self.checks / "one.cfg").write_text(f'check: {{ command = "{str(good).lower()}"; }};\n')
        config = ["-f", str(self.folder / "swupdate.cfg"), *self.loader.options(self.root)]
        return self.swagent(["confirm", "--dir", str(self.checks), *config]).code


class Unconfirmed(Booted):
    """A device that has been updated to copy b and started again."""

    def __init__(self, folder: Path, loader: Loader) -> None:
        super().__init__(folder, loader)
        self.update("b")
        self.reboot()


@pytest.fixture
def folder(tmp_path: Path, quick_folder: Path) -> Iterator[Path]:
    path = quick_folder / tmp_path.name
    path.mkdir()
    yield path


@pytest.mark.parametrize("loader", [*LOADERS, Ebg])
def test_cut_while_it_is_installed_then_confirmed(folder: Path, loader: type[Loader]) -> None:
    """Whatever boots is asked; an update that was switched to is confirmed, counted starts or not."""
    unit = Booted(folder / "unit", loader())
    recording = unit.recorded_update().recording
    switched = 0
    for cut, tree in recording.crashes(cuts(recording, by_chance=2)):
        story = recording.story(cut)
        tree.restore(unit.root)
        unit.reboot()
        assert unit.confirm(good=True) == 0, story
        if unit.slot == "b":
            switched += 1
            env = unit.loader.read(unit.root)
            assert (unit.state, env["upgrade_available"], env["ustate"]) == (State.CONFIRMED, "0", "0"), story
    assert switched > 5


@pytest.mark.parametrize("loader", LOADERS)
def test_cut_while_it_is_confirmed(folder: Path, loader: type[Loader]) -> None:
    unit = Unconfirmed(folder / "unit", loader())
    with Recorder(unit.root) as recorder:
        assert unit.confirm(good=True) == CONFIRMED
    recording = recorder.recording
    assert len(recording.operations) > 8
    for cut, tree in recording.crashes(cuts(recording, by_chance=2)):
        story = recording.story(cut)
        tree.restore(unit.root)
        assert unit.wrong(tree) == "", story
        assert unit.slot == "b", story
        if cut.point == len(recording.operations):
            assert unit.state is State.CONFIRMED, story
        unit.reboot()
        assert unit.confirm(good=True) == CONFIRMED, story
        assert (unit.state, unit.loader.read(unit.root)["ustate"]) == (State.CONFIRMED, "0"), story


@pytest.mark.parametrize("loader", LOADERS)
def test_cut_while_it_is_rolled_back(folder: Path, loader: type[Loader]) -> None:
    """The old system, which is good, must not be taken for the new one."""
    unit = Unconfirmed(folder / "unit", loader())
    with Recorder(unit.root) as recorder:
        assert unit.confirm(good=False) == ROLLED_BACK
    recording = recorder.recording
    for cut, tree in recording.crashes(cuts(recording, by_chance=2)):
        story = recording.story(cut)
        tree.restore(unit.root)
        assert unit.wrong(tree) == "", story
        if cut.point == len(recording.operations):
            assert (unit.state, unit.slot) == (State.ROLLED_BACK, "a"), story
        for _ in range(3):
            unit.reboot()
            unit.confirm(good=unit.slot == "a")
        assert (unit.state, unit.slot) == (State.ROLLED_BACK, "a"), story
        unit.reboot()
        assert unit.confirm(good=True) == 0, f"it goes on being rolled back\n{story}"
        image = unit.images["b"]
        assert unit.install(image.raw, image, pipe=False).code == ROLLED_BACK, f"installed again\n{story}"
