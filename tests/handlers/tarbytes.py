"""Tar archives byte by byte, for what no honest program writes."""

BLOCK = 512


def header(
    name: bytes = b"file",
    *,
    kind: bytes = b"0",
    size: int | bytes = 0,
    link: bytes = b"",
    mode: bytes = b"0000644\0",
    uid: bytes = b"0000000\0",
    mtime: bytes = b"00000000000\0",
    magic: bytes = b"ustar\00000",
    device: bytes = b"0000000\0" * 2,
    prefix: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """One header block; a number of type bytes goes in as it is."""
    digits = b"%011o\0" % size if isinstance(size, int) else size
    front = name.ljust(100, b"\0") + mode + uid + b"0000000\0" + digits + mtime
    back = kind + link.ljust(100, b"\0") + magic + bytes(64) + device + prefix.ljust(155, b"\0")
    back = back.ljust(BLOCK - 156, b"\0")
    total = sum(front) + sum(back) + 8 * 32
    block = front + (checksum if checksum is not None else b"%06o\0 " % total) + back
    assert len(block) == BLOCK, len(block)
    return block


def padded(data: bytes) -> bytes:
    """Data as it stands in the archive."""
    return data + bytes(-len(data) % BLOCK)


def member(name: bytes, data: bytes = b"", **more: bytes) -> bytes:
    """A regular file."""
    return header(name, size=len(data), **more) + padded(data)


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """An extended header."""
    body = b""
    for key, value in records:
        rest = b" %s=%s\n" % (key, value)
        length = len(rest) + 1
        while len(b"%d" % length) + len(rest) != length:
            length += 1
        body += b"%d" % length + rest
    return header(b"pax", kind=kind, size=len(body)) + padded(body)


def gnu_long(value: bytes, kind: bytes = b"L") -> bytes:
    """A GNU long name (L) or link target (K)."""
    return header(b"././@LongLink", kind=kind, size=len(value) + 1, magic=b"ustar  \0") + padded(
        value + b"\0"
    )


END = bytes(2 * BLOCK)
