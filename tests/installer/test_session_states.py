"""What journal and markers say at each moment; and scripts hear of every failure (swu format §6.3, §6.4)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swagent.errors import BootEnvError, HandlerError, SwagentError
from swagent.installer.env import FLOOR_VARIABLE
from swagent.installer.journal import Journal, Record, State
from tests.faults.images import CRC, Member, archive, described, entry, signed

from .test_session import ENDED, FAILED, STARTED, SWITCH, WAYS, Done, Unit1, noted, whole


class Watched(Unit1):
    """A unit with a journal; ``before`` is called with everything that is about to be noted."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.journal = Journal(str(folder / "state"), "this boot")
        self.before: Callable[[Done], None] = lambda what: None

    def note(self, *what: str) -> None:
        self.before(what)
        super().note(*what)

    @property
    def state(self) -> State | None:
        assert self.journal is not None
        last = Journal(self.journal.folder, "").read().last
        return last.state if last is not None else None


@pytest.fixture
def unit(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


@WAYS
def test_the_journal_knows_each_moment_before_it_comes(unit: Watched, pipe: bool) -> None:
    seen: dict[Done, State | None] = {}
    unit.before = lambda what: seen.setdefault(what, unit.state) and None
    assert unit.install(whole(), pipe=pipe) == "installed"
    assert {state for what, state in seen.items() if what[0] in ("gate", "preflight")} == {None}
    assert seen[STARTED] is State.WRITING
    assert {state for what, state in seen.items() if what[0] in ("apply", "install", "run")} == {
        State.WRITING
    }
    assert seen[ENDED] is State.WRITTEN
    assert unit.state is State.COMMITTED
    assert unit.journal is not None
    last = unit.journal.read().last
    assert last is not None
    assert list(last.times) == [
        "RECEIVED", "VERIFIED", "PLANNED", "AUTHORIZED", "PREFLIGHTED", "WRITING", "WRITTEN", "COMMITTED",
    ]  # fmt: skip
    assert last.variables == {"slot": "b", "recovery_status": "", "ustate": "1"}
    assert last.before == {"slot": "a"}
    assert last.tested


BREAKS: tuple[Done, ...] = (
    ("apply", "gpt"),
    ("install", "second.img"),
    ("install", "direct.img"),
    ("run", "one.sh", "preinst"),
    ("run", "two.sh", "preinst"),
    ("install", "staged.img"),
    ("install", "file.bin"),
    ("run", "two.sh", "postinst"),
    ENDED,
)


@WAYS
@pytest.mark.parametrize("at", BREAKS, ids=lambda at: "-".join(at))
def test_whatever_fails_is_marked_and_told_to_the_scripts(unit: Watched, pipe: bool, at: Done) -> None:
    def break_(what: Done) -> None:
        if what == at:
            raise BootEnvError("worn out") if what is ENDED or what[0] == "env" else HandlerError("it broke")

    unit.before = break_
    with pytest.raises(SwagentError, match="worn out" if at == ENDED else "it broke"):
        unit.install(whole(), pipe=pipe)
    late = pipe and at in BREAKS[:3]  # then two.sh has not come through the pipe yet
    scripts = ["one.sh"] if late else ["one.sh", "two.sh"]
    assert unit.did[-len(scripts) - 1 :] == [*(("run", name, "postfailure") for name in scripts), FAILED]
    assert unit.loader.all() == {"slot": "a", "recovery_status": "failed", "ustate": "3"}
    assert unit.state is State.FAILED
    assert unit.verdict()["result"] == "failed"


@WAYS
@pytest.mark.parametrize("at", [("gate",), ("preflight", "staged.img")], ids=lambda at: at[0])
def test_what_fails_before_any_write_leaves_no_trace(unit: Watched, pipe: bool, at: Done) -> None:
    def break_(what: Done) -> None:
        if what == at:
            raise HandlerError("it broke")

    unit.before = break_
    with pytest.raises(HandlerError):
        unit.install(whole(), pipe=pipe)
    assert unit.writing() == []
    assert unit.loader.all() == {"slot": "a"}
    assert unit.state is None


def test_a_marker_that_cannot_be_stored_stops_everything(unit: Watched) -> None:
    def break_(what: Done) -> None:
        if what == STARTED:
            raise BootEnvError("worn out")

    unit.before = break_
    with pytest.raises(BootEnvError):
        unit.install(whole())
    assert not [what for what in unit.did if what[0] in ("apply", "install")]


def quick(**facts: Any) -> bytes:
    """An image that switches, and says itself whether a reboot follows."""
    member, text = noted("app.img")
    raw = described({"images": [text], "bootenv": SWITCH}, **facts)
    return archive(signed(raw.replace(b"version", b"reboot = false; version", 1), member), CRC)


def test_the_floor_of_what_is_confirmed_at_once_goes_with_the_switch(unit: Watched) -> None:
    """In one step: an update that counts is never there without its floor."""
    assert unit.install(quick(version="3.0"), floor="2.0", floor_in_env=True) == "installed"
    assert unit.writing()[-1] == ("env", "slot=b", f"{FLOOR_VARIABLE}=3.0", *ENDED[2:])
    assert unit.journal is not None
    assert unit.journal.read().floor == "3.0"
    assert unit.state is State.CONFIRMED


def test_the_floor_is_not_lowered_by_one_that_was_let_in(unit: Watched) -> None:
    assert unit.journal is not None
    unit.journal.prepare()
    unit.journal.put(Record("before", State.CONFIRMED, "4.0"), floor="4.0")
    unit.loader.set_many({FLOOR_VARIABLE: "4.0"})
    policy: dict[str, Any] = {"floor": "4.0", "floor_in_env": True, "below_floor": "field trial"}
    assert unit.install(quick(version="3.0"), **policy) == "installed"
    assert unit.loader.get(FLOOR_VARIABLE) == "4.0"
    assert unit.journal.read().floor == "4.0"
    last = unit.journal.read().last
    assert last is not None
    assert last.below_floor == "field trial"


def test_what_has_yet_to_prove_itself_raises_no_floor(unit: Watched) -> None:
    assert unit.install(whole(), floor="1.0", floor_in_env=True) == "installed"
    assert unit.journal is not None
    assert unit.journal.read().floor == ""
    assert unit.loader.get(FLOOR_VARIABLE) is None


def test_versions_are_written_behind_the_switch_and_in_front_of_the_journal(
    unit: Watched, tmp_path: Path
) -> None:
    """So a cut between the two is seen; a file that cannot be written undoes nothing."""
    file = tmp_path / "sw-versions"
    seen: list[tuple[Done, bool]] = []
    unit.before = lambda what: seen.append((what, file.exists()))
    member, text = noted("app.img", name="app", version="3")
    raw = archive(signed(described({"images": [text], "bootenv": SWITCH}), member), CRC)
    assert unit.install(raw, versions_file=str(file)) == "installed"
    assert not any(there for _, there in seen)
    assert file.read_text() == "app\t\t3\n"
    with pytest.raises(SwagentError):
        unit.install(raw, versions_file=str(tmp_path / "nowhere" / "file"))
    assert unit.state is State.COMMITTED
    assert unit.loader.all() == {"slot": "b", "ustate": "1"}


@pytest.mark.parametrize(("reboot", "state"), [("", State.COMMITTED), ("reboot = false; ", State.CONFIRMED)])
def test_a_script_that_changes_what_boots_has_to_prove_itself_too(
    unit: Watched, reboot: str, state: State
) -> None:
    """Without a boot variable, and whether or not there is a boot loader that keeps any."""
    script = Member("swap.sh", b"#!/bin/sh\n")
    text = described({"scripts": [entry(script, type="noteswitch")]})
    raw = archive(signed(text.replace(b"version", f"{reboot}version".encode(), 1), script), CRC)
    assert unit.install(raw, transaction_marker=False, state_marker=False) == "installed"
    assert unit.state is state


def for_slot(slot: str) -> bytes:
    """An image for one copy, with a file that both copies share."""
    member, text = noted(f"{slot}.img")
    file, file_text = noted("file.bin", path="/nowhere")
    switch = f'{{ name = "slot"; value = "{slot}"; }}'
    return archive(
        signed(described({"images": [text], "files": [file_text], "bootenv": [switch]}), member, file), CRC
    )


@pytest.mark.parametrize(
    ("second", "by_others", "begun"),
    [
        ("b", False, ("env", "slot=a", *STARTED[1:])),  # what is overwritten now must not be booted
        ("c", False, STARTED),  # another copy: a file in common is no reason
        ("b", True, STARTED),
    ],
)
def test_an_update_over_one_that_was_not_booted_yet(
    unit: Watched, second: str, by_others: bool, begun: Done
) -> None:
    assert unit.install(for_slot("b")) == "installed"
    if by_others:
        unit.loader.set_many({"ustate": "0"})
    unit.did.clear()
    assert unit.install(for_slot(second)) == "installed"
    assert unit.writing()[0] == begun
    assert unit.loader.all() == {"slot": second, "ustate": "1"}
