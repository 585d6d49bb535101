"""What the kernel knows of a disk's partitions, and how it is told of others (linux/blkpg.h, linux/fs.h)."""

import errno
import fcntl
import os
import stat
import struct
import time
from array import array
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

from swagent.errors import DeviceError

BLKRRPART = 0x125F
BLKPG = 0x1269
_ADD, _DELETE = 1, 2
_ARGUMENT = struct.Struct("@iiiP")  # operation, flags, length of what follows, where it is
_PARTITION = struct.Struct(
    "@qqi64s64s4x"
)  # start, length (both in bytes), number, two names that nobody reads
SYSFS_BLOCK = "/sys/class/block"
_KERNEL_SECTOR_BYTES = 512  # sysfs counts in these whatever the disk has
NODES_WAIT_S = 10.0
_TICK_S = 0.02


class Range(NamedTuple):
    """Where a partition lies, in bytes."""

    start_bytes: int
    size_bytes: int


class Node(NamedTuple):
    """A partition that the kernel knows; ``path`` is that of its device."""

    path: str
    range: Range


def known(disk: str, *, sysfs: str = SYSFS_BLOCK) -> dict[int, Node]:
    """The partitions of a disk by number, as the kernel sees them now; none for what is no block device."""
    found = {}
    name = os.path.basename(os.path.realpath(disk))
    folder = os.path.join(sysfs, name)
    with suppress(OSError):
        for below in os.listdir(folder):
            place = os.path.join(folder, below)
            if below.startswith(name) and os.path.exists(os.path.join(place, "partition")):
                number, start, size = (_number(place, what) for what in ("partition", "start", "size"))
                place_bytes = Range(start * _KERNEL_SECTOR_BYTES, size * _KERNEL_SECTOR_BYTES)
                found[number] = Node(f"/dev/{below}", place_bytes)
    return found


def tell(fd: int, disk: str, wanted: Mapping[int, Range | None]) -> list[int]:
    """Make the kernel take over a table that was written, and wait for the device nodes.

    It reads the table anew; where it cannot (a partition is in use) or does not (it was built without that kind of
    table), the differences are told one by one.

    Args:
        fd: open on the disk.
        disk: its path.
        wanted: number to place of every partition of the table; None for an extended one, whose place in the kernel's
            eyes is the kernel's affair.

    Returns:
        Numbers of partitions that are in use and stay as they were until the next boot.

    Raises:
        DeviceError: the kernel refuses a partition, or its node does not appear.
    """
    reread(fd)
    there = known(disk)
    stale = [
        number for number, node in there.items() if wanted.get(number, Range(0, 0)) not in (None, node.range)
    ]
    kept = [number for number in stale if not _delete(fd, number, disk)]
    there = known(disk)
    for number, place in wanted.items():
        if number not in there and place is not None:
            _add(fd, number, place, disk)
    _await_nodes(disk, {number for number, place in wanted.items() if place is not None} - set(kept))
    return kept


def reread(fd: int) -> None:
    """Ask the kernel to read the table anew; it does not while a partition is in use, or for what has no partitions."""
    with suppress(OSError):
        fcntl.ioctl(fd, BLKRRPART)


def _delete(fd: int, number: int, disk: str) -> bool:
    try:
        _blkpg(fd, _DELETE, number, Range(0, 0))
    except OSError as exc:
        if exc.errno == errno.EBUSY:
            return False
        if exc.errno != errno.ENXIO:  # gone meanwhile
            raise _refused(number, disk, exc) from exc
    return True


def _add(fd: int, number: int, place: Range, disk: str) -> None:
    try:
        _blkpg(fd, _ADD, number, place)
    except OSError as exc:
        raise _refused(number, disk, exc) from exc


def _refused(number: int, disk: str, exc: OSError) -> DeviceError:
    return DeviceError(
        f"the kernel does not take partition {number} of {disk}: {exc.strerror}", path=disk, errno=exc.errno
    )


def _blkpg(fd: int, operation: int, number: int, place: Range) -> None:
    partition = array("B", _PARTITION.pack(place.start_bytes, place.size_bytes, number, b"", b""))
    address, length = partition.buffer_info()
    fcntl.ioctl(fd, BLKPG, _ARGUMENT.pack(operation, 0, length, address))


def _await_nodes(disk: str, numbers: Iterable[int]) -> None:
    until_s = time.monotonic() + NODES_WAIT_S
    while True:
        there = known(disk)
        missing = [number for number in numbers if number not in there or not _is_node(there[number].path)]
        if not missing:
            return
        if time.monotonic() > until_s:
            raise DeviceError(
                f"no device node for partition {missing[0]} of {disk} appeared within {NODES_WAIT_S:g} s",
                path=disk,
                errno=errno.ENODEV,
                hint="is /dev a devtmpfs, or is udev running?",
            )
        time.sleep(_TICK_S)


def _is_node(path: str) -> bool:
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)
    except OSError:
        return False


def _number(place: str, name: str) -> int:
    with open(os.path.join(place, name), encoding="ascii") as file:
        return int(file.read(32))
