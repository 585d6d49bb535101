"""SHA-256 and comparing without a clock for the attacker to read; both imported when first asked for."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

SHA256_BYTES = 32


def sha256(data: bytes | memoryview = b"") -> "_Hash":
    """A running SHA-256, fed with ``data`` already."""
    from hashlib import sha256 as new

    return new(data)


def same(one: bytes, other: bytes) -> bool:
    """Whether two digests or secrets are equal, in a time that does not depend on where they differ."""
    from hmac import compare_digest

    return compare_digest(one, other)
