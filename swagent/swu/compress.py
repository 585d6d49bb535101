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
