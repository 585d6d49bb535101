"""Devices behind the Primary that know nothing of Uptane: a microcontroller, and one with SWUpdate's web server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from swagent import handlers
from swagent.clock import SystemClock
from swagent.errors import DeadlineError, DescriptionError, EndlessDataError, HandlerError, SettingsError
from swagent.events import EventBus
from swagent.installer.single import Bench, ImageInstaller
from swagent.model import Artifact, InstallRequest, Kind
from swagent.testing import FakeGpio, FakeHardware, Fault, Microcontroller
from swagent.testing.repositories import image_target
from swagent.uptane.errors import TargetHashMismatch
from swagent.uptane.reports import InstalledImage
from swagent.uptane_client.desk import Desk, HandOver
from swagent.uptane_client.images import ImageStore
from swagent.uptane_client.links import LocalLink
from swagent.uptane_client.secondary import Secondary
from swagent.uptane_client.vehicle import Pending
from swagent.vehicle.listed import read_list
from tests.cli.test_uptane_services import IMAGES, Office, Service, gateway, provision
from tests.net.panel import Panel
from tests.uptane_client.world import TCU, VIN, Bytes, World

CHIP = "/dev/gpiochip7"
LINES = {"reset": f"{CHIP}:5:false", "prog": f"{CHIP}:6:false"}
FIRMWARE = b"".join(b":10%04X00%s00\r\n" % (at * 16, b"5A" * 16) for at in range(12)) + b":00000001FF\r\n"
UPDATE = bytes(range(256)) * 1600


def listed(folder: Path, **item: Any) -> Artifact:
    """What the list says of one device."""
    usual = {"ecu_serial": TCU, "ecu_hardware_id": "tcu", "full_client_dir": "mcu"}
    path = folder / "secondary.json"
    path.write_text(json.dumps({"handled": [{**usual, **item}]}))
    (virtual,) = read_list(str(path)).virtual
    assert (virtual.serial, virtual.folder) == (TCU, str(folder / "mcu"))
    assert virtual.entry is not None
    return virtual.entry


class Vehicle:
    """A Primary, and in its process a Secondary for a device."""

    def __init__(self, folder: Path, entry: Artifact) -> None:
        self.world = World(folder, "tuf1")
        self.gpio = FakeGpio()
        self.installer = ImageInstaller(
            entry,
            Bench(
                handlers.registry(),
                FakeHardware(lines=self.gpio),
                EventBus(),
                SystemClock(),
                str(folder),
            ),
        )
        world, place = self.world, folder / "files" / "primary"
        self.images = ImageStore(str(place / "targets"), world.clock.monotonic_s)
        self.handover = HandOver(str(place / "metadata"), world.codec, world.rules.caps)
        desk = Desk(VIN, world.codec, world.memory, self.images, self.handover, world.clock)
        self.link = LocalLink(desk, VIN, TCU)
        self.secondary().report()
        self.primary()
        self.secondary().cycle()

    def primary(self) -> None:
        self.world.primary(handover=self.handover).cycle()

    def secondary(self) -> Secondary:
        return self.world.secondary(link=self.link, installer=self.installer)

    def order(self, data: bytes) -> None:
        self.world.order(TCU, data=data)
        self.primary()

    def runs(self) -> str:
        return self.world.tcu_memory.ecus()[TCU].installed.path


@pytest.fixture
def flash(quick_path: Path) -> Iterator[Callable[..., tuple[Vehicle, Microcontroller]]]:
    begun: list[Microcontroller] = []

    def begin(*faults: Fault | None) -> tuple[Vehicle, Microcontroller]:
        mcu = Microcontroller(*faults, late_s=1.1)
        begun.append(mcu.__enter__())
        entry = listed(
            quick_path,
            handler="ucfw",
            device=mcu.device,
            properties={**LINES, "timeout": 1, "retries": 0, "debug": True},
        )
        return Vehicle(quick_path, entry), mcu

    yield begin
    for mcu in begun:
        mcu.__exit__(None, None, None)


class TestMicrocontroller:
    def test_it_gets_what_was_verified(self, flash: Any) -> None:
        vehicle, mcu = flash()
        vehicle.order(FIRMWARE)
        assert vehicle.secondary().cycle() == "updated"
        assert mcu.firmware == FIRMWARE
        assert vehicle.runs() == "firmware.img"
        assert vehicle.secondary().cycle() == "no-update-needed"
        vehicle.primary()
        report = vehicle.world.codec.decode_vehicle_report(vehicle.world.service.taken[-1]).content
        own = vehicle.world.codec.decode_ecu_report(report.ecus[TCU][-1])
        assert own.content.installed.path == "firmware.img"
        assert own.signatures[0].keyid != "", "with a key of its own"

    def test_a_stored_image_that_was_changed_never_reaches_it(self, flash: Any) -> None:
        vehicle, mcu = flash()
        vehicle.order(FIRMWARE)
        path = Path(vehicle.images.folder) / "firmware.img"
        path.write_bytes(FIRMWARE.replace(b"5A5A", b"5B5A"))
        with pytest.raises(TargetHashMismatch):
            vehicle.secondary().cycle()
        assert (mcu.attempts, mcu.firmware, vehicle.gpio.log) == ([], None, [])
        vehicle.primary()
        assert vehicle.secondary().cycle() == "updated", "the Primary has fetched it again"

    def test_a_failed_transfer_is_begun_again_by_the_next_cycle(self, flash: Any) -> None:
        vehicle, mcu = flash(Fault("silent", at=2))
        vehicle.order(FIRMWARE)
        with pytest.raises(DeadlineError):
            vehicle.secondary().cycle()
        assert vehicle.runs() != "firmware.img"
        assert not vehicle.gpio.held
        assert vehicle.secondary().cycle() == "updated"
        assert mcu.firmware == FIRMWARE

    def test_what_a_power_cut_left_is_done_again(self, flash: Any) -> None:
        vehicle, mcu = flash()
        vehicle.order(FIRMWARE)
        target = image_target("firmware.img", FIRMWARE)
        image = InstalledImage(target.path, target.length_bytes, target.hashes)
        vehicle.world.tcu_memory.keep_pending(Pending(TCU, image, None, "", "boot-1"))
        assert vehicle.secondary().cycle() == "updated"
        assert mcu.firmware == FIRMWARE

    def test_no_firmware_is_refused_before_it_is_touched(self, flash: Any) -> None:
        vehicle, mcu = flash()
        vehicle.order(b"no firmware")
        with pytest.raises(HandlerError):
            vehicle.secondary().cycle()
        assert mcu.attempts == []
        assert vehicle.runs() != "firmware.img"


class TestForwarding:
    @pytest.fixture(autouse=True)
    def _needs(self) -> None:
        pytest.importorskip("websockets")

    def test_it_gets_what_was_verified(self, quick_path: Path) -> None:
        with Panel() as panel:
            vehicle = Vehicle(
                quick_path, listed(quick_path, handler="swuforward", properties={"url": [panel.url]})
            )
            vehicle.order(UPDATE)
            assert vehicle.secondary().cycle() == "updated"
            assert panel.complete
            assert panel.size_bytes == len(UPDATE)

    @pytest.mark.parametrize("lie", [UPDATE[:-1] + b"X", UPDATE[:-1], UPDATE + b"X"])
    def test_what_is_not_as_signed_never_completes(self, quick_path: Path, lie: bytes) -> None:
        """Also where the verdict comes with the last byte alone."""
        with Panel() as panel:
            entry = listed(quick_path, handler="swuforward", properties={"url": panel.url, "deadline": 20})
            vehicle = Vehicle(quick_path, entry)
            vehicle.order(UPDATE)
            world = vehicle.world
            world.link.lies["image"] = ("firmware.img", Bytes(lie))
            world.link.lies["attestation"] = b""
            with pytest.raises((TargetHashMismatch, EndlessDataError)) as caught:
                world.secondary(installer=vehicle.installer).cycle()
            assert not panel.complete, caught.value

    def test_an_image_that_goes_on(self, quick_path: Path) -> None:
        with Panel() as panel:
            entry = listed(quick_path, handler="swuforward", properties={"url": panel.url, "deadline": 20})
            vehicle = Vehicle(quick_path, entry)
            request = InstallRequest("a.swu", Bytes(UPDATE + b"X"), len(UPDATE), {}, "uptane")
            with pytest.raises(HandlerError, match="goes on"):
                vehicle.installer.install(request)
            assert not panel.complete


class TestTheList:
    @pytest.mark.parametrize(
        ("item", "match"),
        [
            ({"handler": "raw", "device": "/dev/sda"}, "does not bring images to other devices"),
            ({"handler": "ucfw", "firmware_path": "x"}, "unknown key 'firmware_path'"),
            ({"device": "/dev/ttyS1"}, "needs handler"),
            ({"handler": "ucfw", "properties": ["reset"]}, "properties is an object"),
            ({"handler": "ucfw", "properties": {"reset": {}}}, "the property 'reset'"),
            ({"handler": "ucfw", "properties": {"reset": [None]}}, "the property 'reset'"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, item: dict[str, Any], match: str) -> None:
        with pytest.raises(SettingsError, match=match):
            listed(tmp_path, **item)

    def test_values_of_properties(self, tmp_path: Path) -> None:
        entry = listed(tmp_path, handler="ucfw", properties={"a": 5, "b": True, "c": ["x", False]})
        assert dict(entry.properties) == {"a": ("5",), "b": ("true",), "c": ("x", "false")}

    def test_kinds_that_are_not_known(self, tmp_path: Path) -> None:
        (tmp_path / "secondary.json").write_text('{"IP": {"secondaries": []}}')
        with pytest.raises(SettingsError, match="no kind of Secondary called 'IP'"):
            read_list(str(tmp_path / "secondary.json"))

    @pytest.mark.parametrize(
        "entry",
        [
            Artifact(Kind.IMAGE, "ucfw", device="/dev/ttyS1", where="MCU"),
            Artifact(
                Kind.IMAGE, "ucfw", where="MCU", properties={name: (line,) for name, line in LINES.items()}
            ),
            Artifact(
                Kind.IMAGE, "swuforward", where="S", properties={"url": ("http://a",), "tiemout": ("3",)}
            ),
            Artifact(Kind.IMAGE, "none", where="S"),
        ],
    )
    def test_entries_that_cannot_be(self, tmp_path: Path, entry: Artifact) -> None:
        bench = Bench(handlers.registry(), FakeHardware(), EventBus(), SystemClock(), str(tmp_path))
        with pytest.raises(DescriptionError):
            ImageInstaller(entry, bench)


def test_by_the_service(quick_path: Path) -> None:
    pytest.importorskip("websockets")
    office = Office(quick_path)
    provision(quick_path, "gw")
    with Panel() as panel:
        item = {
            "ecu_serial": "V1", "ecu_hardware_id": "panel", "full_client_dir": "v", "handler": "swuforward",
            "properties": {"url": panel.url},
        }  # fmt: skip
        others = [{"ecu_serial": "TCU1", "ecu_hardware_id": "tcu"}]
        (quick_path / "secondary.json").write_text(json.dumps({"handled": [item], "network": others}))
        office.order()
        service = Service(
            quick_path, "daemon", *gateway(quick_path), "--secondaries", "secondary.json", "--interval", "1"
        )
        try:
            service.until("V1: updated")
            assert panel.complete
            assert bytes(panel.received) == IMAGES["v.img"][1]
            assert service.end() == 0
        finally:
            service.process.kill()
            service.process.wait()
