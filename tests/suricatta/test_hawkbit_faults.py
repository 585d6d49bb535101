"""A server that fails, lies or restarts at any step, a process that is killed at any point: the end is right.

Right means: the action ends as the update did, what is installed is what was assigned, and nobody is told of success
before the update is confirmed.
"""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swagent.errors import SwagentError
from swagent.suricatta.ledger import Entry, Ledger
from swagent.testing.hawkbit import Action, serving
from swagent.testing.hawkbit import Hawkbit as Server

from .bench import DeskInstaller, Killed, Unit

SWU = random.Random(3).randbytes(600_000)
TARGET = "unit%201"
STEPS_MAX = 60


def status(number: int) -> Callable[[Server], Callable[[Any], bool]]:
    return lambda server: lambda handler: handler.reply(number)


def body(data: bytes) -> Callable[[Server], Callable[[Any], bool]]:
    return lambda server: lambda handler: handler.send(200, data, {})


def reset(server: Server) -> Callable[[Any], bool]:
    return lambda handler: handler.reset()


def half(server: Server) -> Callable[[Any], bool]:
    """Promises more than it gives."""

    def answer(handler: Any) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"id": ')
        handler.close_connection = True
        return True

    return answer


def restart(server: Server) -> Callable[[Any], bool]:
    """Goes away in the middle of an answer, and comes back."""

    def answer(handler: Any) -> bool:
        server.stop()
        server.start()
        return True

    return answer


def taken_and_lost(server: Server) -> Callable[[Any], bool]:
    """Does what is asked, and breaks the connection instead of saying so."""

    def answer(handler: Any) -> bool:
        handler.wfile = open("/dev/null", "wb", buffering=0)  # noqa: SIM115 - it lives as long as the connection
        handler.reset()
        return False

    return answer


FAULTS: dict[str, Callable[[Server], Callable[[Any], bool]]] = {
    "401": status(401),
    "404": status(404),
    "429": status(429),
    "500": status(500),
    "503": status(503),
    "reset": reset,
    "half": half,
    "restart": restart,
    "lost": taken_and_lost,
    "nothing": body(b""),
    "no JSON": body(b"<html>"),
    "other JSON": body(b"[1, 2]"),
    "null": body(b"null"),
    "deep": body(b"[" * 200_000),
    "long": body(b" " * 1_500_000),
}
USUAL = ("401", "500", "reset", "restart", "lost", "no JSON")


def some(*left_out: str) -> list[Any]:
    """All faults; those that are not usual are left to the slow tests."""
    return [
        fault if fault in USUAL else pytest.param(fault, marks=pytest.mark.slow)
        for fault in FAULTS
        if fault not in left_out
    ]


STEPS = ("poll", "configData", "deploymentBase", "artifact", "feedback")


def drive(server: Server, unit: Unit, action: Action) -> None:
    """Visits until the action is closed; the unit is rebooted, and good, when something waits for it."""
    backend = None
    for _ in range(STEPS_MAX):
        if not action.is_open:
            return
        try:
            backend = backend or unit.start()
            backend.step()
        except SwagentError:
            time.sleep(0.01)
            continue
        except Killed:
            backend = None
            continue
        waiting = unit.installer.known("").state == "COMMITTED"
        if waiting:
            assert action.status == "running", "told before it was confirmed"
            assert not any(one.execution == "closed" for one in server.state.told)
            unit.installer.confirm()
            backend = None
    raise AssertionError(f"still {action.status}: {unit.log}")


@pytest.mark.parametrize("fault", some())
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("reboots", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_server_that_misbehaves_once(tmp_path: Path, step: str, fault: str, reboots: bool) -> None:
    with serving() as server:
        unit = Unit(tmp_path, server.url, DeskInstaller(reboots=reboots), identify=(("a", "b"),))
        unit.installer.lines = 0
        action = server.state.assign(TARGET, {"update.swu": SWU})
        server.state.faults[step] = [FAULTS[fault](server)]
        drive(server, unit, action)
        # what lies about a file is found out, and told
        lies = step == "artifact" and fault in ("nothing", "no JSON", "other JSON", "null", "deep", "long")
        assert action.status == ("error" if lies else "finished")
        assert unit.installer.whole == ([] if lies else [SWU])


@pytest.mark.parametrize("fault", ["401", "500", "reset", "restart", "lost"])
@pytest.mark.parametrize("nth", range(5))
def test_every_feedback_may_fail(tmp_path: Path, nth: int, fault: str) -> None:
    with serving() as server:
        unit = Unit(tmp_path, server.url)
        action = server.state.assign(TARGET, {"update.swu": SWU})
        server.state.faults["feedback"] = [*[lambda handler: False] * nth, FAULTS[fault](server)]
        drive(server, unit, action)
        assert action.status == "finished"
        assert unit.installer.whole == [SWU]


@pytest.mark.parametrize("fault", some("404"))
@pytest.mark.parametrize("step", ["cancelAction", "cancelFeedback"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_wish_to_cancel_survives_faults(tmp_path: Path, when: str, step: str, fault: str) -> None:
    with serving() as server:
        unit = Unit(tmp_path, server.url)
        action = server.state.assign(TARGET, {"update.swu": SWU})
        if when == "after":
            unit.start().step()
        server.state.cancel(action)
        server.state.faults[step] = [FAULTS[fault](server)]
        backend = unit.start()
        for _ in range(STEPS_MAX):
            try:
                backend.step()
            except SwagentError:
                time.sleep(0.01)
            else:
                if not action.canceling:
                    break
        assert action.status == ("canceled" if when == "before" else "running")
        assert len(unit.installer.whole) == (0 if when == "before" else 1)


@pytest.mark.parametrize("verdict", ["confirmed", "rolled back"])
@pytest.mark.parametrize("fault", ["401", "500", "reset", "restart", "lost"])
def test_the_verdict_is_told_until_it_is_heard(tmp_path: Path, fault: str, verdict: str) -> None:
    with serving() as server:
        unit = Unit(tmp_path, server.url)
        action = server.state.assign(TARGET, {"update.swu": SWU})
        unit.start().step()
        (unit.installer.confirm if verdict == "confirmed" else unit.installer.roll_back)()
        server.state.faults["feedback"] = [FAULTS[fault](server) for _ in range(3)]
        wanted, further = "finished" if verdict == "confirmed" else "error", 5
        for _ in range(STEPS_MAX):
            try:
                unit.start().step()  # a restart in between each time
            except SwagentError:
                time.sleep(0.01)
            further -= action.status == wanted  # and it is not told again
            if not further:
                break
        assert action.status == wanted
        closed = [one for one in server.state.told if one.execution == "closed"]
        assert len(closed) == 1


class FatalLedger(Ledger):
    """Ends the process at a write.

    Args:
        fatal: number of the write, and whether it is done before.
    """

    def __init__(self, path: str, fatal: list[tuple[int, bool]], seen: list[int]) -> None:
        super().__init__(path)
        self._fatal = fatal
        self._seen = seen

    def put(self, entry: Entry) -> Entry:
        if entry == self.entry:
            return super().put(entry)
        with self.deadly():
            return super().put(entry)

    def clear(self) -> None:
        with self.deadly():
            super().clear()

    def deadly(self) -> "Deadly":
        self._seen[0] += 1
        for number, done in self._fatal:
            if number == self._seen[0]:
                if not done:
                    raise Killed
                return Deadly(fatal=True)
        return Deadly(fatal=False)


class Deadly:
    def __init__(self, *, fatal: bool) -> None:
        self._fatal = fatal

    def __enter__(self) -> None:
        return

    def __exit__(self, *problem: object) -> None:
        if self._fatal:
            raise Killed


class FatalUnit(Unit):
    fatal: list[tuple[int, bool]]
    seen: list[int]

    def start(self) -> Any:
        backend = super().start()
        ledger = FatalLedger(str(self.folder / "state" / "ledger.json"), self.fatal, self.seen)
        return type(backend)(self.tools._replace(ledger=ledger))


@pytest.mark.parametrize("done", [True, False], ids=["after", "before"])
@pytest.mark.parametrize(
    ("reboots", "nth"), [*((True, nth) for nth in range(1, 5)), *((False, nth) for nth in range(1, 4))]
)
def test_killed_at_a_write_of_the_ledger(tmp_path: Path, nth: int, done: bool, reboots: bool) -> None:
    with serving() as server:
        unit = FatalUnit(tmp_path, server.url, DeskInstaller(reboots=reboots, lines=0))
        unit.fatal, unit.seen = [(nth, done)], [0]
        action = server.state.assign(TARGET, {"a.swu": SWU})
        drive(server, unit, action)
        assert action.status == "finished"
        assert unit.installer.whole == [SWU], "installed once"
        assert unit.seen[0] >= nth
        unit.start().step()
        assert Ledger(str(tmp_path / "state" / "ledger.json")).entry is None


@pytest.mark.parametrize("where", ["first piece", "last piece", "installed"])
@pytest.mark.parametrize("reboots", [True, False])
def test_killed_while_it_is_installed(tmp_path: Path, reboots: bool, where: str) -> None:
    with serving() as server:
        unit = Unit(tmp_path, server.url, DeskInstaller(reboots=reboots))
        action = server.state.assign(TARGET, {"update.swu": SWU})
        deaths = [1]

        def die(done: int = 0) -> None:
            wanted = {"first piece": done < 200_000, "last piece": done == len(SWU), "installed": done == 0}
            if deaths and wanted[where]:
                deaths.pop()
                raise Killed

        if where == "installed":
            unit.installer.after = die
        else:
            unit.installer.during = die
        drive(server, unit, action)
        assert not deaths
        assert action.status == "finished"
        assert unit.installer.whole == [SWU], "what was installed is not installed again"


def test_killed_at_every_request(tmp_path: Path) -> None:
    """One after the other, at the nth request of the whole."""
    for nth in range(14):
        with serving() as server:
            folder = tmp_path / str(nth)
            folder.mkdir()
            unit = Unit(folder, server.url, identify=(("a", "b"),))
            action = server.state.assign(TARGET, {"update.swu": SWU})
            seen = [0]

            class Deaf(Unit):
                def start(self, nth: int = nth, seen: list[int] = seen) -> Any:
                    def waiting() -> None:  # called before every request
                        seen[0] += 1
                        if seen[0] == nth + 1:
                            raise Killed

                    backend = super().start()
                    return type(backend)(self.tools._replace(waiting=waiting))

            deaf = Deaf(folder, server.url, unit.installer, identify=unit.identify)
            drive(server, deaf, action)
            assert action.status == "finished", nth
            assert unit.installer.whole == [SWU], nth
            assert seen[0] > nth


def test_a_unit_that_dies_each_time_gives_up(tmp_path: Path) -> None:
    with serving() as server:
        unit = Unit(tmp_path, server.url)
        action = server.state.assign(TARGET, {"update.swu": SWU})

        def die(done: int) -> None:
            raise Killed

        unit.installer.during = die
        drive(server, unit, action)
        assert action.status == "error"
        assert "given up after 5 attempts" in server.state.told[-1].details[0]
