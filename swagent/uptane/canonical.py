"""JSON as signatures need it: strict reading, and the canonical form (OLPC; securesystemslib ``encode_canonical``)."""

import json
import re
from collections.abc import Iterable
from typing import Any

DEPTH_MAX = 64
_INT_DIGITS_MAX = 19
_INT_MAX = 2**63 - 1
# What json.dumps escapes though canonical JSON does not: everything but the quote and the backslash itself.
_ESCAPE = re.compile(r'\\(["\\]|[nrtbf]|u[0-9a-f]{4})')
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_SHORT = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


def load(raw: bytes) -> Any:
    """The value that ``raw`` holds.

    Raises:
        ValueError: no JSON, or JSON that different readers might read differently: duplicate keys, fractions, numbers
            beyond 64 bits, invalid UTF-8, unpaired surrogates, deep nesting, something behind the end.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_object,
            parse_float=_no_float,
            parse_constant=_no_float,
            parse_int=_integer,
        )
        if _SURROGATE.search(raw):
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # which an unpaired one has not
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    _judge_depth(value)
    return value


def encode(value: Any) -> bytes:
    """The canonical form: sorted keys, no white space, only quote and backslash escaped.

    Raises:
        ValueError: a string that has no UTF-8 form.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return _ESCAPE.sub(_raw, text).encode("utf-8") if "\\" in text else text.encode("utf-8")


def encode_compact(value: Any) -> bytes:
    """As jsoncpp writes it: like the canonical form, but with control characters escaped.

    Raises:
        ValueError: a string that has no UTF-8 form.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def _raw(match: re.Match[str]) -> str:
    what = match[1]
    if what in ('"', "\\"):
        return match[0]
    return _SHORT[what] if len(what) == 1 else chr(int(what[1:], 16))


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key[:60]!r} stands there twice")
        found[key] = value
    return found


def _no_float(text: str) -> Any:
    raise ValueError(f"{text[:20]} is not an integer")


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > _INT_DIGITS_MAX or not -_INT_MAX - 1 <= int(text) <= _INT_MAX:
        raise ValueError(f"the number {text[:24]} has more than 64 bits")
    return int(text)


def _judge_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH_MAX + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        level = [item for item in inner if isinstance(item, dict | list)]
        if not level:
            return
    raise ValueError("nested too deeply")
