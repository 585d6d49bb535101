"""Images onto raw flash of a real kernel, against mtd-utils; blocks that are bad or go bad."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.errors import DeviceError, PreflightRefused
from swagent.handlers.hamming import code
from swagent.hw import Hardware
from swagent.hw.mtd import Mtd, mtd_number
from swagent.model import Artifact, Kind
from swagent.testing import FakeContext, FakeData, install

WORN, WEAK, BAD = 57, 58, 59
"""Blocks of ``nand`` that nandsim was told to let fail (tools/test-hw): when erased, when written; and a bad one."""


def put(
    device: str,
    data: bytes,
    folder: Path,
    *,
    offset_bytes: int = 0,
    handler: str = "flash",
    **properties: str,
) -> FakeContext:
    ctx = FakeContext(str(folder), hw=Hardware(str(folder)))
    listed = {key: (value,) for key, value in properties.items()}
    art = Artifact(
        Kind.IMAGE,
        handler,
        filename="image",
        device=device,
        offset_bytes=offset_bytes,
        size_bytes=len(data),
        properties=listed,
    )
    install(art, FakeData(data), ctx)
    return ctx


@pytest.fixture
def chip(nand: str) -> Iterator[Mtd]:
    flash = Mtd(nand, writable=True)
    yield flash
    flash.close()


def dumped(device: str, *words: str) -> bytes:
    return subprocess.run(["nanddump", *words, device], capture_output=True, check=True).stdout


def test_an_image_around_bad_blocks(nand: str, chip: Mtd, tmp_path: Path) -> None:
    for block in (2, 5):
        chip.mark_bad(block * chip.erase_bytes)
    data = os.urandom(6 * chip.erase_bytes + 1234)
    put(nand, data, tmp_path)
    assert dumped(nand, "--bb=skipbad", "-q")[: len(data)] == data


def test_blocks_that_go_bad(nand: str, chip: Mtd, tmp_path: Path) -> None:
    if not chip.is_bad(BAD * chip.erase_bytes):
        pytest.skip("nandsim was not told to have bad and weak blocks: see tools/test-hw")
    block = chip.erase_bytes
    data = os.urandom(4 * block)
    ctx = put(nand, data, tmp_path, offset_bytes=56 * block)
    marked = [line for level, line in ctx.logged if level == "warn"]
    assert len(marked) == 2 and all("marked as bad" in line for line in marked)
    assert [number for number in range(56, 64) if chip.is_bad(number * block)] == [WORN, WEAK, BAD]
    good = [number for number in range(56, 64) if number not in (WORN, WEAK, BAD)]
    assert b"".join(chip.read(number * block, block) for number in good[:4]) == data
    with pytest.raises(PreflightRefused, match="good blocks"):  # one block more than there is now
        put(nand, os.urandom(6 * block), tmp_path, offset_bytes=56 * block)
    assert chip.read(56 * block, block) == data[:block]


def test_pages_with_their_spare_areas(nand: str, chip: Mtd, tmp_path: Path) -> None:
    pages = [os.urandom(chip.write_bytes) for _ in range(3)]
    spare = b"\xff" * chip.oob_bytes
    put(
        nand,
        b"".join(page + spare for page in pages),
        tmp_path,
        oob="true",
        offset_bytes=8 * chip.erase_bytes,
    )
    assert chip.read(8 * chip.erase_bytes, 3 * chip.write_bytes) == b"".join(pages)


def test_past_the_error_correction(nand: str, chip: Mtd, tmp_path: Path) -> None:
    """The bits of a chip, spare areas and all, copied as they are: the copy is corrected as the original is."""
    source, copy = (number * chip.erase_bytes for number in (9, 10))
    data = os.urandom(2 * chip.write_bytes)
    put(nand, data, tmp_path, offset_bytes=source)
    raw = dumped(nand, "--noecc", "--oob", "-q", f"--startaddress={source}", f"--length={len(data)}")
    put(nand, raw, tmp_path, offset_bytes=copy, oob="true", noecc="true")
    assert chip.read(copy, len(data)) == data
    assert dumped(nand, "--noecc", "--oob", "-q", f"--startaddress={copy}", f"--length={len(data)}") == raw


def test_codes_for_a_boot_rom(nand: str, chip: Mtd, tmp_path: Path) -> None:
    data = os.urandom(chip.write_bytes)
    put(nand, data, tmp_path, handler="flash-hamming1")
    raw = Mtd(nand, raw=True)
    try:
        at = next(at for at in range(0, chip.size_bytes, chip.erase_bytes) if not chip.is_bad(at))
        assert raw.read(at, len(data)) == data
        codes = b"".join(code(data[begin : begin + 512]) for begin in range(0, len(data), 512))
        assert raw.read_oob(at)[2 : 2 + len(codes)] == codes
        last = 50 * chip.erase_bytes
        assert raw.read(last, chip.write_bytes) == b"\xff" * chip.write_bytes
    finally:
        raw.close()


@pytest.mark.parametrize("name", ["nor", "flash"])
def test_flash_without_pages(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    device = request.getfixturevalue(name)
    before, data = os.urandom(100_000), os.urandom(150_001)
    put(device, before, tmp_path, offset_bytes=1 << 20)
    at = (1 << 20) + 70_000  # in the middle of a block
    put(device, data, tmp_path, offset_bytes=at)
    with open(device, "rb") as flash:
        flash.seek(1 << 20)
        assert flash.read(70_000 + len(data)) == before[:70_000] + data


def test_names_of_a_device(nand: str, tmp_path: Path) -> None:
    number = int(nand.removeprefix("/dev/mtd"))
    (tmp_path / "kernel").symlink_to(nand)
    for word in (
        nand,
        f"mtd{number}",
        "NAND simulator partition 0",
        str(tmp_path / "kernel"),
        "/dev/hwbench/nand",
    ):
        assert mtd_number(word) == number
    for word in ("mtd99", "/dev/null", "kernel", ""):
        with pytest.raises(DeviceError, match="there is no MTD"):
            mtd_number(word)


def test_what_ubi_holds_is_refused(ubi: str, nand_ubi: str, tmp_path: Path) -> None:
    with pytest.raises(PreflightRefused, match="holds the UBI device"):
        put(nand_ubi, b"x", tmp_path)


def test_what_is_mounted_is_refused(nor: str, tmp_path: Path) -> None:
    block = nor.replace("mtd", "mtdblock")
    subprocess.run(["mkfs.ext2", "-q", "-F", block, "4096"], check=True, capture_output=True)
    (tmp_path / "on").mkdir()
    subprocess.run(["mount", block, tmp_path / "on"], check=True)
    try:
        with pytest.raises(PreflightRefused, match="is mounted on"):
            put(nor, b"x", tmp_path)
    finally:
        subprocess.run(["umount", tmp_path / "on"], check=True)
