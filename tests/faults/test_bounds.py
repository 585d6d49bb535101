"""What an image cannot make us do: fill the memory, fill the disk, or work for ever."""

import gzip
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.programs import PROJECT, exit_and_peak, measured

from .device import OLD_ENV, Device
from .images import NEWC, Member, archive, described, entry, noise, signed, zstd

MIB = 1 << 20
BOMB_BYTES = 10 << 30
PIECE_BYTES = 64 * MIB
FAILED = {**OLD_ENV, "recovery_status": "failed", "ustate": "3"}
RSS_BYTES_MAX = 48 * MIB
BOMB_RSS_BYTES_MAX = 200 * MIB


def gzip_bomb() -> bytes:
    """10 GiB of zeros in 10 MiB: a file of many members."""
    return gzip.compress(bytes(PIECE_BYTES), 6, mtime=0) * (BOMB_BYTES // PIECE_BYTES)


def zstd_bomb() -> bytes:
    """10 GiB of zeros in less than 1 MiB: many frames."""
    return zstd(bytes(PIECE_BYTES)) * (BOMB_BYTES // PIECE_BYTES)


def xz_bomb() -> bytes:
    """10 GiB of zeros in 2 MiB."""
    import lzma

    return lzma.compress(bytes(PIECE_BYTES)) * (BOMB_BYTES // PIECE_BYTES)


BOMBS = {"zlib": gzip_bomb, "zstd": zstd_bomb, "xz": xz_bomb}


class Ended:
    """swagent in a process of its own: how it ended, how long it took, how much memory it had."""

    def __init__(self, device: Device, image: Path, *, piped: bool, more: tuple[str, ...] = ()) -> None:
        env = {**os.environ, "TMPDIR": str(device.tmp), "RUNTIME_DIRECTORY": str(device.run)}
        how = ["install", "-"] if piped else ["-i", str(image)]
        usage = device.folder / "usage"
        argv = measured(usage)
        argv += [sys.executable, "-m", "swagent", *how, *device.options(), *more]
        begun_s = time.monotonic()
        source = subprocess.Popen(["cat", str(image)], stdout=subprocess.PIPE) if piped else None
        with (device.folder / "output").open("w+b") as output:
            process = subprocess.Popen(
                argv,
                stdin=source.stdout if source else subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                cwd=PROJECT,
            )
            if source is not None and source.stdout is not None:
                source.stdout.close()
            process.wait()
            if source is not None:
                source.wait()
            output.seek(0)
            self.text = output.read().decode()
        (device.folder / "output").unlink()
        self.took_s = time.monotonic() - begun_s
        self.code, rss_kib = exit_and_peak(usage)
        self.rss_bytes = rss_kib * 1024


def stored(device: Device, *members: Member) -> Path:
    path = device.folder / "update.swu"
    path.write_bytes(archive(members, NEWC))
    return path


def bomb_image(device: Device, member: Member, compressed: str, **attributes: str | int | bool) -> Path:
    one = entry(member, device=f"{device.root}/slot-b.img", compressed=compressed, **attributes)
    text = described({"images": [one], "bootenv": ['{ name = "slot"; value = "b"; }']})
    return stored(device, *signed(text, member))


@pytest.mark.parametrize("piped", [False, True])
@pytest.mark.parametrize("compressed", list(BOMBS))
def test_a_bomb_onto_a_slot_file(device: Device, compressed: str, piped: bool) -> None:
    """It takes no more room than its size justifies, and gives that back."""
    before = (device.root / "slot-b.img").stat().st_size
    image = bomb_image(device, Member("bomb", BOMBS[compressed]()), compressed, installed_directly=True)
    room = _free_bytes(device)
    ended = Ended(device, image, piped=piped)
    assert (ended.code, device.env()) == (23, FAILED), ended.text
    assert "decompressed-size" in ended.text
    assert ended.took_s < 20
    assert ended.rss_bytes < BOMB_RSS_BYTES_MAX
    assert (device.root / "slot-b.img").stat().st_size == before
    assert _free_bytes(device) > room - 512 * MIB  # others work on this disk too
    assert not list(device.tmp.iterdir())


def _free_bytes(device: Device) -> int:
    room = os.statvfs(device.root)
    return room.f_bavail * room.f_frsize


@pytest.mark.parametrize("section", ["staged", "file", "script"])
def test_a_bomb_elsewhere(device: Device, section: str) -> None:
    """As a staged image, a file, and a script, which is laid out before anything is written."""
    member = Member("bomb", zstd_bomb())
    if section == "staged":
        image = bomb_image(device, member, "zstd")
    else:
        where = {"path": f"{device.root}/files/big"} if section == "file" else {"type": "shellscript"}
        text = described({f"{section}s": [entry(member, compressed="zstd", **where)]})
        image = stored(device, *signed(text, member))
    ended = Ended(device, image, piped=False)
    assert ended.code == 23, ended.text
    assert device.env() == (OLD_ENV if section == "script" else FAILED)
    assert ended.took_s < 20
    assert ended.rss_bytes < BOMB_RSS_BYTES_MAX
    assert not list(device.tmp.iterdir())


def test_zeros_that_fit_their_slot_are_no_bomb(device: Device) -> None:
    """However well it is compressed, what only overwrites takes no room; nobody has to say how long it is."""
    size_bytes = 256 * MIB
    slot = device.root / "slot-b.img"
    os.truncate(slot, size_bytes)
    member = Member("empty", zstd(bytes(PIECE_BYTES)) * (size_bytes // PIECE_BYTES))
    ended = Ended(device, bomb_image(device, member, "zstd", installed_directly=True), piped=False)
    assert ended.code == 0, ended.text
    assert slot.stat().st_size == size_bytes
    with slot.open("rb") as file:
        assert all(not any(piece) for piece in iter(lambda: file.read(MIB), b""))


@pytest.mark.parametrize("piped", [False, True])
def test_many_empty_streams_end_in_time(device: Device, piped: bool) -> None:
    """100 000 gzip members with nothing in them: no more work than their bytes are worth."""
    member = Member("hollow", gzip.compress(b"", mtime=0) * 100_000)
    ended = Ended(device, bomb_image(device, member, "zlib", installed_directly=True), piped=piped)
    assert ended.code == 0, ended.text
    assert ended.took_s < 10
    assert ended.rss_bytes < BOMB_RSS_BYTES_MAX


def test_a_description_that_lies_about_the_size(device: Device) -> None:
    """It claims 4 GiB: refused before anything is allocated for it."""
    path = device.folder / "update.swu"
    path.write_bytes(
        archive([Member("sw-description", b"software = {};", size=0xFFFFFFFF)], NEWC) + bytes(4096)
    )
    for piped in (False, True):
        ended = Ended(device, path, piped=piped)
        assert ended.code == 10, ended.text
        assert ended.rss_bytes < 2 * RSS_BYTES_MAX


# -- constant memory


def streamed(device: Device, size_bytes: int, *, compressed: str, piped: bool) -> Ended:
    plain = noise(MIB) * (size_bytes // MIB)
    member = Member("rootfs.img", zstd(plain) if compressed else plain)
    attributes: dict[str, str | int | bool] = {"compressed": compressed} if compressed else {}
    text = described(
        {"images": [entry(member, device=f"{device.root}/slot-b.img", installed_directly=True, **attributes)]}
    )
    os.truncate(device.root / "slot-b.img", size_bytes)
    ended = Ended(device, stored(device, *signed(text, member)), piped=piped)
    assert ended.code == 0, ended.text
    assert (device.root / "slot-b.img").read_bytes() == plain
    return ended


@pytest.mark.parametrize("piped", [False, True])
def test_memory_of_a_small_stream(device: Device, piped: bool) -> None:
    assert streamed(device, 16 * MIB, compressed="", piped=piped).rss_bytes <= RSS_BYTES_MAX


@pytest.mark.slow
@pytest.mark.parametrize("piped", [False, True])
def test_memory_of_a_large_stream(device: Device, piped: bool) -> None:
    assert streamed(device, 256 * MIB, compressed="", piped=piped).rss_bytes <= RSS_BYTES_MAX


@pytest.mark.slow
@pytest.mark.parametrize("piped", [False, True])
def test_memory_does_not_grow_with_a_compressed_stream(device: Device, piped: bool) -> None:
    small = streamed(device, 32 * MIB, compressed="zstd", piped=piped).rss_bytes
    large = streamed(device, 256 * MIB, compressed="zstd", piped=piped).rss_bytes
    assert large <= small + 8 * MIB, (small, large)
