"""A memory stick on a real USB bus (a gadget on the bench's own), and an SD card: seen, mounted, installed from."""

import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.hw.media import MediaWatch, Medium, mount_medium

from .conftest import device

SWU = random.Random(17).randbytes(200_000)
GADGET = Path("/sys/kernel/config/usb_gadget/stick")
WAIT_S = 120


def modprobe(*names: str) -> None:
    for name in names:
        subprocess.run(["modprobe", name], check=True)


@pytest.fixture
def stick(tmp_path: Path) -> Iterator[Path]:
    """The file behind a stick that is not plugged in yet; ``plug`` does that."""
    modprobe("libcomposite", "usb_f_mass_storage", "usb-storage", "sd_mod", "vfat")
    modprobe("nls_cp437", "nls_ascii")
    path = tmp_path / "stick.img"
    with path.open("wb") as file:
        file.truncate(8 * 1024 * 1024)
    subprocess.run(["mkfs.vfat", str(path)], check=True, stdout=subprocess.DEVNULL)
    (GADGET / "functions/mass_storage.0").mkdir(parents=True)
    (GADGET / "configs/c.1").mkdir()
    (GADGET / "idVendor").write_text("0x1d6b")
    (GADGET / "idProduct").write_text("0x0104")
    (GADGET / "functions/mass_storage.0/lun.0/removable").write_text("1")
    (GADGET / "functions/mass_storage.0/lun.0/file").write_text(str(path))
    (GADGET / "configs/c.1/mass_storage.0").symlink_to(GADGET / "functions/mass_storage.0")
    yield path
    unplug()
    (GADGET / "configs/c.1/mass_storage.0").unlink()
    (GADGET / "configs/c.1").rmdir()
    (GADGET / "functions/mass_storage.0").rmdir()
    GADGET.rmdir()


def plug() -> None:
    (GADGET / "UDC").write_text("dummy_udc.0")


def unplug() -> None:
    if (GADGET / "UDC").read_text().strip():
        (GADGET / "UDC").write_text("\n")


def wait_for(watch: MediaWatch) -> Medium:
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        found = watch.wait(1.0)
        if found is not None:
            return found
    raise AssertionError("no medium came")


def test_a_stick_is_seen_when_it_is_plugged_in(stick: Path, tmp_path: Path) -> None:
    watch = MediaWatch("auto")
    assert not any("/dev/sd" in medium.device for medium in watch.present())
    threading.Timer(1.0, plug).start()
    medium = wait_for(watch)
    assert medium.device.startswith("/dev/sd") and medium.is_new
    with mount_medium(medium, below=str(tmp_path), read_only=False) as folder:
        Path(folder, "update.swu").write_bytes(SWU)
    with mount_medium(medium, below=str(tmp_path), read_only=True) as folder:
        assert Path(folder, "update.swu").read_bytes() == SWU
        with pytest.raises(OSError, match="Read-only"):
            Path(folder, "more").write_text("no")
    assert any(found.device == medium.device for found in watch.present())
    assert not any(found.device == medium.device for found in MediaWatch("/dev/other*").present())
    unplug()


def test_an_sd_card_is_a_medium_and_an_emmc_is_none() -> None:
    card, soldered = device("sd"), device("emmc")
    found = {medium.device for medium in MediaWatch("auto").present()}
    assert card in found
    assert not any(name.startswith(soldered) for name in found)
    assert soldered in {medium.device for medium in MediaWatch("/dev/mmcblk*").present()}
