"""Members of the archive as handlers get them: straight from it, or from where they were staged."""

import os
from collections.abc import Mapping

from swagent.errors import ArchiveError, DeviceError
from swagent.model import Artifact, Sink
from swagent.stream import Archive, ArtifactData, Codec, Member, Source, Span, SumReader, read_all
from swagent.stream.chunks import TABLE_BYTES_MAX, ChunkTable, Resume
from swagent.stream.pipeline import drain
from swagent.stream.source import FileSource

from .codecs import codec_for
from .context import SessionContext
from .rig import Policy
from .tables import TableRef, table_of
from .workers import named

SKIPPED_SUM_BYTES_MAX = 1024 * 1024


class Workspace:
    """A session's folder for temporary files; made when first needed.

    Args:
        parent: where to make it.
        session: the session's identifier, part of its name.
    """

    def __init__(self, parent: str, session: str) -> None:
        self._wanted = os.path.join(parent, f"swagent-{session}")
        self._made = False

    def path(self) -> str:
        """The folder, mode 0700.

        Raises:
            DeviceError: it cannot be made.
        """
        if not self._made:
            try:
                os.mkdir(self._wanted, 0o700)
            except OSError as exc:
                raise DeviceError(
                    f"cannot make the temporary folder {self._wanted}: {exc.strerror}",
                    path=self._wanted,
                    errno=exc.errno,
                    hint="set TMPDIR to a folder that can be written",
                ) from exc
            self._made = True
        return self._wanted

    def remove(self) -> None:
        """Remove it and all in it."""
        if self._made:
            from shutil import rmtree

            rmtree(self._wanted, ignore_errors=True)


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

    def await_tables(self, refs: Mapping[str, TableRef]) -> None:
        """Of a stream: keep these when they pass."""
        self._awaited = refs

    def open(
        self, art: Artifact, member: Member, *, stored: bool = False, resume: bool = False
    ) -> ArtifactData:
        """A member as ``Data``.

        Args:
            art: the entry.
            member: its member.
            stored: only its stored bytes, for the verdict.
            resume: an earlier install of the same image to the same target was cut.
        """
        verify_sum = art.sha256 is None or self._policy.verify_cpio_sum
        reader = self._archive.open(member, verify_sum=verify_sum)
        if stored:
            return ArtifactData(reader, Codec(art.label, member.size_bytes, art.sha256), self._checkpoint)
        return self._data(art, reader, member.size_bytes, resume=resume)

    def _checkpoint(self, n_bytes: int) -> None:
        self._ctx.checkpoint()

    def open_staged(self, art: Artifact, *, resume: bool = False) -> ArtifactData:
        """A staged member as ``Data``."""
        source, size_bytes = self._staged[art.filename]
        reader = Span(source, 0, size_bytes, art.filename)
        return self._data(art, reader, size_bytes, resume=resume)

    def _data(
        self, art: Artifact, reader: Span | SumReader, size_bytes: int, *, resume: bool
    ) -> ArtifactData:
        codec = codec_for(art, size_bytes, self._policy.aes_key, self._table(art))

        def tell(n_bytes: int) -> None:
            self._ctx.log("info", f"{art.label}: goes on after {n_bytes} bytes, which are there already")

        # what is summed has to be read from its beginning
        going_on = Resume(reader.skip, tell) if resume and isinstance(reader, Span) else None
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
        room = os.statvfs(folder)
        if member.size_bytes > room.f_bavail * room.f_frsize:
            raise DeviceError(
                f"{folder} has no room for {member.name} ({member.size_bytes} bytes)",
                path=folder,
                artifact=art.label,
                hint="set TMPDIR to a larger folder, or mark the entry installed-directly",
            )
        path = os.path.join(folder, member.name)
        fd = _create(path, os.O_RDWR | os.O_EXCL, art)
        self._open_fds.append(fd)
        named(art, lambda: self.open(art, member, stored=True).pour(Sink(fd)))
        self._staged[member.name] = (FileSource(fd, path), member.size_bytes)

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
        fd = _create(path, os.O_WRONLY | os.O_TRUNC, art)
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


def _create(path: str, flags: int, art: Artifact) -> int:
    try:
        return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise DeviceError(
            f"cannot make {path}: {exc.strerror}",
            path=path,
            errno=exc.errno,
            artifact=art.label,
            hint=_LARGER_HINT,
        ) from exc
