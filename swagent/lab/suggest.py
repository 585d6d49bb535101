"""Rules that fit one item and no other of its type, for the configuration of a server."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from .items import INSTANCE, NAME, PROVIDER_NAME

_PREFERRED = (
    NAME,
    "udev.ID_SERIAL_SHORT",
    "udev.ID_PATH",
    "udev.ID_VENDOR_ID",
    "udev.ID_MODEL_ID",
    "udev.ID_USB_INTERFACE_NUM",
    "udev.OF_FULLNAME",
    "udev.DEVPATH",
    PROVIDER_NAME,
)
"""What tells items from each other, the best first: serial numbers stay, paths stay while nobody replugs."""
_CHANGING = re.compile(r"(tty[A-Z]+|gpiochip|usb|bus)[0-9-]*|[0-9.:-]+")
"""Names that the kernel gives anew at each start."""
_MOST = 4
_PLAIN = re.compile(r"[A-Za-z0-9_/.@+-][A-Za-z0-9_/.@:+-]*(?<!:)")


def rule_for(item: Mapping[str, str], others: Sequence[Mapping[str, str]]) -> dict[str, str] | None:
    """The shortest of the best rules that fit an item and none of the others; None when they cannot be told apart."""
    needed = {INSTANCE: item[INSTANCE]} if INSTANCE in item else {}
    rivals = [one for one in others if one.get(INSTANCE) == item.get(INSTANCE)]
    for keys in _choices(item):
        rule = {**needed, **{key: item[key] for key in keys}}
        if not any(all(one.get(key) == value for key, value in rule.items()) for one in rivals):
            return rule
    return None


def as_yaml(rule: Mapping[str, str]) -> str:
    """``match: { name: value }``; values stand as they are, which ``match`` keeps."""
    pairs = (f"{key}: {_quoted(value)}" for key, value in rule.items())
    return f"match: {{ {', '.join(pairs)} }}"


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    import yaml

    return str(yaml.safe_dump(value, default_style='"', width=1 << 20)).strip()


def _choices(item: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    known = [key for key in _PREFERRED if item.get(key)]
    if NAME in known and _CHANGING.fullmatch(item[NAME]) and len(known) > 1:
        known.remove(NAME)
    for count in range(1, min(_MOST, len(known)) + 1):
        yield from combinations(known, count)
