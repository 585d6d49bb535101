"""Row 35, the Director's part: an image that it encrypts is opened by the one ECU that it is for, and nobody else."""

from pathlib import Path

import pytest

from swagent.crypto.imagekey import load_image_key
from swagent.errors import SettingsError
from swagent.uptane.errors import InvalidMetadata, TargetHashMismatch
from swagent.uptane.metadata import Target
from swagent.uptane_client.encrypted import opened
from swagent.uptane_server.director_desk import DirectorDesk
from swagent.uptane_server.director_folder import VehicleFolders
from tests.conftest import KeyRing
from tests.uptane_client.world import Bytes
from tests.uptane_server.fleet import BCU, HARDWARE, TCU, VIN, Fleet

IMAGE = b"Fresh firmware image" * 100_000


@pytest.fixture
def desk(fleet: Fleet, quick_path: Path, key_ring: KeyRing) -> DirectorDesk:
    """The vehicle has one more ECU, whose images are encrypted."""
    (newcomer,) = [each for each in fleet.car.newcomers() if each.serial == TCU]
    key = fleet.car.signer(BCU).key
    public = key_ring.public.read_text()
    fleet.director.register(
        VIN, [newcomer._replace(serial=BCU, key=key, hardware_id=HARDWARE[BCU], image_key=public)]
    )
    (quick_path / "image").write_bytes(IMAGE)
    return DirectorDesk(fleet.director, VehicleFolders(str(quick_path / "vehicles")))


def order(
    fleet: Fleet, desk: DirectorDesk, quick_path: Path, serial: str = BCU, path: str = "bcu.img"
) -> Target:
    desk.add_target(VIN, serial, str(quick_path / "image"), path)
    desk.write([VIN])
    return fleet.signed().targets[path]


def plain(target: Target, raw: bytes, key_file: Path) -> bytes:
    source, found = opened(Bytes(raw), target, load_image_key(str(key_file))), bytearray()
    buffer = memoryview(bytearray(1 << 16))
    while n := source.readinto(buffer):
        found += buffer[:n]
    return bytes(found)


def test_its_ecu_opens_it(fleet: Fleet, desk: DirectorDesk, quick_path: Path, key_ring: KeyRing) -> None:
    target = order(fleet, desk, quick_path)
    assert target.encrypted is not None
    folder = quick_path / "vehicles" / VIN / "targets"
    raw = (folder / target.encrypted.path).read_bytes()
    assert plain(target, raw, key_ring.key) == IMAGE
    with pytest.raises(TargetHashMismatch):
        plain(target, raw, key_ring.stranger_key)


def test_plain_bytes_are_nowhere(fleet: Fleet, desk: DirectorDesk, quick_path: Path) -> None:
    order(fleet, desk, quick_path)
    stored = [path.read_bytes() for path in (quick_path / "vehicles").rglob("*") if path.is_file()]
    assert stored and not any(IMAGE[:64] in raw for raw in stored)


def test_each_image_by_another_key(fleet: Fleet, desk: DirectorDesk, quick_path: Path) -> None:
    first = order(fleet, desk, quick_path).encrypted
    assert order(fleet, desk, quick_path).encrypted == first, "the same order again is the same form"
    second = order(fleet, desk, quick_path, path="other.img").encrypted
    assert first is not None and second is not None
    assert first.key != second.key and first.hashes != second.hashes and first.path != second.path


def test_ecus_without_a_key_get_it_plain(fleet: Fleet, desk: DirectorDesk, quick_path: Path) -> None:
    assert order(fleet, desk, quick_path, TCU, "tcu.img").encrypted is None
    assert (quick_path / "vehicles" / VIN / "targets" / "tcu.img").read_bytes() == IMAGE


def test_never_plain_by_mistake(fleet: Fleet, desk: DirectorDesk) -> None:
    with pytest.raises(SettingsError, match="encrypted"):
        fleet.director.assign(VIN, BCU, fleet.image())


def test_a_key_that_is_none(fleet: Fleet) -> None:
    (newcomer,) = [each for each in fleet.car.newcomers() if each.serial == TCU]
    for public in ("rubbish", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"):
        with pytest.raises(InvalidMetadata):
            fleet.director.register(VIN, [newcomer._replace(serial="new", image_key=public)])


def test_another_image_than_was_signed(fleet: Fleet, desk: DirectorDesk, quick_path: Path) -> None:
    """The file changed since it was described."""
    image = fleet.image("bcu.img", b"what was signed")
    with pytest.raises(SettingsError, match="not the image"):
        desk.assign(VIN, BCU, image, str(quick_path / "image"))
    assert not any(path.is_file() for path in (quick_path / "vehicles").rglob("*"))
