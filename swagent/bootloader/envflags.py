"""U-Boot's ``.flags`` variable and the writelist of fw_env.config: which values a variable may have, who may change it.

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
        _check_one(name, attributes, stored, changes, ".flags")


def check_writelist(
    writable: Mapping[str, str], stored: Mapping[str, str], changes: Mapping[str, str | None]
) -> None:
    """Refuse changes that the writelist of fw_env.config does not allow.

    Args:
        writable: type and access by name; access may also be w, which allows all. What is not in it is not written.
        stored: variables as they are.
        changes: what shall become different, None to remove.

    Raises:
        BootEnvError: a change is not allowed.
    """
    for name, value in changes.items():
        if name in writable:
            _check_one(name, writable[name], stored, changes, "the writelist")
        elif stored.get(name) != value:
            raise BootEnvError(
                f"boot variable {name!r} is not in the writelist of fw_env.config",
                hint=f"leave it out of the image, or add {name}:sw to the writelist",
            )


def _check_one(
    name: str, attributes: str, stored: Mapping[str, str], changes: Mapping[str, str | None], source: str
) -> None:
    old, new = stored.get(name), changes.get(name)
    if name not in changes or old == new:
        return
    access = attributes[1:2] or "a"
    if access == "r" or (access in ("o", "c") and old is not None):
        word = "read-only" if access == "r" else "set once and for all"
        raise BootEnvError(
            f"boot variable {name!r} is {word} by its entry in {source}",
            hint=f"leave it out of the image, or change {source}",
        )
    kind = _VALUE.get(attributes[:1])
    if kind is not None and new is not None and not kind[1].match(new):
        raise BootEnvError(
            f"boot variable {name!r} must be {kind[0]} by its entry in {source}, not {new!r}",
            hint=f"correct the value, or change {source}",
        )
