"""Vehicles' repositories as folders of static files, laid out as the reference's (uptane §5.7): ``<vin>/metadata``.

``metadata`` is a symbolic link to the newest of ``.metadata-1``, ``.metadata-2``…: one rename moves it, so that whoever
reads finds the old files or the new ones. ``metadata.staged`` is where they are written first.
"""

import os
import shutil
from collections.abc import Mapping

from swagent.errors import SettingsError
from swagent.store.atomic import fsync_folder, make_folders, open_replacement
from swagent.uptane.metadata import DIRECTOR
from swagent.uptane.paths import judge

from .publish import translated

METADATA, STAGED, IMAGES = "metadata", "metadata.staged", "targets"
_GENERATION = ".metadata-"
PIECE_BYTES = 1 << 20


class VehicleFolders:
    """A folder with one for each vehicle.

    Args:
        folder: made with the first vehicle's.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def of(self, vin: str) -> str:
        """A vehicle's folder."""
        if not vin or vin.startswith(".") or "/" in vin or "\0" in vin:
            raise SettingsError(f"the VIN {vin[:60]!r} cannot be the name of a folder")
        return os.path.join(self.folder, vin)

    def images(self, vin: str) -> str:
        """Where a vehicle's images lie."""
        return os.path.join(self.of(vin), IMAGES)

    def put_image(self, vin: str, path: str, source: str) -> str:
        """Copy an image to where a vehicle fetches it from; returns where that is.

        Raises:
            InvalidTarget: its name leads elsewhere.
            SettingsError: it cannot be read.
            DeviceError: it cannot be written.
        """
        judge(path, repository=DIRECTOR)
        place = os.path.join(self.images(vin), path)
        with translated(place):
            make_folders(os.path.dirname(place))
        try:
            image = open(source, "rb")  # noqa: SIM115 - its errors are the caller's, those below are the folder's
        except OSError as exc:
            raise SettingsError(f"cannot read the image {source}: {exc.strerror}", artifact=path) from exc
        with image, open_replacement(place) as file:
            shutil.copyfileobj(image, file, PIECE_BYTES)
        return place

    def write(self, vin: str, files: Mapping[str, bytes]) -> None:
        """Make these what is served of a vehicle's metadata.

        Raises:
            DeviceError: they cannot be written; what was served still is.
        """
        top = self.of(vin)
        staged = os.path.join(top, STAGED)
        with translated(top):
            make_folders(os.path.join(top, IMAGES))
            shutil.rmtree(staged, ignore_errors=True)
            os.mkdir(staged)
            for name, raw in files.items():
                with open(os.path.join(staged, name), "xb") as file:
                    file.write(raw)
                    file.flush()
                    os.fsync(file.fileno())
            fsync_folder(staged)
            self._go_live(top, staged)

    def _go_live(self, top: str, staged: str) -> None:
        live = os.path.join(top, METADATA)
        numbers = [
            int(name.removeprefix(_GENERATION))
            for name in os.listdir(top)
            if name.startswith(_GENERATION) and name.removeprefix(_GENERATION).isdecimal()
        ]
        number = max(numbers, default=0) + 1
        new = f"{_GENERATION}{number}"
        shutil.copytree(staged, os.path.join(top, new))
        for name in os.listdir(os.path.join(top, new)):
            with open(os.path.join(top, new, name), "rb") as file:
                os.fsync(file.fileno())
        fsync_folder(os.path.join(top, new))
        link = os.path.join(top, f".{METADATA}")
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(new, link)
        if os.path.isdir(live) and not os.path.islink(live):  # somebody put a folder there by hand
            os.rename(live, os.path.join(top, f"{_GENERATION}0"))
        os.rename(link, live)
        fsync_folder(top)
        for old in numbers:
            if old < number - 1:
                shutil.rmtree(os.path.join(top, f"{_GENERATION}{old}"), ignore_errors=True)
