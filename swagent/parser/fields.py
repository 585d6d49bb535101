"""Reading attributes, typed and strictly (swu format §2.4, §2.9): what SWUpdate drops in silence is an error here."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from swagent.errors import DescriptionError
from swagent.model import Compression
from swagent.sizes import parse_size

TEXT_MAX_BYTES = 255
"""Longest text attribute; SWUpdate's buffers hold no more."""

FILENAME_MAX_BYTES = 254
"""Longest name of an archive member: cpio counts a NUL and SWUpdate takes 255."""

_HEX = re.compile(r"[0-9A-Fa-f]*\Z")
_CIPHERS = frozenset(("aes-cbc", "aes-cbc-128", "aes-cbc-192", "aes-cbc-256"))
_RESERVED_NAMES = frozenset(("sw-description", "sw-description.sig", "TRAILER!!!", ".", ".."))


def wrong(place: str, key: str, problem: str, hint: str = "") -> DescriptionError:
    """The error for one attribute: where, which, what is wrong with it."""
    return DescriptionError(f"sw-description: {place}: {key} {problem}", hint=hint)


def kind_of(value: object) -> str:
    """What people call a value of this type."""
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "a number"
    if isinstance(value, float):
        return "a number with a fraction"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, dict):
        return "a group"
    return "nothing (null)" if value is None else "a list"


def text(place: str, key: str, value: object, max_bytes: int = TEXT_MAX_BYTES) -> str:
    """A text of bounded length.

    Raises:
        DescriptionError: another type, or too long.
    """
    if not isinstance(value, str):
        hint = f'write {key} = "{value}"' if isinstance(value, int | float) else ""
        raise wrong(place, key, f"must be a text in double quotes, not {kind_of(value)}", hint)
    if len(value) * 4 > max_bytes and len(value.encode()) > max_bytes:
        raise wrong(place, key, f"is {len(value.encode())} bytes long; the limit is {max_bytes}")
    return value


def flag(place: str, key: str, value: object) -> bool:
    """``true`` or ``false``.

    Raises:
        DescriptionError: another type.
    """
    if not isinstance(value, bool):
        raise wrong(
            place, key, f"must be true or false, not {kind_of(value)}", f"write {key} = true, without quotes"
        )
    return value


def size(place: str, key: str, value: object) -> int | None:
    """A number of bytes; 0 means that nothing is promised.

    Raises:
        DescriptionError: another type, or negative.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(
            place, key, f"must be a whole number of bytes, not {kind_of(value)}", f"write {key} = 1234"
        )
    if value < 0:
        raise wrong(place, key, f"is negative: {value}")
    return value or None


def offset(place: str, key: str, value: object) -> int:
    """A position in bytes: a number, or a text such as ``"0x2000"`` or ``"64K"``.

    Raises:
        DescriptionError: another type, negative, malformed or beyond 63 bits.
    """
    if isinstance(value, str):
        try:
            return parse_size(value)
        except ValueError as exc:
            raise wrong(place, key, f"is no position: {exc}") from exc
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(place, key, f"must be a number or a text, not {kind_of(value)}")
    if value < 0:
        raise wrong(place, key, f"is negative: {value}")
    return value


def filename(place: str, key: str, value: object) -> str:
    """The plain name of an archive member.

    Raises:
        DescriptionError: empty, with a folder, or a name that the archive needs for itself.
    """
    name = text(place, key, value, FILENAME_MAX_BYTES)
    if not name:
        raise wrong(place, key, "is empty", "name the archive member, or leave the attribute out")
    if "/" in name or "\0" in name or name in _RESERVED_NAMES:
        raise wrong(place, key, f"cannot be {name!r}", "members lie side by side in the archive: no folders")
    return name


def compression(place: str, key: str, value: object) -> Compression:
    """How the member is compressed.

    Raises:
        DescriptionError: an unknown or unsupported method.
    """
    if isinstance(value, bool):
        return Compression.ZLIB if value else Compression.NONE
    word = text(place, key, value)
    if word == "lz4":
        raise wrong(place, key, "= 'lz4' is not supported", "compress with zstd, xz or zlib instead")
    try:
        return Compression(word)
    except ValueError as exc:
        raise wrong(place, key, f"is {word!r}", 'write "zlib", "xz" or "zstd"') from exc


def cipher(place: str, key: str, value: object) -> str:
    """How the member is encrypted, "" when it is not.

    Raises:
        DescriptionError: an unknown or unsupported cipher.
    """
    if isinstance(value, bool):
        return "aes-cbc" if value else ""
    word = text(place, key, value)
    if word and word not in _CIPHERS:
        hint = 'write encrypted = true or "aes-cbc"'
        if word.startswith("aes-ctr"):
            raise wrong(
                place, key, f"= {word!r} is not supported: SWUpdate performs CBC under that name", hint
            )
        raise wrong(place, key, f"is an unknown cipher: {word!r}", hint)
    return word


def _hexadecimal(place: str, key: str, value: object, lengths: tuple[int, ...]) -> bytes:
    word = text(place, key, value)
    if len(word) not in lengths or not _HEX.match(word):
        wanted = " or ".join(str(length) for length in lengths)
        # the value may be a key: it is not repeated in the message
        raise wrong(
            place, key, f"must be {wanted} hexadecimal digits, and this is not ({len(word)} characters)"
        )
    return bytes.fromhex(word)


def sha256(place: str, key: str, value: object) -> bytes | None:
    """A digest of 32 bytes; None for all zeros, which SWUpdate counts as not set.

    Raises:
        DescriptionError: not 64 hexadecimal digits.
    """
    digest = _hexadecimal(place, key, value, (64,))
    return digest if any(digest) else None


def ivt(place: str, key: str, value: object) -> bytes:
    """An initialization vector of 16 bytes.

    Raises:
        DescriptionError: not 32 hexadecimal digits.
    """
    return _hexadecimal(place, key, value, (32,))


def aes_key(place: str, key: str, value: object) -> bytes:
    """A key of 16, 24 or 32 bytes.

    Raises:
        DescriptionError: not 32, 48 or 64 hexadecimal digits.
    """
    return _hexadecimal(place, key, value, (32, 48, 64))


def properties(place: str, key: str, value: object, *, nested: bool = True) -> dict[str, tuple[str, ...]]:
    """Named options of the handler: texts or lists of texts.

    Args:
        place: the entry.
        key: ``properties``.
        value: the group.
        nested: whether a group in the group gives its texts to the outer name (libconfig; JSON has no such rule).

    Raises:
        DescriptionError: not a group, or with a value that is no text.
    """
    if not isinstance(value, dict):
        raise wrong(place, key, f"must be a group of texts, not {kind_of(value)}")
    result: dict[str, tuple[str, ...]] = {}
    for name, given in value.items():
        if isinstance(given, str):
            result[name] = (given,)
            continue
        if isinstance(given, dict) and nested:
            given = tuple(given.values())
        values = tuple(given) if isinstance(given, list | tuple) else (given,)
        for item in values:
            if not isinstance(item, str):
                raise wrong(
                    place,
                    f"property {name[:80]}",
                    f"must be a text, not {kind_of(item)}",
                    f'write {name[:80]} = "{str(item).lower()}", in quotes'
                    if isinstance(item, int | float)
                    else "",
                )
        if values:
            result[name] = values
    return result


def check_key_length(place: str, values: Mapping[str, Any]) -> None:
    """Hold a key against the name of its cipher; ``values`` are fields of an artifact.

    Raises:
        DescriptionError: they do not fit.
    """
    key, bits = values.get("aes_key"), values.get("cipher", "")[len("aes-cbc-") :]
    if key is not None and bits and len(key) * 8 != int(bits):
        raise wrong(place, "aes-key", f"has {len(key) * 8} bits, and encrypted says {values['cipher']}")


READERS: dict[str, tuple[str, Callable[[str, str, object], Any]]] = {
    "name": ("name", text),
    "version": ("version", text),
    "install-if-different": ("install_if_different", flag),
    "install-if-higher": ("install_if_higher", flag),
    "filename": ("filename", filename),
    "size": ("size_bytes", size),
    "type": ("type", text),
    "data": ("data", text),
    "volume": ("volume", text),
    "device": ("device", text),
    "mtdname": ("mtdname", text),
    "path": ("path", text),
    "filesystem": ("filesystem", text),
    "offset": ("offset_bytes", offset),
    "compressed": ("compression", compression),
    "encrypted": ("cipher", cipher),
    "ivt": ("ivt", ivt),
    "aes-key": ("aes_key", aes_key),
    "sha256": ("sha256", sha256),
    "installed-directly": ("installed_directly", flag),
    "preserve-attributes": ("preserve_attributes", flag),
    "properties": ("properties", properties),
    "hook": ("hook", text),
    "preinstall": ("preinstall", text),
    "postinstall": ("postinstall", text),
}
"""Attribute to field of ``model.Artifact`` and what reads it; ``hook`` is used up while the entry is read."""
