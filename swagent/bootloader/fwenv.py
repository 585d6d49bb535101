"""The settings file of U-Boot's environment tools, /etc/fw_env.config: where the copies of the environment lie.

One line per copy, two at most: ``device offset envsize [sectorsize] [envsectors] [disable_lock]``. Offset in any C
base, negative from the end; envsize, sectorsize and envsectors hexadecimal with or without 0x; ``#`` begins a comment.
The last three matter for raw flash only; disable_lock is checked but not used (handlers §4.1).
"""

from typing import NamedTuple

from swagent.errors import SettingsError

MAX_ENVSIZE_BYTES = 16 << 20
MAX_CONFIG_BYTES = 64 << 10
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


def read_config(path: str) -> tuple[Place, ...]:
    """Where the one or two copies lie, in the order of the file.

    Raises:
        SettingsError: the file is missing, malformed or of a form this version cannot read.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as exc:
        raise SettingsError(
            f"cannot read {path}: {exc.strerror or exc}",
            hint="it tells where U-Boot's environment lies, see fw_printenv's documentation",
        ) from exc
    return parse_config(text, path)


def parse_config(text: bytes, path: str) -> tuple[Place, ...]:
    """As ``read_config``, for the content of the file; ``path`` is for messages.

    Raises:
        SettingsError: malformed, or of a form this version cannot read.
    """
    if len(text) > MAX_CONFIG_BYTES:
        raise SettingsError(f"{path} is longer than {MAX_CONFIG_BYTES} bytes")
    places = []
    for number, raw in enumerate(text.decode("utf-8", "surrogateescape").split("\n"), 1):
        words = raw.partition("#")[0].split()
        if words:
            places.append(_place(words, f"{path}, line {number}"))
    if not places:
        raise SettingsError(f"{path} names no device", hint="add a line `device offset envsize`")
    if len(places) > 2:
        raise SettingsError(f"{path} names {len(places)} copies", hint="U-Boot keeps one copy, or two")
    if len({place.size_bytes for place in places}) > 1:
        raise SettingsError(
            f"{path}: the two copies differ in size", hint="U-Boot needs the same envsize twice"
        )
    return tuple(places)


def _place(words: list[str], where: str) -> Place:
    if words[0].endswith(":") or words[0] in ("---", "-", "{"):
        raise SettingsError(
            f"{where}: this is the YAML form, which this version does not read",
            hint="write one line `device offset envsize` per copy instead",
        )
    if not words[0].startswith("/"):
        raise SettingsError(f"{where}: {words[0]!r} is no absolute path of a device")
    if not 3 <= len(words) <= 6:
        raise SettingsError(
            f"{where}: {len(words)} words, not 3 to 6",
            hint="device offset envsize [sectorsize] [envsectors] [disable_lock]",
        )
    size = _hexadecimal(words[2], "envsize", where)
    if not SMALLEST_ENVSIZE_BYTES <= size <= MAX_ENVSIZE_BYTES:
        raise SettingsError(
            f"{where}: envsize is {size} bytes, not {SMALLEST_ENVSIZE_BYTES} to {MAX_ENVSIZE_BYTES}"
        )
    sectors = [
        _hexadecimal(w, n, where) for n, w in zip(("sectorsize", "envsectors"), words[3:5], strict=False)
    ]
    if len(words) == 6 and words[5] not in ("0", "1"):
        raise SettingsError(f"{where}: disable_lock is {words[5]!r}, not 0 or 1")
    return Place(words[0], _c_number(words[1], where), size, *sectors)


def _hexadecimal(word: str, name: str, where: str) -> int:
    digits = word[2:] if word[:2] in ("0x", "0X") else word
    if not 0 < len(digits) <= 16 or digits.strip("0123456789abcdefABCDEF"):
        raise SettingsError(f"{where}: {name} is {word!r}, not a hexadecimal number")
    return int(digits, 16)


def _c_number(word: str, where: str) -> int:
    digits = word[1:] if word[:1] in ("-", "+") else word
    base, digits = (16, digits[2:]) if digits[:2] in ("0x", "0X") else (10, digits)
    if base == 10 and digits.startswith("0"):
        base = 8
    allowed = "0123456789abcdefABCDEF" if base == 16 else "0123456789"[:base]
    if not 0 < len(digits) <= 22 or digits.strip(allowed):
        raise SettingsError(f"{where}: offset is {word!r}, not a number", hint="such as 0x80000 or -0x4000")
    number = int(digits, base)
    if number >= 1 << 63:
        raise SettingsError(f"{where}: offset {word} is beyond any device")
    return -number if word.startswith("-") else number
