"""The bytes of one environment of EFI Boot Guard, BGENV.DAT: packed, little endian, a CRC-32 at the end.

A fixed head (kernel, its parameters, watchdog, state, revision), then user variables: name and NUL, u32 length of what
follows (itself counted), u64 type, value; an empty name ends them. Room for them is a build option of the boot loader,
128 KiB unless changed, and follows from the length of the file (handlers §4.3).
"""

import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from swagent.errors import BootEnvError

TEXT_BYTES = 510  # 255 units of UTF-16, the last one 0
_STATE = struct.Struct("<BBHI")  # in_progress, ustate, watchdog_timeout_sec, revision
_PAYLOAD = struct.Struct("<IQ")  # length of itself and what follows, type
_CRC = struct.Struct("<I")
HEAD_BYTES = 2 * TEXT_BYTES + _STATE.size
SMALLEST_BYTES = HEAD_BYTES + 1 + _CRC.size
LARGEST_BYTES = 4 << 20
STRING_TYPE = 32

FIELDS = ("kernelfile", "kernelparams", "watchdog_timeout_sec", "revision", "ustate", "in_progress")
"""Names that mean the head, and no user variable."""


class Record(NamedTuple):
    """One user variable; of type ``STRING_TYPE`` the value ends with a NUL."""

    name: bytes
    type: int
    value: bytes


class Environment(NamedTuple):
    """One environment.

    Attributes:
        kernelfile: as stored, UTF-16 of ``TEXT_BYTES`` with what is behind its NUL; so is ``kernelparams``.
        in_progress: not 0 while somebody is changing it; the boot loader passes it over.
        ustate: 0 good, 1 installed, 2 being tried, 3 failed.
        watchdog_timeout_sec: seconds, 0 for none.
        revision: the highest one boots; 0 marks a failed one.
        records: user variables, in their order.
        size_bytes: of the whole.
    """

    kernelfile: bytes
    kernelparams: bytes
    in_progress: int
    ustate: int
    watchdog_timeout_sec: int
    revision: int
    records: tuple[Record, ...]
    size_bytes: int


def parse(raw: bytes, where: str) -> Environment | None:
    """An environment; None when its length is impossible or its checksum wrong, which the boot loader takes for empty.

    Raises:
        BootEnvError: the checksum is right and the user variables are damaged; ``where`` names it.
    """
    if not SMALLEST_BYTES <= len(raw) <= LARGEST_BYTES:
        return None
    end = len(raw) - _CRC.size
    if _CRC.unpack_from(raw, end)[0] != zlib.crc32(memoryview(raw)[:end]):
        return None
    in_progress, ustate, watchdog, revision = _STATE.unpack_from(raw, 2 * TEXT_BYTES)
    return Environment(
        raw[:TEXT_BYTES],
        raw[TEXT_BYTES : 2 * TEXT_BYTES],
        in_progress,
        ustate,
        watchdog,
        revision,
        _records(raw[HEAD_BYTES:end], where),
        len(raw),
    )


def build(env: Environment) -> bytes:
    """The bytes of an environment.

    Raises:
        BootEnvError: its user variables do not fit.
    """
    data = b"".join(
        record.name + b"\0" + _PAYLOAD.pack(_PAYLOAD.size + len(record.value), record.type) + record.value
        for record in env.records
    )
    room_bytes = env.size_bytes - HEAD_BYTES - 1 - _CRC.size  # the empty name at the end takes one
    if len(data) > room_bytes:
        raise BootEnvError(
            f"EFI Boot Guard has room for {room_bytes} bytes of user variables, these need {len(data)}",
            hint="remove variables",
        )
    state = _STATE.pack(env.in_progress, env.ustate, env.watchdog_timeout_sec, env.revision)
    raw = env.kernelfile + env.kernelparams + state + data.ljust(room_bytes + 1, b"\0")
    return raw + _CRC.pack(zlib.crc32(raw))


def variables(env: Environment) -> dict[str, str]:
    """The head and the user variables that are strings, by name; of two with the same name the first.

    Bytes that are no UTF-8 become surrogate escapes.
    """
    found = {
        "kernelfile": _from_utf16(env.kernelfile),
        "kernelparams": _from_utf16(env.kernelparams),
        "watchdog_timeout_sec": str(env.watchdog_timeout_sec),
        "revision": str(env.revision),
        "ustate": str(env.ustate),
        "in_progress": str(env.in_progress),
    }
    for record in env.records:
        if record.type == STRING_TYPE:
            value = record.value.partition(b"\0")[0]
            found.setdefault(
                record.name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")
            )
    return found


def change(env: Environment, changes: Mapping[str, str | None]) -> Environment:
    """An environment with some variables different; user variables of other types stay as they are.

    Args:
        env: as it is.
        changes: new value by name, None to remove. ``kernelfile`` and ``watchdog_timeout_sec`` cannot be removed;
            the rest of the head is not changed here.

    Raises:
        BootEnvError: a name or value cannot be stored.
    """
    fields: dict[str, bytes | int] = {}
    wanted: dict[bytes, bytes] = {}
    for name, value in changes.items():
        if name == "kernelparams" or (name == "kernelfile" and value is not None):
            fields[name] = _to_utf16(name, value or "")
        elif name == "watchdog_timeout_sec" and value is not None:
            fields[name] = _seconds(value)
        elif name in FIELDS:
            raise BootEnvError(
                f"{name} of EFI Boot Guard cannot be {'set' if value else 'removed'} by an update"
            )
        else:
            wanted[_encoded_name(name)] = b"" if value is None else _encoded_value(name, value)
    records = []
    missing = dict(wanted)
    for record in env.records:
        if record.name not in wanted:
            records.append(record)
        elif raw := missing.pop(record.name, b""):
            records.append(Record(record.name, STRING_TYPE, raw))
    records += [Record(name, STRING_TYPE, raw) for name, raw in missing.items() if raw]
    return env._replace(**fields, records=tuple(records))  # type: ignore[arg-type]  # each has its field's type


def _records(data: bytes, where: str) -> tuple[Record, ...]:
    records = []
    at = 0
    while at < len(data) and data[at]:
        end = data.find(b"\0", at)
        start = end + 1
        if end < 0 or start + _PAYLOAD.size > len(data):
            raise _damaged(where)
        length, kind = _PAYLOAD.unpack_from(data, start)
        if length < _PAYLOAD.size or start + length >= len(data):
            raise _damaged(where)
        records.append(Record(data[at:end], kind, data[start + _PAYLOAD.size : start + length]))
        at = start + length
    return tuple(records)


def _damaged(where: str) -> BootEnvError:
    return BootEnvError(
        f"the user variables in {where} are damaged, although the checksum is right",
        hint="make the environment anew with bg_setenv",
    )


def _from_utf16(raw: bytes) -> str:
    units = [raw[at : at + 2] for at in range(0, len(raw), 2)]
    length = units.index(b"\0\0") if b"\0\0" in units else len(units)
    return raw[: 2 * length].decode("utf-16-le", "replace")


def _to_utf16(name: str, value: str) -> bytes:
    try:
        raw = value.encode("utf-16-le")
    except UnicodeEncodeError as exc:
        raise BootEnvError(f"{name} has a character that EFI Boot Guard cannot store") from exc
    if "\0" in value:
        raise BootEnvError(f"the value of {name} has a NUL in it")
    if len(raw) >= TEXT_BYTES:
        raise BootEnvError(
            f"{name} has {len(raw) // 2} characters of UTF-16, EFI Boot Guard has room for {TEXT_BYTES // 2 - 1}"
        )
    return raw.ljust(TEXT_BYTES, b"\0")


def _seconds(value: str) -> int:
    if not (value.isascii() and value.isdecimal()) or len(value) > 5 or int(value) > 0xFFFF:
        raise BootEnvError(
            f"watchdog_timeout_sec is {value[:40]!r}, not a number of seconds up to 65535",
            hint="0 leaves the watchdog alone",
        )
    return int(value)


def _encoded_name(name: str) -> bytes:
    raw = _encode(name, name)
    if not raw or any(byte in raw for byte in b"=\n\0"):
        raise BootEnvError(
            f"{name!r} is no name for a boot variable", hint="it needs a name of one line without `=`"
        )
    return raw


def _encoded_value(name: str, value: str) -> bytes:
    if "\0" in value:
        raise BootEnvError(f"the value of boot variable {name!r} has a NUL in it")
    return _encode(name, value) + b"\0"


def _encode(name: str, text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as exc:
        raise BootEnvError(f"boot variable {name[:80]!r} has a character that cannot be stored") from exc
