"""Stand-ins for disks with partitions and for eMMCs."""

import errno
import os

from swagent.errors import DeviceError
from swagent.hw.partitions import Disk


class FakeDisk(Disk):
    """A disk image; its partitions are files beside it: ``disk.img`` has ``disk.imgp1``."""

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
