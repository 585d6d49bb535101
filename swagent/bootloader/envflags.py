"""U-Boot's ``.flags`` variable: which values a variable may have and who may change it.

A list ``name:<type><access>,...``. Types: s any text, d decimal, x hexadecimal, b boolean, i IPv4 address, m Ethernet
address. Access: a any, r read-only, o write once, c changeable while it has its default (which is compiled into U-Boot,
so nothing outside can tell: treated as o). U-Boot drops values that break the rules when it boots, so they are never
written (upstream: U-Boot, doc/README.environment).
"""

import re
from collections.abc import Mapping

from swagent.errors import BootEnvError

_VALUE = {
    "d": ("a decimal number", re.compile(r"-?[0-9]+\Z")),
    "x": ("a hexadecimal number", re.compile(r"(0[xX])?[0-9a-fA-F]+\Z")),
    "b": ("a boolean", re.compile(r"[01yYnNtTfF]\Z")),
    "i": ("an IPv4 address", re.compile(r"((25[0-5]|2[0-4]\d|1?\d?\d)(\.(?!\Z)|\Z)){4}\Z", re.ASCII)),
    "m": ("an Ethernet address", re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}\Z")),
}


def check(rules: str, stored: Mapping[str, str], changes: Mapping[str, str | None]) -> None:
    """Refuse changes that U-Boot would not accept.

    Args:
        rules: value of ``.flags``.
        stored: variables as they are.
        changes: what shall become different, None to remove.

    Raises:
        BootEnvError: a change breaks a rule.
    """
    for rule in rules.split(","):
        name, _, attributes = rule.strip().partition(":")
        if name not in changes:
            continue
        old, new = stored.get(name), changes[name]
        if old == new:
            continue
        access = attributes[1:2] or "a"
        if access == "r" or (access in ("o", "c") and old is not None):
            word = "read-only" if access == "r" else "set once and for all"
            raise BootEnvError(
                f"boot variable {name!r} is {word} by its entry in .flags",
                hint="leave it out of the image, or change .flags",
            )
        kind = _VALUE.get(attributes[:1])
        if kind is not None and new is not None and not kind[1].match(new):
            raise BootEnvError(
                f"boot variable {name!r} must be {kind[0]} by its entry in .flags, not {new!r}",
                hint="correct the value, or change .flags",
            )
