"""Disks with partitions: a table read and written by ``sfdisk``, which knows both kinds and their corner cases.

What changes a single field of a table that boots is not done by it but by ``mbr`` and ``gpt``, atomically.
"""

import errno
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from swagent.errors import DeviceError

from . import gpt, mbr, partnodes
from .block import BLKSSZGET, capacity_bytes, ioctl_int
from .programs import Log, call, find

_TICK_S = 0.1
_FILE_SECTOR_BYTES = 512
_NODE = re.compile(r"p?([0-9]{1,3})\Z")
_PLAIN_NAME = re.compile(r'[^"\\\x00-\x1f\x7f]*\Z')


class Partition(NamedTuple):
    """One partition.

    Attributes:
        number: from 1.
        start: first sector.
        size: in sectors.
        kind: its type: a GUID, or two hexadecimal digits.
        name: GPT only.
        uuid: GPT only.
        bootable: DOS only.
        attributes: GPT only, in sfdisk's words.
    """

    number: int
    start: int
    size: int
    kind: str
    name: str = ""
    uuid: str = ""
    bootable: bool = False
    attributes: str = ""


class Table(NamedTuple):
    """What a disk is divided into.

    Attributes:
        label: ``gpt`` or ``dos``; another word for what only sfdisk knows; "" when there is none.
        id: of the disk: a GUID, or a number.
        partitions: by number.
        hybrid: entries that a GPT also has in its DOS table, that for the GPT itself last; () for a usual GPT.
    """

    label: str = ""
    id: str = ""
    partitions: tuple[Partition, ...] = ()
    hybrid: tuple[mbr.Entry, ...] = ()


class Disk:
    """A block device or disk image that holds, or shall hold, partitions.

    Args:
        path: links are followed.
        log: for what sfdisk says.

    Attributes:
        sector_bytes: of its logical sectors.
        size_sectors: how many it has.
        is_device: False for a disk image.
        lock_wait_s: how long others may keep it locked.

    Raises:
        DeviceError: it is not there, or is neither of the two.
    """

    lock_wait_s = 10.0

    def __init__(self, path: str, log: Log) -> None:
        self.path = path
        self._log = log
        size_bytes = capacity_bytes(path)
        self.is_device = size_bytes is not None
        with self.opened(os.O_RDONLY) as fd:
            self.sector_bytes = ioctl_int(fd, BLKSSZGET, path) if self.is_device else _FILE_SECTOR_BYTES
            if size_bytes is None:
                size_bytes = os.fstat(fd).st_size
        self.size_sectors = size_bytes // self.sector_bytes

    @contextmanager
    def opened(self, flags: int = os.O_RDWR, *, lock: bool = False) -> Iterator[int]:
        """A descriptor on it.

        Args:
            flags: as for ``os.open``.
            lock: keep udev and others who respect ``flock`` away meanwhile.

        Raises:
            DeviceError: it cannot be opened, or somebody else has locked it.
        """
        try:
            fd = os.open(self.path, flags | os.O_CLOEXEC)
        except OSError as exc:
            raise self._error("cannot open", exc) from exc
        try:
            if lock:
                self._lock(fd)
            yield fd
        finally:
            os.close(fd)

    def table(self) -> Table:
        """What is on it; a GPT without a valid copy is none.

        Raises:
            DeviceError: it cannot be read, or sfdisk does not understand what is there.
            PreflightRefused: sfdisk is not there.
        """
        find("sfdisk")
        with self.opened(os.O_RDONLY) as fd:
            entries = mbr.read(fd, self.path)
            there = any(entry.kind for entry in entries) and (
                not _is_protective(entries) or self._has_gpt(fd)
            )
        status, text = call(
            ["sfdisk", "--json", self.path],
            doing="read the partition table of",
            path=self.path,
            log=self._log,
            accepted=(0, 1),
        )
        if status:
            if there:  # to take that for a blank disk would cost everything on it
                raise DeviceError(
                    f"sfdisk cannot read the partition table of {self.path}",
                    path=self.path,
                    hint="`sfdisk --json` tells why; `wipefs -a` makes it a blank disk",
                )
            return Table()
        try:
            found = _table(json.loads(text)["partitiontable"], self.path)
        except (ValueError, KeyError, TypeError) as exc:
            raise DeviceError(
                f"cannot understand what sfdisk says of {self.path}: {exc!r}", path=self.path
            ) from exc
        if found.label == "dos" and not (there and found.partitions):
            # a file system's boot sector, or what a lost GPT has left, both of which sfdisk takes for a table
            return Table()
        if found.label != "gpt":
            return found
        used = tuple(entry for entry in entries if entry.kind)
        return found._replace(hybrid=used if len(used) > 1 else ())

    def write(self, table: Table, *, old: Table, lock: bool = True) -> list[int]:
        """Replace the table, read it again, and let the kernel know.

        sfdisk writes the backup of a GPT first, then the other copy, then the first sector: a power cut leaves the old
        table or the new one. A DOS table is one sector, plus one for each logical partition.

        Args:
            table: with all numbers given.
            old: what is there; signatures of other contents are wiped when the kind of table changes.
            lock: keep others away.

        Returns:
            Numbers of partitions that are in use, which the kernel goes on seeing as they were.

        Raises:
            DeviceError: it was not written, holds something else afterwards, or the kernel does not take it.
        """
        with self.opened(lock=lock) as fd:
            call(
                ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", "--lock=no",
                 "--wipe", "never" if old.label == table.label else "always", "--wipe-partitions", "never", self.path],
                doing="write the partition table of",
                path=self.path,
                log=self._log,
                stdin=_script(table).encode(),
            )  # fmt: skip
            if table.hybrid:
                padding = (mbr.Entry(),) * (mbr.ENTRIES - len(table.hybrid))
                mbr.write(fd, table.hybrid + padding, self.path)
            try:
                os.fsync(fd)
            except OSError as exc:
                raise self._error("cannot sync", exc) from exc
            there = self.table()
            if not same(there, table):
                raise DeviceError(
                    f"{self.path} holds another partition table than was written to it",
                    path=self.path,
                    errno=errno.EIO,
                    hint="the device may be failing: see dmesg",
                )
            return partnodes.tell(fd, self.path, self._ranges(table)) if self.is_device else []

    def named(self) -> list[gpt.Named]:
        """Partitions of a GPT with their names, by number.

        Raises:
            DeviceError: there is no valid GPT.
        """
        with self.opened(os.O_RDONLY) as fd:
            return self._gpt(fd).copy.partitions()

    def swap_names(self, pairs: list[tuple[str, str]], *, lock: bool = True) -> None:
        """Exchange names of GPT partitions, pair by pair; see ``gpt.Gpt.swap_names`` for what a power cut leaves.

        The kernel is asked to look again; while a partition is in use it goes on with the old names.

        Raises:
            DeviceError: a name is not there, or there twice, or the table cannot be read or written.
        """
        with self.opened(lock=lock) as fd:
            table = self._gpt(fd)
            parts = table.copy.partitions()
            table.swap_names(gpt.swaps(parts, pairs, self.path))
            if self.is_device:
                try:
                    partnodes.tell(fd, self.path, {part.number: self._range(part) for part in parts})
                except DeviceError as exc:  # the names are switched, whatever the kernel makes of it
                    self._log("warn", f"{exc.message}; it sees the new names after the next boot")

    def is_active(self, number: int) -> bool:
        """Whether a partition of a DOS table is marked as active, and no other.

        Raises:
            DeviceError: there is no DOS table, or no such partition.
        """
        with self.opened(os.O_RDONLY) as fd:
            entries = self._dos(fd, number)
        return all(entry.active == (place == number) for place, entry in enumerate(entries, 1))

    def activate(self, number: int) -> None:
        """Mark one partition of a DOS table as active, and no other; one sector, so old or new whatever happens.

        Raises:
            DeviceError: there is no DOS table, or no such partition.
        """
        with self.opened() as fd:
            entries = self._dos(fd, number)
            changed = tuple(entry._replace(active=place == number) for place, entry in enumerate(entries, 1))
            mbr.write(fd, changed, self.path)

    def node(self, number: int) -> str:
        """The device of a partition.

        Raises:
            DeviceError: the kernel knows none of this number.
        """
        there = partnodes.known(self.path)
        if number not in there:
            raise DeviceError(
                f"the kernel knows no partition {number} of {self.path}",
                path=self.path,
                errno=errno.ENODEV,
                hint="" if self.is_device else "a disk image has to be attached first: losetup -P",
            )
        return there[number].path

    def _range(self, part: gpt.Named) -> partnodes.Range:
        n_sectors = part.last_lba - part.first_lba + 1
        return partnodes.Range(part.first_lba * self.sector_bytes, n_sectors * self.sector_bytes)

    def _gpt(self, fd: int) -> gpt.Gpt:
        return gpt.Gpt(fd, self.sector_bytes, self.size_sectors, self.path)

    def _has_gpt(self, fd: int) -> bool:
        try:
            self._gpt(fd)
        except DeviceError as exc:
            if exc.errno != errno.EINVAL:
                raise
            return False
        return True

    def _dos(self, fd: int, number: int) -> tuple[mbr.Entry, ...]:
        entries = mbr.read(fd, self.path)
        if not entries or _is_protective(entries):
            raise DeviceError(f"{self.path} has no DOS partition table", path=self.path, errno=errno.EINVAL)
        if not 1 <= number <= len(entries) or not entries[number - 1].kind:
            raise DeviceError(f"{self.path} has no partition {number}", path=self.path)
        return entries

    def _ranges(self, table: Table) -> dict[int, partnodes.Range | None]:
        return {
            part.number: None
            if is_extended(part)
            else partnodes.Range(part.start * self.sector_bytes, part.size * self.sector_bytes)
            for part in table.partitions
        }

    def _lock(self, fd: int) -> None:
        until_s = time.monotonic() + self.lock_wait_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > until_s:
                    raise DeviceError(
                        f"{self.path} is locked by another program",
                        path=self.path,
                        errno=errno.EWOULDBLOCK,
                        hint="lslocks tells which; the property nolock overrules this",
                    ) from None
            except OSError as exc:
                raise self._error("cannot lock", exc) from exc
            time.sleep(_TICK_S)

    def _error(self, what: str, exc: OSError) -> DeviceError:
        return DeviceError(f"{what} {self.path}: {exc.strerror}", path=self.path, errno=exc.errno)


def _is_protective(entries: tuple[mbr.Entry, ...]) -> bool:
    return any(entry.kind == mbr.GPT_PROTECTIVE for entry in entries)


def is_extended(part: Partition) -> bool:
    """Whether it only holds other partitions (DOS)."""
    return len(part.kind) <= 2 and int(part.kind, 16) in mbr.EXTENDED


def same(one: Table, other: Table) -> bool:
    """Whether two tables divide a disk alike; a field that only one of them knows (id, UUIDs) is passed over."""
    if one.label != other.label or one.hybrid != other.hybrid or len(one.partitions) != len(other.partitions):
        return False
    return all(_alike(*pair) for pair in zip(one.partitions, other.partitions, strict=True))


def _alike(one: Partition, other: Partition) -> bool:
    if one.uuid and other.uuid and one.uuid.upper() != other.uuid.upper():
        return False
    return one._replace(uuid="", kind=one.kind.upper()) == other._replace(uuid="", kind=other.kind.upper())


def speakable(name: str) -> bool:
    """Whether sfdisk can be told this name of a partition."""
    return _PLAIN_NAME.match(name) is not None


def _table(told: dict[str, Any], path: str) -> Table:
    partitions = [_partition(one, path) for one in told.get("partitions", ())]
    return Table(str(told["label"]), str(told.get("id", "")), tuple(sorted(partitions)))


def _partition(told: dict[str, Any], path: str) -> Partition:
    match = _NODE.match(str(told["node"]).removeprefix(path))
    if match is None:
        raise ValueError(f"node {told['node']!r}")
    return Partition(
        int(match[1]),
        int(told["start"]),
        int(told["size"]),
        str(told["type"]),
        str(told.get("name", "")),
        str(told.get("uuid", "")),
        told.get("bootable") is True,
        str(told.get("attrs", "")),
    )


def _script(table: Table) -> str:
    """The table in sfdisk's words."""
    lines = [f"label: {table.label}"]
    if table.id:
        lines.append(f"label-id: {table.id}")
    lines += ["unit: sectors", ""]
    for part in table.partitions:
        fields = [
            f"start={part.start}",
            f"size={part.size}",
            f"type={part.kind.zfill(2)}",
        ]  # one digit alone could be a shortcut
        if part.uuid:
            fields.append(f"uuid={part.uuid}")
        if part.name:
            fields.append(f'name="{part.name}"')
        if part.attributes:
            fields.append(f'attrs="{part.attributes}"')
        if part.bootable:
            fields.append("bootable")
        lines.append(f"/dev/disk-p{part.number} : {', '.join(fields)}")
    return "\n".join(lines) + "\n"
