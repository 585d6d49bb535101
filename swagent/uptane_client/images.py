"""Fetching images: from one mirror after the other, verified as they come, kept only when they are what was signed."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from swagent.errors import DeadlineError, DeviceError, SwagentError, TransportError, UptaneError
from swagent.net import Folder
from swagent.store.atomic import make_folders, open_replacement
from swagent.uptane.images import JudgedImage, WatchedSpeed
from swagent.uptane.metadata import Target
from swagent.uptane.paths import judge

PIECE_BYTES = 256 * 1024


class ImageStore:
    """A folder of verified images, encrypted ones in the form in which they travel.

    Args:
        folder: made when something is fetched.
        monotonic_s: for the watch on speed.
    """

    def __init__(self, folder: str, monotonic_s: Callable[[], float]) -> None:
        self.folder = folder
        self._monotonic_s = monotonic_s

    def path(self, target: Target) -> str:
        """Where an image lies, or would.

        Raises:
            InvalidTarget: its name leads elsewhere.
        """
        return os.path.join(self.folder, *judge(target.travelling.path).split("/"))

    def has(self, target: Target) -> bool:
        """Whether the image is there and still what was signed; one that is not is removed.

        Raises:
            DeviceError: it cannot be removed.
        """
        target = target.travelling
        path = self.path(target)
        if not os.path.isfile(path) or os.path.islink(path):
            return False
        if not is_image(path, target):
            self.remove(target)
            return False
        return True

    @contextmanager
    def reader(self, target: Target) -> Iterator[JudgedImage]:
        """A stored image, judged once more as it is read.

        Raises:
            DeviceError: it cannot be read.
        """
        target = target.travelling
        path = self.path(target)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as exc:
            raise DeviceError(f"cannot read {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
        try:
            yield JudgedImage(_FromFile(fd), target.path, target.length_bytes, target.hashes)
        finally:
            os.close(fd)

    def remove(self, target: Target) -> None:
        """Take an image away.

        Raises:
            DeviceError: it cannot be removed.
        """
        path = self.path(target)
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise DeviceError(f"cannot remove {path}: {exc.strerror}", path=path, errno=exc.errno) from exc

    def keep_only(self, names: Iterable[str]) -> list[str]:
        """Take all images away but these, and what cut downloads left.

        Args:
            names: by which images travel; what is no name of an image keeps nothing.

        Returns:
            What was removed.

        Raises:
            DeviceError: something cannot be removed.
        """
        kept = {os.path.join(self.folder, *name.split("/")) for name in names if _is_name(name)}
        removed = []
        for folder, below, files in os.walk(self.folder, topdown=False):
            for path in (os.path.join(folder, name) for name in (*files, *below)):
                if path in kept:
                    continue
                try:
                    if os.path.isdir(path) and not os.path.islink(path):
                        with suppress(OSError):  # it is not empty
                            os.rmdir(path)
                        continue
                    os.unlink(path)
                except OSError as exc:
                    raise DeviceError(
                        f"cannot remove {path}: {exc.strerror}", path=path, errno=exc.errno
                    ) from exc
                removed.append(os.path.relpath(path, self.folder))
        return removed

    def fetch(
        self, target: Target, mirrors: Sequence[tuple[Folder, str]], progress: Callable[[int], None]
    ) -> str:
        """Fetch an image; returns where it lies.

        Args:
            target: what was signed of it.
            mirrors: folders, and the image's name in each; tried in this order.
            progress: called with the number of bytes that came; may raise to stop.

        Raises:
            UptaneError: no mirror has what was signed; the error of the last one that had something.
            TransportError, DeadlineError: no mirror has anything.
            DeviceError: there is no room, or it cannot be written.
        """
        target = target.travelling
        path = self.path(target)
        self._judge_room(target)
        failure: SwagentError | None = None
        for folder, name in mirrors:
            try:
                fetch_image(folder, name, target, path, self._monotonic_s, progress)
            except (UptaneError, TransportError, DeadlineError) as exc:
                if failure is None or isinstance(exc, UptaneError):
                    failure = exc
                continue
            return path
        raise failure or TransportError(f"there is no mirror to fetch {target.path} from")

    def _judge_room(self, target: Target) -> None:
        folder = os.path.dirname(self.path(target))
        try:
            make_folders(folder, mode=0o755)
            room = os.statvfs(folder)
        except OSError as exc:
            raise DeviceError(f"cannot make {folder}: {exc.strerror}", path=folder, errno=exc.errno) from exc
        if target.length_bytes > room.f_bavail * room.f_frsize:
            raise DeviceError(
                f"{folder} has no room for {target.path} ({target.length_bytes} bytes)",
                path=folder,
                hint="--no-store installs an .swu as it is fetched",
            )


def fetch_image(
    folder: Folder,
    name: str,
    target: Target,
    path: str,
    monotonic_s: Callable[[], float],
    progress: Callable[[int], None] = lambda n_bytes: None,
) -> None:
    """Fetch an image from one place; it takes the place of ``path`` when it is what was signed, and only then.

    Raises:
        UptaneError: it is not what was signed, or comes too slowly.
        TransportError: it is not to be had.
        DeviceError: it cannot be written.
    """
    source = folder.open(name)
    try:
        watched = WatchedSpeed(source, target.path, monotonic_s)
        judged = JudgedImage(watched, target.path, target.length_bytes, target.hashes)
        with open_replacement(path) as file:
            buffer = memoryview(bytearray(PIECE_BYTES))
            while n := judged.readinto(buffer):
                file.write(buffer[:n])
                progress(n)
    finally:
        source.close()


def is_image(path: str, target: Target) -> bool:
    """Whether a file can be read and is what was signed."""
    try:
        with open(path, "rb", buffering=0) as file:
            judged = JudgedImage(_FromFile(file.fileno()), target.path, target.length_bytes, target.hashes)
            buffer = memoryview(bytearray(PIECE_BYTES))
            while judged.readinto(buffer):
                pass
    except (UptaneError, OSError):
        return False
    return True


def _is_name(name: str) -> bool:
    try:
        judge(name)
    except UptaneError:
        return False
    return True


class _FromFile:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def readinto(self, buffer: memoryview) -> int:
        return os.readv(self._fd, [buffer]) if len(buffer) else 0
