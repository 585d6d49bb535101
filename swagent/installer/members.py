"""Members of the archive as handlers get them: straight from it, or from where they were staged."""

import os
from collections.abc import Iterator, Mapping

from swagent.errors import ArchiveError, DeviceError
from swagent.handlers.joined import parts_of
from swagent.model import Artifact, Sink
from swagent.stream import Archive, ArtifactData, Codec, Member, Source, Span, SumReader, read_all
from swagent.stream.chunks import TABLE_BYTES_MAX, ChunkTable, Resume
from swagent.stream.parts import OpenPart, PartsReader
from swagent.stream.pipeline import drain
from swagent.stream.source import FileSource

from .codecs import codec_for
from .context import SessionContext
from .pieces import judge_size, piece_of, pieces_of
from .rig import Policy
from .tables import TableRef, table_of
from .workers import named
from .workspace import Workspace

SKIPPED_SUM_BYTES_MAX = 1024 * 1024


class Members:
    """Opens members as ``Data`` for one session.

    Args:
        archive: where they are.
        policy: for keys and sums.
        ctx: hears of the bytes read.
        folder: for what must be staged.
    """

    def __init__(self, archive: Archive, policy: Policy, ctx: SessionContext, folder: Workspace) -> None:
        self._archive = archive
        self._policy = policy
        self._ctx = ctx
        self._folder = folder
        self._staged: dict[str, tuple[Source, int]] = {}
        self._open_fds: list[int] = []
        self._tables: dict[str, ChunkTable] = {}
        self._awaited: Mapping[str, TableRef] = {}
        self._rest: Iterator[Member] = iter(())

    def expect(self, tables: Mapping[str, TableRef], rest: Iterator[Member]) -> None:
        """Of a stream: what is to be kept when it passes, and where the later parts of what is joined come from.

        Args:
            tables: the chunk tables that entries need.
            rest: the members to come.
        """
        self._awaited = tables
        self._rest = rest

    def open(self, art: Artifact, member: Member, *, resume: bool = False) -> ArtifactData:
        """An entry's member as ``Data``; of a joined entry the first, and the others behind it.

        Args:
            art: the entry.
            member: its member.
            resume: an earlier install of the same image to the same target was cut.
        """
        parts = parts_of(art)
        if not parts:
            return self._data(art, self._open(art, member), member.size_bytes, resume=resume)
        judged = table_of(art) is None

        def opened() -> Iterator[OpenPart]:
            for part in parts:
                now = member if part.name == member.name else self._following(art, part.name)
                yield OpenPart(
                    part.name, self._open(art, now), part.size_bytes, part.sha256 if judged else None
                )

        total = sum(part.size_bytes for part in parts)
        return self._data(art, PartsReader(opened()), total, resume=resume)

    def open_stored(self, art: Artifact, member: Member) -> ArtifactData:
        """The stored bytes of one member of an entry, for the verdict."""
        codec = Codec(member.name, member.size_bytes, piece_of(art, member).sha256)
        return ArtifactData(self._open(art, member), codec, self._checkpoint)

    def _open(self, art: Artifact, member: Member) -> Span | SumReader:
        verify_sum = art.sha256 is None or self._policy.verify_cpio_sum
        return self._archive.open(member, verify_sum=verify_sum)

    def _following(self, art: Artifact, name: str) -> Member:
        """The next part of a joined entry."""
        if self._archive.source.seekable:
            return next(member for member in self._archive.index() if member.name == name)
        member = next(self._rest, None)
        if member is None or member.name != name:
            found = f"{member.name!r} comes" if member is not None else "the archive ends"
            raise ArchiveError(
                f"{art.where}: {found} where its part {name!r} belongs",
                artifact=art.label,
                hint="the image was put together wrongly",
            )
        judge_size(art, member)
        return member

    def _checkpoint(self, n_bytes: int) -> None:
        self._ctx.checkpoint()

    def open_staged(self, art: Artifact, *, resume: bool = False) -> ArtifactData:
        """A staged entry as ``Data``."""
        opened = [
            OpenPart(name, Span(source, 0, size_bytes, name), size_bytes, None)
            for name, (source, size_bytes) in ((p.name, self._staged[p.name]) for p in pieces_of(art))
        ]
        reader = opened[0].reader if len(opened) == 1 else PartsReader(iter(opened))
        total = sum(part.size_bytes for part in opened)
        return self._data(art, reader, total, resume=resume)

    def _data(
        self, art: Artifact, reader: Span | SumReader | PartsReader, size_bytes: int, *, resume: bool
    ) -> ArtifactData:
        if isinstance(reader, PartsReader):
            art = art._replace(sha256=None)  # that of its first part, which the reader judges
        codec = codec_for(art, size_bytes, self._policy.aes_key, self._table(art))

        def tell(n_bytes: int) -> None:
            self._ctx.log("info", f"{art.label}: goes on after {n_bytes} bytes, which are there already")

        # what is summed has to be read from its beginning
        going_on = None
        if resume and not isinstance(reader, SumReader) and not self._policy.verify_cpio_sum:
            going_on = Resume(reader.skip, tell)
        return ArtifactData(reader, codec, self._ctx.progress, going_on)

    def _table(self, art: Artifact) -> ChunkTable | None:
        ref = table_of(art)
        if ref is None:
            return None
        if ref.name not in self._tables:
            if not self._archive.source.seekable:
                raise ArchiveError(
                    f"{art.where}: its chunk table {ref.name} does not come before it",
                    artifact=art.label,
                    hint="the image was put together wrongly",
                )
            member = next((m for m in self._archive.index() if m.name == ref.name), None)
            if member is None:
                raise ArchiveError(f"{art.where}: the archive has no member {ref.name!r}", artifact=art.label)
            self._take_table(ref, member)
        return self._tables[ref.name]

    def _take_table(self, ref: TableRef, member: Member) -> None:
        codec = Codec(ref.name, member.size_bytes, ref.sha256)
        data = ArtifactData(self._archive.open(member, verify_sum=False), codec)
        self._tables[ref.name] = ChunkTable(read_all(data, TABLE_BYTES_MAX, what=ref.name), ref.name)

    def stage(self, art: Artifact, member: Member) -> None:
        """Copy a member of a stream to the temporary folder, as stored; its digest is judged on the way."""
        folder = self._subfolder("staged")
        hint = "set TMPDIR to a larger folder, or mark the entry installed-directly"
        _judge_room(folder, member, hint)
        path = os.path.join(folder, member.name)
        fd = _create(path, os.O_RDWR | os.O_EXCL, art.label)
        self._open_fds.append(fd)
        named(art, lambda: self.open_stored(art, member).pour(Sink(fd)))
        self._staged[member.name] = (FileSource(fd, path), member.size_bytes)

    def spool(self, rest: Iterator[Member]) -> dict[str, Member]:
        """Of a stream: keep all that is left of it in the temporary folder, and go on as with a file.

        Returns:
            The members by name.

        Raises:
            DeviceError: there is no room.
        """
        path = os.path.join(self._folder.path(), "archive")
        fd = _create(path, os.O_RDWR | os.O_EXCL, "")
        self._open_fds.append(fd)
        found: list[Member] = []
        end = 0
        for member in rest:
            _judge_room(
                self._folder.path(), member, "set TMPDIR to a larger folder, or save the update first"
            )
            codec = Codec(member.name, member.size_bytes)
            data = ArtifactData(self._archive.open(member, verify_sum=False), codec, self._checkpoint)
            data.pour(Sink(fd, offset_bytes=end))
            found.append(member._replace(offset=end))
            end += member.size_bytes
        self._archive = Archive(FileSource(fd, path), found)
        return {member.name: member for member in found}

    def pass_over(self, member: Member) -> None:
        """A member no entry wants: small ones are still judged by their sum, as SWUpdate does; tables are kept."""
        if member.name in self._awaited:
            self._take_table(self._awaited[member.name], member)
            return
        if member.size_bytes <= SKIPPED_SUM_BYTES_MAX:
            drain(
                ArtifactData(
                    self._archive.open(member, verify_sum=True), Codec(member.name, member.size_bytes)
                )
            )

    def lay_out_script(self, art: Artifact, data: ArtifactData) -> None:
        """Put a script's plain bytes where its handler looks for them."""
        path = os.path.join(self._subfolder("scripts"), art.filename)
        fd = _create(path, os.O_WRONLY | os.O_TRUNC, art.label)
        try:
            named(art, lambda: data.pour(Sink(fd)))
        finally:
            os.close(fd)

    def is_laid_out(self, art: Artifact) -> bool:
        """Whether a script's plain bytes are where its handler looks for them."""
        return os.path.isfile(os.path.join(self._folder.path(), "scripts", art.filename))

    def close(self) -> None:
        """Close what was staged."""
        for fd in self._open_fds:
            os.close(fd)
        self._open_fds.clear()

    def _subfolder(self, name: str) -> str:
        path = os.path.join(self._folder.path(), name)
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as exc:
            raise DeviceError(
                f"cannot make the folder {path}: {exc.strerror}",
                path=path,
                errno=exc.errno,
                hint=_LARGER_HINT,
            ) from exc
        return path


_LARGER_HINT = "set TMPDIR to a folder with room for what is not installed directly"


def _judge_room(folder: str, member: Member, hint: str) -> None:
    room = os.statvfs(folder)
    if member.size_bytes > room.f_bavail * room.f_frsize:
        raise DeviceError(
            f"{folder} has no room for {member.name} ({member.size_bytes} bytes)",
            path=folder,
            artifact=member.name,
            hint=hint,
        )


def _create(path: str, flags: int, label: str) -> int:
    try:
        return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise DeviceError(
            f"cannot make {path}: {exc.strerror}",
            path=path,
            errno=exc.errno,
            artifact=label,
            hint=_LARGER_HINT,
        ) from exc
