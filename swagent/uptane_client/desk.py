"""What a Primary answers its Secondaries, whatever they ask over (Standard §5.4.2; uptane §5.5).

Everything that is handed on was verified by the Primary's last whole cycle, and is one state of both repositories: a
cycle that is under way, or one that failed, changes nothing of it.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from swagent.clock import Clock
from swagent.errors import DeviceError, TransportError
from swagent.model import Reader
from swagent.store.atomic import make_folders, replace
from swagent.uptane.attested import NONCE_MAX
from swagent.uptane.codecs.base import Codec, NotUnderstood
from swagent.uptane.errors import InvalidMetadata, Spoofing, UnknownEcu, UnknownVehicle
from swagent.uptane.metadata import DIRECTOR, TARGETS, Key, RoleKeys, Target, Targets
from swagent.uptane.reports import EcuReport, InstalledImage
from swagent.uptane.rules import Caps
from swagent.uptane.trust import judge_signatures

from .bundle import ARCHIVE_MAX_BYTES, Files, pack, unpack
from .images import ImageStore
from .outbox import Outbox
from .vehicle import Result, Vehicle

ARCHIVE = "full_metadata_archive.zip"
SERIAL_MAX, ECUS_MAX = 256, 256
REPORT_MAX_BYTES = 64 * 1024
UNKNOWN = InstalledImage("", 0)


class HandOver:
    """The metadata that a Primary's last whole cycle verified, as one archive.

    Args:
        folder: where the archive lies; made when the first one is given.
        codec: the encoding of what is in it.
        caps: how long its files may be.
    """

    def __init__(self, folder: str, codec: Codec, caps: Caps) -> None:
        self._path = os.path.join(folder, ARCHIVE)
        self._codec = codec
        self._caps = caps
        self._lock = threading.Lock()
        self._given: _Given | None = None

    def give(self, files: Files) -> None:
        """Put these in the place of the last ones.

        Raises:
            DeviceError: they cannot be written; the last ones stay.
        """
        raw = pack(files)
        with self._lock:
            if self._given is None or self._given.archive != raw:
                try:
                    make_folders(os.path.dirname(self._path))
                except OSError as exc:
                    raise DeviceError(f"cannot write {self._path}: {exc.strerror}", path=self._path) from exc
                replace(self._path, raw)
                self._given = self._read(raw)

    def archive(self) -> bytes:
        """All of it.

        Raises:
            TransportError: the Primary has not had a whole cycle yet.
        """
        return self._now().archive

    def director_targets(self) -> bytes:
        """What partial Secondaries get.

        Raises:
            TransportError: the Primary has not had a whole cycle yet.
        """
        return self._now().targets

    def assigned(self, serial: str) -> Target | None:
        """The Director's target for an ECU; None when there is none, or no whole cycle yet."""
        try:
            return self._now().by_ecu.get(serial)
        except TransportError:
            return None

    def _now(self) -> "_Given":
        with self._lock:
            if self._given is None:
                try:
                    with open(self._path, "rb") as file:
                        raw = file.read(ARCHIVE_MAX_BYTES + 1)
                    self._given = self._read(raw)
                except (OSError, InvalidMetadata) as exc:
                    raise TransportError(
                        "the Primary has no verified metadata yet",
                        hint="its first whole cycle must come first",
                    ) from exc
            return self._given

    def _read(self, raw: bytes) -> "_Given":
        files = unpack(raw, self._codec.extension, self._caps)[DIRECTOR]
        targets = files.get(f"{TARGETS}.{self._codec.extension}", b"")
        try:
            body = self._codec.decode(targets).body
        except NotUnderstood as exc:
            raise InvalidMetadata(f"{self._path} is damaged: {exc}", role="archive") from exc
        if not isinstance(body, Targets):
            raise InvalidMetadata(f"{self._path} is damaged", role="archive")
        by_ecu = {serial: target for target in body.targets.values() for serial in target.ecus}
        return _Given(raw, targets, by_ecu)


class _Given(NamedTuple):
    archive: bytes
    targets: bytes
    by_ecu: Mapping[str, Target]


class Desk:
    """Answers Secondaries; from several threads, if need be.

    Args:
        vin: the vehicle.
        codec: the encoding of reports.
        vehicle: the Primary's memory.
        images: its verified images.
        handover: its verified metadata.
        clock: for the times of results.
        keys: serial to the key that its reports must be signed with, of those ECUs whose key is known here.
        newcomers: whether an ECU that nobody named may make itself known.
        outbox: hears of installations, None where nobody wants to.
    """

    def __init__(
        self,
        vin: str,
        codec: Codec,
        vehicle: Vehicle,
        images: ImageStore,
        handover: HandOver,
        clock: Clock,
        *,
        keys: Mapping[str, Key] | None = None,
        newcomers: bool = False,
        outbox: Outbox | None = None,
    ) -> None:
        self.codec = codec
        self._vin = vin
        self._vehicle = vehicle
        self._images = images
        self._handover = handover
        self._clock = clock
        self._keys = keys or {}
        self._newcomers = newcomers
        self._outbox = outbox

    def register(self, serial: str) -> None:
        """Make an ECU known; again is fine.

        Raises:
            UnknownEcu: nobody named it, and newcomers are not let in.
        """
        known = self._vehicle.ecus()
        if serial in known:
            return
        if not (self._newcomers and 0 < len(serial) <= SERIAL_MAX and serial.isprintable()):
            raise UnknownEcu(f"the ECU {serial[:60]!r} is not in this vehicle")
        if len(known) >= ECUS_MAX:
            raise UnknownEcu(f"this vehicle has {ECUS_MAX} ECUs already; {serial[:60]!r} is not let in")
        self._vehicle.add_ecu(serial, "", UNKNOWN)

    def attestation(self, serial: str) -> bytes | None:
        """The newest time attestation that the Primary accepted, None before the first.

        Raises:
            UnknownEcu: no such ECU.
        """
        self._known(serial)
        attested = self._vehicle.fact("attested")
        return bytes.fromhex(attested["raw"]) if attested else None

    def metadata(self, serial: str, *, partial: bool) -> bytes:
        """The archive of both repositories' metadata, or the Director's targets alone.

        Raises:
            UnknownEcu: no such ECU.
            TransportError: there is none yet.
        """
        self._known(serial)
        return self._handover.director_targets() if partial else self._handover.archive()

    def update_exists(self, serial: str) -> bool:
        """Whether the Director has a target for an ECU.

        Raises:
            UnknownEcu: no such ECU.
        """
        return self.assigned(serial) is not None

    def assigned(self, serial: str) -> Target | None:
        """The Director's target for an ECU, None when it has none.

        Raises:
            UnknownEcu: no such ECU.
        """
        self._known(serial)
        return self._handover.assigned(serial)

    def has_fetched(self, target: Target) -> bool:
        """Whether an image is here."""
        return os.path.isfile(self._images.path(target))

    @contextmanager
    def image(self, serial: str) -> Iterator[tuple[Target, Reader] | None]:
        """An ECU's image as it travels, judged as it is read; None when there is none, or it has not been fetched.

        Raises:
            UnknownEcu: no such ECU.
        """
        target = self.assigned(serial)
        if target is None or not self.has_fetched(target):
            yield None
            return
        with self._images.reader(target) as source:
            yield target.travelling, source

    def submit(self, vin: str, serial: str, nonce: int, raw: bytes) -> None:
        """Take an ECU's report, and its nonce for the Time server (uptane §2.3).

        Raises:
            UnknownEcu, UnknownVehicle: no such ECU, or of another vehicle.
            Spoofing: the report is another ECU's.
            MetadataTrustError: it is not signed with that ECU's key, where that is known here.
            InvalidMetadata: it cannot be understood.
        """
        self._known(serial)
        if vin != self._vin:
            raise UnknownVehicle(f"this is not the vehicle {vin[:60]!r}")
        if not 0 <= nonce <= NONCE_MAX or len(raw) > REPORT_MAX_BYTES:
            raise InvalidMetadata(f"the nonce or the length of the report of {serial} makes no sense")
        try:
            found = self.codec.decode_ecu_report(raw)
        except NotUnderstood as exc:
            raise InvalidMetadata(f"the report of {serial} cannot be understood: {exc}") from exc
        if found.content.serial != serial:
            raise Spoofing(f"{serial} hands in a report of {found.content.serial[:60]!r}")
        key = self._keys.get(serial)
        if key is not None:
            judge_signatures(
                found.message,
                found.signatures,
                {key.keyid: key},
                RoleKeys((key.keyid,), 1),
                repository="",
                role=f"report of {serial}",
            )
        self._vehicle.queue_nonce(nonce)
        self._vehicle.keep_report(serial, raw)
        self._note(found.content)

    def _known(self, serial: str) -> None:
        if serial not in self._vehicle.ecus():
            raise UnknownEcu(f"the ECU {serial[:60]!r} is not in this vehicle")

    def _note(self, report: EcuReport) -> None:
        """What an ECU says it runs; that it is what it should run is a result to report."""
        ecu = self._vehicle.ecus()[report.serial]
        if report.installed == ecu.installed:
            return
        target, image = self._handover.assigned(report.serial), report.installed
        done = target is not None and (target.path, target.length_bytes, dict(target.hashes)) == (
            image.path,
            image.length_bytes,
            dict(image.hashes),
        )
        counter = target.release_counter if target is not None and done else ecu.release_counter
        self._vehicle.installed(report.serial, image, counter)
        if done:
            correlation = self._vehicle.fact("correlation") or ""
            now_s = int(self._clock.now_s())
            self._vehicle.keep_result(Result(now_s, report.serial, image.path, 0, "", correlation))
            if self._outbox is not None:
                self._outbox.put(
                    "EcuInstallationCompleted", ecu=report.serial, correlation=correlation, success=True
                )
