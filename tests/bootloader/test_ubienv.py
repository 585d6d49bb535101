"""U-Boot's environment in UBI volumes; ``tests/hardware/test_ubienv.py`` does the same on the kernel's."""

import struct
import zlib
from pathlib import Path

import pytest

from swagent.bootloader.uboot import UBoot
from swagent.errors import BootEnvError, DeviceError
from swagent.testing import FakeUbi

SIZE_BYTES = 0x1000


def raw(value: str, flags: int | None) -> bytes:
    """A copy with one variable, made here and not by the code under test."""
    data = f"v={value}".encode() + b"\0\0"
    data = data.ljust(SIZE_BYTES - (4 if flags is None else 5), b"\0")
    return struct.pack("=I", zlib.crc32(data)) + (b"" if flags is None else bytes([flags])) + data


class Unit:
    """A unit with two volumes, env (id 0) and redund (id 1)."""

    def __init__(self, folder: Path, *lines: str, static: bool = False, attached: bool = True) -> None:
        self.ubi = FakeUbi(attached=attached, mtd=4)
        copies = len(lines)
        for name, flags in (("env", 2), ("redund", 1))[: max(copies, 1)]:
            self.ubi.put(name, raw("old", flags if copies == 2 else None), static=static)
        config = folder / "fw_env.config"
        config.write_text("".join(f"{line}\n" for line in lines))
        self.loader = UBoot(
            {"fwenv-config-location": str(config), "fwenv-lockfile": str(folder / "lock")}, ubi=self.ubi
        )

    def cut_before(self, what: str) -> None:
        """From the next such change on, nothing works any more."""

        def cut(change: str) -> None:
            if change == what:
                self.ubi.before_change = lambda _: self._gone()
                self._gone()

        self.ubi.before_change = cut

    def _gone(self) -> None:
        raise DeviceError("the power is gone", path="/dev/ubi0")


TWO = ("/dev/ubi0:env 0 1000", "/dev/ubi0:redund 0 1000")


@pytest.mark.parametrize(
    "lines",
    [
        TWO,
        ("/dev/ubi0_0 0x0 1000", "/dev/ubi0_1 0x0 1000 1000"),
        ("/dev/mtd4:env 0 1000", "/dev/mtd4:redund 0 1000"),
    ],
)
@pytest.mark.parametrize("static", [False, True])
def test_copies_take_turns(tmp_path: Path, lines: tuple[str, str], static: bool) -> None:
    unit = Unit(tmp_path, *lines, static=static)
    assert unit.loader.all() == {"v": "old"}
    for number, target in enumerate(["redund", "env", "redund"]):
        unit.ubi.log.clear()
        unit.loader.set_many({"v": str(number)})
        assert unit.ubi.log == [f"update {target}", f"write {target}"]
        assert unit.loader.all() == {"v": str(number)}
        assert unit.ubi.holds(target)[4] == number + 3
    unit.ubi.log.clear()
    unit.loader.set_many({"v": "2"})
    assert unit.ubi.log == []
    assert unit.ubi.opened == 0


def test_an_mtd_is_attached_when_it_is_not_yet(tmp_path: Path) -> None:
    unit = Unit(tmp_path, "/dev/mtd4:env 0 1000", attached=False)
    assert unit.loader.get("v") == "old"
    assert unit.ubi.log == ["attach mtd4"]
    unit.loader.set_many({"v": "new"})
    assert unit.ubi.log[1:] == ["change env"]


@pytest.mark.parametrize("step", ["update redund", "write redund"])
def test_a_cut_leaves_the_other_copy_in_force(tmp_path: Path, step: str) -> None:
    unit = Unit(tmp_path, *TWO)
    unit.cut_before(step)
    with pytest.raises(BootEnvError, match="the power is gone"):
        unit.loader.set_many({"v": "new"})
    unit.ubi.before_change = None
    assert unit.ubi.facts("redund").interrupted is (step == "write redund")
    assert unit.loader.all() == {"v": "old"}
    unit.loader.set_many({"v": "newer"})
    assert unit.loader.all() == {"v": "newer"}
    assert not unit.ubi.facts("redund").interrupted


def test_a_single_copy_is_old_or_new(tmp_path: Path) -> None:
    unit = Unit(tmp_path, "/dev/ubi0:env 0 1000")
    unit.cut_before("change env")
    with pytest.raises(BootEnvError):
        unit.loader.set_many({"v": "new"})
    unit.ubi.before_change = None
    assert unit.loader.get("v") == "old"
    unit.loader.set_many({"v": "new"})
    assert unit.ubi.log == ["change env"]
    assert unit.loader.get("v") == "new"


def test_a_single_copy_in_a_static_volume_has_to_be_updated(tmp_path: Path) -> None:
    unit = Unit(tmp_path, "/dev/ubi0:env 0 1000", static=True)
    unit.loader.set_many({"v": "new"})
    assert unit.ubi.log == ["update env", "write env"]
    assert unit.loader.get("v") == "new"


def test_a_failed_write_does_not_come_into_force(tmp_path: Path) -> None:
    """The second write, of what lay there before, works again."""
    unit = Unit(tmp_path, *TWO)
    failed: list[str] = []

    def fail_once(change: str) -> None:
        if change == "write redund" and not failed:
            failed.append(change)
            raise DeviceError("a bad block", path="/dev/ubi0_1")

    unit.ubi.before_change = fail_once
    with pytest.raises(BootEnvError, match="a bad block"):
        unit.loader.set_many({"v": "new"})
    assert unit.loader.all() == {"v": "old"}
    assert unit.ubi.holds("redund") == raw("old", 1)


@pytest.mark.parametrize("damage", ["empty", "flip", "both"])
def test_damaged_copies(tmp_path: Path, damage: str) -> None:
    unit = Unit(tmp_path, *TWO)
    content = unit.ubi._volumes
    content[0].data[:] = b"\xff" * len(content[0].data) if damage == "empty" else raw("bad", 9)
    if damage != "empty":
        content[0].data[100] ^= 1
    if damage == "both":
        content[1].data[100] ^= 1
        before = unit.ubi.holds("env"), unit.ubi.holds("redund")
        for act in (unit.loader.all, lambda: unit.loader.set_many({"v": "1"})):
            with pytest.raises(BootEnvError, match="no valid boot environment"):
                act()
        assert (unit.ubi.holds("env"), unit.ubi.holds("redund"), unit.ubi.log) == (*before, [])
        return
    assert unit.loader.all() == {"v": "old"}
    unit.loader.set_many({"v": "new"})
    assert unit.ubi.log == ["update env", "write env"]
    assert unit.loader.all() == {"v": "new"}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("/dev/ubi0:nothing 0 1000",), "no UBI volume /dev/ubi0:nothing"),
        (("/dev/ubi0_7 0 1000",), "no UBI volume"),
        (("/dev/ubi7:env 0 1000",), "no UBI volume"),
        (("/dev/ubi0 0 1000",), "is no UBI volume"),
        (("/dev/mtd3:env 0 1000",), "mtd3 does not hold UBI"),
        (("/dev/ubi0:env 0x200 1000",), "has an offset"),
        (("/dev/ubi0:env 0 1001",), "holds 0x1000"),
        (("/dev/ubi0:env 0 1000", "/dev/ubi0_0 0 1000"), "lie in one volume"),
        (("/dev/ubi0:env 0 1000", "/boot/env 0 1000"), "lie on UBI and a block device or file"),
    ],
)
def test_what_cannot_be(tmp_path: Path, lines: tuple[str, ...], said: str) -> None:
    unit = Unit(tmp_path, *lines)
    for act in (unit.loader.all, lambda: unit.loader.set_many({"v": "1"})):
        with pytest.raises(BootEnvError, match=said):
            act()
    assert unit.ubi.log == []


def test_a_volume_that_somebody_holds(tmp_path: Path) -> None:
    unit = Unit(tmp_path, *TWO)
    unit.ubi.busy = {"redund"}
    assert unit.loader.get("v") == "old"
    with pytest.raises(BootEnvError, match="in use"):
        unit.loader.set_many({"v": "new"})
    assert unit.loader.get("v") == "old"
