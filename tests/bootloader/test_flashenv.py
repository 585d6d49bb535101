import struct
import zlib
from collections.abc import Collection
from pathlib import Path

import pytest

from swagent.bootloader.uboot import UBoot
from swagent.bootloader.ubootenv import newer_by_mark
from swagent.errors import BootEnvError, DeviceError
from swagent.hw.mtd import NAND, NOR, Mtd
from swagent.testing import FakeFlash

SIZE_BYTES = 0x2000
BLOCK_BYTES = 0x1000


def raw(value: str, flags: int | None) -> bytes:
    """A copy with one variable, made here and not by the code under test."""
    data = f"v={value}".encode() + b"\0\0"
    data = data.ljust(SIZE_BYTES - (4 if flags is None else 5), b"\0")
    return struct.pack("=I", zlib.crc32(data)) + (b"" if flags is None else bytes([flags])) + data


class Unit:
    """A unit with an environment of two blocks; each copy may use four.

    Args:
        folder: where fw_env.config is made.
        lines: of fw_env.config.
        flash: device by path.
    """

    def __init__(self, folder: Path, lines: Collection[str], **flash: FakeFlash) -> None:
        self.flash = flash
        self.opened: list[bool] = []
        self.config = folder / "fw_env.config"
        self.config.write_text("".join(f"/dev/{line}\n" for line in lines))
        self.loader = UBoot(
            {"fwenv-config-location": str(self.config), "fwenv-lockfile": str(folder / "lock")},
            open_flash=self.open,
        )

    def open(self, path: str, writable: bool) -> FakeFlash:
        self.opened.append(writable)
        if path.removeprefix("/dev/") not in self.flash:
            raise DeviceError(f"cannot open {path}: No such file or directory", path=path, errno=2)
        return self.flash[path.removeprefix("/dev/")]


def put(flash: FakeFlash, at: int, content: bytes) -> None:
    flash.content[at : at + len(content)] = content


REDUNDANT = ["mtd0 0 2000 1000 4", "mtd0 0x4000 2000 1000 4"]


@pytest.fixture(params=[NAND, NOR, 6], ids=["nand", "nor", "dataflash"])
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Unit:
    flash = FakeFlash(request.param, protected=request.param == NOR)
    put(flash, 0, raw("old", 1))
    put(flash, 0x4000, raw("older", 0))
    return Unit(tmp_path, REDUNDANT, mtd0=flash)


def flags(unit: Unit) -> tuple[int, int]:
    content = unit.flash["mtd0"].content
    return content[4], content[0x4004]


def test_copies_take_turns(unit: Unit) -> None:
    seen = []
    for n in range(3):
        unit.loader.set_many({"v": str(n)})
        assert unit.loader.all() == {"v": str(n)}
        seen.append(flags(unit))
    expected = [(0, 1), (1, 0), (0, 1)] if unit.flash["mtd0"].kind == NOR else [(1, 2), (3, 2), (3, 4)]
    assert seen == expected


def test_reading_writes_nothing(unit: Unit) -> None:
    assert unit.loader.get("v") == "old"
    unit.loader.set_many({"v": "old"})
    assert unit.flash["mtd0"].log == []
    assert set(unit.opened) == {False}


def test_a_single_copy(tmp_path: Path) -> None:
    flash = FakeFlash()
    put(flash, 0x1000, raw("1", None))
    unit = Unit(tmp_path, ["mtd0 0x1000 2000"], mtd0=flash)
    unit.loader.set_many({"v": "2"})
    assert unit.loader.all() == {"v": "2"}
    assert flash.content[0x1000:0x3000] == raw("2", None)
    assert flash.log == [("erase", 0x2000), ("write", 0x2000), ("erase", 0x1000), ("write", 0x1000)]


def test_bad_blocks_are_skipped(tmp_path: Path) -> None:
    flash = FakeFlash(bad={0, 2, 5, 6})
    put(flash, 0x1000, raw("old", 7)[:BLOCK_BYTES])
    put(flash, 0x3000, raw("old", 7)[BLOCK_BYTES:])
    unit = Unit(tmp_path, REDUNDANT, mtd0=flash)
    assert unit.loader.get("v") == "old"
    unit.loader.set_many({"v": "new"})
    assert unit.loader.get("v") == "new"
    assert flash.content[0x4000:0x5000] + flash.content[0x7000:0x8000] == raw("new", 8)
    assert {at for _, at in flash.log} == {0x4000, 0x7000}


def test_too_many_bad_blocks(tmp_path: Path) -> None:
    """Nothing beyond the sectors of a copy is touched, and the other copy stays in force."""
    flash = FakeFlash(bad={5, 6, 7})
    put(flash, 0, raw("old", 7))
    unit = Unit(tmp_path, REDUNDANT, mtd0=flash)
    before = bytes(flash.content)
    with pytest.raises(BootEnvError, match="too many bad blocks"):
        unit.loader.set_many({"v": "new"})
    assert flash.content == before
    assert unit.loader.get("v") == "old"


def test_neighbours_are_kept(tmp_path: Path) -> None:
    """A copy that begins and ends within erase blocks, on NOR."""
    flash = FakeFlash(NOR)
    put(flash, 0, bytes(range(1, 251)) * 65)
    put(flash, 0x800, raw("1", None))
    before = bytes(flash.content)
    unit = Unit(tmp_path, ["mtd0 0x800 2000 400 8"], mtd0=flash)
    unit.loader.set_many({"v": "2"})
    assert flash.content == before[:0x800] + raw("2", None) + before[0x2800:]


@pytest.mark.parametrize(
    ("first", "second", "newer"),
    [
        (1, 0, 0),
        (0, 1, 1),
        (1, 1, 0),
        (0, 0, 0),
        (0xFF, 0, 0),
        (0, 0xFF, 1),
        (0xFF, 1, 0),
        (1, 0xFF, 1),
        (0xFF, 0xFF, 0),
    ],
)
def test_marks_on_nor(first: int, second: int, newer: int) -> None:
    assert newer_by_mark(first, second) == newer


@pytest.mark.parametrize("in_force", [0, 1])
@pytest.mark.parametrize("kind", [NAND, NOR])
def test_flash_that_breaks(tmp_path: Path, kind: int, in_force: int) -> None:
    """Whatever fails on the way, the old variables stay; the flash works again for what is done about it."""
    for steps in range(5 if kind == NOR else 4):
        flash = FakeFlash(kind)
        put(flash, 0x4000 * in_force, raw("old", 1))
        put(flash, 0x4000 * (1 - in_force), raw("older", 0))
        unit = Unit(tmp_path, REDUNDANT, mtd0=flash)
        flash.breaks_after = steps
        with pytest.raises(BootEnvError, match="flash is broken"):
            unit.loader.set_many({"v": "new"})
        flash.breaks_after = None
        # a cut between the new copy and the mark of the old one leaves two in force, of which the first counts
        both = kind == NOR and steps == 4 and in_force == 1
        assert unit.loader.get("v") == ("new" if both else "old")
        unit.loader.set_many({"v": "newer"})
        assert unit.loader.get("v") == "newer"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["mtd0 0 2000 1000 1"], "larger than its 1 sectors"),
        (["mtd0 0x7000 2000"], "do not lie within"),
        (["mtd0 -0x9000 2000"], "do not lie within"),
        (["mtd0 0x200 2000"], "does not begin with a block"),
        (["mtd0 0 2000", "mtd0 0x1000 2000"], "share an erase block"),
        (["mtd0 0 2000 1000 5", "mtd0 0x4000 2000"], "share an erase block"),
        (["mtd0 0 2000", "mtd1 0 2000"], "different kinds"),
        (["mtd0 0 2000", "mmcblk0 0 2000"], "lie on a block device or file and raw flash"),
        (["mtd0 0 2000", "ubi0:env 0 2000"], "lie on UBI and raw flash"),
        (["mtd7 0 2000"], "No such file"),
        (["mtd0 0 2000"], "no valid boot environment"),
    ],
)
def test_what_cannot_be(tmp_path: Path, lines: list[str], said: str) -> None:
    unit = Unit(tmp_path, lines, mtd0=FakeFlash(), mtd1=FakeFlash(NOR))
    for act in (unit.loader.all, lambda: unit.loader.set_many({"v": "1"})):
        with pytest.raises(BootEnvError, match=said):
            act()
    assert unit.flash["mtd0"].log == []


def test_offset_from_the_end(tmp_path: Path) -> None:
    flash = FakeFlash()
    put(flash, 0x6000, raw("1", None))
    assert Unit(tmp_path, ["mtd0 -0x2000 2000"], mtd0=flash).loader.get("v") == "1"


def test_other_things_are_no_mtd(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in ("/dev/null", str(tmp_path / "file"), str(tmp_path / "missing")):
        with pytest.raises(DeviceError):
            Mtd(path)
