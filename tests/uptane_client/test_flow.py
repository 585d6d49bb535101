"""Pause, resume, abort: of downloads, of installations, and over restarts."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swagent.errors import Cancelled, LocallyAborted
from swagent.events import verdict_facts
from swagent.uptane_client.flow import Flow
from swagent.uptane_client.parts import Policy

from .test_passthrough import OneStream, Unit, stored, through, unit
from .world import FIRMWARE, PRIMARY, Bytes, World

__all__ = ["unit"]  # a fixture


class Slept:
    """Stands in for sleeping; after so many times something is done."""

    def __init__(self, times: int, then: Callable[[], None]) -> None:
        self.left = times
        self._then = then

    def __call__(self, seconds: float) -> None:
        self.left -= 1
        if not self.left:
            self._then()


def never(seconds: float) -> None:
    raise AssertionError("waited")


class TestWords:
    def test_nothing_is_asked(self, tmp_path: Path) -> None:
        Flow(str(tmp_path), sleep=never).checkpoint()

    def test_a_pause_holds_until_it_is_taken_away(self, tmp_path: Path) -> None:
        told: list[bool] = []
        other = Flow(str(tmp_path), sleep=never)
        slept = Slept(3, other.resume)
        flow = Flow(str(tmp_path), sleep=slept, changed=told.append)
        other.pause()
        assert Flow(str(tmp_path), sleep=never).paused(), "over restarts too"
        flow.judge()  # does not wait
        flow.checkpoint()
        assert slept.left == 0
        assert told == [True, False]
        other.resume()

    def test_an_abort_is_heard_once(self, tmp_path: Path) -> None:
        flow = Flow(str(tmp_path), sleep=never)
        flow.ask_abort()
        with pytest.raises(LocallyAborted):
            flow.judge()
        assert not flow.aborting()
        flow.checkpoint()

    def test_also_while_it_is_paused(self, tmp_path: Path) -> None:
        other = Flow(str(tmp_path), sleep=never)
        other.pause()
        with pytest.raises(LocallyAborted):
            Flow(str(tmp_path), sleep=Slept(2, other.ask_abort)).checkpoint()
        assert other.paused()

    def test_one_that_comes_too_late_is_forgotten(self, tmp_path: Path) -> None:
        flow = Flow(str(tmp_path), sleep=never)
        flow.ask_abort()
        assert flow.forget_abort()
        assert not flow.forget_abort()
        flow.checkpoint()

    def test_a_process_that_ends_does_not_wait(self, tmp_path: Path) -> None:
        def stop() -> None:
            raise Cancelled("stopped")

        flow = Flow(str(tmp_path), sleep=never, stop=stop)
        flow.pause()
        with pytest.raises(Cancelled):
            flow.checkpoint()

    def test_the_words_are_private(self, tmp_path: Path) -> None:
        flow = Flow(str(tmp_path), sleep=never)
        flow.pause()
        flow.ask_abort()
        assert sorted(os.listdir(tmp_path)) == ["abort", "paused"]
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tmp_path.iterdir())

    def test_what_programs_are_told(self) -> None:
        facts = verdict_facts(LocallyAborted("aborted on request"), "cancelled")
        assert facts["exit_code"] == 80
        error: Any = facts["error"]
        assert error["name"] == error["class"] == "LocallyAborted"


class Asking(Bytes):
    """A stream that asks for something in its middle."""

    def __init__(self, data: bytes, ask: Callable[[], None]) -> None:
        super().__init__(data)
        self._ask = ask

    def readinto(self, buffer: memoryview) -> int:
        n = super().readinto(buffer[:5])
        self._ask()
        return n


@pytest.fixture(params=[True, False], ids=["stored", "as it is fetched"])
def world(request: pytest.FixtureRequest, quick_path: Path) -> World:
    world = World(quick_path, "tuf1").started()
    world.policy = Policy(store=request.param)
    world.order(PRIMARY)
    return world


class TestACycle:
    def test_abort(self, world: World) -> None:
        flow = Flow(str(world.folder), sleep=never)
        subscription = world.bus.subscribe()
        mirror = OneStream(lambda: Asking(FIRMWARE, flow.ask_abort))
        world.installers[PRIMARY].checks = True
        with pytest.raises(LocallyAborted):
            through(world, mirror, mirror, checkpoint=flow.checkpoint).cycle()
        assert world.installers[PRIMARY].runs == b""
        assert stored(world) == []
        assert world.memory.pending() == {}
        assert [result.code for result in world.memory.results()[1]] == [23]
        assert subscription.take()[-1].facts["result"] == "cancelled"
        flow.forget_abort()
        assert world.primary(checkpoint=flow.checkpoint).cycle().result == "installed"
        assert world.installers[PRIMARY].runs == FIRMWARE

    def test_pause_and_resume(self, world: World) -> None:
        other = Flow(str(world.folder), sleep=never)
        slept = Slept(3, other.resume)
        flow = Flow(str(world.folder), sleep=slept)
        asked: list[None] = []

        def once() -> None:
            if not asked:
                asked.append(None)
                other.pause()

        mirror = OneStream(lambda: Asking(FIRMWARE, once))
        world.installers[PRIMARY].checks = True
        assert through(world, mirror, mirror, checkpoint=flow.checkpoint).cycle().result == "installed"
        assert slept.left == 0
        assert world.installers[PRIMARY].runs == FIRMWARE

    def test_a_process_that_ends_reports_nothing(self, world: World) -> None:
        def stop() -> None:
            raise Cancelled("stopped")

        with pytest.raises(Cancelled):
            world.primary(checkpoint=stop).cycle()
        assert world.memory.results() == (0, ())


@pytest.mark.parametrize("store", [True, False])
def test_an_archive_in_the_middle_of_its_installation(unit: Unit, store: bool) -> None:
    unit.world.policy = Policy(store=store)
    unit.order()
    folder = unit.world.folder
    flow = Flow(str(folder), sleep=never)

    def checkpoint() -> None:
        if unit.slot.read_bytes() != bytes(len(unit.slot.read_bytes())):  # it has begun to write
            flow.ask_abort()
        flow.checkpoint()

    with pytest.raises(LocallyAborted):
        unit.cycle(checkpoint=checkpoint)
    assert unit.env.get("slot") == "a"
    assert [result.code for result in unit.world.memory.results()[1]] == [23]
    unit.slot.write_bytes(bytes(600_001))
    assert unit.cycle(checkpoint=flow.checkpoint) == "pending"
    assert unit.env.get("slot") == "b"


def test_an_abort_is_no_attack(quick_path: Path) -> None:
    """The reference's manifests have no place for results but among the attacks."""
    world = World(quick_path, "ref-der").started()
    world.order(PRIMARY)
    flow = Flow(str(world.folder), sleep=never)
    mirror = OneStream(lambda: Asking(FIRMWARE, flow.ask_abort))
    with pytest.raises(LocallyAborted):
        through(world, mirror, mirror, checkpoint=flow.checkpoint).cycle()
    report = world.codec.decode_vehicle_report(world.service.taken[-1]).content
    assert world.codec.decode_ecu_report(report.ecus[PRIMARY][0]).content.attacks == ""
