"""Removable media: block devices with a file system, as they are plugged in; udev tells, through pyudev."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from swagent.errors import DeviceError

from .identity import RunningSystem
from .mount import Mounted
from .udev import Watch

AUTO = "auto"
FILESYSTEMS = ("vfat", "exfat", "ext4", "ntfs3", "iso9660")
"""What is tried, in this order, where udev does not say what it is."""


class Medium(NamedTuple):
    """A disk or partition that may hold something.

    Attributes:
        device: its node.
        names: further names of it.
        filesystem: as udev knows it, "" when it does not.
        is_new: whether it was plugged in just now.
    """

    device: str
    names: tuple[str, ...] = ()
    filesystem: str = ""
    is_new: bool = False


class MediaWatch:
    """Media that are there, and those that come.

    Args:
        wanted: ``auto`` for USB and SD cards, else names of devices with wildcards, separated by blanks.

    Raises:
        RegistrationError: pyudev is not installed.
        DeviceError: the kernel does not tell of devices.
    """

    def __init__(self, wanted: str) -> None:
        self._wanted = () if wanted == AUTO else tuple(wanted.split())
        self._system = RunningSystem()
        self._watch = Watch("block", "updates from media")

    def present(self) -> list[Medium]:
        """Those that are there."""
        return [medium for medium in map(self._medium, self._watch.present()) if medium is not None]

    def wait(self, seconds: float) -> Medium | None:
        """The next one that comes, None when none does in this time."""
        device = self._watch.news(seconds)
        if device is None or device.action not in ("add", "change"):
            return None
        medium = self._medium(device)
        return medium and medium._replace(is_new=device.action == "add")

    def _medium(self, device: Any) -> Medium | None:
        """A device as a medium; None when it is none, or none that is wanted, or one that is in use."""
        node = device.device_node
        if not node or not _holds_something(device):
            return None
        names = tuple(device.device_links)
        if self._wanted:
            wanted = any(fnmatchcase(name, each) for name in (node, *names) for each in self._wanted)
        else:
            wanted = _is_removable(device)
        if not wanted or self._system.overlap(node):
            return None
        return Medium(node, names, device.properties.get("ID_FS_TYPE", ""))


@contextmanager
def mount_medium(medium: Medium, *, below: str, read_only: bool) -> Iterator[str]:
    """A medium, mounted for a while on a folder that nobody else sees into; nothing on it can be run.

    Raises:
        DeviceError: there is no file system on it that can be mounted; while leaving, it could not be unmounted.
    """
    kinds = (medium.filesystem,) if medium.filesystem else FILESYSTEMS
    for kind in kinds:
        mounted = Mounted(medium.device, kind, below=below, read_only=read_only, untrusted=True)
        try:
            folder = mounted.__enter__()
        except DeviceError as exc:
            if kind != kinds[-1] and exc.errno in (errno.EINVAL, errno.ENODEV):
                continue
            raise
        break
    try:
        yield folder
    except BaseException as exc:
        mounted.__exit__(type(exc), exc, exc.__traceback__)
        raise
    mounted.__exit__(None, None, None)


def _holds_something(device: Any) -> bool:
    """Whether it has a size; card readers without a card have none."""
    try:
        with open(os.path.join(device.sys_path, "size"), encoding="ascii") as file:
            return int(file.read()) > 0
    except (OSError, ValueError):
        return False


def _is_removable(device: Any) -> bool:
    """Whether it hangs on USB, or is an SD card (an eMMC is of type MMC), or says that it can be removed."""
    seen = device
    while seen is not None:
        if seen.subsystem == "usb":
            return True
        if seen.subsystem == "mmc":
            return bool(seen.attributes.get("type") == b"SD")
        if seen.subsystem == "block" and seen.attributes.get("removable") == b"1":
            return True
        seen = seen.parent
    return False
