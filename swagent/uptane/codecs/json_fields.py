"""Members of JSON objects, each with its type judged; a mistake names the member."""

from collections.abc import Mapping, Sequence
from typing import Any

from .base import ITEMS_MAX, NotUnderstood

_TEXT_MAX = 64 * 1024  # characters; a PEM certificate chain has less
_MISSING: Any = object()


def mapping(owner: Mapping[str, Any], name: str, *, default: Any = _MISSING) -> Mapping[str, Any]:
    """An object. Raises NotUnderstood."""
    if name not in owner and default is not _MISSING:
        return as_mapping(default, name)
    return as_mapping(_take(owner, name), name)


def items(owner: Mapping[str, Any], name: str, *, default: Any = _MISSING) -> Sequence[Any]:
    """An array. Raises NotUnderstood."""
    if name not in owner and default is not _MISSING:
        return as_list(default, name)
    return as_list(_take(owner, name), name)


def text(owner: Mapping[str, Any], name: str, *, empty: bool = False) -> str:
    """A string, not empty unless it may be. Raises NotUnderstood."""
    value = _take(owner, name)
    if not isinstance(value, str) or (not value and not empty) or len(value) > _TEXT_MAX:
        raise NotUnderstood(f"{name} is not a text of reasonable length")
    return value


def optional_text(owner: Mapping[str, Any], name: str) -> str:
    """A string, "" when it is not there. Raises NotUnderstood."""
    return text(owner, name, empty=True) if owner.get(name) is not None else ""


def texts(owner: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """An array of strings. Raises NotUnderstood."""
    found = items(owner, name)
    if not all(isinstance(item, str) for item in found):
        raise NotUnderstood(f"{name} is not a list of texts")
    return tuple(found)


def text_mapping(owner: Mapping[str, Any], name: str) -> Mapping[str, str]:
    """An object of strings. Raises NotUnderstood."""
    found = mapping(owner, name)
    if not all(isinstance(value, str) for value in found.values()):
        raise NotUnderstood(f"{name} holds something else than texts")
    return found


def integer(owner: Mapping[str, Any], name: str, *, least: int, most: int = 2**63 - 1) -> int:
    """A number within bounds. Raises NotUnderstood."""
    value = as_integer(_take(owner, name), name)
    if not least <= value <= most:
        raise NotUnderstood(f"{name} is {value}, not within {least} and {most}")
    return value


def boolean(owner: Mapping[str, Any], name: str, *, default: bool | None = None) -> bool:
    """A truth value. Raises NotUnderstood."""
    if name not in owner and default is not None:
        return default
    value = _take(owner, name)
    if not isinstance(value, bool):
        raise NotUnderstood(f"{name} is neither true nor false")
    return value


def hexadecimal(owner: Mapping[str, Any], name: str) -> bytes:
    """Bytes as hexadecimal digits. Raises NotUnderstood."""
    try:
        return bytes.fromhex(text(owner, name, empty=True))
    except ValueError as exc:
        raise NotUnderstood(f"{name} is not hexadecimal") from exc


def as_mapping(value: Any, name: str) -> Mapping[str, Any]:
    """The value, if it is an object. Raises NotUnderstood."""
    if not isinstance(value, dict) or len(value) > ITEMS_MAX:
        raise NotUnderstood(f"{name[:60]} is not an object of reasonable size")
    return value


def as_list(value: Any, name: str) -> Sequence[Any]:
    """The value, if it is an array. Raises NotUnderstood."""
    if not isinstance(value, list) or len(value) > ITEMS_MAX:
        raise NotUnderstood(f"{name[:60]} is not a list of reasonable size")
    return value


def as_integer(value: Any, name: str) -> int:
    """The value, if it is a number. Raises NotUnderstood."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise NotUnderstood(f"{name} is not a number")
    return value


def _take(owner: Mapping[str, Any], name: str) -> Any:
    if name not in owner:
        raise NotUnderstood(f"{name} is missing")
    return owner[name]
