"""No update over one that runs and is not confirmed, whatever the boot loader."""

from pathlib import Path
from typing import Any

import pytest

from swagent import app
from swagent.bootloader.none import NoBootloader
from swagent.errors import PreflightRefused
from swagent.installer.gates.fallback import FallbackGate, unconfirmed
from swagent.installer.journal import Journal, Record, State
from swagent.model import Description, Plan, Unit

PLAN = Plan(Description("2.5.0"), (), ())


def gate_of(folder: Path, env: dict[str, str] | None = None, **facts: Any) -> FallbackGate:
    """A gate in ``boot-2``, over an update that was installed in ``boot-1``."""
    journal = Journal(str(folder), "boot-2")
    variables = {"slot": "b", "recovery_status": "", "ustate": "1"}
    record = Record("s", State.COMMITTED, "2.4.0", boot_id="boot-1", variables=variables, tested=True)
    journal.put(record._replace(**facts))
    loader = NoBootloader()
    loader.set_many(env or {"slot": "b", "ustate": "1"})
    return FallbackGate(journal, loader)


@pytest.mark.parametrize("state", [State.COMMITTED, State.TESTING])
@pytest.mark.parametrize("env", [{"slot": "b", "ustate": "1"}, {"slot": "b", "ustate": "2"}, {"slot": "b"}])
def test_what_runs_unconfirmed_is_not_installed_over(
    tmp_path: Path, state: State, env: dict[str, str]
) -> None:
    with pytest.raises(PreflightRefused, match=r"2\.4\.0, has not been confirmed") as caught:
        gate_of(tmp_path, env, state=state).check(PLAN, Unit())
    assert "swagent confirm" in caught.value.hint
    assert "--over-unconfirmed" in caught.value.hint


@pytest.mark.parametrize("state", [State.CONFIRMED, State.FAILED, State.ROLLED_BACK, State.WRITING])
def test_what_has_ended_is_no_hindrance(tmp_path: Path, state: State) -> None:
    gate_of(tmp_path, state=state).check(PLAN, Unit())


def test_before_its_first_boot_an_update_may_be_replaced(tmp_path: Path) -> None:
    """The copy that runs is the one to go back to, and no update writes that."""
    gate_of(tmp_path, boot_id="boot-2").check(PLAN, Unit())


def test_a_test_that_was_begun_counts_whatever_the_boot(tmp_path: Path) -> None:
    with pytest.raises(PreflightRefused):
        gate_of(tmp_path, boot_id="boot-2", state=State.TESTING).check(PLAN, Unit())


def test_others_may_have_confirmed_it_by_the_state_marker(tmp_path: Path) -> None:
    gate_of(tmp_path, {"slot": "b", "ustate": "0"}).check(PLAN, Unit())
    with pytest.raises(PreflightRefused):  # without the marker nobody can have said so by it
        gate_of(tmp_path, {"slot": "b", "ustate": "0"}, variables={"slot": "b"}).check(PLAN, Unit())


def test_the_first_update_of_all(tmp_path: Path) -> None:
    assert unconfirmed(Journal(str(tmp_path), "boot"), None) is None
    FallbackGate(Journal(str(tmp_path), "boot"), None).check(PLAN, Unit())


def test_where_nothing_ever_confirms_nothing_is_held_up(tmp_path: Path) -> None:
    """Else a unit that was moved from SWUpdate would take one update, and never a second."""
    gate = gate_of(tmp_path)
    silent = FallbackGate(gate._journal, gate._bootloader, checked=False)
    silent.check(PLAN, Unit())
    journal = Journal(str(tmp_path), "boot-2")
    last = journal.read().last
    assert last is not None
    journal.put(last._replace(state=State.CONFIRMED))
    journal.put(last._replace(session="later"))
    with pytest.raises(PreflightRefused):  # somebody has confirmed one before
        silent.check(PLAN, Unit())


def test_a_test_that_was_begun_holds_without_checks_too(tmp_path: Path) -> None:
    gate = gate_of(tmp_path, state=State.TESTING)
    with pytest.raises(PreflightRefused):
        FallbackGate(gate._journal, gate._bootloader, checked=False).check(PLAN, Unit())


def test_where_checks_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "confirm.d"
    monkeypatch.setattr(app, "CHECKS_FOLDER", str(folder))
    assert not app._has_checks()
    folder.mkdir()
    assert not app._has_checks()
    (folder / "10-network").touch()
    assert app._has_checks()
    monkeypatch.setattr(app, "CHECKS_FOLDER", str(folder / "10-network"))
    assert not app._has_checks(), "no folder"

    def denied(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.listdir", denied)
    assert app._has_checks(), "what cannot be looked into may hold some"
