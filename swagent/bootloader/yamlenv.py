"""The YAML form of fw_env.config: several environments, each with a name, the first one U-Boot's (handlers §4.1).

::

    uboot:
      size: 0x4000
      lockfile: /var/lock/fw_printenv.lock
      writelist: [ "slot:sw", "bootcount:dw" ]
      devices:
        - { path: /dev/mtd0, offset: 0xA0000, sectorsize: 0x10000 }
        - { path: /dev/mtd0, offset: 0xB0000, sectorsize: 0x10000, disablelock: yes }

``size`` and ``devices`` with their ``path`` are needed. ``disablelock`` is checked but not used. libubootenv describes
a key ``unlock`` too, and refuses it as we do.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from swagent.errors import RegistrationError, SettingsError

from .fwenv import COPIES_MAX, Layout, Place, c_number, check_size

if TYPE_CHECKING:
    from yaml import Node

_KEYS = ("size", "lockfile", "devices", "writelist")
_DEVICE_KEYS = ("path", "offset", "sectorsize", "disablelock")
_WRITABLE = re.compile(r"([^=]+):([sdxbim][arocw]?)\Z", re.DOTALL)


def parse_yaml(text: bytes, path: str, namespace: str) -> Layout:
    """One environment of a file in YAML; the others are judged too.

    Args:
        text: the content of the file.
        path: its name, for messages.
        namespace: which one, "" for the first.

    Raises:
        SettingsError: it is malformed, or has no such namespace.
        RegistrationError: the library for YAML is not installed.
    """
    try:
        import yaml
    except ImportError as exc:
        raise RegistrationError(
            f"{path} is in YAML, and the library to read that is not installed",
            hint="pip install 'swagent[yaml]', or write one line `device offset envsize` per copy",
        ) from exc
    try:
        # nodes, not values: with lines for messages, keys that come twice, and numbers as they are written
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        raise SettingsError(f"{path} is no YAML: {' '.join(str(exc).split())[:300]}") from exc
    layouts = {name: _layout(node, path) for name, node in _mapping(root, path, "the file").items()}
    if not layouts:
        raise SettingsError(f"{path} describes no environment")
    found = layouts.get(namespace or next(iter(layouts)))
    if found is None:
        raise SettingsError(
            f"{path} has no namespace {namespace[:80]!r}", hint=f"it has {', '.join(layouts)[:300]}"
        )
    return found


def _layout(node: "Node", path: str) -> Layout:
    fields = _mapping(node, path, "a namespace", _KEYS)
    if "size" not in fields or "devices" not in fields:
        _refuse(node, path, "a namespace needs size and devices")
    where = _where(fields["size"], path)
    size = check_size(c_number(_text(fields["size"], path, "size"), "size", where), "size", where)
    places = tuple(_place(item, path, size) for item in _sequence(fields["devices"], path, "devices"))
    if not 1 <= len(places) <= COPIES_MAX:
        _refuse(fields["devices"], path, f"{len(places)} devices, and U-Boot keeps one copy, or two")
    lock_path = _text(fields["lockfile"], path, "lockfile") if "lockfile" in fields else ""
    if lock_path and not lock_path.startswith("/"):
        _refuse(fields["lockfile"], path, "lockfile is no absolute path")
    return Layout(places, lock_path, _writelist(fields.get("writelist"), path))


def _place(node: "Node", path: str, size_bytes: int) -> Place:
    fields = _mapping(node, path, "a device", _DEVICE_KEYS)
    numbers = {"offset": 0, "sectorsize": 0}
    for name in numbers.keys() & fields.keys():
        numbers[name] = c_number(_text(fields[name], path, name), name, _where(fields[name], path))
    if numbers["sectorsize"] < 0:
        _refuse(fields["sectorsize"], path, "sectorsize is negative")
    if "disablelock" in fields and _text(fields["disablelock"], path, "disablelock") not in ("yes", "no"):
        _refuse(fields["disablelock"], path, "disablelock is neither yes nor no")
    device = _text(fields["path"], path, "path") if "path" in fields else ""
    if not device.startswith("/") or "\0" in device:
        _refuse(node, path, "a device needs path, an absolute one")
    return Place(device, numbers["offset"], size_bytes, numbers["sectorsize"])


def _writelist(node: "Node | None", path: str) -> Mapping[str, str] | None:
    """Name to type and access; None for no list, and for an empty one, which means the same."""
    if node is None:
        return None
    writable: dict[str, str] = {}
    for item in _sequence(node, path, "writelist"):
        match = _WRITABLE.match(_text(item, path, "an entry of writelist"))
        if match is None:
            _refuse(item, path, "an entry of writelist is not name:flags, such as slot:sw")
        if match[1] in writable:
            _refuse(item, path, f"{match[1][:80]!r} comes twice in writelist")
        writable[match[1]] = match[2]
    return writable or None


def _mapping(
    node: "Node | None", path: str, what: str, known: tuple[str, ...] | None = None
) -> dict[str, "Node"]:
    """The nodes of a mapping by key, each key once."""
    from yaml import MappingNode

    if not isinstance(node, MappingNode):
        _refuse(node, path, f"{what} is no mapping `name: value`")
    fields: dict[str, Node] = {}
    for key_node, value in node.value:
        key = _text(key_node, path, "a key")
        if key in fields:
            _refuse(key_node, path, f"{key[:80]!r} comes twice")
        if known is not None and key not in known:
            _refuse(key_node, path, f"unknown key {key[:80]!r} of {what}; known are {', '.join(known)}")
        fields[key] = value
    return fields


def _sequence(node: "Node", path: str, what: str) -> list["Node"]:
    from yaml import SequenceNode

    if not isinstance(node, SequenceNode):
        _refuse(node, path, f"{what} is no list")
    return list(node.value)


def _text(node: "Node", path: str, what: str) -> str:
    from yaml import ScalarNode

    if not isinstance(node, ScalarNode) or not node.value:
        _refuse(node, path, f"{what} is no single word")
    return str(node.value)


def _where(node: "Node | None", path: str) -> str:
    return path if node is None else f"{path}, line {node.start_mark.line + 1}"


def _refuse(node: "Node | None", path: str, why: str) -> NoReturn:
    raise SettingsError(f"{_where(node, path)}: {why}")
