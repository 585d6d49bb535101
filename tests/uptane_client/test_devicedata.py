"""What a back end is told of the device: each piece again only when it has changed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swagent.uptane_client.devicedata import DeviceData
from swagent.uptane_client.gateway import Gateway

from .backoffice import BackOffice, back_office
from .test_update import Vehicle
from .world import World


@pytest.fixture
def office() -> Iterator[BackOffice]:
    with back_office() as office:
        yield office


class Device:
    """A vehicle whose data a test changes."""

    def __init__(self, folder: Path, office: BackOffice) -> None:
        self.world = World(folder, "ak").started()
        self.pieces: dict[str, object] = {"system_info": {"id": "gw"}, "core/installed": []}
        self.said: list[tuple[str, str]] = []
        self.office = office

    def cycle(self) -> list[tuple[str, Any]]:
        """What it tells in one cycle."""
        before = len(self.office.asked)
        gateway = Gateway(self.office.url, self.world.clock)
        data = DeviceData(
            self.world.memory, gateway, lambda: self.pieces, lambda *line: self.said.append(line)
        )
        self.world.primary(device_data=data).cycle()
        return [(asked.path, asked.body) for asked in self.office.asked[before:]]


@pytest.fixture
def device(quick_path: Path, office: BackOffice) -> Device:
    return Device(quick_path, office)


def test_once_and_when_it_changes(device: Device) -> None:
    subscription = device.world.bus.subscribe()
    assert device.cycle() == [("/system_info", {"id": "gw"}), ("/core/installed", [])]
    assert {asked.method for asked in device.office.asked} == {"PUT"}
    assert device.cycle() == []
    device.pieces["core/installed"] = [{"name": "rootfs", "version": "2"}]
    assert device.cycle() == [("/core/installed", [{"name": "rootfs", "version": "2"}])]
    names = [event.facts["name"] for event in subscription.take() if event.event == "uptane"]
    assert names.count("SendDeviceDataComplete") == 2


def test_what_is_not_taken_follows(device: Device, office: BackOffice) -> None:
    office.answer = lambda asked: 500 if asked.path == "/system_info" else 200
    assert len(device.cycle()) == 2
    office.answer = lambda asked: 200
    assert [path for path, _ in device.cycle()] == ["/system_info"]


def test_nobody_there_holds_nothing_up(device: Device, office: BackOffice) -> None:
    good, office.url = office.url, "http://127.0.0.1:1"
    assert device.cycle() == []
    assert any("system_info was not told" in line for _, line in device.said)
    office.url = good
    assert len(device.cycle()) == 2


@pytest.mark.parametrize(("dialect", "told"), [("ak", True), ("tuf1", False)])
def test_of_this_device(
    quick_path: Path, office: BackOffice, dialect: str, told: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    vehicle = Vehicle(quick_path, dialect, capfd)
    vehicle.provision()
    settings = quick_path / "settings"
    settings.write_text('globals : {}; versions : ( { name = "rootfs"; version = "2.1"; } );')
    for _ in range(2):
        code, _ = vehicle.update("--server", office.url, "-f", str(settings))
        assert code == 0
    paths = [asked.path for asked in office.asked]
    assert paths == (["/system_info", "/core/installed"] if told else [])
    if told:
        assert office.asked[0].body["class"] == "system"
        assert office.asked[1].body == [{"name": "rootfs", "version": "2.1"}]
