"""Just enough DER for keys and signatures: strict reading of what others wrote, plain writing of our own.

Definite lengths in their shortest form and one-byte tags only (X.690 §10); whatever else BER allows is refused.
Certificates, CRLs and private keys are left to ``cryptography``. Functions raise ValueError, which callers translate.
"""

from typing import NamedTuple

INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
NULL = 0x05
OID = 0x06
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30
SET = 0x31
CONTEXT_0 = 0xA0  # constructed; [1] is one more, and so on
CONTEXT_1 = 0xA1
CONTEXT_0_PRIMITIVE = 0x80


class Element(NamedTuple):
    """One value: its tag byte, its content octets, and all of it as encoded."""

    tag: int
    body: bytes
    raw: bytes


class Fields:
    """The values inside a constructed one, taken in order.

    Args:
        body: content octets of the constructed value.
        what: its name in messages.
    """

    def __init__(self, body: bytes, what: str) -> None:
        self._body = body
        self._at = 0
        self._what = what

    def take(self, tag: int) -> Element:
        """The next value.

        Raises:
            ValueError: it is not there, of another type or malformed.
        """
        found = self.maybe(tag)
        if found is None:
            raise ValueError(f"{self._what} lacks a value of type 0x{tag:02x}")
        return found

    def maybe(self, tag: int) -> Element | None:
        """The next value if it is of this type, else None."""
        if self._at >= len(self._body) or self._body[self._at] != tag:
            return None
        return self._next()

    def rest(self) -> list[Element]:
        """All values that are left, of whatever type."""
        found = []
        while self._at < len(self._body):
            found.append(self._next())
        return found

    def end(self) -> None:
        """Raises ValueError when something is left."""
        if self._at != len(self._body):
            raise ValueError(f"{self._what} has more fields than it may have")

    def _next(self) -> Element:
        found, self._at = _element(self._body, self._at)
        return found


def read(data: bytes, tag: int) -> Element:
    """The one value that ``data`` holds.

    Raises:
        ValueError: malformed, of another type, or followed by something.
    """
    found, end = _element(data, 0)
    if found.tag != tag:
        raise ValueError(f"type 0x{found.tag:02x} found where 0x{tag:02x} is due")
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes follow the end")
    return found


def oid(body: bytes) -> str:
    """Content octets of an object identifier, as dotted numbers."""
    if not body or body[-1] & 0x80:
        raise ValueError("object identifier is cut short")
    arcs: list[int] = []
    value = 0
    for byte in body:
        if (value == 0 and byte == 0x80) or value >> 64:
            raise ValueError("object identifier is malformed")
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, [first, arcs[0] - 40 * first, *arcs[1:]]))


def integer(body: bytes) -> int:
    """Content octets of an integer."""
    if not body:
        raise ValueError("integer without digits")
    if len(body) > 1 and ((body[0] == 0 and body[1] < 0x80) or (body[0] == 0xFF and body[1] >= 0x80)):
        raise ValueError("integer is longer than it needs to be")
    return int.from_bytes(body, "big", signed=True)


def write(tag: int, *bodies: bytes) -> bytes:
    """One value of the given type around the given content."""
    body = b"".join(bodies)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def write_oid(dotted: str) -> bytes:
    """An object identifier."""
    first, second, *arcs = map(int, dotted.split("."))
    body = b""
    for arc in (40 * first + second, *arcs):
        digits = [arc & 0x7F]
        while arc := arc >> 7:
            digits.append(arc & 0x7F | 0x80)
        body += bytes(reversed(digits))
    return write(OID, body)


def write_integer(number: int) -> bytes:
    """A non-negative integer."""
    return write(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _element(data: bytes, start: int) -> tuple[Element, int]:
    if start + 2 > len(data):
        raise ValueError("cut short")
    tag, length = data[start], data[start + 1]
    at = start + 2
    if tag & 0x1F == 0x1F:
        raise ValueError("a tag of several bytes")
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 4:
            raise ValueError("a length that DER does not know")
        if at + size > len(data):
            raise ValueError("cut short")
        length = int.from_bytes(data[at : at + size], "big")
        if length < 0x80 or length >> 8 * (size - 1) == 0:
            raise ValueError("a length that is longer than it needs to be")
        at += size
    end = at + length
    if end > len(data):
        raise ValueError("cut short")
    return Element(tag, data[at:end], data[start:end]), end
