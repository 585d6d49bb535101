"""Where trusted metadata is kept: plain files, each replaced whole.

``<folder>/<repository>/current/<role>.<ext>`` is what was accepted last, ``previous/`` what it replaced, ``roots/`` the
chain of roots, and ``floors.json`` the versions below which nothing is accepted. Without ``split`` (a plain TUF
repository) files lie in the folder itself and nothing else is kept.
"""

import os
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import quote

from swagent.errors import DeviceError
from swagent.store.atomic import fsync_folder, make_folders, replace
from swagent.uptane.metadata import OFFLINE_SNAPSHOT, TIMESTAMP
from swagent.uptane.repository import NO_FLOORS, Floors

FILE_MAX_BYTES = 16 * 1024 * 1024


class FileStore:
    """A ``refresh.Store`` in a folder.

    Args:
        folder: made when something is saved.
        extension: of file names, without the dot.
        split: one folder for each repository, with what was replaced beside it.
        names: repository to the name of its folder, where that is another.
    """

    def __init__(
        self,
        folder: str,
        extension: str,
        *,
        split: bool = True,
        names: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self._extension = extension
        self._split = split
        self._names = names

    def path(self, repository: str, role: str, *, previous: bool = False) -> str:
        """Where a role's file lies."""
        name = f"{quote(role, safe='')}.{self._extension}"
        if not self._split:
            return os.path.join(self.folder, name)
        return os.path.join(self._of(repository), "previous" if previous else "current", name)

    def load(self, repository: str, role: str) -> bytes | None:
        """The file that was accepted last, None when there is none.

        Raises:
            DeviceError: it cannot be read.
        """
        return _read(self.path(repository, role))

    def save(self, repository: str, role: str, raw: bytes) -> None:
        """Replace it; what it replaces is kept as the previous one.

        Raises:
            DeviceError: it cannot be written; the old one stays.
        """
        path = self.path(repository, role)
        if self._split:
            old = _read(path)
            if old is not None and old != raw:
                _replace(self.path(repository, role, previous=True), old)
        _replace(path, raw)

    def keep_root(self, repository: str, version: int, raw: bytes) -> None:
        """Keep one root of the chain, for ECUs that are several behind; a plain TUF repository has none.

        Raises:
            DeviceError: it cannot be written.
        """
        if self._split:
            _replace(os.path.join(self._roots_folder(repository), f"{version}.root.{self._extension}"), raw)

    def roots(self, repository: str) -> dict[int, bytes]:
        """The roots of the chain that were kept, by version.

        Raises:
            DeviceError: one cannot be read.
        """
        folder, found = self._roots_folder(repository), {}
        for name in os.listdir(folder) if self._split and os.path.isdir(folder) else ():
            version, _, rest = name.partition(".")
            raw = _read(os.path.join(folder, name)) if rest == f"root.{self._extension}" else None
            if version.isdecimal() and raw is not None:
                found[int(version)] = raw
        return found

    def forget(self, repository: str, role: str) -> None:
        """Remove a file that a change of keys has made void.

        Raises:
            DeviceError: it cannot be removed.
        """
        path = self.path(repository, role)
        try:
            os.unlink(path)
            fsync_folder(os.path.dirname(path))
        except FileNotFoundError:
            return
        except OSError as exc:
            raise DeviceError(f"cannot remove {path}: {exc.strerror}", path=path, errno=exc.errno) from exc

    def floors(self, repository: str) -> Floors:
        """The versions below which nothing is accepted; those of the files alone where the list is damaged.

        Raises:
            DeviceError: it cannot be read.
        """
        raw = _read(self._floors_path(repository)) if self._split else None
        if raw is None:
            return NO_FLOORS
        try:
            return _floors(raw)
        except ValueError:
            return NO_FLOORS

    def save_floors(self, repository: str, floors: Floors) -> None:
        """Replace them.

        Raises:
            DeviceError: they cannot be written.
        """
        if not self._split:
            return
        import json

        tree: dict[str, object] = {
            TIMESTAMP: floors.timestamp,
            "snapshot": floors.snapshot,
            "listed": dict(floors.listed),
        }
        if floors.offline_snapshot:
            tree |= {OFFLINE_SNAPSHOT: floors.offline_snapshot, "offline": dict(floors.offline)}
        _replace(self._floors_path(repository), json.dumps(tree, sort_keys=True).encode() + b"\n")

    def _floors_path(self, repository: str) -> str:
        return os.path.join(self._of(repository), "floors.json")

    def _roots_folder(self, repository: str) -> str:
        return os.path.join(self._of(repository), "roots")

    def _of(self, repository: str) -> str:
        return os.path.join(self.folder, self._names.get(repository, repository))


def _replace(path: str, raw: bytes) -> None:
    try:
        make_folders(os.path.dirname(path), mode=0o755)
    except OSError as exc:
        raise DeviceError(f"cannot make the folder of {path}: {exc.strerror}", path=path) from exc
    replace(path, raw)


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            raw = file.read(FILE_MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise DeviceError(f"cannot read {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
    return raw


def _floors(raw: bytes) -> Floors:
    from swagent.uptane.canonical import load

    tree = load(raw)
    if not isinstance(tree, dict):
        raise ValueError("no floors")
    tree = {OFFLINE_SNAPSHOT: 0, "offline": {}, **tree}
    if not all(isinstance(tree.get(name), dict) for name in ("listed", "offline")):
        raise ValueError("no floors")
    lists = [tuple(sorted(tree[name].items())) for name in ("listed", "offline")]
    single = [tree.get(name) for name in (TIMESTAMP, "snapshot", OFFLINE_SNAPSHOT)]
    for number in (*single, *(version for each in lists for _, version in each)):
        if not isinstance(number, int) or isinstance(number, bool):
            raise ValueError("a version is no number")
    return Floors(tree[TIMESTAMP], tree["snapshot"], lists[0], tree[OFFLINE_SNAPSHOT], lists[1])
