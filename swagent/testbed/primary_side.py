"""The Primary of a testbed: the object ``dp`` of the exercise, a real Primary in the folders of uptane §5.7."""

import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from swagent.errors import (
    FreezeError,
    RollbackError,
    SettingsError,
    SwagentError,
    TransportError,
    UptaneError,
)
from swagent.events import EventBus
from swagent.model import Reader
from swagent.store.atomic import make_folders, replace
from swagent.uptane.canonical import load
from swagent.uptane.codecs import codec
from swagent.uptane.codecs.base import Codec
from swagent.uptane.metadata import DIRECTOR, IMAGE, ROOT, TARGETS, Target
from swagent.uptane.signing import Made
from swagent.uptane_client.bundle import FOLDERS
from swagent.uptane_client.desk import ARCHIVE, UNKNOWN, Desk, HandOver
from swagent.uptane_client.files import FileStore
from swagent.uptane_client.images import ImageStore
from swagent.uptane_client.parts import Identity, Parts, Policy
from swagent.uptane_client.primary import Primary
from swagent.uptane_client.sources import RpcDirectorService, RpcTimeSource
from swagent.uptane_client.vehicle import Vehicle
from swagent.vehicle.rpc import Methods
from swagent.vehicle.server import VehicleServer

from .banners import Banner
from .downloads import ToldSource
from .place import HARDWARE, PRIMARY, PRIMARY_WINDOW, SECONDARY, VIN, Place
from .time_side import KEY as TIME_KEY

KEY = "primary"


class PrimarySide:
    """What somebody at the Primary's console can do.

    Args:
        place: the testbed.

    Attributes:
        folder: its files.
        port: where it answers Secondaries.
        error: why the last cycle failed, None when it did not.
        lies: what it hands to Secondaries instead of the truth, once it was taken over: ``attestation``, ``metadata``,
            ``image``, ``name``.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self.folder = ""
        self.port = 0
        self._parts: Parts | None = None
        self._server: VehicleServer | None = None
        self._sources: tuple[ToldSource, ...] = ()
        self.error: SwagentError | None = None
        self.lies: dict[str, bytes] = {}

    @property
    def parts(self) -> Parts:
        """What the Primary works with."""
        if self._parts is None:
            raise SettingsError("there is no Primary yet", hint="dp.clean_slate()")
        return self._parts

    # -- honest work

    def clean_slate(self, use_new_keys: bool = False, vin: str = VIN, ecu_serial: str = PRIMARY) -> None:
        """Begin anew: a folder, roots, a listener, registration, a first manifest."""
        self.close()
        place = self._place
        self.folder = place.path(f"temp_primary{place.random_name()}")
        director, image = f"{place.url(place.ports.director_files)}/{vin}", place.url(place.ports.image_files)
        metadata = begin_client(place, self.folder, vin, {DIRECTOR: director, IMAGE: image})
        self._sources = (ToldSource(director, place, self._say, 4), ToldSource(image, place, self._say, 6))
        memory = Vehicle(os.path.join(self.folder, ".vehicle.sqlite"))
        memory.add_ecu(SECONDARY, HARDWARE[SECONDARY], UNKNOWN)
        images = ImageStore(os.path.join(self.folder, "targets"), place.clock.monotonic_s)
        handover = HandOver(metadata.folder, place.codec, place.rules.caps)
        signer = place.signer(KEY, new=use_new_keys)
        self._parts = Parts(
            Identity(vin, ecu_serial, HARDWARE.get(ecu_serial, "primary")),
            place.codec,
            place.rules,
            *self._sources,
            metadata,
            memory,
            images,
            signer,
            place.clock,
            EventBus(),
            policy=Policy(fetch_again=True),
            time=_ToldTime(place, self._say),
            time_key=place.public(TIME_KEY),
            service=_ToldService(place, self._say),
            boot_id="testbed",
            handover=handover,
            random=place.random,
        )
        make_folders(images.folder)
        self._primary = Primary(self._parts)
        self._warnings = self._parts.bus.subscribe(
            wanted=lambda event: event.event == "log" and event.facts.get("level") == "warn"
        )
        desk = _ToldDesk(self._parts, handover, self._say, self._place, self.lies)
        self._server = VehicleServer(
            Methods(desk, lambda _, text: self._say(text)), "127.0.0.1", place.ports.primary, lambda *_: None
        )
        self.port = self._server.port
        self._say(f"Primary {ecu_serial} of {vin} is listening at port {self.port}; its files: {self.folder}")
        self.register_self_with_director()
        self.submit_vehicle_manifest_to_director()

    def register_self_with_director(self) -> None:
        """Make the Primary known; again is fine."""
        who, service = self.parts.identity, self.parts.service
        if service is not None:
            service.register(who.vin, who.serial, who.hardware_id, self.parts.signer.key, primary=True)

    def update_cycle(self) -> None:
        """Everything once: time, metadata, images, manifest; what is noticed is a banner, and said."""
        self._say("Start Update Primary.")
        self._place.voice.step(1)
        for source in self._sources:
            source.begin()
        self.error = None
        try:
            self._primary.cycle()
        except SwagentError as exc:
            self.error = exc
            tell(self._place, PRIMARY_WINDOW, exc)
        for event in self._warnings.take():
            self._say(event.message)
        with suppress(TransportError):
            targets = self.parts.handover.director_targets() if self.parts.handover is not None else b""
            replace(os.path.join(self.folder, "metadata", self._place.file("director_targets")), targets)

    def generate_signed_vehicle_manifest(self) -> bytes:
        """A manifest of the vehicle as it would be handed in now."""
        return self._primary.manifest()

    def submit_vehicle_manifest_to_director(self, manifest: bytes | None = None) -> None:
        """Hand in a manifest: this one, or a new one with all reports that wait."""
        who, service = self.parts.identity, self.parts.service
        try:
            if manifest is None:
                self._primary.report()
            elif service is not None:
                service.submit(who.vin, who.serial, manifest)
        except TransportError as exc:
            self._say(f"The manifest was not taken: {exc.message}")

    def looping_update(self) -> None:
        """A cycle a second, until it is interrupted."""
        loop(self.update_cycle)

    def try_banners(self) -> None:
        """Show all of them."""
        for banner in Banner:
            self._place.voice.banner(PRIMARY_WINDOW, banner)

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._parts is not None:
            self._parts.vehicle.close()
            self._parts = None
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _say(self, text: str) -> None:
        self._place.voice.line(PRIMARY_WINDOW, text)


def begin_client(place: Place, folder: str, vin: str, mirrors: dict[str, str]) -> FileStore:
    """A client's folder of metadata: where it gets things from, and the repositories' roots, which lie beside it."""
    metadata = FileStore(os.path.join(folder, "metadata"), place.codec.extension, names=FOLDERS)
    for name in FOLDERS.values():
        for state in ("current", "previous"):
            make_folders(os.path.join(metadata.folder, name, state))
    pinned = {
        "repositories": {FOLDERS[name]: {"mirrors": [url]} for name, url in mirrors.items()},
        "delegations": [{"paths": ["*"], "repositories": ["director", "imagerepo"]}],
    }
    replace(os.path.join(metadata.folder, "pinned.json"), json.dumps(pinned, indent=1).encode() + b"\n")
    for repository, where in ((DIRECTOR, ("director", vin)), (IMAGE, ("imagerepo",))):
        path = place.path(*where, "metadata", place.file(ROOT))
        try:
            with open(path, "rb") as file:
                metadata.save(repository, ROOT, file.read())
        except OSError as exc:
            raise SettingsError(f"cannot read {path}: {exc.strerror}", hint="begin with the servers") from exc
    return metadata


def tell(place: Place, party: str, error: SwagentError) -> None:
    """Say why a cycle failed; an attack that was noticed is a banner, too."""
    if not isinstance(error, UptaneError):
        place.voice.line(party, f"The cycle failed: {error.message}")
        return
    banner = Banner.DEFENDED
    if isinstance(error, RollbackError):
        banner = Banner.REPLAY
    elif isinstance(error, FreezeError):
        banner = Banner.FROZEN
    place.voice.banner(party, banner)
    place.voice.line(party, f"{type(error).__name__}: {error.message}")


def loop(cycle: Callable[[], None]) -> None:
    """A cycle a second, until it is interrupted."""
    while True:
        cycle()
        time.sleep(1)


class _ToldTime:
    """A ``TimeSource`` that says what it asks and gets."""

    def __init__(self, place: Place, say: Callable[[str], None]) -> None:
        self._place = place
        self._source = RpcTimeSource(place.url(place.ports.time), place.codec, place.clock)
        self._say = say

    def ask(self, nonces: tuple[int, ...]) -> bytes:
        self._say("Submitting a request for a signed time to the Timeserver.")
        self._place.voice.step(2)
        raw = self._source.ask(nonces)
        self._say(f"Get a signed time from the Timeserver:{_time_value(raw, self._place.codec)}.")
        self._place.voice.step(3)
        return raw


def _time_value(raw: bytes, encoding: Codec) -> Any:
    """An attestation as nested values, in whatever encoding it came."""
    if encoding.extension == "json":
        return load(raw)
    found = encoding.decode_time(raw)
    return load(codec("ref-json").encode_time(found.content, Made(found.signatures[0])))


class _ToldService(RpcDirectorService):
    """A ``DirectorService`` that says what it hands in."""

    def __init__(self, place: Place, say: Callable[[str], None]) -> None:
        super().__init__(place.url(place.ports.director_rpc), place.codec, place.clock)
        self._place = place
        self._say = say

    def submit(self, vin: str, primary: str, raw: bytes) -> None:
        self._say("Submitting the Primary's manifest to the Director.")
        super().submit(vin, primary, raw)
        told = self._place.codec.decode_vehicle_report(raw).content.ecus
        self._place.voice.step(15 if set(told) - {primary} else 8)


class _ToldDesk(Desk):
    """A desk that says what it hands out."""

    def __init__(
        self,
        parts: Parts,
        handover: HandOver,
        say: Callable[[str], None],
        place: Place,
        lies: Mapping[str, bytes],
    ) -> None:
        super().__init__(
            parts.identity.vin,
            parts.codec,
            parts.vehicle,
            parts.images,
            handover,
            parts.clock,
            newcomers=True,
        )
        self._told = say
        self._lies = lies
        self._archive = os.path.join(parts.metadata.folder, ARCHIVE)
        self._targets = os.path.join(parts.metadata.folder, place.file(f"director_{TARGETS}"))

    def attestation(self, serial: str) -> bytes | None:
        return self._lies.get("attestation") or super().attestation(serial)

    def metadata(self, serial: str, *, partial: bool) -> bytes:
        raw = self._lies.get("metadata") or super().metadata(serial, partial=partial)
        which = self._targets if partial else self._archive
        self._told(f"Distributing metadata file {which} from Primary to ECU {serial!r}")
        return raw

    @contextmanager
    def image(self, serial: str) -> Iterator[tuple[Target, Reader] | None]:
        self._told(f"Distributing image to ECU {serial!r}")
        with super().image(serial) as found:
            if found is None or not self._lies.keys() & {"image", "name"}:
                yield found
                return
            target, reader = found
            name = self._lies.get("name", target.path.encode()).decode()
            data = self._lies.get("image")
            yield target._replace(path=name), reader if data is None else io.BytesIO(data)
