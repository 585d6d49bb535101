"""Members of the archive as handlers get them: straight from it, or from where they were staged."""

import os

from swagent.errors import DeviceError
from swagent.model import Artifact, Sink
from swagent.stream import Archive, ArtifactData, Codec, Member, Source, Span
from swagent.stream.pipeline import drain
from swagent.stream.source import FileSource

from .codecs import codec_for
from .context import SessionContext
from .rig import Policy
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

    def open(self, art: Artifact, member: Member, *, stored: bool = False) -> ArtifactData:
        """A member as ``Data``; with ``stored`` only its stored bytes, for the verdict."""
        verify_sum = art.sha256 is None or self._policy.verify_cpio_sum
        reader = self._archive.open(member, verify_sum=verify_sum)
        if stored:
            return ArtifactData(reader, Codec(art.label, member.size_bytes, art.sha256), self._checkpoint)
        return ArtifactData(
            reader, codec_for(art, member.size_bytes, self._policy.aes_key), self._ctx.progress
        )

    def _checkpoint(self, n_bytes: int) -> None:
        self._ctx.checkpoint()

    def open_staged(self, art: Artifact) -> ArtifactData:
        """A staged member as ``Data``."""
        source, size_bytes = self._staged[art.filename]
        reader = Span(source, 0, size_bytes, art.filename)
        return ArtifactData(reader, codec_for(art, size_bytes, self._policy.aes_key), self._ctx.progress)

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
        """A member nobody wants: small ones are still judged by their sum, as SWUpdate does."""
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
