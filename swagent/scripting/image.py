"""An entry of sw-description as the table that Lua gets, and what a script changed in it (handlers §3.3).

Keys are attributes of sw-description with ``_`` for ``-``, ``aes-key`` apart. Lists of a property come last value
first, as SWUpdate gives them.
"""

from collections.abc import Mapping
from typing import Any

from swagent.errors import ScriptError
from swagent.model import Artifact, Compression, Kind

from .wire import Value

_TEXTS = ("name", "version", "filename", "volume", "type", "device", "path", "mtdname", "data", "filesystem")
_FLAGS = ("install_if_different", "install_if_higher", "installed_directly", "preserve_attributes")
_OPTIONAL = ("ivt", "aes-key", "sha256")
_DESCRIBED = {flag: flag.replace("_", "-") for flag in _FLAGS}
_PROPERTIES_MAX = 256
NO_DIGEST = "0" * 64


def to_table(art: Artifact, stored_bytes: int | None = None) -> dict[Value, Value]:
    """The table.

    Args:
        art: the entry.
        stored_bytes: size of its member, where it is known and the entry does not say.
    """
    table: dict[Value, Value] = {key: getattr(art, key) for key in (*_TEXTS, *_FLAGS)}
    return table | {
        "ivt": art.ivt.hex() if art.ivt else "",
        "aes-key": art.aes_key.hex() if art.aes_key else "",
        "sha256": art.sha256.hex() if art.sha256 else NO_DIGEST,
        "compressed": art.compression.value if art.compression is not Compression.NONE else False,
        "encrypted": bool(art.cipher),
        "partition": art.kind is Kind.PARTITION,
        "script": art.kind is Kind.SCRIPT,
        "offset": art.offset_bytes,
        "size": art.size_bytes or stored_bytes or 0,
        "checksum": 0,
        "skip": 0,
        "properties": {
            key: values[0] if len(values) == 1 else list(reversed(values))
            for key, values in art.properties.items()
        },
    }


def changes(before: Mapping[Value, Value], after: Any) -> dict[str, object]:
    """What a script changed, as attributes of sw-description; keys that are not a script's to set are ignored.

    Args:
        before: as ``to_table`` made it.
        after: what came back.

    Raises:
        ScriptError: it is no table, or holds what an attribute cannot be.
    """
    if not isinstance(after, Mapping):
        raise ScriptError(f"gave back a {_kind(after)} instead of the image")
    found: dict[str, object] = {}
    for key in (*_TEXTS, *_FLAGS, *_OPTIONAL, "compressed", "encrypted", "offset", "size"):
        value = after.get(key)
        if value is None or value == before[key]:
            continue  # a table without a key leaves it as it was
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, Mapping):
            raise ScriptError(f"made {key} a table")
        if isinstance(value, str):
            _must_be_text(key, value)
        if key in _OPTIONAL and value == "":
            continue
        found[_DESCRIBED.get(key, key)] = value
    properties = after.get("properties")
    if properties is not None:
        given = _properties(properties)
        if given != _properties(before["properties"]):
            found["properties"] = given
    return found


def _properties(table: Any) -> dict[str, object]:
    if not isinstance(table, Mapping) or len(table) > _PROPERTIES_MAX:
        raise ScriptError("made properties something else than a small table")
    found: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            values = [value[n] for n in sorted(n for n in value if isinstance(n, int | float))]
            if len(values) < len(value):
                raise ScriptError("made a property a table that is no list")
        elif isinstance(value, list):
            values = value
        else:
            values = [value]
        for text in (key, *values):
            if not isinstance(text, str):
                raise ScriptError(f"made a property {_kind(text)} instead of a text")
            _must_be_text("a property", text)
        if values:
            found[str(key)] = values[0] if len(values) == 1 else list(reversed(values))
    return found


def _must_be_text(what: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise ScriptError(f"put bytes into {what} that are no UTF-8") from exc


def _kind(value: object) -> str:
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "boolean"
    return "table" if isinstance(value, Mapping) else "number" if isinstance(value, int | float) else "string"
