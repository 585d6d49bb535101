"""Members on their way into an archive: found, compressed and encrypted as their entries say, and hashed."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, repeat
from typing import BinaryIO, Protocol, cast

from swagent.errors import DescriptionError, DeviceError, SettingsError
from swagent.model import Compression
from swagent.stream.chunks import CHUNK_BYTES, Chunk, pack

from .compress import MAGIC_BYTES, ChunkedCompressor, Compressor, is_compressed
from .encrypt import Encryptor, synthetic_ivt
from .entries import Entry
from .writer import BLOCK_BYTES, ArchiveWriter, check_member_name

PART_BYTES = 4095 * 1024 * 1024
"""What is longer becomes several members: a cpio member has less than 4 GiB."""


@dataclass(frozen=True)
class Staged:
    """A member, ready to be written.

    Attributes:
        name: in the archive.
        path: the source file.
        compression: how its stored form is compressed, whoever did it.
        plain_bytes: length of what a handler will get.
        packed_bytes: after compression, before encryption.
        stored_bytes: in the archive.
        sha256: of the stored bytes, 32 bytes.
        ivt: initialisation vector of an encrypted member, else None.
        offset: where the stored bytes begin in the scratch file; None when they are the source file's.
        table_name: of its chunk table, "" when it gets none.
        table: the table.
        parts: the members that it is split into; () when it is one.
        whole: whether the source file is used to its end.
    """

    name: str
    path: str
    compression: Compression
    plain_bytes: int
    packed_bytes: int
    stored_bytes: int
    sha256: bytes
    ivt: bytes | None
    offset: int | None
    table_name: str = ""
    table: bytes = b""
    parts: tuple["StagedPart", ...] = ()
    whole: bool = True

    @property
    def digests(self) -> dict[str, str]:
        """The members that it becomes, and their SHA-256 in hexadecimal."""
        parts = {part.name: part.sha256.hex() for part in self.parts}
        return parts or {self.name: self.sha256.hex()}


@dataclass(frozen=True)
class StagedPart:
    """Part of a member that is too large to be one.

    Attributes:
        offset: in the stored bytes.
    """

    name: str
    offset: int
    size_bytes: int
    sha256: bytes


class Sources:
    """Finds the files of a description.

    Args:
        folders: where to look, the first one first.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = tuple(dict.fromkeys(folders))

    def find(self, name: str) -> str:
        """Path of the file with this name.

        Raises:
            DescriptionError: it is in none of the folders, or no regular file.
        """
        check_member_name(name)
        for folder in self._folders:
            path = os.path.join(folder, name)
            try:
                mode = os.stat(path).st_mode
            except FileNotFoundError:
                continue
            except OSError as exc:
                raise DeviceError(
                    f"cannot look at {path}: {exc.strerror}", path=path, errno=exc.errno, artifact=name
                ) from exc
            if not stat.S_ISREG(mode):
                raise DescriptionError(f"{path} is no regular file", artifact=name)
            return path
        raise DescriptionError(
            f"{name} is in none of the folders {', '.join(self._folders)}",
            artifact=name,
            hint="name its folder with -a DIR",
        )

    def size_bytes(self, name: str) -> int:
        """Size of the file with this name."""
        path = self.find(name)
        try:
            return os.stat(path).st_size
        except OSError as exc:
            raise DeviceError(f"cannot look at {path}: {exc.strerror}", path=path, errno=exc.errno) from exc


class Staging:
    """Prepares members. What has to be rewritten goes to nameless scratch files, which no accident leaves behind.

    Args:
        sources: finds them.
        folder: where scratch files go; there must be room for all members that are compressed or encrypted here.
        aes_key: key of the key file, None without.
        tables: give every member a chunk table that is installed directly and longer than a chunk.
        part_bytes: what is longer as stored becomes several members.
    """

    def __init__(
        self,
        sources: Sources,
        folder: str,
        aes_key: bytes | None,
        *,
        tables: bool = False,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._tables = tables
        self._part_bytes = part_bytes
        self._sources = sources
        self._folder = folder
        self._aes_key = aes_key
        self._scratch: BinaryIO | None = None

    def close(self) -> None:
        """Drop the scratch file."""
        if self._scratch is not None:
            self._scratch.close()

    def stage(self, uses: Sequence[Entry]) -> Staged:
        """Prepare one member.

        Args:
            uses: all entries with its name, at least one.

        Raises:
            DescriptionError: there is no such file, or the entries disagree about how it is stored.
            SettingsError: it is to be encrypted, and there is no key.
            ArchiveError: it claims to be compressed and is damaged.
            DeviceError: a file cannot be read, or the scratch file not be written.
        """
        name = uses[0].filename
        path = self._sources.find(name)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as exc:
            raise DeviceError(
                f"cannot read {path}: {exc.strerror}", path=path, errno=exc.errno, artifact=name
            ) from exc
        try:
            return self._stage(uses, path, fd)
        except OSError as exc:
            raise DeviceError(
                f"cannot prepare {name}: {exc.strerror}", path=path, errno=exc.errno, artifact=name
            ) from exc
        finally:
            os.close(fd)

    def write(self, staged: Staged, writer: ArchiveWriter) -> bool:
        """Put a member into the archive; whether it was still what was staged."""
        if staged.offset is None and staged.whole and not staged.parts:
            return writer.add_file(staged.name, staged.path, staged.stored_bytes) == staged.sha256
        parts = staged.parts or (StagedPart(staged.name, 0, staged.stored_bytes, staged.sha256),)
        with ExitStack() as stack:
            if staged.offset is not None:
                fd = self._scratch_file().fileno()
            else:
                fd = stack.enter_context(_reading(staged.path, staged.name)).fileno()
            for part in parts:
                os.lseek(fd, (staged.offset or 0) + part.offset, os.SEEK_SET)
                if writer.add_file(part.name, fd, part.size_bytes) != part.sha256:
                    return False
        return True

    def _stage(self, uses: Sequence[Entry], path: str, fd: int) -> Staged:
        first = uses[0]
        name = first.filename
        file_bytes = os.fstat(fd).st_size
        head = os.pread(fd, MAGIC_BYTES, 0)
        size_bytes = _header_bytes(fd, name) if _is_zchunk(uses, head) else file_bytes
        steps = {(_step(use, head), self._key_of(use), use.ivt if use.cipher else None) for use in uses}
        if len(steps) > 1:
            raise DescriptionError(
                f"entries disagree about how {name} is compressed or encrypted: "
                + ", ".join(use.where for use in uses),
                artifact=name,
                hint="it is stored once; give the second form another name",
            )
        ((compression, key, ivt),) = steps
        carried = next((use.compression for use in uses if use.compression is not Compression.NONE), None)
        table_name = self._table_name(uses, size_bytes)
        plain = _Piece(fd, 0, size_bytes)
        plain_bytes = size_bytes
        if compression is Compression.NONE and carried is not None:
            plain_bytes = _count_plain(plain, carried, name)
        packed, stored = plain, None
        lengths: Sequence[int] | None = None
        with _temporary(self._folder) as middle:
            if compression is not Compression.NONE:
                target = self._scratch_file() if key is None else middle
                if table_name and compression is not Compression.XZ:
                    engine = ChunkedCompressor(compression, size_bytes, 1 if key is None else 16)
                    packed = stored = _rewrite(plain, engine, target)
                    lengths = engine.lengths
                else:
                    packed = stored = _rewrite(plain, Compressor(compression, size_bytes), target)
            if key is not None:
                ivt = ivt or synthetic_ivt(key, name, packed.sha256 or _hash(packed))
                stored = _rewrite(packed, Encryptor(key, ivt), self._scratch_file())
        table = b""
        if table_name:
            # one can go on at a chunk that begins at a known plain byte: not in what others have compressed, nor in xz
            points = carried is None or lengths is not None
            table = _table(stored or plain, plain if points else None, lengths, plain_bytes)
        return Staged(
            name=name,
            path=path,
            compression=carried or Compression.NONE,
            plain_bytes=plain_bytes,
            packed_bytes=packed.size_bytes,
            stored_bytes=(stored or plain).size_bytes,
            sha256=stored.sha256 if stored is not None else _hash(plain),
            ivt=ivt if key is not None else None,
            offset=stored.offset if stored is not None else None,
            table_name=table_name,
            table=table,
            parts=self._parts(name, stored or plain),
            whole=size_bytes == file_bytes,
        )

    def _parts(self, name: str, stored: "_Piece") -> tuple[StagedPart, ...]:
        if stored.size_bytes <= self._part_bytes:
            return ()
        found: list[StagedPart] = []
        for at in range(0, stored.size_bytes, self._part_bytes):
            size_bytes = min(self._part_bytes, stored.size_bytes - at)
            digest = _hash(_Piece(stored.fd, stored.offset + at, size_bytes))
            found.append(StagedPart(f"{name}.{len(found):03}", at, size_bytes, digest))
        return tuple(found)

    def _table_name(self, uses: Sequence[Entry], size_bytes: int) -> str:
        """Name of the member's chunk table, "" if it gets none."""
        names = {use.table_name for use in uses if use.table_name}
        if len(names) > 1:
            raise DescriptionError(
                f"entries disagree about the chunk table of {uses[0].filename}: {', '.join(sorted(names))}",
                artifact=uses[0].filename,
            )
        if names:
            return names.pop()
        wanted = self._tables and size_bytes > CHUNK_BYTES and any(use.streamed for use in uses)
        # what is split gets one too: it is judged in a thread of its own then, and is worth continuing
        wanted = wanted or size_bytes > self._part_bytes
        return f"{uses[0].filename}.chunks" if wanted else ""

    def _key_of(self, use: Entry) -> bytes | None:
        if not use.cipher:
            return None
        key = use.aes_key or self._aes_key
        if key is None:
            raise SettingsError(
                f"{use.where} is to be encrypted, and there is no key",
                artifact=use.filename,
                hint="name the AES key file with -K",
            )
        bits = use.cipher.removeprefix("aes-cbc").removeprefix("-")
        if bits and use.aes_key is None:
            raise DescriptionError(
                f"{use.where}: encrypted = {use.cipher!r} without aes-key; SWUpdate takes the key file's key only "
                "for plain aes-cbc",
                artifact=use.filename,
                hint='write encrypted = "aes-cbc": the key\'s length says the rest',
            )
        if bits and len(key) * 8 != int(bits):
            raise DescriptionError(
                f"{use.where}: aes-key has {len(key) * 8} bits, {use.cipher} needs {bits}",
                artifact=use.filename,
            )
        return key

    def _scratch_file(self) -> BinaryIO:
        if self._scratch is None:
            self._scratch = _temporary(self._folder)
        return self._scratch


@dataclass(frozen=True)
class _Piece:
    """Part of a file; ``sha256`` is empty while nobody has hashed it."""

    fd: int
    offset: int
    size_bytes: int
    sha256: bytes = b""

    def blocks(self, lengths: Iterable[int] = ()) -> Iterator[memoryview]:
        """All of it, in blocks of these lengths, then of ``BLOCK_BYTES``; the last one may be shorter."""
        buffer = memoryview(bytearray(BLOCK_BYTES))
        at, end = self.offset, self.offset + self.size_bytes
        for length in chain(lengths, repeat(BLOCK_BYTES)):
            if at == end:
                return
            size = min(length, end - at)
            if size > len(buffer):
                buffer = memoryview(bytearray(size))
            done = 0
            while done < size:
                n = os.preadv(self.fd, [buffer[done:size]], at + done)
                if n == 0:
                    raise OSError(0, "it became shorter while it was read")
                done += n
            yield buffer[:size]
            at += size


class _Engine(Protocol):
    def push(self, block: memoryview) -> bytes | memoryview: ...

    def finish(self) -> bytes: ...


def _reading(path: str, name: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as exc:
        raise DeviceError(
            f"cannot read {path}: {exc.strerror}", path=path, errno=exc.errno, artifact=name
        ) from exc


def _rewrite(piece: _Piece, engine: _Engine, target: BinaryIO) -> _Piece:
    """Append what an engine makes of a piece to ``target``."""
    from hashlib import sha256

    offset = target.seek(0, os.SEEK_END)
    digest = sha256()
    size_bytes = 0

    def put(data: bytes | memoryview) -> None:
        nonlocal size_bytes
        digest.update(data)
        target.write(data)
        size_bytes += len(data)

    for block in piece.blocks():
        put(engine.push(block))
    put(engine.finish())
    target.flush()
    return _Piece(target.fileno(), offset, size_bytes, digest.digest())


def _hash(piece: _Piece) -> bytes:
    from hashlib import sha256

    digest = sha256()
    for block in piece.blocks():
        digest.update(block)
    return digest.digest()


def _table(stored: _Piece, plain: _Piece | None, lengths: Sequence[int] | None, plain_bytes: int) -> bytes:
    """The chunk table of a member; without ``plain`` one that says nothing of plain bytes."""
    from hashlib import sha256

    cuts = lengths
    if cuts is None and stored.size_bytes and plain is not None:
        # the padding of what is encrypted belongs to the last chunk, also where it would begin another
        count = max(-(-plain_bytes // CHUNK_BYTES), 1)
        cuts = [CHUNK_BYTES] * (count - 1) + [stored.size_bytes - CHUNK_BYTES * (count - 1)]
    elif cuts is not None:
        cuts = [*cuts[:-1], stored.size_bytes - sum(cuts[:-1])]
    stored_blocks = ((len(block), sha256(block).digest()) for block in stored.blocks(cuts or ()))
    if plain is None:
        return pack((Chunk(*row) for row in stored_blocks), chunk_bytes=0, plain_bytes=plain_bytes)
    digests = chain((sha256(block).digest() for block in plain.blocks()), repeat(sha256().digest()))
    chunks = (Chunk(*row, digest) for row, digest in zip(stored_blocks, digests, strict=False))
    return pack(chunks, chunk_bytes=CHUNK_BYTES, plain_bytes=plain_bytes)


def _count_plain(piece: _Piece, compression: Compression, name: str) -> int:
    """Length of what a compressed file holds; reading it to its end also shows that it is whole."""
    from swagent.stream.decompress import Decompressor

    engine = Decompressor(compression, name)
    total = 0
    for block in piece.blocks():
        for data in engine.push(block):
            total += len(data)
    engine.finish()
    return total


def _is_zchunk(uses: Sequence[Entry], head: bytes) -> bool:
    """Whether it is a zchunk file for delta updates, whose header alone belongs into the image."""
    from swagent.handlers.zchunk import MAGIC

    return head.startswith(MAGIC) and all(use.group.get("type") == "delta" for use in uses)


def _header_bytes(fd: int, name: str) -> int:
    from swagent.handlers.zchunk import HEADER_BYTES_MAX, header_of

    return len(header_of(os.pread(fd, HEADER_BYTES_MAX, 0), name))


def _step(use: Entry, head: bytes) -> Compression:
    """What is to be done to a source file that begins with ``head``."""
    if use.compression is Compression.NONE or is_compressed(head, use.compression):
        return Compression.NONE
    return use.compression


def _temporary(folder: str) -> BinaryIO:
    from tempfile import TemporaryFile

    return cast(BinaryIO, TemporaryFile(dir=folder))  # nameless where the file system can
