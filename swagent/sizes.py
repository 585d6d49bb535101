"""Sizes and positions as people write them in sw-description, in properties and on the command line."""

import re

_SIZE = re.compile(r"(0[xX][0-9A-Fa-f]{1,16}|[0-9]{1,24})(?:([kKmMgG])(?:i?[bB]?))?\Z")
_SHIFT = {"": 0, "K": 10, "M": 20, "G": 30}
_MAX_BYTES = 2**63 - 1  # off_t


def parse_size(text: str) -> int:
    """A number as C writes it (``0x`` hexadecimal, leading ``0`` octal) with an optional K, M or G (1024-based).

    ``iB``, ``i`` or ``B`` may follow the letter; blanks around it do not matter.

    Raises:
        ValueError: it is none, or does not fit 63 bits.
    """
    found = _SIZE.match(text.strip(" \t"))
    if found is None:
        raise _none(text)
    digits, suffix = found[1], (found[2] or "").upper()
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" and len(digits) > 1 else 10
    if base == 8 and ("8" in digits or "9" in digits):
        raise _none(text)
    number = int(digits, base) << _SHIFT[suffix]
    if number > _MAX_BYTES:
        raise ValueError(f"{text[:40]} is too large")
    return number


def _none(text: str) -> ValueError:
    return ValueError(f"{text[:40]!r} is not a number such as 4096, 0x1000 or 4K")
