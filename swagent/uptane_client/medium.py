"""A medium with updates, such as a memory stick, laid out as PURE-2 shows it; nothing on it leads off it.

``metadata/director/`` and ``metadata/image-repo/`` hold metadata, ``images/`` images. Only plain files below real
folders are read: whoever made the medium may have put links, pipes or devices there.
"""

import errno
import os
import stat
from collections.abc import Callable, Sequence
from urllib.parse import quote

from swagent.errors import SettingsError, TransportError
from swagent.net import Folder
from swagent.net.folder import Closing, LocalFile
from swagent.uptane.errors import InvalidMetadata
from swagent.uptane.metadata import DIRECTOR, IMAGE, Target
from swagent.uptane.paths import judge

from .sources import image_names

FOLDERS = {DIRECTOR: "director", IMAGE: "image-repo"}
IMAGES = "images"


class Medium:
    """One medium, where it is mounted.

    Args:
        path: its folder.

    Raises:
        SettingsError: there is no such folder, or no metadata of both repositories in it.
    """

    def __init__(self, path: str) -> None:
        self.name = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise SettingsError(f"--medium {path}: {exc.strerror}") from exc
        for folder in FOLDERS.values():
            place = f"metadata/{folder}"
            if not os.path.isdir(os.path.join(path, place)):
                self.close()
                raise SettingsError(
                    f"--medium {path}: it has no folder {place}", hint="is it mounted, and an offline update?"
                )

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)

    def open(self, name: str) -> "Closing | None":
        """A plain file, None when it is not there.

        Args:
            name: its parts separated by slashes.

        Raises:
            InvalidMetadata: it, or a folder on the way, is a link, or it is no plain file.
            TransportError: it cannot be read.
        """
        folder = self._fd
        *folders, last = name.split("/")
        try:
            for part in folders:
                inner = os.open(
                    part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder
                )
                self._leave(folder)
                folder = inner
            if not stat.S_ISREG(os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode):
                raise OSError(errno.ELOOP, "no plain file")
            # should it become a pipe meanwhile: wait for nobody
            fd = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            if isinstance(exc, OSError) and exc.errno in (errno.ELOOP, errno.ENOTDIR):
                raise InvalidMetadata(
                    f"{name} on the medium {self.name} is no plain file in a folder", role=name
                ) from exc
            raise TransportError(f"cannot read {name} on the medium {self.name}: {exc}") from exc
        finally:
            self._leave(folder)
        return LocalFile(fd, name)

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """A small file: at most ``max_bytes`` and one more; None when it is not there.

        Raises:
            InvalidMetadata: it is no plain file.
            TransportError: it cannot be read.
        """
        file = self.open(name)
        if file is None:
            return None
        try:
            data = bytearray(max_bytes + 1)
            room = memoryview(data)
            length = 0
            while n := file.readinto(room[length:]):
                length += n
            return bytes(data[:length])
        finally:
            file.close()

    def _leave(self, folder: int) -> None:
        if folder != self._fd:
            os.close(folder)


class MediumSource:
    """One repository on a medium; a ``sources.Source``.

    Args:
        medium: which.
        repository: ``director`` or ``image``.
    """

    def __init__(self, medium: Medium, repository: str) -> None:
        self._medium = medium
        self._folder = f"metadata/{FOLDERS[repository]}"

    def metadata(self, name: str, max_bytes: int) -> bytes | None:
        """A metadata file, None when it is not there; under its plain name, or the quoted one."""
        for each in dict.fromkeys((name, quote(name, safe=""))):
            if "/" in each or "\0" in each or each in (".", ".."):
                continue
            raw = self._medium.read(f"{self._folder}/{each}", max_bytes)
            if raw is not None:
                return raw
        return None

    def images(self, target: Target) -> Sequence[tuple[Folder, str]]:
        """Where an image may lie."""
        return [(_Images(self._medium), name) for name in image_names(target)]

    def attend(self, waiting: Callable[[], None]) -> None:
        """A medium is never waited for; between pieces the Primary asks itself."""


class _Images:
    """``images/`` on a medium, as a ``Folder``."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self.name = medium.name

    def get(self, name: str, max_bytes: int) -> bytes | None:
        return self._medium.read(f"{IMAGES}/{judge(name)}", max_bytes)

    def open(self, name: str) -> Closing:
        file = self._medium.open(f"{IMAGES}/{judge(name)}")
        if file is None:
            raise TransportError(f"there is no {name} in {IMAGES} on the medium {self.name}")
        return file

    def attend(self, waiting: Callable[[], None]) -> None:
        """Never waited for."""

    def close(self) -> None:
        """The medium stays open."""
