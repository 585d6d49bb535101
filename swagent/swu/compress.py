"""Compressing members: one thread, fixed levels, no times or names, so that the same input gives the same bytes."""

from collections.abc import Callable
from typing import Any

from swagent.errors import RegistrationError
from swagent.model import Compression

# What decompresses is an embedded device: windows stay at 4 MiB (zstd) and 8 MiB (xz).
_ZLIB_LEVEL = 9
_XZ_PRESET = 6
_ZSTD_LEVEL = 12

_MAGICS = {
    Compression.ZLIB: b"\x1f\x8b\x08",
    Compression.XZ: b"\xfd7zXZ\x00",
    Compression.ZSTD: b"\x28\xb5\x2f\xfd",
}
MAGIC_BYTES = 6


def is_compressed(head: bytes, compression: Compression) -> bool:
    """Whether a file that begins with ``head`` is compressed in that way already.

    Args:
        head: its first ``MAGIC_BYTES`` bytes.
        compression: not NONE.
    """
    return head.startswith(_MAGICS[compression])


class Compressor:
    """Compresses one member.

    Args:
        compression: not NONE.
        plain_bytes: length of what will come; zstd writes it into its header.

    Raises:
        RegistrationError: the library for it is not installed.
    """

    def __init__(self, compression: Compression, plain_bytes: int) -> None:
        self._engine = _ENGINES[compression](plain_bytes)

    def push(self, block: memoryview) -> bytes:
        """Compressed bytes, as far as there are any yet."""
        data: bytes = self._engine.compress(block)
        return data

    def finish(self) -> bytes:
        """The rest."""
        data: bytes = self._engine.flush()
        return data


class ChunkedCompressor:
    """Compresses chunk by chunk, so that a device can go on at each of them; still one stream for everybody else.

    With zstd every chunk is a frame of its own. With gzip, of which SWUpdate reads the first member only, all are in
    one member, and its deflate stream is flushed between them.

    Args:
        compression: ZLIB or ZSTD.
        plain_bytes: length of what will come.
        alignment_bytes: chunks but the last are padded to a multiple of it: 16 when they will be encrypted, else 1.

    Attributes:
        lengths: of the chunks so far, compressed.
    """

    def __init__(self, compression: Compression, plain_bytes: int, alignment_bytes: int) -> None:
        self._compression = compression
        self._left_bytes = plain_bytes
        self._alignment = alignment_bytes
        self._engine = _ENGINES[compression](plain_bytes) if compression is Compression.ZLIB else None
        self.lengths: list[int] = []

    def push(self, block: memoryview) -> bytes:
        """A whole chunk, compressed."""
        self._left_bytes -= len(block)
        if self._engine is None:
            engine = _ENGINES[self._compression](len(block))
            data = engine.compress(block) + engine.flush()
        else:
            import zlib

            data = self._engine.compress(block)
            data += self._engine.flush(zlib.Z_FULL_FLUSH if self._left_bytes else zlib.Z_FINISH)
        if self._left_bytes:
            data += self._padding(-len(data) % self._alignment)
        self.lengths.append(len(data))
        return bytes(data)

    def finish(self) -> bytes:
        """What stands for nothing at all, if nothing came."""
        if self.lengths:
            return b""
        engine = Compressor(self._compression, 0)
        data = engine.finish()
        self.lengths.append(len(data))
        return data

    def _padding(self, n_bytes: int) -> bytes:
        """At least ``n_bytes`` that decompress to nothing and keep the alignment."""
        if n_bytes == 0:
            return b""
        if self._compression is Compression.ZLIB:
            count = next(k for k in range(self._alignment) if 5 * k % self._alignment == n_bytes)
            return _EMPTY_BLOCK * count
        if n_bytes < len(_SKIPPABLE) + 4:
            n_bytes += self._alignment
        rest = n_bytes - len(_SKIPPABLE) - 4
        return _SKIPPABLE + rest.to_bytes(4, "little") + bytes(rest)


_EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"
"""A stored block of deflate (RFC 1951 §3.2.4) with nothing in it."""
_SKIPPABLE = b"\x50\x2a\x4d\x18"
"""Begins a frame of zstd that is passed over (RFC 8878 §3.1.2); its length follows."""


def _gzip(plain_bytes: int) -> Any:
    import zlib

    return zlib.compressobj(_ZLIB_LEVEL, wbits=31)  # "zlib" is the gzip container; time 0, no name


def _xz(plain_bytes: int) -> Any:
    import lzma

    # xz-embedded, which small boot loaders have, knows no other check than CRC32
    return lzma.LZMACompressor(lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, preset=_XZ_PRESET)


def _zstd(plain_bytes: int) -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14 has it
    except ImportError:
        try:
            from backports import zstd
        except ImportError as exc:
            raise RegistrationError(
                "compressing with zstd needs swagent[zstd]", hint="pip install 'swagent[zstd]'"
            ) from exc
    parameter = zstd.CompressionParameter
    engine = zstd.ZstdCompressor(
        options={parameter.compression_level: _ZSTD_LEVEL, parameter.checksum_flag: 1}
    )
    engine.set_pledged_input_size(plain_bytes)
    return engine


_ENGINES: dict[Compression, Callable[[int], Any]] = {
    Compression.ZLIB: _gzip,
    Compression.XZ: _xz,
    Compression.ZSTD: _zstd,
}
