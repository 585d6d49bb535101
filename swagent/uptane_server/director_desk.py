"""Orders to a Director that touch files: images that are copied or encrypted, repositories written to folders."""

import os
from collections.abc import Iterable

from swagent.errors import SettingsError
from swagent.uptane.errors import UnknownEcu
from swagent.uptane.metadata import EncryptedTarget

from .director import Director
from .director_folder import VehicleFolders
from .director_seal import describe, seal
from .inventory_records import Image, Wish


class DirectorDesk:
    """A Director and its folder.

    Args:
        director: the Director.
        folders: where vehicles' images lie, and their metadata if it is served from there.
        sources: images may only come from below this folder; None for anywhere.
        static: whether metadata is written to folders too.
    """

    def __init__(
        self, director: Director, folders: VehicleFolders, *, sources: str | None = None, static: bool = False
    ) -> None:
        self.director = director
        self.folders = folders
        self._sources = sources
        self._static = static

    def add_target(
        self,
        vin: str,
        serial: str,
        source: str,
        path: str,
        *,
        hardware_ids: frozenset[str] | None = None,
        release_counter: int | None = None,
        requires: tuple[Wish, ...] = (),
        conflicts: tuple[Wish, ...] = (),
        correlation_id: str = "",
    ) -> Image:
        """Assign an image that lies in a file; encrypted, where the ECU has a key for images.

        Args:
            vin: the vehicle.
            serial: the ECU.
            source: the file; a relative path counts from the folder of sources, or from the working directory.
            path: the image's name in the repositories.
            hardware_ids: what it is for, None to say nothing.
            release_counter: never goes down for one image, None to say nothing.
            requires: what other ECUs must run.
            conflicts: what they must not.
            correlation_id: what reports about it shall carry.

        Raises:
            UnknownVehicle, Spoofing, BadHardwareId, InvalidTarget: as ``Director.assign``.
            SettingsError: the file cannot be read, or lies elsewhere.
            DeviceError: it cannot be copied.
        """
        source = self._judge_source(source)
        with self.director.inventory.look() as fleet:
            fleet.vehicle(vin)
        target = describe(path, source)._replace(hardware_ids=hardware_ids, release_counter=release_counter)
        image = self.director.add_image(Image(0, target, requires, conflicts))
        self.assign(vin, serial, image, source, correlation_id=correlation_id)
        return image

    def assign(
        self, vin: str, serial: str, image: Image, source: str | None = None, *, correlation_id: str = ""
    ) -> None:
        """Assign an image; put it where the vehicle finds it, when ``source`` says where it lies. Raises likewise."""
        form = None
        if source is not None:
            public, form = self._sealed(vin, serial, image)
            if not public:
                self.folders.put_image(vin, image.target.path, source)
            elif form is None:
                form = seal(image.target, source, self.folders.images(vin), serial, public)
        self.director.assign(vin, serial, image, correlation_id=correlation_id, sealed=form)

    def write(self, vins: Iterable[str] | None = None) -> None:
        """Sign vehicles' metadata, and write it to their folders if it is served from there.

        Args:
            vins: which; None for all.

        Raises:
            UnknownVehicle: no such vehicle.
            SettingsError: there is no root yet, or the dialect has no words for an assignment.
            DeviceError: it cannot be written.
        """
        for vin in self.director.vins() if vins is None else vins:
            self.director.write(vin)
            self.export(vin)

    def export(self, vin: str) -> None:
        """Write a vehicle's metadata to its folder, if it is served from there; again does no harm."""
        if self._static:
            self.folders.write(vin, self.director.files(vin))

    def find(self, image: Image) -> str | None:
        """Where an image lies below the folder of sources, None when it does not: then vehicles fetch it elsewhere."""
        if self._sources is None:
            return None
        place = os.path.join(self._sources, image.target.path)
        return place if os.path.isfile(place) else None

    def _sealed(self, vin: str, serial: str, image: Image) -> tuple[str, EncryptedTarget | None]:
        """The ECU's key for images, "" for none, and the form of this one that was made before and still lies there."""
        with self.director.inventory.look() as fleet:
            try:
                public = fleet.ecu(serial).image_key
            except UnknownEcu:
                return "", None
            form = fleet.sealed(vin).get((serial, image.number)) if public else None
        there = form is not None and os.path.isfile(os.path.join(self.folders.images(vin), form.path))
        return public, form if there else None

    def _judge_source(self, source: str) -> str:
        if self._sources is None:
            return source
        top = os.path.realpath(self._sources)
        found = os.path.realpath(os.path.join(top, source))
        if os.path.commonpath([top, found]) != top:
            raise SettingsError(f"the image {source[:80]!r} does not lie below {self._sources}")
        return found
