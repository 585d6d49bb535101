"""A folder of static files that changes as a whole: what a web server or a CDN serves of a repository.

``live`` is a symbolic link to the newest of the folders ``trees/1``, ``trees/2``…; a new one is written and synced
beside it, and then one rename moves the link. Whoever opens a file below ``live`` finds the old state or the new one,
whenever the writer is killed or the power is cut. The state before the present one stays, for whoever is under way in
it, and its versioned metadata is in the new one too, for clients that hold a timestamp of it.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from swagent.errors import Busy, DeviceError
from swagent.store.atomic import fsync_folder, make_folders
from swagent.uptane.metadata import ROOT

LIVE, TREES, METADATA, IMAGES = "live", "trees", "metadata", "targets"
_VERSIONED = re.compile(r"\d+\.(.+)\Z", re.ASCII)


class Site:
    """The published side of one repository.

    Args:
        folder: holds ``live`` and ``trees``; made with the first publication.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.live = os.path.join(folder, LIVE)
        self._trees = os.path.join(folder, TREES)

    def metadata(self) -> dict[str, bytes]:
        """The published metadata by name, nothing before the first publication.

        Raises:
            DeviceError: it cannot be read.
        """
        found: dict[str, bytes] = {}
        top = os.path.join(self.live, METADATA)
        with translated(top):
            for path in _files_below(top):
                with open(os.path.join(top, path), "rb") as file:
                    found[path] = file.read()
        return found

    def images(self) -> dict[str, str]:
        """Where the published images lie, by name.

        Raises:
            DeviceError: the folder cannot be read.
        """
        top = os.path.realpath(os.path.join(self.live, IMAGES))
        with translated(top):
            return {path: os.path.join(top, path) for path in _files_below(top)}

    def publish(self, metadata: Mapping[str, bytes], images: Mapping[str, str]) -> None:
        """Make this what is served.

        Args:
            metadata: by name.
            images: name to the file that has it; it gets one more name there, or is copied from another file system.

        Raises:
            Busy: somebody else publishes.
            DeviceError: it cannot be written; what was served still is.
        """
        with translated(self.folder):
            make_folders(self._trees)
            with self._alone():
                present = self._present()
                self._sweep(present)
                number = (
                    max((int(name) for name in os.listdir(self._trees) if name.isdecimal()), default=0) + 1
                )
                draft = os.path.join(self._trees, f".{number}")
                os.mkdir(draft)
                _write(os.path.join(draft, METADATA), {**_kept(self.metadata(), metadata), **metadata})
                _link(os.path.join(draft, IMAGES), images)
                _sync_folders(draft)
                os.rename(draft, os.path.join(self._trees, str(number)))
                fsync_folder(self._trees)
                self._switch(number)

    def _switch(self, number: int) -> None:
        """The moment that counts."""
        link = os.path.join(self.folder, f".{LIVE}")
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(os.path.join(TREES, str(number)), link)
        os.rename(link, self.live)
        fsync_folder(self.folder)

    def _present(self) -> str:
        return os.path.basename(os.readlink(self.live)) if os.path.islink(self.live) else ""

    def _sweep(self, present: str) -> None:
        """Take away what no client can be under way in any more, and what a cut left unfinished."""
        for name in os.listdir(self._trees):
            if name != present and name != ".lock":
                shutil.rmtree(os.path.join(self._trees, name))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        import fcntl

        with open(os.path.join(self._trees, ".lock"), "wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise Busy(f"another process publishes in {self.folder}") from exc
            yield


def _kept(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> dict[str, bytes]:
    """Versioned files of the state before: those that its plain names meant, and all roots."""
    kept = {}
    for name, raw in old.items():
        plain = _VERSIONED.match(name)
        if plain and (old.get(plain[1]) == raw or plain[1].startswith(f"{ROOT}.")):
            kept[name] = raw
    return kept


def _write(folder: str, files: Mapping[str, bytes]) -> None:
    os.mkdir(folder)
    for name, raw in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())


def _link(folder: str, images: Mapping[str, str]) -> None:
    os.mkdir(folder)
    for name, source in images.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            os.link(source, path)
        except OSError:  # another file system, or one without links
            with open(source, "rb") as image, open(path, "xb") as file:
                shutil.copyfileobj(image, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())


def _sync_folders(top: str) -> None:
    for folder, _, _ in os.walk(top, topdown=False):
        fsync_folder(folder)


def _files_below(top: str) -> Iterator[str]:
    for folder, _, names in os.walk(top):
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), top)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Inside it, an OSError becomes a DeviceError that names its file, or ``where``."""
    try:
        yield
    except OSError as exc:
        raise DeviceError(
            f"{exc.filename or where}: {exc.strerror or exc}",
            path=str(exc.filename or where),
            errno=exc.errno,
        ) from exc
