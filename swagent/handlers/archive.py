"""``archive`` (also called ``tar``): a tar archive, unpacked into a folder from which nothing leads out.

Its form is read by ``tarstream``, its members are placed by ``unpack``, in a ``tree`` that keeps them inside.
"""

from collections.abc import Iterator
from typing import NamedTuple

from swagent.errors import ArchiveError, DeviceError, SwagentError
from swagent.hw.sync import sync_filesystem
from swagent.model import Artifact, Compression, Data, Kind, Needs, Reader

from . import destination
from .api import Context, chunks, handler
from .tarstream import TarReader
from .unpack import Unpacker

COMPRESSED_BYTES = 256 * 1024

_COMPRESSED = (
    (b"\x1f\x8b", Compression.ZLIB),
    (b"\xfd7zXZ\0", Compression.XZ),
    (b"\x28\xb5\x2f\xfd", Compression.ZSTD),
)
_FOREIGN = (
    (b"070701", "a cpio archive (newc)"),
    (b"070702", "a cpio archive (crc)"),
    (b"070707", "a cpio archive (odc)"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"BZh", "compressed by bzip2"),
    (b"\x04\x22\x4d\x18", "compressed by lz4"),
    (b"LZIP", "compressed by lzip"),
    (b"\x89LZO", "compressed by lzop"),
    (b"]\0\0", "compressed by lzma"),
    (b"\x1f\x9d", "compressed by compress"),
    (b"!<arch>\n", "an ar archive or Debian package"),
    (b"hsqs", "a squashfs image"),
    (b"Rar!", "a RAR archive"),
)


@handler("archive", kinds=Kind.IMAGE | Kind.FILE, attributes=("path",))
class Archive:
    """Unpack a tar archive (also gzip, xz or zstd on top) below ``path``, on ``device`` if ``filesystem`` is given.

    ``preserve-attributes`` keeps owner (by number), all mode bits, times, extended attributes and ACLs, and allows
    device nodes and FIFOs. Without it, files belong to the updater and have no set-id bits.
    """

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            create_destination: make the folder path, mode 0755, if it is missing.
        """

        create_destination: bool = False

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether the place makes sense."""
        return destination.check(art, ctx)

    def install(self, art: Artifact, opt: Options, data: Data, ctx: Context) -> None:
        """Unpack it; durable with everything else of its phase, or when the device is unmounted."""
        try:
            if destination.is_mounted(art):
                with destination.mounted(art, ctx) as root:
                    self._unpack(art, opt, data, ctx, root)
            else:
                self._unpack(art, opt, data, ctx, "")
        except SwagentError as exc:
            exc.artifact = exc.artifact or art.label
            exc.handler = exc.handler or "archive"
            raise

    def _unpack(self, art: Artifact, opt: Options, data: Data, ctx: Context, root: str) -> None:
        tree = destination.open_tree(art, root, create=opt.create_destination)
        try:
            try:
                reader = open_tar(data, art.label)
                Unpacker(reader, tree, art.label, ctx, keep=art.preserve_attributes).run()
                reader.drain()
            except ArchiveError:
                for _ in chunks(data):
                    pass  # if its digest is wrong too, that is the better explanation, and is raised here
                raise
            if not root:
                ctx.sync.later(tree.root_fd)
                return
            try:
                sync_filesystem(tree.root_fd)
            except OSError as exc:
                raise DeviceError(
                    f"cannot sync {art.device}: {exc.strerror}", path=art.device, errno=exc.errno
                ) from exc
        finally:
            tree.close()


def open_tar(data: Data, label: str) -> TarReader:
    """A reader of the members, through a decompressor if the archive is compressed by itself.

    Raises:
        ArchiveError: it is some other kind of file.
        RegistrationError: the library for its compression is missing.
    """
    head = bytearray(16)
    have = 0
    while have < len(head) and (n := data.readinto(memoryview(head)[have:])):
        have += n
    first = bytes(head[:have])
    whole = _Rest(first, data)
    for magic, compression in _COMPRESSED:
        if first.startswith(magic):
            return TarReader(_Inflated(whole, compression, label), label)
    for magic, what in _FOREIGN:
        if first.startswith(magic):
            raise ArchiveError(
                f"{label} is {what}; archive unpacks tar, also compressed by gzip, xz or zstd",
                artifact=label,
                handler="archive",
                hint="make it with `tar --format=pax -c`",
            )
    return TarReader(whole, label, data.size_bytes)


class _Rest:
    """A reader whose first bytes have been looked at."""

    def __init__(self, first: bytes, data: Reader) -> None:
        self._first = first
        self._data = data

    def readinto(self, buffer: memoryview) -> int:
        if not self._first:
            return self._data.readinto(buffer)
        n = min(len(buffer), len(self._first))
        buffer[:n] = self._first[:n]
        self._first = self._first[n:]
        return n


class _Inflated:
    """The plain bytes of a compressed reader."""

    def __init__(self, source: Reader, compression: Compression, label: str) -> None:
        from swagent.stream.decompress import Decompressor

        self._source = source
        self._decompressor = Decompressor(compression, label)
        self._block = memoryview(bytearray(COMPRESSED_BYTES))
        self._pieces: Iterator[bytes] = iter(())
        self._rest = memoryview(b"")

    def readinto(self, buffer: memoryview) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is not None:
                self._rest = memoryview(piece)
                continue
            n = self._source.readinto(self._block)
            if n == 0:
                self._decompressor.finish()
                return 0
            self._pieces = self._decompressor.push(self._block[:n])
        n = min(len(buffer), len(self._rest))
        buffer[:n] = self._rest[:n]
        self._rest = self._rest[n:]
        return n
