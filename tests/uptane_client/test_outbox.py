"""Events for a back end: what they say, and that each arrives, once, or is dropped for a reason."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swagent.errors import SwagentError
from swagent.model import Outcome
from swagent.uptane.metadata import TARGETS
from swagent.uptane_client.desk import Desk, HandOver
from swagent.uptane_client.gateway import Gateway
from swagent.uptane_client.outbox import BATCH, Outbox
from swagent.uptane_client.parts import Policy
from swagent.uptane_client.vehicle import EVENTS_MAX, NEEDS_COMPLETION, Vehicle

from .backoffice import Asked, BackOffice, back_office
from .world import FIRMWARE, PRIMARY, World

CORRELATION = "urn:here-ota:campaign:1"


@pytest.fixture
def office() -> Iterator[BackOffice]:
    with back_office() as office:
        yield office


class Bench:
    """A vehicle's memory with an outbox, and what it says."""

    def __init__(self, folder: Path, office: BackOffice) -> None:
        world = World(folder, "ak").started()
        self.world = world
        self.said: list[tuple[str, str]] = []
        self.outbox = self.make(office)

    def make(self, office: BackOffice) -> Outbox:
        gateway = Gateway(office.url, self.world.clock)
        number = iter(range(1 << 20))

        def random(n_bytes: int) -> bytes:
            return next(number).to_bytes(n_bytes)

        return Outbox(
            self.world.memory, gateway, self.world.clock, random, lambda *line: self.said.append(line)
        )

    def cycle(self, **changes: Any) -> str:
        return self.world.primary(outbox=self.outbox, **changes).cycle().result

    def order(self) -> None:
        self.world.director.correlation_id = CORRELATION
        self.world.order(PRIMARY)


@pytest.fixture
def bench(quick_path: Path, office: BackOffice) -> Bench:
    return Bench(quick_path, office)


class TestWhatTheySay:
    def test_one_event(self, bench: Bench, office: BackOffice) -> None:
        bench.outbox.put("EcuDownloadCompleted", ecu="E1", correlation=CORRELATION, success=True)
        bench.outbox.deliver()
        (asked,) = office.asked
        assert asked[:2] == ("POST", "/events")
        (event,) = asked.body
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", event.pop("id"))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event.pop("deviceTime"))
        assert event == {
            "eventType": {"id": "EcuDownloadCompleted", "version": 0},
            "event": {"ecu": "E1", "correlationId": CORRELATION, "success": True},
        }

    def test_an_update(self, bench: Bench, office: BackOffice) -> None:
        bench.order()
        subscription = bench.world.bus.subscribe()
        assert bench.cycle() == "installed"
        assert office.kinds == [
            "EcuDownloadStarted",
            "EcuDownloadCompleted",
            "EcuInstallationStarted",
            "EcuInstallationCompleted",
        ]
        for event in office.taken:
            said = event["event"]
            assert (said["ecu"], said["correlationId"]) == (PRIMARY, CORRELATION)
            assert said.get("success") is (True if "Completed" in event["eventType"]["id"] else None)
        assert len({event["id"] for event in office.taken}) == 4
        told = [event.facts["name"] for event in subscription.take() if event.event == "uptane"]
        assert told == [
            "UpdateCheckComplete",
            "DownloadTargetComplete",
            "AllDownloadsComplete",
            "InstallStarted",
            "InstallTargetComplete",
            "AllInstallsComplete",
            "PutManifestComplete",
        ]

    def test_what_long_work_begins_with_is_told_at_once(self, bench: Bench, office: BackOffice) -> None:
        bench.order()
        seen: list[list[str]] = []
        bench.world.installers[PRIMARY].takes = lambda: seen.append(office.kinds)
        bench.cycle()
        assert seen[0][-1] == "EcuInstallationStarted"

    def test_a_reboot_lies_between(self, bench: Bench, office: BackOffice) -> None:
        bench.order()
        installer = bench.world.installers[PRIMARY]
        installer.outcome = Outcome(NEEDS_COMPLETION)
        assert bench.cycle() == "pending"
        assert office.kinds[-1] == "EcuInstallationApplied"
        bench.world.director.correlation_id = "another"
        bench.world.publish()
        for done, kind in ((False, "EcuInstallationCompleted"), (True, "EcuInstallationCompleted")):
            installer.done = done
            bench.world.primary(outbox=bench.outbox)._installing.complete_pending()
            bench.outbox.deliver()
            last = office.taken[-1]
            assert last["eventType"]["id"] == kind
            assert last["event"] == {"ecu": PRIMARY, "correlationId": CORRELATION, "success": done}
            installer.done = None
            if not done:
                bench.world.director.correlation_id = CORRELATION
                bench.world.publish()
                bench.cycle()

    @pytest.mark.parametrize("store", [True, False])
    def test_failures(self, bench: Bench, office: BackOffice, store: bool) -> None:
        bench.order()
        bench.world.policy = Policy(store=store)
        bench.world.mirror.images["firmware.img"] = FIRMWARE[:-1] + b"!"
        subscription = bench.world.bus.subscribe()
        with pytest.raises(SwagentError):
            bench.cycle()
        failed = [event for event in office.taken if event["event"].get("success") is False]
        kinds = [event["eventType"]["id"] for event in failed]
        assert kinds == ["EcuDownloadCompleted"] + ([] if store else ["EcuInstallationCompleted"])
        told = {
            event.facts["name"]: event.facts["success"]
            for event in subscription.take()
            if event.event == "uptane"
        }
        assert told["UpdateCheckComplete"] is True
        assert told["DownloadTargetComplete"] is False
        assert told["AllDownloadsComplete" if store else "AllInstallsComplete"] is False

    def test_a_check_that_fails(self, bench: Bench) -> None:
        del bench.world.director.files[TARGETS]
        subscription = bench.world.bus.subscribe()
        with pytest.raises(SwagentError):
            bench.cycle()
        first = next(event for event in subscription.take() if event.event == "uptane")
        assert (first.facts["name"], first.facts["success"]) == ("UpdateCheckComplete", False)

    def test_a_secondary_reports(self, bench: Bench, office: BackOffice) -> None:
        world = bench.world
        handover = HandOver(world.metadata.folder, world.codec, world.rules.caps)
        desk = Desk("democar", world.codec, world.memory, None, handover, world.clock, outbox=bench.outbox)  # type: ignore[arg-type]  # images are not asked for
        world.director.correlation_id = CORRELATION
        world.order("TCUdemocar")
        bench.cycle(handover=handover)
        world.secondary().cycle()
        desk.submit("democar", "TCUdemocar", 7, world.reports[-1])
        bench.outbox.deliver()
        assert office.taken[-1]["eventType"]["id"] == "EcuInstallationCompleted"
        assert office.taken[-1]["event"]["ecu"] == "TCUdemocar"

    def test_the_manifest_speaks_aktualizrs_words(self, bench: Bench) -> None:
        bench.order()
        bench.world.mirror.images["firmware.img"] = FIRMWARE[:-1] + b"!"
        with pytest.raises(SwagentError):
            bench.cycle()
        said = bench.world.codec.decode_vehicle_report(bench.world.service.taken[-1]).content.installation
        assert said is not None
        report = said["report"]
        assert report["correlation_id"] == CORRELATION
        assert report["result"]["code"] == "infotainment:VERIFICATION_FAILED"
        assert not report["result"]["success"]
        assert [item["result"]["code"] for item in report["items"]] == ["VERIFICATION_FAILED"]
        bench.world.mirror.images["firmware.img"] = FIRMWARE
        bench.cycle()
        said = bench.world.codec.decode_vehicle_report(bench.world.service.taken[-1]).content.installation
        assert said is not None
        assert said["report"]["result"] == {"code": "OK", "description": "", "success": True}


class TestDelivery:
    def fill(self, bench: Bench, n: int) -> None:
        for number in range(n):
            bench.outbox.put("DevicePaused", ecu=str(number))

    def test_batches(self, bench: Bench, office: BackOffice) -> None:
        self.fill(bench, BATCH + 3)
        bench.outbox.deliver()
        assert [len(asked.body) for asked in office.asked] == [BATCH, 3]
        assert [event["event"]["ecu"] for event in office.taken] == [str(n) for n in range(BATCH + 3)]
        bench.outbox.deliver()
        assert len(office.asked) == 2

    def test_413_halves_the_batch(self, bench: Bench, office: BackOffice) -> None:
        self.fill(bench, 20)
        office.answer = lambda asked: 413 if len(asked.body) > 3 else 200
        bench.outbox.deliver()
        assert [len(asked.body) for asked in office.asked][:4] == [20, 10, 5, 2]
        assert len(office.taken) == 20
        assert bench.world.memory.events(1) == ()

    def test_one_that_is_too_large_by_itself_is_dropped(self, bench: Bench, office: BackOffice) -> None:
        self.fill(bench, 3)

        def answer(asked: Asked) -> int:
            return 413 if any(event["event"]["ecu"] == "1" for event in asked.body) else 200

        office.answer = answer
        bench.outbox.deliver()
        assert [event["event"]["ecu"] for event in office.taken] == ["0", "2"]
        assert ("warn", "the server takes no event of this size; it is dropped") in bench.said

    def test_404_drops(self, bench: Bench, office: BackOffice) -> None:
        self.fill(bench, 3)
        office.answer = lambda asked: 404
        bench.outbox.deliver()
        assert bench.world.memory.events(1) == ()
        assert len(office.asked) == 1

    @pytest.mark.parametrize("status", [400, 401, 500, 503])
    def test_others_keep(self, bench: Bench, office: BackOffice, status: int) -> None:
        self.fill(bench, 3)
        office.answer = lambda asked: status
        bench.outbox.deliver()
        bench.outbox.deliver()
        assert len(office.asked) == 1, "once a cycle is enough"
        assert len(bench.world.memory.events(9)) == 3
        office.answer = lambda asked: 200
        bench.outbox.begin()
        bench.outbox.deliver()
        assert len(office.taken) == 3

    def test_nobody_there_holds_nothing_up(self, bench: Bench, office: BackOffice) -> None:
        nowhere = BackOffice()
        nowhere.url = "http://127.0.0.1:1"
        bench.outbox = bench.make(nowhere)
        bench.order()
        assert bench.cycle() == "installed"
        assert len([line for line in bench.said if "not delivered" in line[1]]) == 1
        bench.outbox = bench.make(office)
        bench.cycle()
        assert len(office.taken) == 4

    def test_they_outlive_the_process(self, bench: Bench, office: BackOffice) -> None:
        self.fill(bench, 2)
        bench.world.memory.close()
        bench.world.memory = Vehicle(str(bench.world.folder / "db" / "vehicle.sqlite"))
        bench.make(office).deliver()
        assert len(office.taken) == 2

    def test_there_are_not_more_and_more(self, bench: Bench) -> None:
        with bench.world.memory._db.transaction() as db:
            db.executemany("INSERT INTO events (body) VALUES (?)", [("{}",)] * EVENTS_MAX)
        self.fill(bench, 2)
        waiting = bench.world.memory.events(EVENTS_MAX + 9)
        assert len(waiting) == EVENTS_MAX
        assert waiting[0].number == 3
