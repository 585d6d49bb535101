"""The Secondaries of a vehicle as a file lists them: aktualizr's ``secondary.json`` (uptane §6).

``virtual`` are Secondaries in the Primary's own process, whose image is a file; ``handled`` (ours) the same for devices
that know nothing of Uptane, to which a handler brings their image; ``network`` (ours) are ECUs that ask over the
network.
"""

import os
from typing import Any, NamedTuple

from swagent.errors import SettingsError
from swagent.model import Artifact, Kind
from swagent.uptane.canonical import load

FILE_MAX_BYTES = 1024 * 1024
HANDLERS = ("swuforward", "ucfw")
"""They do nothing to a device before they have the whole image, and its verdict."""
_KINDS = ("virtual", "handled", "network")
_HERE = (
    "ecu_serial",
    "ecu_hardware_id",
    "partial_verifying",
    "full_client_dir",
    "ecu_private_key",
    "ecu_public_key",
    "metadata_path",
)


class Virtual(NamedTuple):
    """A Secondary in the Primary's process.

    Attributes:
        partial: whether it verifies the Director's targets alone.
        folder: where its memory is kept.
        key_file: its private key; made there when it is missing.
        metadata: folder of its verified metadata.
        firmware: file that its images are written to.
        target_name: file that the name of its image is written to, "" for none.
        entry: of one that is handled: what brings its images to it, instead of a file.
    """

    serial: str
    hardware_id: str
    partial: bool
    folder: str
    key_file: str
    metadata: str
    firmware: str
    target_name: str
    entry: Artifact | None = None


class Networked(NamedTuple):
    """A Secondary that asks over the network.

    Attributes:
        public_key: file with the key that its reports must be signed with, "" to take them as they come.
    """

    serial: str
    hardware_id: str
    public_key: str


class Listed(NamedTuple):
    """What a file lists."""

    virtual: tuple[Virtual, ...]
    network: tuple[Networked, ...]

    def ecus(self) -> list[tuple[str, str]]:
        """Serial and hardware id of each."""
        virtual = [(each.serial, each.hardware_id) for each in self.virtual]
        return virtual + [(each.serial, each.hardware_id) for each in self.network]


def read_list(path: str) -> Listed:
    """Read ``secondary.json``.

    Raises:
        SettingsError: it cannot be read, or lists something that makes no sense.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(FILE_MAX_BYTES + 1)
        if len(raw) > FILE_MAX_BYTES:
            raise ValueError("it is too long")
        tree = load(raw)
    except (OSError, ValueError) as exc:
        raise SettingsError(f"cannot read {path}: {exc}") from exc
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}: an object with some of the keys {', '.join(_KINDS)} is needed")
    unknown = [key for key in tree if key not in _KINDS]
    if unknown:
        raise SettingsError(
            f"{path}: there is no kind of Secondary called {unknown[0]!r} here",
            hint="known are "
            + ", ".join(_KINDS)
            + ("; aktualizr's own protocol is not spoken" * ("IP" in unknown)),
        )
    virtual = (
        *(_virtual(item, path) for item in _items(tree, "virtual", path)),
        *(_handled(item, path) for item in _items(tree, "handled", path)),
    )
    network = tuple(_networked(item, path) for item in _items(tree, "network", path))
    serials = [serial for serial, _ in Listed(virtual, network).ecus()]
    twice = [serial for serial in serials if serials.count(serial) > 1]
    if twice:
        raise SettingsError(f"{path}: the serial {twice[0]!r} is there twice")
    return Listed(virtual, network)


def _items(tree: dict[str, Any], kind: str, path: str) -> list[dict[str, Any]]:
    items = tree.get(kind, [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise SettingsError(f"{path}: {kind} is a list of objects")
    return items


def _virtual(item: dict[str, Any], path: str) -> Virtual:
    _judge_keys(item, (*_HERE, "firmware_path", "target_name_path"), path)
    return _here(item, path)


def _handled(item: dict[str, Any], path: str) -> Virtual:
    _judge_keys(item, (*_HERE, "handler", "device", "properties"), path)
    handler = _text(item, "handler", path)
    if handler not in HANDLERS:
        raise SettingsError(
            f"{path}: {handler[:60]!r} does not bring images to other devices",
            hint="known are " + ", ".join(HANDLERS),
        )
    given = item.get("properties", {})
    if not isinstance(given, dict):
        raise SettingsError(f"{path}: properties is an object")
    properties = {name: _values(name, value, path) for name, value in given.items()}
    secondary = _here(item, path)
    device = _text(item, "device", path, "")
    where = f"{secondary.serial} in {path}"
    return secondary._replace(
        entry=Artifact(Kind.IMAGE, handler, device=device, properties=properties, where=where)
    )


def _values(name: str, value: object, path: str) -> tuple[str, ...]:
    """A property as sw-description would have it."""
    found = []
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, bool):
            found.append("true" if each else "false")
        elif isinstance(each, str | int):
            found.append(str(each))
        else:
            raise SettingsError(f"{path}: the property {name[:60]!r} is a text, a number, or a list of these")
    return tuple(found)


def _here(item: dict[str, Any], path: str) -> Virtual:
    """What both kinds that live in the Primary's process have."""
    serial, hardware_id = _text(item, "ecu_serial", path), _text(item, "ecu_hardware_id", path)
    partial = item.get("partial_verifying", False)
    if not isinstance(partial, bool):
        raise SettingsError(f"{path}: partial_verifying of {serial} is true or false")
    base = os.path.dirname(os.path.abspath(path))
    folder = os.path.join(base, _text(item, "full_client_dir", path))

    def below(name: str, usual: str) -> str:
        return os.path.join(folder, _text(item, name, path, usual))

    target_name = _text(item, "target_name_path", path, "")
    return Virtual(
        serial,
        hardware_id,
        partial,
        folder,
        below("ecu_private_key", "ecu.key"),
        below("metadata_path", "metadata"),
        below("firmware_path", "firmware.bin"),
        os.path.join(folder, target_name) if target_name else "",
    )


def _networked(item: dict[str, Any], path: str) -> Networked:
    _judge_keys(item, ("ecu_serial", "ecu_hardware_id", "ecu_public_key"), path)
    key = _text(item, "ecu_public_key", path, "")
    base = os.path.dirname(os.path.abspath(path))
    return Networked(
        _text(item, "ecu_serial", path),
        _text(item, "ecu_hardware_id", path),
        os.path.join(base, key) if key else "",
    )


def _judge_keys(item: dict[str, Any], known: tuple[str, ...], path: str) -> None:
    unknown = [key for key in item if key not in known]
    if unknown:
        raise SettingsError(f"{path}: unknown key {unknown[0]!r}", hint="known are " + ", ".join(known))


def _text(item: dict[str, Any], name: str, path: str, usual: str | None = None) -> str:
    value = item.get(name, usual)
    if not isinstance(value, str) or (not value and usual is None) or "\0" in value:
        raise SettingsError(f"{path}: a Secondary needs {name}, a text")
    return value
