"""What every boot loader promises (``Bootloader.set_many``): all or nothing, read back, never made up."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swagent.bootloader import Bootloader
from swagent.bootloader.grub import Grub
from swagent.errors import BootEnvError
from swagent.hw.mtd import NAND, NOR
from swagent.testing import FakeFlash
from swagent.testing.ubi import _FakeVolume

from . import test_ebg as ebg
from . import test_flashenv as flash
from . import test_grub as grub
from . import test_ubienv as ubi
from .tools import Board

STORED = {"v": "old"}
BAD: tuple[dict[str, str | None], ...] = (
    {"": "1"},
    {"a\0": "1"},
    {"a=b": "1"},
    {"a": "1\0"},
    {"a": "x" * 200_000},
)


class Case(NamedTuple):
    """One place to store in: the loader, all its bytes, and how to damage them."""

    loader: Bootloader
    bytes: Callable[[], list[bytes]]
    damage: Callable[[], None]


def in_files(folder: Path, copies: int) -> Case:
    board = Board(folder, copies)
    board.fill(STORED)

    def damage() -> None:
        for index in range(copies):
            raw = bytearray(board.take(index))
            raw[200] ^= 1
            board.put(index, bytes(raw))

    return Case(board.loader, lambda: [file.read_bytes() for file in board.files], damage)


def on_flash(folder: Path, kind: int) -> Case:
    device = FakeFlash(kind)
    flash.put(device, 0, flash.raw("old", 1))
    flash.put(device, 0x4000, flash.raw("old", 0))
    unit = flash.Unit(folder, flash.REDUNDANT, mtd0=device)

    def damage() -> None:
        device.content[200] ^= 1
        device.content[0x4000 + 200] ^= 1

    return Case(unit.loader, lambda: [bytes(device.content)], damage)


def in_ubi(folder: Path, lines: tuple[str, ...]) -> Case:
    unit = ubi.Unit(folder, *lines)

    def damage() -> None:
        for content in unit.ubi._volumes.values():
            content.data[200] ^= 1

    return Case(unit.loader, lambda: [unit.ubi.holds(name) for name in unit.ubi.names()], damage)


def for_grub(folder: Path) -> Case:
    path = folder / "grubenv"
    path.write_bytes(grub.block(b"v=old\n"))
    return Case(
        Grub({"grubenv-path": str(path)}),
        lambda: [path.read_bytes()],
        lambda: os.truncate(path, 1023),
    )


def for_ebg(folder: Path) -> Case:
    board = ebg.Board(folder, *(ebg.raw(number, records=ebg.record(b"v", b"old\0")) for number in (5, 4)))

    def damage() -> None:
        for file in board.files:
            raw = bytearray(file.read_bytes())
            raw[200] ^= 1
            file.write_bytes(raw)

    return Case(board.loader, board.bytes, damage)


MAKERS: dict[str, Callable[[Path], Case]] = {
    "uboot, one file": lambda folder: in_files(folder, 1),
    "uboot, two files": lambda folder: in_files(folder, 2),
    "uboot, NAND": lambda folder: on_flash(folder, NAND),
    "uboot, NOR": lambda folder: on_flash(folder, NOR),
    "uboot, UBI": lambda folder: in_ubi(folder, ubi.TWO),
    "uboot, one UBI volume": lambda folder: in_ubi(folder, ubi.TWO[:1]),
    "grub": for_grub,
    "ebg": for_ebg,
}


@pytest.fixture(params=list(MAKERS.values()), ids=list(MAKERS))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    made: Case = request.param(tmp_path)
    assert made.loader.get("v") == "old"
    return made


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: repr(bad)[:20])
def test_one_change_that_cannot_be_stored_stops_all(case: Case, bad: Mapping[str, str | None]) -> None:
    before = case.bytes()
    for act in (case.loader.check, case.loader.set_many):
        with pytest.raises(BootEnvError):
            act({"good": "1", **bad})
    assert case.bytes() == before


def test_a_damaged_environment_is_neither_read_nor_overwritten(case: Case) -> None:
    case.damage()
    before = case.bytes()
    for act in (
        case.loader.all,
        lambda: case.loader.check({"v": "1"}),
        lambda: case.loader.set_many({"v": "1"}),
    ):
        with pytest.raises(BootEnvError):
            act()
    assert case.bytes() == before


def test_asking_writes_nothing_and_says_what_storing_would(case: Case) -> None:
    before = case.bytes()
    case.loader.check({"v": "new", "w": "1", "gone": None})
    case.loader.check({})
    assert case.bytes() == before
    case.loader.set_many({"v": "new", "w": "1", "gone": None})
    assert (case.loader.get("v"), case.loader.get("w"), case.loader.get("gone")) == ("new", "1", None)


def test_what_is_not_kept_is_an_error(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The medium changes a bit of all that is written: the reading back tells."""
    real_fsync = os.fsync

    def fsync(fd: int) -> None:
        real_fsync(fd)
        if os.path.isfile(path := os.readlink(f"/proc/self/fd/{fd}")) and not path.endswith("lock"):
            raw = bytearray(Path(path).read_bytes())
            raw[len(raw) // 2] ^= 1
            Path(path).write_bytes(raw)

    def flips(write: Callable[..., None]) -> Callable[..., None]:
        def wrong(self: object, *args: object) -> None:
            *head, data = args
            assert isinstance(data, bytes)
            write(self, *head, data[:7] + bytes([data[7] ^ 1]) + data[8:] if len(data) > 8 else data)

        return wrong

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(FakeFlash, "write", flips(FakeFlash.write))
    monkeypatch.setattr(_FakeVolume, "write", flips(_FakeVolume.write))
    monkeypatch.setattr(_FakeVolume, "change_leb", flips(_FakeVolume.change_leb))
    with pytest.raises(BootEnvError, match="does not give back"):
        case.loader.set_many({"v": "new"})


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.text(max_size=3), st.none() | st.text(max_size=5), max_size=4))
def test_check_and_set_many_agree(tmp_path: Path, changes: dict[str, str | None]) -> None:
    for name in ("uboot, two files", "grub", "ebg"):
        folder = tmp_path / name[:2]
        folder.mkdir(exist_ok=True)
        for old in folder.glob("config*"):
            for file in old.iterdir():
                file.unlink()
            old.rmdir()
        case = MAKERS[name](folder)
        verdicts = []
        for act in (case.loader.check, case.loader.set_many):
            try:
                act(changes)
            except BootEnvError as exc:
                verdicts.append(exc.message)
            else:
                verdicts.append("")
        assert verdicts[0] == verdicts[1], name
