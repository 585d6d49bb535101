"""CRC-16/ARC: polynomial 0x8005, reflected 0xA001, begins with 0, no final xor.

x has order 32767 modulo the polynomial, so x to the power of 8 x 32767 is 1: pieces of 32767 bytes may be XORed onto
each other, as big integers at memory speed, and only one piece is left to go through the table byte by byte.
"""

PERIOD_BYTES = 32767


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
        table.append(value)
    return tuple(table)


class Crc16:
    """The checksum of a stream."""

    def __init__(self) -> None:
        self._folded = 0
        self._rest = bytearray()

    def update(self, data: bytes) -> None:
        """Take more bytes."""
        self._rest += data
        whole = len(self._rest) // PERIOD_BYTES * PERIOD_BYTES
        if whole:
            for at in range(0, whole, PERIOD_BYTES):
                self._folded ^= int.from_bytes(self._rest[at : at + PERIOD_BYTES], "big")
            del self._rest[:whole]

    def value(self) -> int:
        """The checksum of all bytes so far."""
        table = _table()
        crc = 0
        # leading zeros, of which short streams get many, change nothing
        for byte in self._folded.to_bytes(PERIOD_BYTES, "big").lstrip(b"\0") + self._rest:
            crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
        return crc


def crc16(data: bytes) -> int:
    """The checksum of ``data``."""
    crc = Crc16()
    crc.update(data)
    return crc.value()
