"""U-Boot's environment in UBI volumes: ``/dev/ubi0:env``, ``/dev/ubi0_1``, or ``/dev/mtd4:env``, which is attached.

A volume holds one copy from its first byte on. Writing it is a volume update, as fw_setenv does: from its beginning to
its end the volume cannot be read, so a power cut leaves the other copy in force (handlers §4.1). A single copy would be
lost that way; where it fits into one block of a dynamic volume, that block is changed instead, which is old or new.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from swagent.errors import BootEnvError, DeviceError
from swagent.hw.ubi import KernelUbi, Ubi, Volume, volume_at

from .fwenv import Place

_ON_MTD = re.compile(r"/dev/mtd([0-9]{1,4}):(.+)\Z", re.DOTALL)


class UbiCopies:
    """The one or two copies of an environment in UBI volumes.

    Args:
        places: where they are, from fw_env.config.
        ubi: the UBI devices, the kernel's if not given.

    Raises:
        BootEnvError: there is no such volume, or it is too small, or two copies are in one.
    """

    by_mark = False

    def __init__(self, places: tuple[Place, ...], ubi: Ubi | None = None) -> None:
        self._places = places
        self._ubi = ubi or KernelUbi()
        volumes = [self._volume(index) for index in range(len(places))]
        for place, volume in zip(places, volumes, strict=True):
            if place.offset_bytes:
                raise BootEnvError(
                    f"the boot environment on {place.device} has an offset, and U-Boot knows none in a UBI volume",
                    hint="write 0 into fw_env.config",
                )
            if place.size_bytes > volume.size_bytes:
                raise BootEnvError(
                    f"the boot environment has {place.size_bytes:#x} bytes, and the volume {place.device} holds "
                    f"{volume.size_bytes:#x}",
                    hint="correct fw_env.config",
                )
        if len({volume.path for volume in volumes}) < len(volumes):
            raise BootEnvError(
                f"both copies of the boot environment lie in one volume, {places[0].device}",
                hint="correct fw_env.config: each copy needs a volume of its own",
            )

    def read_all(self) -> list[bytes]:
        """All copies as stored, in their order."""
        return [self._read(index) for index in range(len(self._places))]

    def sync(self, index: int) -> None:
        """Nothing to do: the kernel keeps nothing back for UBI."""

    def make_obsolete(self, index: int) -> None:
        """Nothing to do: the higher number says it."""

    def write(self, index: int, raw: bytes) -> None:
        """Write a copy and read it back.

        Raises:
            BootEnvError: it cannot be written; what lay there may be gone.
        """
        volume = self._volume(index)
        whole = len(self._places) == 1 and len(raw) <= volume.leb_bytes
        with self._translated():
            opened = self._ubi.open(volume, writable=True)
            try:
                if whole and not volume.static and not volume.interrupted:
                    opened.change_leb(0, raw)
                else:
                    opened.begin_update(len(raw))
                    opened.write(raw)
                opened.sync()
            finally:
                opened.close()
        if self._read(index) != raw:
            raise BootEnvError(
                f"{self._places[index].device} does not give back the boot environment that was written to it",
                hint="the flash may be worn out",
            )

    def _read(self, index: int) -> bytes:
        """A copy; empty when the volume cannot be read, as after an update that was cut."""
        volume = self._volume(index)
        if volume.interrupted or volume.corrupted:
            return b""
        try:
            opened = self._ubi.open(volume)
            try:
                return opened.read(0, self._places[index].size_bytes)
            finally:
                opened.close()
        except DeviceError:
            return b""

    def _volume(self, index: int) -> Volume:
        """The volume of a copy as it is now."""
        device = self._places[index].device
        match = _ON_MTD.match(device)
        with self._translated():
            if match is not None:
                device = f"/dev/ubi{self._attached(int(match[1]))}:{match[2]}"
            return volume_at(self._ubi, device)

    def _attached(self, mtd: int) -> int:
        numbers = {found.mtd: found.number for found in self._ubi.devices()}
        return numbers[mtd] if mtd in numbers else self._ubi.attach(mtd).number

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DeviceError as exc:
            raise BootEnvError(f"the boot environment: {exc.message}", hint=exc.hint) from exc
