"""The lab's USB providers: a server, a client, the kernel's own bus, and devices at the far end of it."""

import io
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from swagent.errors import LabError
from swagent.lab.client import LabClient
from swagent.lab.errors import Failed, NotNow, NotSupported, NotThere, OutOfRange
from swagent.lab.items import ItemType
from tests.lab.labs import SERVER, Keys, eventually, serving, using
from tests.lab.test_usb_protocols import boot_file
from tests.lab.usbmodels import DfuModel, FastbootModel, RockModel
from tests.programs import run_swagent

from .test_lab import udev
from .usbip import Plugged

pytestmark = pytest.mark.usefixtures("udev")
__all__ = ["udev"]

LAB = f"""{SERVER}
providers:
  - {{ name: dfu, provider: dfu }}
  - {{ name: rockusb, provider: rockusb }}
  - name: fastboot
    provider: fastboot
    parameters: {{ match: {{ udev.ID_VENDOR_ID: 18d1 }}, targets: [ system ] }}
devices:
  - name: board
    consoles: []
    volumes:
      - {{ name: flash, match: {{ udev.ID_PATH: platform-vhci_hcd.0-usb-0:1 }} }}
    modes: []
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[LabClient]:
    keys = Keys(tmp_path)
    (tmp_path / "token").write_text(keys.token() + "\n")
    with serving(tmp_path, LAB) as (server, _), using(server, keys.token()) as client:
        (tmp_path / "address").write_text(f"http://127.0.0.1:{server.port}")
        yield client


def volume_after(client: LabClient, last: int = -1) -> int:
    """The number of the board's volume, once it is a newer one than ``last``."""

    def found() -> list[int]:
        number = next(client.device(0)).volumes["flash"]
        return [] if number is None or number <= last else [number]

    number: int = eventually(found)[0]
    return number


def gone(client: LabClient) -> None:
    eventually(lambda: next(client.device(0)).volumes["flash"] is None and not client.items(ItemType.VOLUME))


class Cut(io.BytesIO):
    """Does something in the middle of being read."""

    def __init__(self, data: bytes, at: int, act: Callable[[], Any]) -> None:
        super().__init__(data)
        self._at, self._act = at, act

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= self._at:
            self._act()
        return super().read(min(size, 1 << 16) if size and size > 0 else size)


def test_dfu(client: LabClient) -> None:
    model, data = DfuModel(), random.Random(1).randbytes(100_001)
    plugged = Plugged(model)
    volume = volume_after(client)
    targets, is_all = client.targets(volume)
    assert (sorted(target.name for target in targets), is_all) == (["boot", "system"], True)
    properties = client.properties(ItemType.VOLUME, volume)
    assert ":fe0102:" in properties["udev.ID_USB_INTERFACES"]
    assert properties["boardswarm.name"].endswith("1209_df00") or "/" in properties["boardswarm.name"]
    with pytest.raises(NotThere, match="known are boot, system"):
        client.write(volume, "nand", io.BytesIO(b"x"))
    with pytest.raises(NotSupported):
        client.read(volume, "boot", io.BytesIO())

    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):  # a client that ends in the middle
        client.write(volume, "system", Cut(bytes(4 << 20), 1 << 20, stop))
    eventually(lambda: model.aborts)
    assert not model.manifested
    assert client.write(volume, "system", io.BytesIO(data)) == len(data)
    assert model.manifested == {"system": data}
    gone(client)  # it has left, to run it
    plugged.pull()


def test_dfu_errors_are_told(client: LabClient) -> None:
    model = DfuModel(refuses=20)
    plugged = Plugged(model)
    volume = volume_after(client)
    with pytest.raises(Failed, match="cannot write its memory"):
        client.write(volume, "boot", io.BytesIO(bytes(100_000)))
    model._refuses = None
    with pytest.raises(LabError):
        client.write(volume, "boot", Cut(bytes(40 << 20), 4 << 20, plugged.pull))
    assert not model.manifested
    gone(client)


def test_dfu_commit_leaves(client: LabClient) -> None:
    model = DfuModel(tolerant=True)
    plugged = Plugged(model)
    volume = volume_after(client)
    client.write(volume, "boot", io.BytesIO(b"one"))
    client.write(volume, "system", io.BytesIO(b"two"))
    assert model.manifested == {"boot": b"one", "system": b"two"}
    resets = model.resets
    client.commit(volume)
    assert model.resets >= resets
    plugged.pull()
    gone(client)


def test_rockusb(client: LabClient) -> None:
    """From the mask ROM to the loader, and all of its storage from any byte on."""
    rom, ddr, plug = RockModel(), random.Random(2).randbytes(4094), random.Random(3).randbytes(70_000)
    Plugged(rom)
    volume = volume_after(client)
    assert [target.name for target in client.targets(volume)[0]] == ["471", "472"]
    with pytest.raises(OutOfRange):
        client.write(volume, "471", io.BytesIO(bytes(2 << 20)), length_bytes=2 << 20)
    client.write(volume, "471", io.BytesIO(ddr))
    client.write(volume, "472", io.BytesIO(plug))
    assert rom.programs == {0x471: ddr, 0x472: plug}
    gone(client)

    storage = bytearray(random.Random(4).randbytes(512 * 4000))
    loader = RockModel(storage)
    plugged = Plugged(loader)
    volume = volume_after(client, volume)
    (target,) = client.targets(volume)[0]
    assert (target.name, target.size_bytes, target.block_bytes) == ("EMMC", len(storage), 512)
    out = io.BytesIO()
    assert client.read(volume, "EMMC", out) == len(storage)
    assert out.getvalue() == storage
    expected, dice = bytearray(storage), random.Random(5)
    for at, size in ((0, 1), (511, 2), (513, 510), (100, 100_000), (65_536, 65_536), (len(storage) - 3, 3)):
        piece = dice.randbytes(size)
        client.write(volume, "EMMC", io.BytesIO(piece), offset_bytes=at)
        expected[at : at + size] = piece
        out = io.BytesIO()
        client.read(volume, "EMMC", out, offset_bytes=at, length_bytes=size)
        assert out.getvalue() == piece
    assert storage == expected
    with pytest.raises(OutOfRange):
        client.write(volume, "EMMC", io.BytesIO(b"xx"), offset_bytes=len(storage) - 1)
    client.erase(volume, "EMMC")
    assert storage == b"\xff" * len(storage)
    client.commit(volume)
    assert loader.boots == 1
    with pytest.raises(LabError):
        client.write(volume, "EMMC", Cut(bytes(len(storage)), 500_000, plugged.pull))
    gone(client)


def test_fastboot(client: LabClient) -> None:
    model, data = FastbootModel(download_bytes=100_000), random.Random(6).randbytes(200_000)
    plugged = Plugged(model)
    volume = volume_after(client)
    targets, is_all = client.targets(volume)
    assert not is_all and [(one.name, one.size_bytes) for one in targets] == [
        ("boot", 0x4000000),
        ("system", None),
    ]
    assert client.properties(ItemType.VOLUME, volume)["fastboot.version"] == "0.4"
    client.write(volume, "boot", io.BytesIO(b"kernel"))
    client.write(volume, "other", io.BytesIO(data))
    assert model.flashed["boot"] == [b"kernel"]
    from swagent.lab.sparse import read_sparse

    first, *pieces = model.flashed["other"]
    made = bytearray(first)
    for piece in pieces:
        for at, part in read_sparse(io.BytesIO(piece))[1]:
            made[at : at + len(part)] = part
    assert bytes(made[: len(data)]) == data and len(pieces) >= 2
    client.erase(volume, "userdata")
    model._refuses = "flash:boot"
    with pytest.raises(NotNow, match="locked"):
        client.write(volume, "boot", io.BytesIO(b"kernel"))
    client.commit(volume)
    assert model.said[-1] == "continue"
    plugged.pull()
    gone(client)


def test_a_boot_file_is_downloaded(client: LabClient, tmp_path: Path) -> None:
    """``lab rock`` waits for the mask ROM, has it run both programs, and ends when it has gone."""
    ddr, plug = random.Random(6).randbytes(5000), random.Random(7).randbytes(20_000)
    (tmp_path / "loader.bin").write_bytes(boot_file([[("ddr", ddr, 1)], [("usbplug", plug, 0)], []]))
    words = ["lab", "rock", "board", "download-boot", "loader.bin", "--token-file", "token", "--server"]
    words.append((tmp_path / "address").read_text())
    early = run_swagent(words, tmp_path)
    assert early.code == 90 and "is not there now" in early.text
    rom = RockModel()
    threading.Timer(3.0, Plugged, [rom]).start()
    done = run_swagent([*words, "-w"], tmp_path)
    assert done.ok, done.text
    assert "471 ddr: " in done.text and "472 usbplug: " in done.text
    assert rom.programs == {0x471: ddr, 0x472: plug}
    gone(client)
