"""A memory stick on a real USB bus (a gadget on the bench's own), and an SD card: seen, mounted, installed from."""

import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swagent.hw.media import MediaWatch, Medium, mount_medium
from tests.conftest import KeyRing
from tests.daemon.running import HARDWARE, daemon, signed_image, until

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


@contextmanager
def opened(stick: Path, folder: Path) -> Iterator[Path]:
    """What lies on a stick that is not plugged in."""
    modprobe("loop")
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", str(stick), str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_the_daemon_installs_what_a_stick_brings(stick: Path, tmp_path: Path, key_ring: KeyRing) -> None:
    """Once as long as it stays, again when it is plugged in again; the results lie on it afterwards."""
    image, desk = signed_image(tmp_path, key_ring, SWU), tmp_path / "desk"
    with opened(stick, desk) as folder:
        shutil.copy(image, folder)
    settings = tmp_path / "swupdate.cfg"
    settings.write_text('globals : { }; identify : ( { name = "serial"; value = "7"; } );\n')
    words = ["-k", str(key_ring.cert), *HARDWARE, "-B", "none", "-f", str(settings), "--media", "auto"]
    with daemon(tmp_path, *words) as running:
        for count in (1, 2):
            plug()
            until(lambda: running.text().count("update.swu is installed") == count, "the stick")  # noqa: B023
            until(lambda: running.text().count("installed: 1.0.1") == count, "the update")  # noqa: B023
            time.sleep(3)  # it writes the result back, and that must not look like another stick
            assert running.text().count("update.swu is installed") == count
            unplug()
        assert (tmp_path / "target").read_bytes() == SWU
        assert running.stop() == 0
    with opened(stick, desk) as folder:
        lines = (folder / "update.swu.results.txt").read_text().splitlines()
    assert [line.split("\t")[1:3] for line in lines] == [["serial=7", "installed"]] * 2
