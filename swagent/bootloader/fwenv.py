"""The settings file of U-Boot's environment tools, /etc/fw_env.config: where the copies of the environment lie.

One line per copy, two at most: ``device offset envsize [sectorsize] [envsectors] [disable_lock]``. Offset in any C
base, negative from the end; envsize, sectorsize and envsectors hexadecimal with or without 0x; ``#`` begins a comment.
The last three matter for raw flash only; disable_lock is checked but not used (handlers §4.1).

The file may also be YAML, which knows several environments by name, called namespaces: ``yamlenv``.
"""

from collections.abc import Mapping
from typing import NamedTuple

from swagent.errors import SettingsError

MAX_ENVSIZE_BYTES = 16 << 20
MAX_CONFIG_BYTES = 64 << 10
COPIES_MAX = 2
SMALLEST_ENVSIZE_BYTES = 8  # checksum, flags, and an empty list of variables


class Place(NamedTuple):
    """Where one copy lies.

    Attributes:
        device: absolute path of a block device, an MTD or a file.
        offset_bytes: from the beginning of the device; negative from its end.
        size_bytes: of the copy, checksum and flags included.
        sector_bytes: of a sector of raw flash; 0 for the size of an erase block.
        sectors: which the copy may use, bad ones included; 0 for as many as it fills.
    """

    device: str
    offset_bytes: int
    size_bytes: int
    sector_bytes: int = 0
    sectors: int = 0


class Layout(NamedTuple):
    """One environment, as the settings file describes it.

    Attributes:
        places: of its one or two copies, in the order of the file.
        lock_path: of the lock that its writers hold, "" for that of fw_setenv.
        writable: the variables that may be written, each with type and access as in ``.flags``; None for all.
    """

    places: tuple[Place, ...]
    lock_path: str = ""
    writable: Mapping[str, str] | None = None


def read_config(path: str, namespace: str = "", *, suggested: str = "") -> Layout:
    """Where an environment lies.

    Args:
        path: of the file.
        namespace: which environment of a YAML file; "" for the first one.
        suggested: which one it is instead of the first, if the file is YAML.

    Raises:
        SettingsError: the file is missing or malformed, or has no such namespace.
        RegistrationError: it is YAML, and the library for that is not installed.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as exc:
        raise SettingsError(
            f"cannot read {path}: {exc.strerror or exc}",
            hint="it tells where U-Boot's environment lies, see fw_printenv's documentation",
        ) from exc
    return parse_config(text, path, namespace, suggested=suggested)


def parse_config(text: bytes, path: str, namespace: str = "", *, suggested: str = "") -> Layout:
    """As ``read_config``, for the content of the file; ``path`` is for messages.

    Raises:
        SettingsError: malformed, or has no such namespace.
        RegistrationError: it is YAML, and the library for that is not installed.
    """
    if len(text) > MAX_CONFIG_BYTES:
        raise SettingsError(f"{path} is longer than {MAX_CONFIG_BYTES} bytes")
    lines = [line.partition("#")[0].split() for line in text.decode("utf-8", "surrogateescape").split("\n")]
    if _is_yaml(next(filter(None, lines), [])):
        from .yamlenv import parse_yaml

        return parse_yaml(text, path, namespace or suggested)
    if namespace:
        raise SettingsError(
            f"{path} has no namespace {namespace!r}: it is not in YAML",
            hint="describe both environments in YAML, `NAME: { size: ..., devices: [ ... ] }`",
        )
    places = [_place(words, f"{path}, line {number}") for number, words in enumerate(lines, 1) if words]
    if not places:
        raise SettingsError(f"{path} names no device", hint="add a line `device offset envsize`")
    if len(places) > COPIES_MAX:
        raise SettingsError(f"{path} names {len(places)} copies", hint="U-Boot keeps one copy, or two")
    if len({place.size_bytes for place in places}) > 1:
        raise SettingsError(
            f"{path}: the two copies differ in size", hint="U-Boot needs the same envsize twice"
        )
    return Layout(tuple(places))


def _is_yaml(words: list[str]) -> bool:
    """Whether the first line that says anything begins a mapping or a document."""
    return bool(words) and (
        words[0] in ("---", "%YAML")
        or words[0].startswith("{")
        or any(word.endswith(":") for word in words[:2])
    )


def _place(words: list[str], where: str) -> Place:
    if not words[0].startswith("/"):
        raise SettingsError(f"{where}: {words[0]!r} is no absolute path of a device")
    if not 3 <= len(words) <= 6:
        raise SettingsError(
            f"{where}: {len(words)} words, not 3 to 6",
            hint="device offset envsize [sectorsize] [envsectors] [disable_lock]",
        )
    size = check_size(_hexadecimal(words[2], "envsize", where), "envsize", where)
    sectors = [
        _hexadecimal(w, n, where) for n, w in zip(("sectorsize", "envsectors"), words[3:5], strict=False)
    ]
    if len(words) == 6 and words[5] not in ("0", "1"):
        raise SettingsError(f"{where}: disable_lock is {words[5]!r}, not 0 or 1")
    return Place(words[0], c_number(words[1], "offset", where), size, *sectors)


def check_size(size_bytes: int, name: str, where: str) -> int:
    """The size of an environment, if it can be one.

    Raises:
        SettingsError: it is too small or too large.
    """
    if not SMALLEST_ENVSIZE_BYTES <= size_bytes <= MAX_ENVSIZE_BYTES:
        raise SettingsError(
            f"{where}: {name} is {size_bytes} bytes, not {SMALLEST_ENVSIZE_BYTES} to {MAX_ENVSIZE_BYTES}"
        )
    return size_bytes


def _hexadecimal(word: str, name: str, where: str) -> int:
    digits = word[2:] if word[:2] in ("0x", "0X") else word
    if not 0 < len(digits) <= 16 or digits.strip("0123456789abcdefABCDEF"):
        raise SettingsError(f"{where}: {name} is {word!r}, not a hexadecimal number")
    return int(digits, 16)


def c_number(word: str, name: str, where: str) -> int:
    """A number as in C: 16, 0x10, 020, with a sign or without.

    Args:
        word: the number.
        name: what it is, for messages.
        where: it stands, for messages.

    Raises:
        SettingsError: it is none, or needs more than 63 bits.
    """
    digits = word[1:] if word[:1] in ("-", "+") else word
    base, digits = (16, digits[2:]) if digits[:2] in ("0x", "0X") else (10, digits)
    if base == 10 and digits.startswith("0"):
        base = 8
    allowed = "0123456789abcdefABCDEF" if base == 16 else "0123456789"[:base]
    if not 0 < len(digits) <= 22 or digits.strip(allowed):
        raise SettingsError(f"{where}: {name} is {word[:40]!r}, not a number", hint="such as 0x4000")
    number = int(digits, base)
    if number >= 1 << 63:
        raise SettingsError(f"{where}: {name} {word} is beyond any device")
    return -number if word.startswith("-") else number
