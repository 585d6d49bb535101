"""The stand-in for UBI has the kernel's manners; the kernel's own are tested in tests/hardware."""

from pathlib import Path

import pytest

from swagent.errors import DeviceError
from swagent.hw.ubi import KernelUbi, Ubi, VolumeDevice
from swagent.testing import FakeUbi

from .ubi_manners import UbiManners


class TestFakeUbi(UbiManners):
    @pytest.fixture
    def ubi(self) -> Ubi:
        return FakeUbi()


def test_a_machine_without_ubi(tmp_path: Path) -> None:
    assert KernelUbi(str(tmp_path / "class")).devices() == []
    with pytest.raises(DeviceError, match="cannot open"):
        VolumeDevice(str(tmp_path / "ubi0_0"))


def test_names_that_are_none() -> None:
    for name in ("", "x" * 128, "a\0b"):
        with pytest.raises(DeviceError, match="no name"):
            KernelUbi().create(0, name, 1)
    with pytest.raises(DeviceError, match="32 at most"):
        KernelUbi().rename(0, {number: f"v{number}" for number in range(33)})
