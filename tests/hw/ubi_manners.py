"""What every ``Ubi`` does: the kernel's (tests/hardware) and the stand-in that the other tests believe (tests/hw)."""

import errno
from collections.abc import Iterator

import pytest

from swagent.errors import DeviceError
from swagent.hw.ubi import Ubi, UbiDevice, Volume, volume_at


class UbiManners:
    """Subclasses have a fixture ``ubi`` whose first device has no volumes, and 64 blocks or more."""

    @pytest.fixture
    def device(self, ubi: Ubi) -> Iterator[UbiDevice]:
        device = ubi.devices()[0]
        assert ubi.volumes(device.number) == []
        yield device
        for volume in ubi.volumes(device.number):
            ubi.remove(volume)

    def test_what_is_made_is_listed(self, ubi: Ubi, device: UbiDevice) -> None:
        leb = device.leb_bytes
        made = ubi.create(device.number, "a", 2 * leb + 1)
        assert made == Volume(device.number, 0, "a", False, 3, leb, 3 * leb)
        static = ubi.create(device.number, "b", leb, static=True, volume_id=5)
        assert (static.id, static.static, static.data_bytes) == (5, True, 0)
        assert ubi.volumes(device.number) == [made, static]
        assert ubi.devices()[0].free_lebs == device.free_lebs - 4
        ubi.remove(made)
        assert ubi.volumes(device.number) == [static]

    @pytest.mark.parametrize("static", [False, True])
    def test_update(self, ubi: Ubi, device: UbiDevice, static: bool) -> None:
        leb = device.leb_bytes
        volume = ubi.create(device.number, "a", 3 * leb, static=static)
        data = bytes(range(256)) * (leb // 256 + 10)
        update(ubi, volume, data)
        back = read(ubi, volume, volume.size_bytes)
        assert back[: len(data)] == data
        assert set(back[len(data) :]) <= {0xFF}
        assert len(back) == (len(data) if static else volume.size_bytes)
        assert ubi.volumes(device.number)[0].data_bytes == len(back)
        update(ubi, volume, b"")
        assert set(read(ubi, volume, leb)) <= {0xFF}

    def test_cut_update(self, ubi: Ubi, device: UbiDevice) -> None:
        volume = ubi.create(device.number, "a", 2 * device.leb_bytes)
        update(ubi, volume, b"old")
        update(ubi, volume, b"new", announced_bytes=5000)
        assert ubi.volumes(device.number)[0].interrupted
        with pytest.raises(DeviceError) as caught:
            read(ubi, volume, 1)
        assert caught.value.errno == errno.EBADF
        update(ubi, volume, b"newer")
        assert not ubi.volumes(device.number)[0].interrupted
        assert read(ubi, volume, 5) == b"newer"

    def test_updates_that_are_refused(self, ubi: Ubi, device: UbiDevice) -> None:
        volume = ubi.create(device.number, "a", device.leb_bytes)
        update(ubi, volume, b"old")
        with pytest.raises(DeviceError):
            update(ubi, volume, b"", announced_bytes=volume.size_bytes + 1)
        assert read(ubi, volume, 3) == b"old"
        reader = ubi.open(volume)
        with pytest.raises(DeviceError):
            reader.begin_update(1)
        reader.close()
        assert read(ubi, volume, 3) == b"old"

    def test_leb_change(self, ubi: Ubi, device: UbiDevice) -> None:
        leb = device.leb_bytes
        volume = ubi.create(device.number, "a", 2 * leb)
        opened = ubi.open(volume, writable=True)
        opened.change_leb(1, b"x" * 2048)
        opened.change_leb(1, b"y" * 2048)
        with pytest.raises(DeviceError):
            opened.change_leb(2, b"z" * 2048)
        opened.sync()
        opened.close()
        assert read(ubi, volume, 2 * leb) == b"\xff" * leb + b"y" * 2048 + b"\xff" * (leb - 2048)

    def test_resize(self, ubi: Ubi, device: UbiDevice) -> None:
        leb = device.leb_bytes
        volume = ubi.create(device.number, "a", 2 * leb)
        update(ubi, volume, b"kept")
        ubi.resize(volume, 4 * leb)
        larger = ubi.volumes(device.number)[0]
        assert (larger.lebs, read(ubi, larger, 4)) == (4, b"kept")
        ubi.resize(larger, leb)
        assert ubi.volumes(device.number)[0].lebs == 1
        with pytest.raises(DeviceError) as caught:
            ubi.resize(ubi.volumes(device.number)[0], (device.free_lebs + 1) * leb)
        assert caught.value.errno == errno.ENOSPC
        static = ubi.create(device.number, "s", 3 * leb, static=True)
        update(ubi, static, bytes(2 * leb))
        with pytest.raises(DeviceError) as caught:
            ubi.resize(static, leb)
        assert caught.value.errno == errno.EINVAL

    def test_what_cannot_be_made(self, ubi: Ubi, device: UbiDevice) -> None:
        leb = device.leb_bytes
        with pytest.raises(DeviceError) as caught:
            ubi.create(device.number, "a", (device.free_lebs + 1) * leb)
        assert caught.value.errno == errno.ENOSPC
        ubi.create(device.number, "a", leb, volume_id=3)
        for name, volume_id in (("a", None), ("b", 3)):
            with pytest.raises(DeviceError) as caught:
                ubi.create(device.number, name, leb, volume_id=volume_id)
            assert caught.value.errno == errno.EEXIST
        assert len(ubi.volumes(device.number)) == 1

    def test_rename_swaps_in_one_step(self, ubi: Ubi, device: UbiDevice) -> None:
        volumes = [ubi.create(device.number, name, device.leb_bytes) for name in ("a", "b", "c")]
        update(ubi, volumes[0], b"first")
        ubi.rename(device.number, {0: "b", 1: "a"})
        assert [volume.name for volume in ubi.volumes(device.number)] == ["b", "a", "c"]
        assert read(ubi, ubi.volumes(device.number)[0], 5) == b"first"
        ubi.rename(device.number, {0: "c"})  # c itself is not renamed, and so removed
        assert [volume.name for volume in ubi.volumes(device.number)] == ["c", "a"]
        with pytest.raises(DeviceError):
            ubi.rename(device.number, {0: "x", 1: "x"})
        assert [volume.name for volume in ubi.volumes(device.number)] == ["c", "a"]

    def test_paths_of_volumes(self, ubi: Ubi, device: UbiDevice) -> None:
        volume = ubi.create(device.number, "boot env", device.leb_bytes, volume_id=2)
        for path in (f"/dev/ubi{device.number}_2", f"/dev/ubi{device.number}:boot env"):
            assert volume_at(ubi, path) == volume
        for path in (f"/dev/ubi{device.number}_3", "/dev/ubi9:boot env", "/dev/mtd0", "/dev/ubi0"):
            with pytest.raises(DeviceError):
                volume_at(ubi, path)

    def test_nobody_uses_a_new_volume(self, ubi: Ubi, device: UbiDevice) -> None:
        assert ubi.in_use(ubi.create(device.number, "a", device.leb_bytes)) == ""


def update(ubi: Ubi, volume: Volume, data: bytes, announced_bytes: int | None = None) -> None:
    opened = ubi.open(volume, writable=True)
    try:
        opened.begin_update(len(data) if announced_bytes is None else announced_bytes)
        if data:
            opened.write(data)
    finally:
        opened.close()


def read(ubi: Ubi, volume: Volume, n_bytes: int) -> bytes:
    opened = ubi.open(volume)
    try:
        return opened.read(0, n_bytes)
    finally:
        opened.close()
