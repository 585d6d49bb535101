"""JSON to dicts, lists and scalars (swu format §2.3), strictly: SWUpdate's reader also takes comments and junk."""

import json
from typing import Any

from swagent.errors import DescriptionError

from .text import decode

DEPTH_MAX = 32
"""As for libconfig."""

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_INT64_LENGTH_MAX = 20


def read(text: bytes, *, where: str = "sw-description") -> dict[str, Any]:
    """Parse a JSON document whose outermost value is an object.

    Args:
        text: UTF-8; the caller bounds its size.
        where: how messages call it, such as the file's path.

    Raises:
        DescriptionError: it is not JSON, names something twice, is nested too deeply, or has a number beyond 64 bits.
    """
    decoded = decode(text, where=where)

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, value in members:
            if name in result:
                raise DescriptionError(
                    f"{where}: {name[:80]!r} stands twice in one object", hint="remove one of the two"
                )
            result[name] = value
        return result

    def integer(word: str) -> int:
        value = int(word) if len(word) <= _INT64_LENGTH_MAX else _INT64_MAX + 1
        if not _INT64_MIN <= value <= _INT64_MAX:
            raise DescriptionError(f"{where}: the number {word[:40]} needs more than 64 bits")
        return value

    def constant(word: str) -> float:
        raise DescriptionError(f"{where}: {word} is not a JSON number")

    try:
        tree = json.loads(decoded, object_pairs_hook=pairs, parse_int=integer, parse_constant=constant)
    except json.JSONDecodeError as exc:
        raise DescriptionError(
            f"{where}:{exc.lineno}: this is not JSON: {exc.msg}",
            hint="comments, single quotes and trailing commas are not JSON",
        ) from exc
    except RecursionError as exc:
        raise DescriptionError(f"{where}: objects and arrays are nested too deeply") from exc
    if not isinstance(tree, dict):
        raise DescriptionError(f"{where}: the outermost value is not an object {{ }}")
    _check(tree, where)
    return tree


def _check(tree: object, where: str) -> None:
    """Refuse what JSON can say and a description cannot hold."""
    level: list[object] = [tree]
    for _ in range(DEPTH_MAX):
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below += value
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str):
                if "\0" in value:
                    raise DescriptionError(f"{where}: there is a NUL character in a string")
                if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
                    raise DescriptionError(f"{where}: half a surrogate pair (\\ud8..) is no character")
        if not below:
            return
        level = below
    raise DescriptionError(f"{where}: objects and arrays are nested more than {DEPTH_MAX} deep")
