"""The bytes of GRUB's environment block: a header line, ``name=value`` lines, and ``#`` up to 1024 bytes.

GRUB writes a backslash before each backslash and line end of a value, and takes any such pair for the second character.
Lines that begin with ``#`` are comments. Values are handled here as GRUB does it, which upstream's bootloader/grub.c
does not: it stores them as they are (handlers §4.2).
"""

import re
from collections.abc import Mapping

from swagent.errors import BootEnvError

SIZE_BYTES = 1024
HEADER = b"# GRUB Environment Block\n"
_LINE = re.compile(rb"(?:[^\\\n]|\\.)*\n", re.DOTALL)
_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_TO_ESCAPE = re.compile(rb"([\\\n])")


def parse(raw: bytes, where: str) -> dict[str, str]:
    """Variables by name; of two with the same name the last, as GRUB loads them.

    Args:
        raw: the whole block.
        where: what to call it in messages.

    Returns:
        names and values; bytes that are no UTF-8 are surrogate escapes.

    Raises:
        BootEnvError: it is damaged.
    """
    return {
        name.decode("utf-8", "surrogateescape"): _PAIR.sub(rb"\1", value).decode("utf-8", "surrogateescape")
        for line in _lines(raw, where)
        if not line.startswith(b"#")
        for name, _, value in (line[:-1].partition(b"="),)
    }


def change(raw: bytes, changes: Mapping[str, str | None], where: str) -> bytes:
    """A block with some variables different; comments, other variables and their order stay.

    Args:
        raw: the whole block as it is.
        changes: new value by name, None to remove the variable.
        where: what to call it in messages.

    Raises:
        BootEnvError: it is damaged, a name or value cannot be stored, or they do not fit.
    """
    wanted = {_encode(name): _encoded_line(name, value) for name, value in changes.items()}
    missing = dict(wanted)
    lines = []
    for line in _lines(raw, where):
        name = line.partition(b"=")[0]
        # of a name that is there twice the first becomes the new one; GRUB would load the last
        lines.append(missing.pop(name, b"") if name in wanted else line)
    block = HEADER + b"".join(lines) + b"".join(missing.values())
    if len(block) > SIZE_BYTES:
        raise BootEnvError(
            f"the environment block of GRUB has room for {SIZE_BYTES} bytes, its variables need {len(block)}",
            hint=f"remove variables with `grub-editenv {where} unset NAME`",
        )
    return block.ljust(SIZE_BYTES, b"#")


def check_variable(name: str, value: str) -> None:
    """Whether a variable can be stored at all.

    Raises:
        BootEnvError: its name is empty, begins with ``#`` or has ``=``, a backslash or a line end in it, or a NUL or
            an impossible character is in either.
    """
    _encoded_line(name, value)


def _lines(raw: bytes, where: str) -> list[bytes]:
    """Comments and variables, each with its line end."""
    if len(raw) != SIZE_BYTES:
        size = f"more than {SIZE_BYTES}" if len(raw) > SIZE_BYTES else str(len(raw))
        raise _damaged(where, f"it has {size} bytes, not {SIZE_BYTES}")
    if not raw.startswith(HEADER):
        raise _damaged(where, f"it does not begin with the line `{HEADER.decode().strip()}`")
    body = raw[len(HEADER) :].rstrip(b"#")
    lines = _LINE.findall(body)
    if sum(map(len, lines)) != len(body):
        raise _damaged(where, "its last line has no end")
    for line in lines:
        if not line.startswith(b"#") and line.find(b"=") < 1:
            raise _damaged(where, f"{line[:40]!r} is no name=value line: GRUB would misread what follows")
    return lines


def _damaged(where: str, why: str) -> BootEnvError:
    return BootEnvError(
        f"{where} is no environment block of GRUB: {why}",
        hint=f"see what is in it; `grub-editenv {where} create` makes an empty one",
    )


def _encoded_line(name: str, value: str | None) -> bytes:
    raw_name = _encode(name)
    if not name or name.startswith("#") or re.search(rb"[=\\\n\0]", raw_name):
        raise BootEnvError(
            f"{name!r} is no name for a variable of GRUB", hint="it needs letters, digits and underscores"
        )
    if value is None:
        return b""
    if "\0" in value:
        raise BootEnvError(f"the value of boot variable {name!r} has a NUL in it")
    return raw_name + b"=" + _TO_ESCAPE.sub(rb"\\\1", _encode(value)) + b"\n"


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as exc:
        raise BootEnvError(f"boot variable {text[:80]!r} has a character that cannot be stored") from exc
