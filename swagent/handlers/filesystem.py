"""How long the file system at the front of a partition is, by its own word."""

import struct

from .basefile import BaseFile

_FRONT_BYTES = 4096


def filesystem_bytes(front: bytes) -> int | None:
    """Length of an ext2/3/4, squashfs or EROFS file system; None for anything else.

    Args:
        front: its first 4096 bytes.
    """
    front = front.ljust(_FRONT_BYTES, b"\0")
    if front[1080:1082] == b"\x53\xef":
        blocks, block_shift, incompatible, blocks_high = (
            struct.unpack_from("<I", front, 1024 + at)[0] for at in (0x4, 0x18, 0x60, 0x150)
        )
        if block_shift > 6:
            return None
        if incompatible & 0x80:  # 64bit
            blocks += blocks_high << 32
        return int(blocks << 10 + block_shift)
    if front[:4] == b"hsqs":
        used = struct.unpack_from("<Q", front, 40)[0]
        return int(-(-used // 4096) * 4096)  # it is padded to whole blocks
    if front[1024:1028] == b"\xe2\xe1\xf5\xe0":
        shift = front[1024 + 12]
        return int(struct.unpack_from("<I", front, 1024 + 36)[0]) << shift if 9 <= shift <= 16 else None
    return None


def detected_bytes(source: BaseFile, size_bytes: int) -> int | None:
    """How much of a source its file system takes; None when it is none that is known, or makes no sense.

    Raises:
        DeviceError, SizeError: it cannot be read.
    """
    found = filesystem_bytes(source.read(0, min(size_bytes, _FRONT_BYTES)))
    return found if found and found <= size_bytes else None
