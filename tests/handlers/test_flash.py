"""flash, flash-hamming1 and ssblswitch where the golden cases cannot go."""

import random
from pathlib import Path

import pytest

from swagent.errors import DeviceError, PreflightRefused, SizeError
from swagent.handlers.flash import FlashImage
from swagent.handlers.hamming import code
from swagent.handlers.ssbl import _not_in_force
from swagent.hw.mtd import NAND, NOR
from swagent.model import Artifact, Compression, Kind
from swagent.testing import FakeContext, FakeData, FakeFlash, FakeHardware, install

PAGE, BLOCK = 512, 4096


def entry(size_bytes: int | None = None, handler: str = "flash", **properties: str) -> Artifact:
    listed = {key.replace("_", "-"): (value,) for key, value in properties.items()}
    return Artifact(
        Kind.IMAGE, handler, filename="image", device="mtd3", size_bytes=size_bytes, properties=listed
    )


def context(flash: FakeFlash, folder: Path) -> FakeContext:
    return FakeContext(str(folder), hw=FakeHardware(flashes={3: flash}))


@pytest.mark.parametrize("kind", [NAND, NOR])
def test_any_size_at_any_pace(kind: int, tmp_path: Path) -> None:
    dice = random.Random(1)
    for size_bytes in (0, 1, PAGE, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK):
        flash = FakeFlash(kind, bad=[1] if kind == NAND else [])
        data = dice.randbytes(size_bytes)
        install(entry(), FakeData(data, chunk_bytes=dice.randint(1, 2 * BLOCK)), context(flash, tmp_path))
        good = b"".join(
            flash.read(at, BLOCK) for at in range(0, flash.size_bytes, BLOCK) if not flash.is_bad(at)
        )
        assert good[:size_bytes] == data
        assert set(good[size_bytes:]) <= {0xFF}


def test_blank_pages_are_not_written(tmp_path: Path) -> None:
    flash = FakeFlash()
    data = b"a" * PAGE + b"\xff" * 2 * PAGE + b"b" * 2 * PAGE
    install(entry(), FakeData(data), context(flash, tmp_path))
    assert flash.log == [("erase", 0), ("write", 0), ("write", 3 * PAGE)]


def test_nor_that_is_blank_is_not_erased(tmp_path: Path) -> None:
    flash = FakeFlash(NOR, protected=True)
    flash.content[BLOCK] = 0
    install(entry(), FakeData(b"x" * BLOCK + b"y"), context(flash, tmp_path))
    assert flash.log == [("write", 0), ("erase", BLOCK), ("write", BLOCK)]
    assert flash.is_locked(0, BLOCK), "what was locked is locked again"


def test_size_is_needed_beforehand(tmp_path: Path) -> None:
    ctx = context(FakeFlash(), tmp_path)
    for art in (
        entry(5)._replace(compression=Compression.ZLIB),
        entry(5)._replace(cipher="aes-cbc"),
    ):
        with pytest.raises(PreflightRefused, match="how large"):
            FlashImage().preflight(art, FlashImage.Options(), ctx)
    sized = entry(5, decompressed_size="9000")._replace(compression=Compression.ZLIB)
    assert FlashImage().preflight(sized, FlashImage.Options(), ctx).write_bytes == 9000


def test_more_than_fits_without_a_size(tmp_path: Path) -> None:
    flash = FakeFlash(blocks=2)
    with pytest.raises(SizeError, match="larger"):
        install(entry(), FakeData(bytes(3 * BLOCK), size_bytes=None), context(flash, tmp_path))


@pytest.mark.parametrize(
    ("art", "text"),
    [
        (entry(oob="true")._replace(offset_bytes=100), "multiple of 4096"),
        (entry()._replace(offset_bytes=BLOCK + 100), "does not begin it"),
        (entry()._replace(offset_bytes=8 * BLOCK), "hold 0"),
        (entry()._replace(device=""), "device or mtdname"),
    ],
)
def test_what_cannot_be_done(art: Artifact, text: str, tmp_path: Path) -> None:
    flash = FakeFlash(bad=[1])
    with pytest.raises(PreflightRefused, match=text):
        install(art, FakeData(b"x"), context(flash, tmp_path))
    assert flash.log == []


def test_nand_properties_on_nor(tmp_path: Path) -> None:
    for art in (entry(oob="true"), entry(noecc="true")):
        with pytest.raises(PreflightRefused, match="no NAND"):
            install(art, FakeData(b"x"), context(FakeFlash(NOR), tmp_path))


def test_what_is_in_use_is_refused_unless_allowed(tmp_path: Path) -> None:
    flash = FakeFlash()
    ctx = context(flash, tmp_path)
    ctx.hw.busy["/dev/mtd3"] = "/dev/mtd3 is mounted on /data"
    with pytest.raises(PreflightRefused, match="mounted on /data"):
        install(entry(), FakeData(b"x"), ctx)
    assert flash.log == []
    install(entry(allow_mounted="true"), FakeData(b"x"), ctx)
    assert flash.content[0:1] == b"x"


def test_read_back_finds_a_forgetful_block(tmp_path: Path) -> None:
    flash = FakeFlash()
    flash.forgetful = [0]
    install(entry(verify_write="false"), FakeData(b"x" * BLOCK), context(flash, tmp_path))
    assert flash.bad == set()
    ctx = context(flash, tmp_path)
    install(entry(), FakeData(b"y" * BLOCK), ctx)
    assert flash.bad == {0}
    assert flash.content[BLOCK : 2 * BLOCK] == b"y" * BLOCK
    assert any("reads back differently" in line for _, line in ctx.logged)
    nor = FakeFlash(NOR)
    nor.forgetful = [0]
    with pytest.raises(DeviceError, match="reads back differently"):
        install(entry(), FakeData(b"x" * BLOCK), context(nor, tmp_path))


def test_a_device_that_fails_everywhere_keeps_its_good_blocks(tmp_path: Path) -> None:
    flash = FakeFlash(blocks=100)
    flash.weak = range(100)
    with pytest.raises(DeviceError, match="5 blocks failed in this update"):
        install(entry(), FakeData(b"x"), context(flash, tmp_path))
    assert len(flash.bad) == 4


def test_no_good_block_left(tmp_path: Path) -> None:
    flash = FakeFlash(blocks=2)
    flash.weak = [1]
    with pytest.raises(DeviceError, match="no good blocks left"):
        install(entry(), FakeData(b"x" * 2 * BLOCK), context(flash, tmp_path))


# -- flash-hamming1


def test_code_finds_every_wrong_bit() -> None:
    dice = random.Random(2)
    data = dice.randbytes(512)
    good = _parities(code(data))
    for address in dice.sample(range(4096), 200):
        wrong = bytearray(data)
        wrong[address // 8] ^= 1 << address % 8
        even, odd = (a ^ b for a, b in zip(good, _parities(code(bytes(wrong))), strict=True))
        assert odd == address
        assert even == address ^ 0xFFF
    assert code(bytes(512)) == code(b"\xff" * 512) == bytes(3)


def _parities(three: bytes) -> tuple[int, int]:
    return three[0] | (three[2] & 0xF) << 8, three[1] | (three[2] >> 4) << 8


def test_codes_lie_in_the_spare_areas(tmp_path: Path) -> None:
    flash = FakeFlash()
    data = random.Random(3).randbytes(PAGE)
    install(entry(handler="flash-hamming1"), FakeData(data), context(flash, tmp_path))
    assert flash.read_oob(0) == b"\xff\xff" + code(data) + b"\xff" * 11


def test_onenand_has_every_page_twice(tmp_path: Path) -> None:
    flash = FakeFlash(NOR)
    flash.write_bytes = PAGE
    data = b"a" * PAGE + b"b" * 10
    install(entry(handler="flash-hamming1"), FakeData(data), context(flash, tmp_path))
    pages = [bytes(flash.content[at : at + PAGE]) for at in range(0, 4 * PAGE, PAGE)]
    assert pages == [b"a" * PAGE] * 2 + [(b"b" * 10).ljust(PAGE, b"\xff")] * 2


def test_hamming_refusals(tmp_path: Path) -> None:
    flash = FakeFlash(blocks=2)
    for art, text in (
        (entry(3 * BLOCK, "flash-hamming1"), "hold"),
        (entry(1, "flash-hamming1")._replace(offset_bytes=BLOCK), "no offset"),
    ):
        with pytest.raises(PreflightRefused, match=text):
            install(art, FakeData(b"x"), context(flash, tmp_path))
    with pytest.raises(PreflightRefused, match="no multiple of 512"):
        install(entry(1, "flash-hamming1"), FakeData(b"x"), context(FakeFlash(NOR), tmp_path))


# -- ssblswitch


def test_which_copy_is_not_in_force() -> None:
    for ages, index in (
        ((None, None), 0),
        ((None, 1), 0),
        ((1, None), 1),
        ((0, 1), 0),
        ((1, 0), 1),
        ((2, 0), 0),
        ((0, 2), 1),
        ((1, 1), 1),
    ):
        assert _not_in_force(list(ages)) == index, ages
