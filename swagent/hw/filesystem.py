"""File systems: what a device holds (``blkid``), made and labelled by their own programs."""

import os
import re
from typing import NamedTuple

from swagent.errors import DescriptionError, DeviceError

from .programs import Log, call, find

MAKE_DEADLINE_S = 1800.0
"""A large disk on a slow bus takes minutes."""
_LINE = re.compile(r"([A-Z_]+)=(.*)\Z")
_NOTHING_FOUND = 2
_AMBIVALENT = 8


class Maker(NamedTuple):
    """How a kind of file system is made.

    Attributes:
        make: argv of the program that makes it, without label and device.
        label_option: what introduces a label in it.
        label: argv that labels one that exists; device and label follow.
        label_bytes_max: how long a label may be.
    """

    make: tuple[str, ...]
    label_option: str
    label: tuple[str, ...]
    label_bytes_max: int


_EXT_LABEL = ("e2label",)
MAKERS = {
    # --mbr=no: no partition table around it; -I: on a whole disk too
    "vfat": Maker(("mkfs.vfat", "--mbr=no", "-I"), "-n", ("fatlabel",), 11),
    "ext2": Maker(("mkfs.ext2", "-F", "-q"), "-L", _EXT_LABEL, 16),
    "ext3": Maker(("mkfs.ext3", "-F", "-q"), "-L", _EXT_LABEL, 16),
    "ext4": Maker(("mkfs.ext4", "-F", "-q"), "-L", _EXT_LABEL, 16),
    "btrfs": Maker(("mkfs.btrfs", "-f", "-q"), "-L", ("btrfs", "filesystem", "label"), 255),
}


class Filesystem(NamedTuple):
    """What blkid sees on a device; all are "" where there is nothing.

    Attributes:
        kind: such as ``ext4``.
    """

    kind: str = ""
    label: str = ""
    uuid: str = ""


def check(kind: str, label: str) -> None:
    """Whether such a file system can be made here.

    Raises:
        DescriptionError: no such kind, or the label does not suit it.
        PreflightRefused: its program is not there.
    """
    maker = MAKERS.get(kind)
    if maker is None:
        raise DescriptionError(f"fstype is {kind[:40]!r}; there are {', '.join(MAKERS)}")
    if len(label.encode()) > maker.label_bytes_max or not label.isprintable() or label.startswith("-"):
        raise DescriptionError(
            f"fslabel {label[:40]!r} is no label of {kind}", hint=f"at most {maker.label_bytes_max} bytes"
        )
    for program in ("blkid", maker.make[0], *(maker.label[:1] if label else ())):
        find(program)


def probe(path: str, log: Log) -> Filesystem:
    """What is on a device now.

    Raises:
        DeviceError: it cannot be read.
        PreflightRefused: blkid is not there.
    """
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))  # blkid calls what it cannot open empty
    except OSError as exc:
        raise DeviceError(f"cannot open {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
    status, text = call(
        ["blkid", "-p", "-u", "filesystem", "-o", "export", path],
        doing="look for a file system on",
        path=path,
        log=log,
        accepted=(0, _NOTHING_FOUND, _AMBIVALENT),
    )
    if status:
        return Filesystem()
    facts = _facts(text)
    return Filesystem(facts.get("TYPE", ""), facts.get("LABEL", ""), facts.get("UUID", ""))


def make(path: str, kind: str, label: str, log: Log) -> None:
    """Make an empty file system; what was there is lost.

    Raises:
        DeviceError: its program failed, or blkid does not see it afterwards.
        PreflightRefused: a program is not there.
    """
    maker = MAKERS[kind]
    words = [maker.label_option, label] if label else []
    call([*maker.make, *words, path], doing=f"make {kind} on", path=path, log=log, deadline_s=MAKE_DEADLINE_S)
    _sync(path)
    found = probe(path, log)
    if found.kind != kind:
        raise DeviceError(
            f"{path} holds {found.kind or 'nothing'} after {maker.make[0]}, not {kind}",
            path=path,
            hint="the device may be failing: see dmesg",
        )


def relabel(path: str, kind: str, label: str, log: Log) -> None:
    """Give a file system another label. Raises DeviceError and PreflightRefused as ``make``."""
    call([*MAKERS[kind].label, path, label], doing="label", path=path, log=log)
    _sync(path)


def uuids(log: Log) -> dict[str, str]:
    """UUIDs of all file systems on this unit, in small letters, and where each is; read from the devices themselves.

    Raises:
        DeviceError: blkid failed.
        PreflightRefused: it is not there.
    """
    status, text = call(
        ["blkid", "-c", "/dev/null", "-o", "export"],
        doing="look for file systems on",
        path="all devices",
        log=log,
        accepted=(0, _NOTHING_FOUND),
    )
    found: dict[str, str] = {}
    for block in text.split("\n\n") if status == 0 else ():
        facts = _facts(block)
        if "UUID" in facts:
            found.setdefault(facts["UUID"].lower(), facts.get("DEVNAME", "a device"))
    return found


def _facts(text: str) -> dict[str, str]:
    matches = (_LINE.match(line) for line in text.splitlines())
    return {match[1]: match[2].replace("\\", "") for match in matches if match}


def _sync(path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as exc:
        raise DeviceError(f"cannot sync {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
