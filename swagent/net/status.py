"""What SWUpdate's web server tells over its WebSocket (runtime interfaces §4.1). Knows no sockets."""

from typing import NamedTuple

MESSAGE_BYTES_MAX = 64 * 1024
TEXT_CHARS_MAX = 500
SUCCESS, FAILURE = "SUCCESS", "FAILURE"

_LEVELS = ("error", "error", "error", "error", "warn", "info", "info", "debug")
"""Of RFC 5424's digits."""


class State(NamedTuple):
    """The installer's state has changed."""

    word: str


class Line(NamedTuple):
    """A line of its log."""

    level: str
    text: str


def read_message(message: bytes) -> State | Line | None:
    """What a message says; None for other messages, and for what cannot be read.

    SWUpdate cuts long texts in the middle, which is no JSON then; states are never among them.
    """
    import json

    try:
        told = json.loads(message.decode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    match told:
        case {"type": "status", "status": str(word)}:
            return State(word[:TEXT_CHARS_MAX])
        case {"type": "message", "text": str(text), **rest}:
            digit = str(rest.get("level", ""))
            level = _LEVELS[int(digit)] if digit in tuple("01234567") else "info"
            return Line(level, text[:TEXT_CHARS_MAX])
    return None
