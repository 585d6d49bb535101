"""Fastboot, the host's side (boardswarm §4.6): commands in text, answers known by their first four letters."""

from collections.abc import Iterator
from typing import NamedTuple

from .errors import Failed
from .steps import BulkIn, BulkOut, Steps

KIND = (0xFF, 0x42, 0x03)
"""Class, subclass and protocol of its interface."""
STAGE = "stage"
"""The target that is downloaded and not flashed."""
_ANSWER_BYTES = 512
_LINES_MAX = 4096
_TIMEOUT_S = 5.0
_LONG_S = 600.0
"""How long a device may flash or erase without a word."""
_PIECE_BYTES = 1 << 20
_NAME_CHARS_MAX = 60


class Limits(NamedTuple):
    """What a device says of itself.

    Attributes:
        download_bytes: the most that it takes at once.
        partitions: their sizes in bytes, where it tells.
    """

    version: str
    download_bytes: int
    partitions: dict[str, int]


def number_of(text: str) -> int | None:
    """A size, which devices write as 0x…; None for anything else."""
    digits = text.strip().lower()
    if not digits.startswith("0x") or len(digits) > 18:
        return None
    try:
        return int(digits[2:], 16)
    except ValueError:
        return None


def is_name(target: str) -> bool:
    """Whether a target may stand in a command."""
    return 0 < len(target) <= _NAME_CHARS_MAX and all(33 <= ord(char) < 127 for char in target)


def ask(command: str, *, timeout_s: float = _TIMEOUT_S) -> Steps[tuple[str, list[str]]]:
    """Give a command; what stands behind OKAY or DATA, and the lines that came before.

    Raises:
        Failed: the device answers FAIL, or nothing that is an answer.
        DeviceError: it cannot be reached.
    """
    yield BulkOut(command.encode("ascii"))
    return (yield from _answer(command, timeout_s))


def _answer(command: str, timeout_s: float) -> Steps[tuple[str, list[str]]]:
    lines: list[str] = []
    for _ in range(_LINES_MAX):
        raw = yield BulkIn(_ANSWER_BYTES, timeout_s)
        kind, text = raw[:4], raw[4:].decode("ascii", errors="replace")
        if kind in (b"INFO", b"TEXT"):
            lines.append(text)
        elif kind in (b"OKAY", b"DATA"):
            return text, lines
        elif kind == b"FAIL":
            raise Failed(f"the device refuses {command}: {text or 'it does not say why'}")
        else:
            raise Failed(f"the device answers {command} with {bytes(raw[:20])!r}")
    raise Failed(f"the device does not end its answer to {command}")


def getvar(name: str) -> Steps[str]:
    """A variable of the device. Raises as ``ask``."""
    text, _ = yield from ask(f"getvar:{name}")
    return text.strip()


def limits() -> Steps[Limits]:
    """What must be known before anything is written.

    Raises:
        Failed: it does not tell its version and how much it takes.
        DeviceError: it cannot be reached.
    """
    try:
        _, lines = yield from ask("getvar:all")
    except Failed:
        lines = []
    partitions = dict(_partitions(lines))
    size = number_of((yield from getvar("max-download-size")))
    if not size or size > 1 << 32:
        raise Failed("the device does not say how much it takes at once")
    return Limits((yield from getvar("version")), size, partitions)


def _partitions(lines: list[str]) -> Iterator[tuple[str, int]]:
    for line in lines:
        found = line.strip().removeprefix("(bootloader)").strip()
        name, colon, size = found.removeprefix("partition-size:").rpartition(":")
        bytes_ = number_of(size)
        if found.startswith("partition-size:") and colon and bytes_ is not None and is_name(name.strip()):
            yield name.strip(), bytes_


def download(data: bytes) -> Steps[None]:
    """Bring data into the device's memory. Raises as ``ask``."""
    text, _ = yield from ask(f"download:{len(data):08x}")
    if number_of(f"0x{text.strip()}") != len(data):
        raise Failed(f"the device wants {text[:20]!r} bytes instead of {len(data):08x}")
    for at in range(0, len(data), _PIECE_BYTES):
        yield BulkOut(data[at : at + _PIECE_BYTES], _LONG_S)
    yield from _answer("download", _LONG_S)


def flash(target: str) -> Steps[None]:
    """Write what was downloaded. Raises as ``ask``."""
    yield from ask(f"flash:{target}", timeout_s=_LONG_S)


def erase(target: str) -> Steps[None]:
    """Erase. Raises as ``ask``."""
    yield from ask(f"erase:{target}", timeout_s=_LONG_S)


def go_on() -> Steps[None]:
    """Have the board start. Raises as ``ask``."""
    yield from ask("continue")
