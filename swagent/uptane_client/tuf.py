"""A client of one plain TUF repository, with the vehicle's own core (TUF specification 1.0, §5)."""

import os

from swagent.clock import Clock
from swagent.errors import DeviceError, SettingsError, TransportError
from swagent.net import Folder, HttpOptions, open_folder
from swagent.store.atomic import make_folders, replace
from swagent.uptane.codecs import codec
from swagent.uptane.metadata import IMAGE, ROOT, Root, Target
from swagent.uptane.rules import TUF

from .files import FileStore
from .images import fetch_image, is_image
from .refresh import Fetch, Refresh

OPTIONS = HttpOptions(retries=2, retry_wait_s=0.5, timeout_s=10.0)


class TufClient:
    """One repository and what is known of it.

    Args:
        metadata_dir: where trusted metadata lies, under unversioned names.
        metadata_url: where it comes from.
        clock: whose time counts.
    """

    def __init__(self, metadata_dir: str, metadata_url: str, clock: Clock) -> None:
        self._codec = codec("tuf1")
        self._store = FileStore(metadata_dir, self._codec.extension, split=False)
        self._url = metadata_url
        self._clock = clock
        self._refresh: Refresh | None = None

    def refresh(self) -> Refresh:
        """Bring top-level metadata up to date; once in the life of this object.

        Raises:
            SettingsError: there is no root to begin with.
            UptaneError: something does not pass.
            TransportError: something is not to be had.
        """
        if self._refresh is None:
            folder = open_folder(self._url, OPTIONS, self._clock)
            refresh = Refresh(IMAGE, self._codec, TUF, _from(folder), self._store, now_s=self._clock.now_s())
            refresh.run()
            self._refresh = refresh
        return self._refresh

    def download(self, path: str, target_dir: str, base_url: str) -> tuple[str, bool]:
        """Find an image, fetch and verify it.

        Args:
            path: its name in the repository.
            target_dir: where to put it, under its quoted name.
            base_url: where images come from.

        Returns:
            Where it lies, and whether it had to be fetched.

        Raises:
            SettingsError: the repository has no such image.
            UptaneError: it is not what was signed.
            TransportError: it is not to be had.
            DeviceError: it cannot be written.
        """
        from urllib.parse import quote

        refresh = self.refresh()
        target = refresh.find(path)
        if target is None:
            raise SettingsError(f"the repository has no image {path}")
        place = os.path.join(target_dir, quote(path, safe=""))
        if os.path.isfile(place) and is_image(place, target):
            return place, False
        root = refresh.repository.root.body
        consistent = isinstance(root, Root) and root.consistent_snapshot
        try:
            make_folders(target_dir)
        except OSError as exc:
            raise DeviceError(f"cannot make {target_dir}: {exc.strerror}", path=target_dir) from exc
        folder = open_folder(base_url, OPTIONS, self._clock)
        try:
            name = _hashed(path, target) if consistent else path
            fetch_image(folder, name, target, place, self._clock.monotonic_s)
        finally:
            folder.close()
        return place, True


def begin(metadata_dir: str, root_file: str) -> None:
    """Put the first trusted root in its place.

    Raises:
        SettingsError: it cannot be read.
        DeviceError: it cannot be written.
    """
    try:
        with open(root_file, "rb") as file:
            raw = file.read(TUF.caps.root + 1)
        make_folders(metadata_dir)
    except OSError as exc:
        raise SettingsError(f"cannot use {root_file}: {exc.strerror}") from exc
    replace(os.path.join(metadata_dir, f"{ROOT}.json"), raw)


def _from(folder: Folder) -> Fetch:
    def fetch(repository: str, name: str, max_bytes: int) -> bytes | None:
        return folder.get(name, max_bytes)

    return fetch


def _hashed(path: str, target: Target) -> str:
    """``<folder>/<hash>.<name>``, as consistent snapshots have it; any hash that is listed will do."""
    folder, slash, name = path.rpartition("/")
    if not target.hashes:
        raise TransportError(f"{path} has no hash")
    algorithm = "sha256" if "sha256" in target.hashes else next(iter(target.hashes))
    return f"{folder}{slash}{target.hashes[algorithm]}.{name}"
