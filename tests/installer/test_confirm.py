from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swagent.bootloader.none import NoBootloader
from swagent.clock import SystemClock
from swagent.errors import BootEnvError, RolledBack, SettingsError
from swagent.hw.process import run
from swagent.installer.confirm import Check, Confirmation, Outcome, confirm, read_check
from swagent.installer.journal import Journal, Record, Refusal, State
from swagent.parser import read_libconfig

COMMIT = {"slot": "b", "upgrade_available": "1", "recovery_status": "", "ustate": "1"}
GOOD, BAD = Check("10-good", ("/bin/true",)), Check("20-bad", ("/bin/false",))


class Env(NoBootloader):
    """Notes every step; ``broken`` makes the next ones fail."""

    name = "fake"

    def __init__(self, **stored: str) -> None:
        super().__init__()
        super().set_many(stored)
        self.steps: list[dict[str, str | None]] = []
        self.broken = False

    def set_many(self, changes: Any) -> None:
        if self.broken:
            raise BootEnvError("worn out")
        self.steps.append(dict(changes))
        super().set_many(changes)


class Unit:
    """A device whose last update was committed in ``boot-1``; it is ``boot-2`` now."""

    def __init__(self, folder: Path, **facts: Any) -> None:
        self.folder = folder
        self.env = Env(slot="b", upgrade_available="1", bootcount="1", bootlimit="3", ustate="1")
        self.said: list[tuple[str, str]] = []
        self.runs_from: Callable[[str], bool | None] = lambda _: None
        self.slots: dict[str, str] = {}
        self.on_fail: dict[str, str] = {}
        self.floor_in_env = False
        record = Record(
            "s",
            State.COMMITTED,
            "2.4.0",
            "stable,b",
            digest="d1",
            boot_id="boot-1",
            variables=COMMIT,
            tested=True,
        )
        self.journal().put(record._replace(**facts))

    def journal(self, boot_id: str = "boot-2") -> Journal:
        return Journal(str(self.folder), boot_id)

    def confirm(self, *checks: Check, boot_id: str = "boot-2", bootloader: bool = True) -> Outcome:
        parts = Confirmation(
            journal=self.journal(boot_id),
            bootloader=self.env if bootloader else None,
            clock=SystemClock(),
            run=run,
            runs_from=self.runs_from,
            slots=self.slots,
            on_pass={"upgrade_available": "0", "bootcount": "0"},
            on_fail=self.on_fail,
            floor_in_env=self.floor_in_env,
            log=lambda level, line: self.said.append((level, line)),
        )
        return confirm(parts, lambda: checks)

    def last(self) -> Record:
        last = self.journal().read().last
        assert last is not None
        return last


def test_nothing_is_known(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    (tmp_path / "journal.json").unlink()
    assert unit.confirm(BAD).record is None


@pytest.mark.parametrize("state", [State.CONFIRMED, State.FAILED])
def test_what_has_ended_is_left_alone(tmp_path: Path, state: State) -> None:
    unit = Unit(tmp_path, state=state)
    outcome = unit.confirm(BAD)
    assert not outcome.tested
    assert not unit.env.steps
    assert unit.last().state is state


def test_before_the_reboot_nothing_is_tested(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    outcome = unit.confirm(BAD, boot_id="boot-1")
    assert "waits for its first boot" in outcome.message
    assert unit.last().state is State.COMMITTED
    assert not unit.env.steps


def test_all_good(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    outcome = unit.confirm(GOOD)
    assert outcome.tested
    assert unit.env.steps == [{"upgrade_available": "0", "bootcount": "0", "ustate": "0"}]
    last = unit.last()
    assert last.state is State.CONFIRMED
    assert [(check.name, check.passed) for check in last.checks] == [("10-good", True)]
    assert list(last.times) == ["TESTING", "CONFIRMED"]
    assert unit.journal().read().floor == "2.4.0"
    assert not unit.confirm(BAD).tested


def test_no_checks_means_that_booting_is_the_check(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    assert "there are no checks" in unit.confirm().message
    assert unit.last().state is State.CONFIRMED


def test_without_a_state_marker_none_is_written(tmp_path: Path) -> None:
    unit = Unit(tmp_path, variables={"slot": "b"})
    unit.confirm(GOOD)
    assert unit.env.steps == [{"upgrade_available": "0", "bootcount": "0"}]


def test_with_another_boot_loader_nothing_is_decided(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    with pytest.raises(SettingsError, match="none is configured here"):
        unit.confirm(GOOD, bootloader=False)
    assert unit.last().state is State.COMMITTED


def test_without_a_boot_loader(tmp_path: Path) -> None:
    unit = Unit(tmp_path, variables={})
    unit.confirm(GOOD, bootloader=False)
    assert unit.last().state is State.CONFIRMED


def test_one_bad_check_is_enough(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.on_fail = {"bootcount": "99"}
    with pytest.raises(RolledBack, match="check 20-bad: ended with status 1") as raised:
        unit.confirm(BAD, GOOD)
    assert raised.value.exit_code == 81
    assert unit.env.steps == [{"bootcount": "99", "ustate": "3"}]
    last = unit.last()
    assert last.state is State.ROLLED_BACK
    assert [check.passed for check in last.checks] == [False, True]
    assert [refusal.digest for refusal in unit.journal().refusals()] == ["d1"]
    assert unit.journal().read().floor == ""


def test_the_verdict_stands_while_the_boot_loader_still_starts_it(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    with pytest.raises(RolledBack):
        unit.confirm(BAD)
    with pytest.raises(RolledBack, match="still what the boot loader starts"):
        unit.confirm(GOOD)
    assert unit.last().state is State.ROLLED_BACK
    unit.env.set_many({"slot": "a"})
    assert "nothing to confirm" in unit.confirm(GOOD).message


def test_a_check_that_is_not_required_may_fail(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.confirm(GOOD, BAD._replace(required=False))
    assert unit.last().state is State.CONFIRMED
    assert [check.passed for check in unit.last().checks] == [True, False]


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("/bin/sleep", "30"), "took longer than 0.2 s"),
        (("/nowhere/at-all",), "/nowhere/at-all"),
        (("/bin/sh", "-c", "kill -9 $$"), "ended by a signal"),
        (("/bin/sh", "-c", "echo no network >&2; exit 7"), "ended with status 7, last said: no network"),
    ],
)
def test_how_a_check_fails(tmp_path: Path, argv: tuple[str, ...], told: str) -> None:
    unit = Unit(tmp_path)
    with pytest.raises(RolledBack):
        unit.confirm(Check("x", argv, deadline_s=0.2 if "sleep" in argv[0] else 60.0))
    assert told in unit.last().checks[0].message


def test_a_verdict_that_was_cut_is_brought_to_its_end(tmp_path: Path) -> None:
    """Refused and still pending: power went between the two; the checks, which pass now, are not asked again."""
    unit = Unit(tmp_path, state=State.TESTING)
    unit.on_fail = {"bootcount": "99"}
    unit.journal().refuse(Refusal("d1", "2.4.0", 7.0, "check 20-bad: ended with status 1"))
    with pytest.raises(RolledBack, match="check 20-bad: ended with status 1"):
        unit.confirm(GOOD)
    assert unit.env.steps == [{"bootcount": "99", "ustate": "3"}]
    last = unit.last()
    assert (last.state, last.message) == (State.ROLLED_BACK, "check 20-bad: ended with status 1")
    assert len(unit.journal().refusals()) == 1


def test_a_boot_environment_that_cannot_be_written_ends_in_the_same_verdict_later(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.env.broken = True
    with pytest.raises(BootEnvError):
        unit.confirm(BAD)
    assert unit.last().state is State.TESTING
    unit.env.broken = False
    with pytest.raises(RolledBack, match="20-bad"):
        unit.confirm(GOOD)
    assert unit.env.get("ustate") == "3"


# -- the boot loader went back


def rolled_back(unit: Unit, why: str) -> None:
    with pytest.raises(RolledBack, match=why):
        unit.confirm(GOOD)
    assert unit.last().state is State.ROLLED_BACK
    assert unit.last().checks == ()
    assert unit.env.steps == [{"ustate": "3"}]
    assert [refusal.digest for refusal in unit.journal().refusals()] == ["d1"]


def test_the_environment_is_the_old_one(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.env = Env(slot="a", upgrade_available="0")
    rolled_back(unit, "slot is 'a', no longer 'b'")


def test_uboot_has_counted_too_far(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.env = Env(slot="b", upgrade_available="1", bootcount="4", bootlimit="3")
    rolled_back(unit, "bootcount is 4, above bootlimit 3")


def test_the_boot_loader_says_so(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.env = Env(slot="b", ustate="3")
    rolled_back(unit, "it has set ustate to 3")


def test_the_other_copy_runs(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.slots = {"stable,a": "/dev/a", "stable,b": "/dev/b"}
    unit.runs_from = lambda device: device == "/dev/a"
    rolled_back(unit, "does not run from /dev/b")


@pytest.mark.parametrize("runs", [True, None])
def test_the_copy_runs_or_nobody_can_tell(tmp_path: Path, runs: bool | None) -> None:
    unit = Unit(tmp_path)
    unit.slots = {"stable,b": "/dev/b"}
    unit.runs_from = lambda _: runs
    unit.confirm(GOOD)
    assert unit.last().state is State.CONFIRMED


def test_what_others_count_with_does_not_matter(tmp_path: Path) -> None:
    unit = Unit(tmp_path, variables={**COMMIT, "bootcount": "0"})
    unit.confirm(GOOD)
    assert unit.last().state is State.CONFIRMED


# -- floor, cuts


def test_the_floor_is_stored_with_the_verdict_in_one_step(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.floor_in_env = True
    unit.confirm(GOOD)
    assert unit.env.steps == [
        {"upgrade_available": "0", "bootcount": "0", "ustate": "0", "swagent_floor": "2.4.0"}
    ]


def test_the_floor_is_never_lowered(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.floor_in_env = True
    unit.env.set_many({"swagent_floor": "10.0"})
    unit.confirm(GOOD)
    assert unit.env.get("swagent_floor") == "10.0"
    assert unit.journal().read().floor == "10.0"


def test_an_environment_that_cannot_be_written_leaves_it_testing(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.env.broken = True
    with pytest.raises(BootEnvError):
        unit.confirm(GOOD)
    assert unit.last().state is State.TESTING
    unit.env.broken = False
    unit.confirm(GOOD)
    assert unit.last().state is State.CONFIRMED


def test_cut_while_writing_is_no_update_to_confirm(tmp_path: Path) -> None:
    unit = Unit(tmp_path, state=State.WRITING)
    assert "is FAILED" in unit.confirm(BAD).message
    assert "was cut while writing" in unit.said[0][1]


def test_cut_right_after_the_commit_is_one(tmp_path: Path) -> None:
    unit = Unit(tmp_path, state=State.WRITTEN)
    unit.confirm(GOOD)
    assert unit.last().state is State.CONFIRMED


def test_a_damaged_journal_is_told(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    (tmp_path / "journal.json").write_text("{")
    assert unit.confirm(BAD).record is None
    assert "cannot be understood" in unit.said[0][1]


# -- files


def test_a_file_names_command_and_rules() -> None:
    text = b'check: { command = "test -e /x"; required = false; deadline = 1.5; };'
    check = read_check("a.cfg", read_libconfig(text, where="a.cfg"), "a.cfg")
    assert check == Check("a.cfg", ("/bin/sh", "-c", "test -e /x"), required=False, deadline_s=1.5)
    short = read_check("b.cfg", read_libconfig(b'check: { command = "x"; };', where="b.cfg"), "b.cfg")
    assert (short.required, short.deadline_s) == (True, 60.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "check = 1;",
        'command = "x";',
        "check: { };",
        'check: { command = ""; };',
        "check: { command = 7; };",
        'check: { command = "x"; required = "yes"; };',
        'check: { command = "x"; deadline = 0; };',
        'check: { command = "x"; deadline = 90000; };',
        'check: { command = "x"; deadline = true; };',
        'check: { command = "x"; dedline = 7; };',
        'check: { command = "x"; }; more = 1;',
    ],
)
def test_what_is_no_check_is_an_error(text: str) -> None:
    with pytest.raises(SettingsError):
        read_check("a.cfg", read_libconfig(text.encode(), where="a.cfg"), "a.cfg")
