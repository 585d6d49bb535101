"""From the properties of ``diskpart`` to a partition table with every number filled in (handlers §2.21).

Room is given as libfdisk gives it, so that a disk laid out by SWUpdate is found to be right: aligned to 1 MiB, a GPT
partition without ``start`` in the largest gap, a DOS one in the first; a size with a suffix is rounded to the nearest
MiB when it is larger than that, one without is exact.
"""

import re
from typing import NamedTuple

from swagent.errors import DescriptionError, SizeError
from swagent.hw import mbr
from swagent.hw.partitions import Disk, Partition, Table, is_extended, speakable
from swagent.sizes import parse_size

from .options import Numbered

GRAIN_BYTES = 1024 * 1024
GPT_ENTRIES = 128
GPT_ENTRY_BYTES = 128
DOS_PRIMARY = 4
DOS_NUMBERS_MAX = 60
DOS_SECTORS_MAX = 2**32 - 1
HYBRID_MAX = 3
NAME_UNITS_MAX = 36
LINUX = {"gpt": "0FC63DAF-8483-4772-8E79-3D69D8477DE4", "dos": "83"}
_HYBRID_GPT = mbr.Entry(mbr.GPT_PROTECTIVE, 1, 33)
_GUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\Z")
_HEX = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{1,2})\Z")
_SUFFIXES = frozenset("kKmMgG")  # none of which is a hexadecimal digit
_SWITCH = {"true": True, "TRUE": True, "false": False, "FALSE": False}


class Wanted(NamedTuple):
    """One ``partition-N``.

    Attributes:
        size_bytes: None for the rest of the disk.
        exact: whether the size was given without a suffix.
        start: first sector, None for the next free one.
        kind: GUID or hexadecimal digits, "" for Linux.
        dos_kind: of its entry in a hybrid DOS table, None for none.
        force: make the file system anew though it is there.
    """

    number: int
    size_bytes: int | None = None
    exact: bool = False
    start: int | None = None
    name: str = ""
    kind: str = ""
    uuid: str = ""
    bootable: bool = False
    dos_kind: int | None = None
    filesystem: str = ""
    filesystem_label: str = ""
    force: bool = False


def read(partitions: Numbered, label: str) -> list[Wanted]:
    """The partitions that are asked for, by number.

    Raises:
        DescriptionError: a key or value is not understood, or they do not go together.
    """
    if label not in LINUX:
        raise DescriptionError(f"labeltype is {label[:40]!r}, not gpt or dos")
    wanted = [_partition(number, values, label) for number, values in sorted(partitions.items())]
    most = GPT_ENTRIES if label == "gpt" else DOS_NUMBERS_MAX
    if wanted[0].number < 1 or wanted[-1].number > most:
        raise DescriptionError(f"partitions of a {label} table are partition-1 to partition-{most}")
    if sum(one.bootable for one in wanted) > 1:
        raise DescriptionError("only one partition can have the flag boot")
    if sum(one.dos_kind is not None for one in wanted) > HYBRID_MAX:
        raise DescriptionError(f"only {HYBRID_MAX} partitions can have a dostype")
    names = [one.name for one in wanted if one.name]
    for what, values in (("name", names), ("partuuid", [one.uuid for one in wanted if one.uuid])):
        if len(set(values)) < len(values):
            raise DescriptionError(f"two partitions have the same {what}")
    return wanted


def resolve(wanted: list[Wanted], label: str, disk: Disk, old: Table) -> Table:
    """The table for a disk; what is not asked for (UUIDs, the disk's own id, attributes) stays as it is there.

    Raises:
        SizeError: it does not fit.
        DescriptionError: partitions overlap, or a logical one has no extended one around it.
    """
    kept = {part.number: part for part in old.partitions} if old.label == label else {}
    names = _names(wanted, kept)
    room = _Room(label, disk)
    parts = []
    for one in wanted:
        start, size = room.take(one)
        there = kept.get(one.number)
        part = Partition(
            one.number,
            start,
            size,
            one.kind or LINUX[label],
            names[one.number],
            one.uuid or (there.uuid if there else ""),
            one.bootable,
            there.attributes if there and there.kind == (one.kind or LINUX[label]) else "",
        )
        parts.append(part)
        room.add(part)
    return Table(label, old.id if old.label == label else "", tuple(parts), _hybrid(wanted, parts))


def _names(wanted: list[Wanted], kept: dict[int, Partition]) -> dict[int, str]:
    """Number to name. Names that are all there stay where ``gptswap`` has put them: the running system has one."""
    names = {one.number: one.name for one in wanted}
    there = {number: kept[number].name for number in names if number in kept}
    same_names = sorted(there.values()) == sorted(names[number] for number in there)
    return names | there if same_names else names


class _Room:
    """The free part of a disk, in sectors."""

    def __init__(self, label: str, disk: Disk) -> None:
        self._gpt = label == "gpt"
        self._path = disk.path
        self._sector_bytes = disk.sector_bytes
        self._grain = GRAIN_BYTES // disk.sector_bytes
        end = disk.size_sectors
        if self._gpt:
            end -= 1 + -(-GPT_ENTRIES * GPT_ENTRY_BYTES // disk.sector_bytes)
        self._disk = (self._grain, end if self._gpt else min(end, DOS_SECTORS_MAX))
        self._taken: list[Partition] = []
        self._extended: Partition | None = None

    def add(self, part: Partition) -> None:
        """A partition takes its room."""
        self._taken.append(part)
        if not self._gpt and part.number <= DOS_PRIMARY and is_extended(part):
            self._extended = part

    def take(self, one: Wanted) -> tuple[int, int]:
        """First sector and number of sectors for a partition."""
        gaps = self._gaps(logical=not self._gpt and one.number > DOS_PRIMARY)
        if one.start is None:
            first, end = self._choose(gaps)
        else:
            first = one.start
            end = max((end for begin, end in gaps if begin <= first < end), default=first)
            if first == end:
                raise DescriptionError(f"partition-{one.number} begins at sector {first}, which is not free")
        if one.size_bytes is None:
            last = end - end % self._grain if end - end % self._grain > first else end
            size = last - first
        else:
            size = self._sectors(one, first)
        if size <= 0 or first + size > end:
            wants = f"{one.size_bytes} bytes" if one.size_bytes is not None else "the rest"
            raise SizeError(
                f"{self._path} has {max(0, end - first) * self._sector_bytes} bytes left for partition-{one.number}, "
                f"which wants {wants}"
            )
        return first, size

    def _choose(self, gaps: list[tuple[int, int]]) -> tuple[int, int]:
        aligned = [(-(-begin // self._grain) * self._grain, end) for begin, end in gaps]
        fitting = [(begin, end) for begin, end in aligned if begin < end]
        if not fitting:
            return 0, 0
        return max(fitting, key=lambda gap: gap[1] - gap[0]) if self._gpt else fitting[0]

    def _sectors(self, one: Wanted, first: int) -> int:
        size = (one.size_bytes or 0) // self._sector_bytes
        if one.exact or size - 1 <= self._grain:
            return size
        end = (first + size - 1 + self._grain // 2) // self._grain * self._grain
        return end - first

    def _gaps(self, *, logical: bool) -> list[tuple[int, int]]:
        """Free stretches: first sector, and the one behind the last; before a logical one its record has room."""
        begin, end = self._disk
        taken = [part for part in self._taken if self._gpt or part.number <= DOS_PRIMARY]
        if logical:
            if self._extended is None:
                raise DescriptionError("partitions from 5 on need an extended one (type 5 or f) before them")
            begin, end = self._extended.start, self._extended.start + self._extended.size
            taken = [part for part in self._taken if part.number > DOS_PRIMARY]
        gaps = []
        for part in sorted(taken, key=lambda part: part.start):
            gaps.append((begin, part.start))
            begin = part.start + part.size
        gaps.append((begin, end))
        return [(begin + (self._grain if logical else 0), end) for begin, end in gaps]


def _hybrid(wanted: list[Wanted], parts: list[Partition]) -> tuple[mbr.Entry, ...]:
    kinds = {one.number: one.dos_kind for one in wanted if one.dos_kind is not None}
    entries = []
    for part in parts:
        kind = kinds.get(part.number)
        if kind is not None:
            if part.start + part.size > DOS_SECTORS_MAX:
                raise SizeError(f"partition-{part.number} lies beyond what a DOS table can say")
            entries.append(mbr.Entry(kind, part.start, part.size))
    return (*entries, _HYBRID_GPT) if entries else ()


def _partition(number: int, values: tuple[str, ...], label: str) -> Wanted:
    one = Wanted(number)
    for value in values:
        key, equals, text = value.partition("=")
        try:
            if not equals:
                raise ValueError("it is no key=value")
            one = _with(one, key, text, label)
        except ValueError as exc:
            raise DescriptionError(f"partition-{number}: {value[:60]!r}: {exc}") from exc
    if one.force and not one.filesystem:
        raise DescriptionError(f"partition-{number}: force without fstype")
    return one


def _with(one: Wanted, key: str, text: str, label: str) -> Wanted:
    """With one more ``key=value``. Raises ValueError."""
    match key:
        case "size":
            size_bytes = parse_size(text)
            if size_bytes == 0:
                raise ValueError("it is 0; without size it takes the rest of the disk")
            return one._replace(size_bytes=size_bytes, exact=not _SUFFIXES & set(text))
        case "start":
            return one._replace(start=parse_size(text))
        case "name":
            if len(text.encode("utf-16-le")) > 2 * NAME_UNITS_MAX or not speakable(text):
                raise ValueError("a name has at most 36 characters, without quotes and backslashes")
            return one._replace(name=_only("gpt", text, label))
        case "type":
            return one._replace(kind=_kind(text, label))
        case "partuuid":
            if not _GUID.match(text):
                raise ValueError("it is no UUID")
            return one._replace(uuid=_only("gpt", text.upper(), label))
        case "flag":
            if text != "boot":
                raise ValueError("the only flag is boot")
            return one._replace(bootable=bool(_only("dos", text, label)))
        case "dostype":
            return one._replace(dos_kind=int(_hex(_only("gpt", text, label)), 16))
        case "fstype":
            return one._replace(filesystem=text)
        case "fslabel":
            return one._replace(filesystem_label=text)
        case "force":
            if text not in _SWITCH:
                raise ValueError("it is true or false")
            return one._replace(force=_SWITCH[text])
    raise ValueError("there is no such key")


def _only(needed: str, text: str, label: str) -> str:
    if label != needed:
        raise ValueError(f"only {needed} tables have that")
    return text


def _kind(text: str, label: str) -> str:
    if label == "dos":
        return _hex(text)
    if not _GUID.match(text):
        raise ValueError("it is no GUID of a partition type")
    return text.upper()


def _hex(text: str) -> str:
    match = _HEX.match(text)
    if match is None or int(match[1], 16) == 0:
        raise ValueError("it is no type of a DOS partition, such as 0x83")
    return f"{int(match[1], 16):x}"
