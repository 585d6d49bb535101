"""Which storage the running system sits on, and whether a target overlaps it.

The root file system names its device in ``/proc/self/mountinfo``; where that is none (an overlay, a file system over
several devices) its source or ``root=`` of the kernel's command line do. Below it may be others: the parts of a mapped
device (dm-crypt, dm-verity, LVM, RAID), the file behind a loop device, the disk around a partition. Writing any of
them writes the system that runs (upstream: proc_pid_mountinfo(5), Documentation/admin-guide/kernel-parameters).
"""

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

_DEPTH_MAX = 16
_LOOP_MAJOR = 7
_TAGS = {
    "UUID": "by-uuid",
    "LABEL": "by-label",
    "PARTUUID": "by-partuuid",
    "PARTLABEL": "by-partlabel",
}


class Mount(NamedTuple):
    """One line of mountinfo.

    Attributes:
        device: ``major:minor``; the major number is 0 where no single block device is behind it.
        point: where it is mounted.
        source: what was mounted, such as ``/dev/sda2``.
    """

    device: str
    point: str
    source: str


class RunningSystem:
    """What is mounted now; looked up anew by every question.

    Args:
        mountinfo: the kernel's list of what is mounted.
        cmdline: the kernel's command line.
        sysfs: where sysfs is.
        dev: where device nodes are.
    """

    def __init__(
        self,
        *,
        mountinfo: str = "/proc/self/mountinfo",
        cmdline: str = "/proc/cmdline",
        sysfs: str = "/sys",
        dev: str = "/dev",
    ) -> None:
        self._mountinfo = mountinfo
        self._cmdline = cmdline
        self._sysfs = sysfs
        self._dev = dev

    def root(self) -> str:
        """``major:minor`` of the device with the root file system; "" when there is none or it cannot be told."""
        found = ""
        for mount in self._mounts():
            if mount.point == "/":  # of several, the last lies on top
                found = mount.device if not mount.device.startswith("0:") else _number_of(mount.source)
        return found or _number_of(self._root_of_cmdline())

    def root_name(self) -> tuple[str, str, str]:
        """How the device with the root file system is called.

        Returns:
            Kind of name ("" for a path, else ``UUID``, ``PARTUUID``...), the name, and for names that are no path the
            device's path, "" when that is not known.
        """
        found = self.root()
        name = self._name(found) if found else ""
        if name.startswith("/"):
            return "", name, ""
        given = self._given_root()
        tag, equals, value = given.partition("=")
        if not equals or tag not in _TAGS:
            return "", given, ""
        link = self._root_of_cmdline()
        return tag, value, os.path.realpath(link) if os.path.exists(link) else ""

    def command_line(self) -> str:
        """The kernel's command line."""
        return _line(self._cmdline)

    def runs_from(self, path: str) -> bool:
        """Whether the running system sits on this block device or file, or on what it is part of or mapped onto."""
        root = self.root()
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return False
        if not root:
            return False
        if stat.S_ISBLK(status.st_mode):
            return self._share(f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}", root)
        identity = (status.st_dev, status.st_ino)
        return any(self._backing(device) == identity for device in self._below(root))

    def overlap(self, path: str) -> str:
        """Why writing ``path`` would write the running system, or what is mounted; "" when it would not.

        Args:
            path: a block device or file, links are followed; what is not there overlaps nothing.
        """
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return ""
        if stat.S_ISREG(status.st_mode):
            return self._overlap_of_file(path, status)
        if not stat.S_ISBLK(status.st_mode):
            return ""
        return self.overlap_of(path, f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}")

    def share(self, path: str, other: str) -> bool:
        """Whether writing one of two block devices or files changes the other; what is not there shares nothing."""
        try:
            one, two = os.stat(path), os.stat(other)
        except (OSError, ValueError):
            return False
        if not stat.S_ISBLK(one.st_mode):
            one, two = two, one
        if not stat.S_ISBLK(one.st_mode):
            return os.path.samestat(one, two)
        device = f"{os.major(one.st_rdev)}:{os.minor(one.st_rdev)}"
        if not stat.S_ISBLK(two.st_mode):
            identity = (two.st_dev, two.st_ino)
            return any(self._backing(below) == identity for below in self._below(device))
        return self._share(device, f"{os.major(two.st_rdev)}:{os.minor(two.st_rdev)}")

    def overlap_of(self, path: str, target: str) -> str:
        """As ``overlap``, for the block device ``target`` (``major:minor``), which messages call ``path``."""
        root = self.root()
        if root:
            if target == root:
                return f"{path} holds the running system"
            if self._share(target, root):
                return f"{path} overlaps {self._name(root)}, which holds the running system"
        for mount in self._mounts():
            if mount.device == target:
                return f"{path} is mounted on {mount.point}"
            if self._related(target, mount.device):
                return f"{path} overlaps {self._name(mount.device)}, which is mounted on {mount.point}"
        return ""

    # -- what is below what

    def _overlap_of_file(self, path: str, status: os.stat_result) -> str:
        identity = (status.st_dev, status.st_ino)
        root = self.root()
        for device in self._below(root) if root else ():
            if self._backing(device) == identity:
                return f"{path} is the file behind {self._name(device)}, which holds the running system"
        for mount in self._mounts():
            for device in self._below(mount.device) if not mount.device.startswith("0:") else ():
                if self._backing(device) == identity:
                    return (
                        f"{path} is the file behind {self._name(device)}, which is mounted on {mount.point}"
                    )
        return ""

    def _share(self, target: str, root: str) -> bool:
        """Whether writing one changes the other: they are the same, one is part of the other, or mapped onto it."""
        return any(self._related(target, other) for other in self._below(root)) or any(
            self._related(other, root) for other in self._below(target)
        )

    def _below(self, device: str) -> Iterator[str]:
        """A device, the parts that it is mapped onto, and so on."""
        waiting, seen = [(device, 0)], set()
        while waiting:
            one, depth = waiting.pop()
            if one in seen or depth > _DEPTH_MAX:
                continue
            seen.add(one)
            yield one
            folder = os.path.join(self._sysfs, "dev", "block", one, "slaves")
            try:
                parts = sorted(os.listdir(folder))
            except OSError:
                continue
            waiting += [(_line(os.path.join(folder, part, "dev")), depth + 1) for part in parts]

    def _related(self, one: str, other: str) -> bool:
        """Whether two are the same, or one is a partition of the other."""
        return one == other or self._disk(one) == other or one == self._disk(other)

    def _disk(self, device: str) -> str:
        """The whole disk of a partition, "" for anything else."""
        place = os.path.realpath(os.path.join(self._sysfs, "dev", "block", device))
        if not os.path.exists(os.path.join(place, "partition")):
            return ""
        return _line(os.path.join(os.path.dirname(place), "dev"))

    def _backing(self, device: str) -> tuple[int, int] | None:
        """Device and inode number of the file behind a loop device or a partition of one, None for anything else."""
        if device.partition(":")[0] != str(_LOOP_MAJOR):
            disk = self._disk(device)
            if disk.partition(":")[0] != str(_LOOP_MAJOR):
                return None
            device = disk
        path = _line(os.path.join(self._sysfs, "dev", "block", device, "loop", "backing_file"))
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return None  # none, or deleted, or in another mount namespace
        return status.st_dev, status.st_ino

    def _name(self, device: str) -> str:
        """A device's usual path."""
        place = os.path.realpath(os.path.join(self._sysfs, "dev", "block", device))
        name = os.path.basename(place)
        return f"/dev/{name}" if name and name != device else f"device {device}"

    # -- what the kernel tells

    def _mounts(self) -> list[Mount]:
        mounts = []
        try:
            with open(self._mountinfo, encoding="utf-8", errors="surrogateescape") as lines:
                for line in lines:
                    words = line.split()
                    if len(words) < 10 or "-" not in words[6:]:
                        continue
                    source = words[words.index("-", 6) + 2]
                    mounts.append(Mount(words[2], _plain(words[4]), _plain(source)))
        except (OSError, IndexError):
            return mounts  # without /proc nothing is known to be mounted; opening exclusively still tells
        return mounts

    def _given_root(self) -> str:
        root = ""
        for word in _line(self._cmdline).split():
            if word.startswith("root="):
                root = word[5:]
        return root

    def _root_of_cmdline(self) -> str:
        root = self._given_root()
        tag, equals, value = root.partition("=")
        if equals and tag in _TAGS:
            return os.path.join(self._dev, "disk", _TAGS[tag], value.strip('"').replace("/", "\\x2f"))
        return root


def _number_of(path: str) -> str:
    """``major:minor`` of a block device, "" if it is none."""
    if not path.startswith("/"):
        return ""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ""
    if not stat.S_ISBLK(status.st_mode):
        return ""
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def _line(path: str) -> str:
    """The content of a small file, "" when it is not there."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(16384).rstrip("\n")
    except OSError:
        return ""


def _plain(word: str) -> str:
    """A word of mountinfo, its octal escapes undone."""
    if "\\" not in word:
        return word
    for escape, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        word = word.replace(escape, letter)
    return word
