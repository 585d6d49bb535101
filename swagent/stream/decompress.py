"""Decompressors, fed block by block. Streams of several members are read whole; what is unfinished is an error."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Protocol

from swagent.errors import ArchiveError, RegistrationError
from swagent.model import Compression

OUTPUT_BYTES = 512 * 1024
MEMORY_MAX_BYTES = 128 * 1024 * 1024
"""What one decompressor may take; the windows of ``zstd -22`` and ``xz -9`` fit."""


class _Engine(Protocol):
    """What bz2, lzma, isal and zstd have in common."""

    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes: ...


class _Zlib:
    """zlib in the shape of the others."""

    def __init__(self) -> None:
        import zlib

        self._engine = zlib.decompressobj(wbits=31)
        self.eof = False
        self.needs_input = True
        self.unused_data = b""

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        tail = self._engine.unconsumed_tail
        output = self._engine.decompress(tail + bytes(data) if tail else data, max_length)
        self.eof = self._engine.eof
        self.unused_data = self._engine.unused_data
        self.needs_input = not self._engine.unconsumed_tail and len(output) < max_length
        return output


def _gzip_engine() -> tuple[Callable[[], Any], Any]:
    try:
        from isal import igzip_lib
    except ImportError:
        import zlib

        return _Zlib, zlib.error
    return lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), igzip_lib.error


class _InsideGzip:
    """A gzip member from a point on where its deflate stream was flushed; in the shape of the others.

    The header lies before that point, and so does part of what the checksum at the end is of; the length there is
    judged by whoever counts the plain bytes.
    """

    _TRAILER_BYTES = 8

    def __init__(self) -> None:
        import zlib

        self._engine = zlib.decompressobj(wbits=-15)
        self._left = self._TRAILER_BYTES
        self.eof = False
        self.needs_input = True
        self.unused_data = b""

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        tail = self._engine.unconsumed_tail
        if self._engine.eof:
            output, rest = b"", bytes(data)
        else:
            output = self._engine.decompress(tail + bytes(data) if tail else data, max_length)
            rest = self._engine.unused_data
        if self._engine.eof:
            self.unused_data = rest[self._left :]
            self._left -= min(self._left, len(rest))
            self.eof = self._left == 0
        self.needs_input = not self._engine.unconsumed_tail and len(output) < max_length
        return output


def _inside_gzip_engine() -> tuple[Callable[[], Any], Any]:
    import zlib

    return _InsideGzip, zlib.error


@cache  # looking in vain for the newer module takes a millisecond
def _zstd_engine() -> tuple[Callable[[], Any], type[Exception]]:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # only from Python 3.14 on
    except ImportError:
        try:
            from backports import zstd
        except ImportError as exc:
            raise RegistrationError(
                "zstd-compressed artifacts need swagent[zstd]", hint="pip install 'swagent[zstd]'"
            ) from exc
    return zstd.ZstdDecompressor, zstd.ZstdError


def _xz_engine() -> tuple[Callable[[], Any], type[Exception]]:
    try:
        import lzma
    except ImportError as exc:
        raise RegistrationError("xz-compressed artifacts need a Python with lzma") from exc
    return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY_MAX_BYTES), lzma.LZMAError


_ENGINES: dict[Compression, Callable[[], tuple[Callable[[], Any], Any]]] = {
    Compression.ZLIB: _gzip_engine,
    Compression.ZSTD: _zstd_engine,
    Compression.XZ: _xz_engine,
}


class Decompressor:
    """Decompresses one member.

    Args:
        compression: not NONE.
        name: the member, for messages.
        inside: it begins at a chunk in the middle of the member: in zstd a frame, in gzip a point where the stream was
            flushed; xz has neither.

    Raises:
        RegistrationError: the library for it is not installed.
    """

    def __init__(self, compression: Compression, name: str, *, inside: bool = False) -> None:
        self._new, self._error = _ENGINES[compression]()
        self._word = {"zlib": "gzip"}.get(compression.value, compression.value)
        self._padding = compression is Compression.XZ
        self._name = name
        first = _inside_gzip_engine()[0] if inside and compression is Compression.ZLIB else self._new
        self._engine: _Engine = first()
        self._started = False

    def push(self, block: memoryview) -> Iterator[bytes]:
        """The plain bytes that a block brings; the block may be reused when the iterator ends.

        Raises:
            ArchiveError: not a stream of this format, or a damaged one.
        """
        data: bytes | memoryview = block
        while True:
            if self._engine.eof:
                data = self._next_stream(data)
                if not data:
                    return
            self._started = True
            try:
                output = self._engine.decompress(data, OUTPUT_BYTES)
            except (self._error, EOFError, ValueError, MemoryError) as exc:
                raise ArchiveError(
                    f"{self._name} is not a sound {self._word} stream: {exc}", artifact=self._name
                ) from exc
            if output:
                yield output
            if self._engine.eof:
                data = self._engine.unused_data
            elif self._engine.needs_input:
                return
            else:
                data = b""

    def finish(self) -> None:
        """The member has ended.

        Raises:
            ArchiveError: but the stream has not.
        """
        if self._started and self._engine.eof:
            return
        raise ArchiveError(
            f"{self._name} ends in the middle of its {self._word} stream",
            artifact=self._name,
            hint="the image was built from a damaged file",
        )

    def _next_stream(self, data: bytes | memoryview) -> bytes | memoryview:
        if self._padding:
            data = bytes(data).lstrip(b"\0")
        if data:
            self._engine = self._new()
        return data
