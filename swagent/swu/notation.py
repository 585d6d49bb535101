"""A description as a tree, and back to text that SWUpdate reads.

Comments and layout of the template get lost: the text in the image is written anew from the tree, in the template's
order, so the same tree always gives the same bytes.

The tree is made of dicts, lists (libconfig's arrays ``[]``, and everything in JSON), tuples (libconfig's lists ``()``)
and scalars.
"""

import re
from collections.abc import Iterator
from typing import Any

from swagent.errors import DescriptionError

_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}
_TO_ESCAPE = re.compile(r'[\\"\x00-\x1f\x7f]')
_INT32_MIN, _INT32_MAX = -(2**31), 2**31 - 1
_INDENT = "    "


def is_json(text: str) -> bool:
    """Whether the text is JSON rather than libconfig: it begins with a brace (swu format §2.1)."""
    return text.lstrip()[:1] == "{"


def dump(tree: dict[str, Any], *, json: bool) -> bytes:
    """Text of a tree, UTF-8, with a newline at its end.

    Raises:
        DescriptionError: a string that the notation cannot express.
    """
    if json:
        from json import dumps

        text = dumps(tree, indent=4, ensure_ascii=False) + "\n"
    else:
        text = "".join(_group(tree, ""))
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise DescriptionError(f"a string of the description is not valid text: {exc.reason}") from exc


def _group(group: dict[str, Any], indent: str) -> Iterator[str]:
    for name, value in group.items():
        yield f"{indent}{name} = "
        yield from _value(value, indent)
        yield ";\n"


def _value(value: Any, indent: str) -> Iterator[str]:
    deeper = indent + _INDENT
    if isinstance(value, dict):
        yield "{\n"
        yield from _group(value, deeper)
        yield indent + "}"
    elif isinstance(value, tuple):
        yield "(\n"
        for index, item in enumerate(value):
            yield ",\n" + deeper if index else deeper
            yield from _value(item, deeper)
        yield ("\n" if value else "") + indent + ")"
    elif isinstance(value, list):
        # an array has one type: one long integer makes all of them long
        long = any(_is_long(item) for item in value)
        yield "[ " + ", ".join(_scalar(item, long=long) for item in value) + " ]"
    else:
        yield _scalar(value, long=_is_long(value))


def _is_long(value: Any) -> bool:
    return isinstance(value, int) and not _INT32_MIN <= value <= _INT32_MAX


def _scalar(value: Any, *, long: bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}L" if long else str(value)
    if isinstance(value, float):
        return repr(value)
    if "\0" in value:
        raise DescriptionError("a string of the description has a NUL character")
    return '"' + _TO_ESCAPE.sub(_escape, value) + '"'


def _escape(match: re.Match[str]) -> str:
    return _ESCAPED.get(match[0]) or f"\\x{ord(match[0]):02x}"
