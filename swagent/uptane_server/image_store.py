"""The images of an Image repository, each in a file that is called by its SHA-256."""

import os
from collections.abc import Mapping
from hashlib import sha256, sha512

from swagent.errors import DeviceError, SettingsError
from swagent.store.atomic import fsync_folder, make_folders, open_replacement
from swagent.uptane.metadata import Document, Target, Targets

from .staged import authorities, targets_roles

PIECE_BYTES = 1 << 20


class ImageStore:
    """A folder of images.

    Args:
        folder: made with the first one.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def path(self, target: Target) -> str:
        """Where the bytes of an image are."""
        return os.path.join(self._folder, target.hashes["sha256"])

    def keep(self, source: str) -> tuple[int, dict[str, str]]:
        """Copy an image into the store; returns its length and hashes.

        Raises:
            DeviceError: it cannot be read or kept.
        """
        one, other, length_bytes = sha256(), sha512(), 0
        temporary = os.path.join(self._folder, f"incoming-{os.getpid()}")
        try:
            make_folders(self._folder)
            with open(source, "rb") as image, open_replacement(temporary) as file:
                while piece := image.read(PIECE_BYTES):
                    one.update(piece)
                    other.update(piece)
                    length_bytes += len(piece)
                    file.write(piece)
            os.rename(temporary, os.path.join(self._folder, one.hexdigest()))
            fsync_folder(self._folder)
        except OSError as exc:
            raise DeviceError(
                f"cannot take in {source}: {exc.strerror}", path=source, errno=exc.errno
            ) from exc
        return length_bytes, {"sha256": one.hexdigest(), "sha512": other.hexdigest()}

    def named(self, documents: Mapping[str, Document]) -> dict[str, str]:
        """Every image that these describe, by its plain name and by those with a hash.

        Raises:
            SettingsError: one is not there.
        """
        found: dict[str, str] = {}
        for role in targets_roles(documents):
            body = documents[role].body
            if not isinstance(body, Targets) or next(authorities(documents, role), None) is None:
                continue  # a withdrawn one
            for target in body.targets.values():
                where = self.path(target)
                if not os.path.isfile(where):
                    raise SettingsError(
                        f"the image {target.path} is not in {self._folder}", hint="add it again"
                    )
                folder, slash, name = target.path.rpartition("/")
                found.setdefault(target.path, where)
                for digest in target.hashes.values():
                    found[f"{folder}{slash}{digest}.{name}"] = where
        return found
