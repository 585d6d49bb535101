"""Rockchip over USB: the mask ROM, which takes two programs, and a loader, which has the storage (boardswarm §4.3)."""

import struct
from binascii import crc_hqx
from typing import NamedTuple

from swagent.errors import DeviceError

from .errors import Failed, OutOfRange
from .steps import BulkIn, BulkOut, ControlOut, Steps

VENDOR = "2207"
SECTOR_BYTES = 512
SECTORS_MAX = 128
"""The most that one command moves."""
PROGRAM_BYTES_MAX = 1 << 20
PIECE_BYTES = 4096
TARGETS = {"471": 0x471, "472": 0x472}
"""What the mask ROM takes: one that sets up the memory, and one that speaks for the storage."""
_WRITE_PROGRAM = 0x0C
_VENDOR_OUT = 0x40
_INTO, _OUT_OF = 0x00, 0x80
READ_FLASH_ID, READ_LBA, WRITE_LBA, READ_FLASH_INFO = 0x01, 0x14, 0x15, 0x1A
_ERASE_LBA, _RESET = 0x25, 0xFF
_CBW, _CSW = struct.Struct("<4s4sIBBBBB4sB2s7x"), struct.Struct("<4s4sIB")
_PACKET_BYTES = 512
_TIMEOUT_S = 20.0
_PROBE_S = 1.0


def pieces(program: bytes) -> list[bytes]:
    """A program as the mask ROM wants it: in pieces, with its checksum, which must not be split over two.

    Raises:
        OutOfRange: it is too large.
    """
    if len(program) > PROGRAM_BYTES_MAX:
        raise OutOfRange(f"the mask ROM takes {PROGRAM_BYTES_MAX} bytes, and this is {len(program)}")
    if len(program) % PIECE_BYTES == PIECE_BYTES - 1:
        program += b"\0"
    whole = program + crc_hqx(program, 0xFFFF).to_bytes(2, "big")
    found = [whole[at : at + PIECE_BYTES] for at in range(0, len(whole), PIECE_BYTES)]
    if len(found[-1]) == PIECE_BYTES:
        found.append(b"\0")  # a full piece does not tell that it is the last one
    return found


def send_program(code: int, program: bytes) -> Steps[None]:
    """Have the mask ROM run a program.

    Raises:
        OutOfRange: it is too large.
        DeviceError: the device does not take it.
    """
    for piece in pieces(program):
        yield ControlOut(_VENDOR_OUT, _WRITE_PROGRAM, 0, code, piece)


class FlashInfo(NamedTuple):
    """The storage that a loader has."""

    sectors: int

    @property
    def size_bytes(self) -> int:
        """Its size."""
        return self.sectors * SECTOR_BYTES


def read_flash_info(data: bytes) -> FlashInfo:
    """Read what a loader says of its storage. Raises Failed."""
    if len(data) < 11:
        raise Failed(f"the loader tells of its storage in {len(data)} bytes instead of 11")
    return FlashInfo(struct.unpack_from("<I", data)[0])


class Loader:
    """A loader's commands; they are numbered, and an answer must carry its command's number."""

    def __init__(self) -> None:
        self._tag = 0

    def flash_info(self, *, timeout_s: float = _PROBE_S) -> Steps[FlashInfo]:
        """The storage. A mask ROM does not answer this. Raises Failed or DeviceError."""
        return read_flash_info((yield from self._ask(READ_FLASH_INFO, 11, timeout_s)))

    def flash_id(self) -> Steps[str]:
        """The name of the storage, such as ``EMMC``; ``unknown`` from loaders that do not say."""
        try:
            found = yield from self._ask(READ_FLASH_ID, 5, _PROBE_S)
        except (Failed, DeviceError):
            return "unknown"
        name = found.decode("ascii", errors="replace").rstrip(" \0")
        return name if name.isascii() and name.isprintable() and name else "unknown"

    def read(self, sector: int, sectors: int) -> Steps[bytes]:
        """Read, at most ``SECTORS_MAX``. Raises Failed or DeviceError."""
        return (yield from self._ask(READ_LBA, sectors * SECTOR_BYTES, _TIMEOUT_S, sector, sectors))

    def write(self, sector: int, data: bytes) -> Steps[None]:
        """Write whole sectors, at most ``SECTORS_MAX``. Raises Failed or DeviceError."""
        yield from self._tell(WRITE_LBA, data, sector, len(data) // SECTOR_BYTES)

    def erase(self, sector: int, sectors: int) -> Steps[None]:
        """Erase; what is there then is the storage's affair. Raises Failed or DeviceError."""
        yield from self._tell(_ERASE_LBA, b"", sector, sectors)

    def reset(self) -> Steps[None]:
        """Have the board start anew. Raises Failed or DeviceError."""
        yield from self._tell(_RESET, b"", 0, 0)

    def _ask(
        self, opcode: int, n_bytes: int, timeout_s: float, address: int = 0, length: int = 0
    ) -> Steps[bytes]:
        tag = self._next_tag()
        yield BulkOut(_command(tag, _OUT_OF, opcode, n_bytes, address, length), timeout_s)
        found = b""
        while len(found) < n_bytes:
            left = n_bytes - len(found)
            piece = yield BulkIn(-(-left // _PACKET_BYTES) * _PACKET_BYTES, timeout_s)
            if len(piece) == _CSW.size and piece[:8] == b"USBS" + tag:  # an answer without any data
                _check(piece, tag)
                raise Failed("the loader sends less than it was asked for")
            if not piece or len(piece) > left:
                raise Failed(f"the loader sends {len(found) + len(piece)} bytes instead of {n_bytes}")
            found += piece
        _check((yield BulkIn(_PACKET_BYTES, timeout_s)), tag)
        return found

    def _tell(self, opcode: int, data: bytes, address: int, length: int) -> Steps[None]:
        tag = self._next_tag()
        yield BulkOut(_command(tag, _INTO, opcode, len(data), address, length), _TIMEOUT_S)
        if data:
            yield BulkOut(data, _TIMEOUT_S)
        _check((yield BulkIn(_PACKET_BYTES, _TIMEOUT_S)), tag)

    def _next_tag(self) -> bytes:
        self._tag = (self._tag + 1) & 0xFFFFFFFF
        return self._tag.to_bytes(4, "big")


def _command(tag: bytes, flags: int, opcode: int, n_bytes: int, address: int, length: int) -> bytes:
    size = 10 if opcode in (READ_LBA, WRITE_LBA, _ERASE_LBA) else 6
    where, many = address.to_bytes(4, "big"), length.to_bytes(2, "big")
    return _CBW.pack(b"USBC", tag, n_bytes, flags, 0, size, opcode, 0, where, 0, many)


def _check(answer: bytes, tag: bytes) -> None:
    if len(answer) != _CSW.size:
        raise Failed(f"the loader answers with {len(answer)} bytes instead of {_CSW.size}")
    signature, theirs, _, status = _CSW.unpack(answer)
    if signature != b"USBS" or theirs != tag:
        raise Failed("the loader answers something else than it was asked")
    if status:
        raise Failed(f"the loader refuses (status {status})")
