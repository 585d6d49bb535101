"""Stand-ins for disks with partitions and for eMMCs."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from swagent.errors import DeviceError
from swagent.hw.partitions import Disk
from swagent.hw.programs import Log


class FakeDisk(Disk):
    """A disk image; its partitions are files beside it: ``disk.img`` has ``disk.imgp1``.

    Args:
        path: of the image.
        log: for what sfdisk says.
        fails: whether writing a name or flag fails.
    """

    def __init__(self, path: str, log: Log, *, fails: bool = False) -> None:
        self._fails = fails
        super().__init__(path, log)

    @contextmanager
    def opened(self, flags: int = os.O_RDWR, *, lock: bool = False) -> Iterator[int]:
        """A descriptor on it."""
        with super().opened(os.O_RDONLY if self._fails else flags, lock=lock) as fd:
            yield fd

    def node(self, number: int) -> str:
        """The file of a partition."""
        path = f"{self.path}p{number}"
        if not os.path.exists(path):
            raise DeviceError(f"cannot find {path}: No such file or directory", path=path, errno=errno.ENOENT)
        return path


class FakeEmmc:
    """An eMMC; ``active`` is 0, 1, 7 (user area) or None, ``fails`` makes switching fail."""

    def __init__(self, active: int | None = 0) -> None:
        self.active = active
        self.fails = False

    def boot_partition(self) -> int | None:
        """What it boots from."""
        return self.active

    def boot_from(self, number: int) -> None:
        """Boot from there from now on."""
        if self.fails:
            raise DeviceError(
                "cannot switch the boot partition: Input/output error", path="emmc", errno=errno.EIO
            )
        self.active = number
