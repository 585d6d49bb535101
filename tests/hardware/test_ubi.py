"""UBI as the kernel does it."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from swagent.errors import DeviceError
from swagent.hw.ubi import KernelUbi, Ubi
from tests.hw.ubi_manners import UbiManners, read, update


class TestKernelUbi(UbiManners):
    @pytest.fixture
    def ubi(self, ubi: str) -> Ubi:
        return KernelUbi()


def test_what_is_in_use(ubi: str, tmp_path: Path) -> None:
    kernel = KernelUbi()
    number = kernel.devices()[0].number
    volume = kernel.create(number, "a", 4 << 20)
    other = kernel.create(number, "b", 1 << 20)
    try:
        assert kernel.in_use(volume) == ""
        subprocess.run(["mount", "-t", "ubifs", volume.path, tmp_path], check=True)  # which formats it
        try:
            subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)
            assert "in use" in kernel.in_use(volume)
            with pytest.raises(DeviceError) as caught:
                update(kernel, volume, b"x")
            assert caught.value.errno == errno.EBUSY
            kernel.rename(number, {volume.id: "b", other.id: "a"})  # names may change all the same
        finally:
            subprocess.run(["umount", tmp_path], check=True)
    finally:
        for one in kernel.volumes(number):
            kernel.remove(one)


def test_detach_and_attach(ubi: str, nand_ubi: str) -> None:
    kernel = KernelUbi()
    device = kernel.devices()[0]
    mtd = int(nand_ubi.removeprefix("/dev/mtd"))
    assert device.mtd == mtd
    kernel.detach(device.number)
    assert kernel.devices() == []
    with pytest.raises(DeviceError):
        kernel.detach(device.number)
    attached = kernel.attach(mtd)
    assert attached == device
    with pytest.raises(DeviceError) as caught:
        kernel.attach(mtd)
    assert caught.value.errno == errno.EEXIST


def test_what_was_updated_outlives_detaching(ubi: str, nand_ubi: str) -> None:
    kernel = KernelUbi()
    device = kernel.devices()[0]
    data = os.urandom(300_000)
    whole = kernel.create(device.number, "whole", len(data), static=True)
    cut = kernel.create(device.number, "cut", len(data))
    update(kernel, whole, data)
    update(kernel, cut, data[:100_000], announced_bytes=len(data))
    kernel.detach(device.number)
    number = kernel.attach(device.mtd).number
    try:
        found = {volume.name: volume for volume in kernel.volumes(number)}
        assert read(kernel, found["whole"], len(data) + 1) == data
        assert found["cut"].interrupted
    finally:
        for one in kernel.volumes(number):
            kernel.remove(one)
