"""The Director: knows a fleet, takes its reports, decides what each ECU shall run and signs that for each vehicle.

All state is in the inventory, so any number of Directors may work on one fleet; online are the keys of timestamp,
snapshot and targets, while roots are signed elsewhere and only kept here (Standard §5.3.2; uptane §5.2).
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from swagent.clock import Clock
from swagent.crypto import schemes
from swagent.errors import SettingsError
from swagent.uptane.codecs.base import Codec, NotUnderstood
from swagent.uptane.errors import BadHardwareId, InvalidMetadata, RootRotationError, Spoofing, UnknownEcu
from swagent.uptane.metadata import (
    DIRECTOR,
    ROOT,
    TARGETS,
    Document,
    EncryptedTarget,
    Key,
    Root,
    Targets,
)
from swagent.uptane.paths import judge
from swagent.uptane.signing import Signer
from swagent.uptane.trust import judge_signatures

from .director_intake import LENIENT, Judged, Known, Policy, judge_manifest
from .director_metadata import VehicleMetadata
from .inventory import Inventory
from .inventory_fleet import Fleet
from .inventory_records import Assignment, Ecu, Image, SignedFile
from .repository import LIFETIME_S

NAME_MAX = 256
ECUS_MAX = 256
_BAD_IN_VIN = re.compile(r"\.\.|[/$~\\\x00-\x1f\x7f]")


class Newcomer(NamedTuple):
    """An ECU that makes itself known.

    Attributes:
        image_key: RSA public key in PEM that its images shall be encrypted for, "" for none.
    """

    serial: str
    key: Key
    hardware_id: str = ""
    primary: bool = False
    image_key: str = ""


class Director:
    """One fleet's Director.

    Args:
        inventory: what it knows.
        codec: the encoding of manifests and metadata.
        signers: the keys of targets, snapshot and timestamp; those that its root has not are not used.
        clock: its time.
        policy: how manifests are judged.
        lifetime_s: role to how long a file is good for.
        prompt: whether what a manifest makes possible is signed at once; else only ``write`` signs assignments.
    """

    def __init__(
        self,
        inventory: Inventory,
        codec: Codec,
        signers: Mapping[str, Sequence[Signer]],
        clock: Clock,
        *,
        policy: Policy = LENIENT,
        lifetime_s: Mapping[str, int] = LIFETIME_S,
        prompt: bool = True,
    ) -> None:
        self.inventory = inventory
        self.codec = codec
        self.policy = policy
        self._clock = clock
        self._lifetime_s = lifetime_s
        self._prompt = prompt
        self.use_signers(signers)

    def now_s(self) -> int:
        """Its time."""
        return int(self._clock.now_s())

    # -- roots

    def add_root(self, raw: bytes) -> None:
        """The next root of all vehicles; what was signed under the one before is signed anew when it is asked for.

        Raises:
            InvalidMetadata, RootRotationError, MetadataTrustError: it is none, or does not follow from the one before.
        """
        root = self._read_root(raw)
        with self.inventory.change() as fleet:
            old = fleet.root()
            version = old.version + 1 if old is not None else 1
            if root.version != version:
                raise RootRotationError(
                    "this root does not follow", role=ROOT, repository=DIRECTOR,
                    expected=f"version {version}", found=str(root.version),
                )  # fmt: skip
            for by in (root, self._read_root(old.raw)) if old is not None else (root,):
                assert isinstance(by.body, Root)  # noqa: S101 - _read_root has seen to it
                judge_signatures(
                    root.message, root.signatures, by.body.keys, by.body.roles[ROOT],
                    repository=DIRECTOR, role=ROOT,
                )  # fmt: skip
            fleet.add_root(version, root.expires_s, raw)

    def issue_root(self, signers: Sequence[Signer], *, also: Sequence[Signer] = ()) -> None:
        """The next root, made of the online keys and these root keys, where they are at hand.

        Args:
            signers: the root's keys from now on.
            also: the root's keys until now, when they are others.
        """
        with self.inventory.look() as fleet:
            roots = fleet.roots()
        self.add_root(self._metadata.next_root(roots, signers, also))

    def use_signers(self, signers: Mapping[str, Sequence[Signer]]) -> None:
        """Other online keys from now on; a root that lists them must follow."""
        self._metadata = VehicleMetadata(self.codec, signers, self._clock, self._lifetime_s)

    def _read_root(self, raw: bytes) -> Document:
        try:
            document = self.codec.decode(raw)
        except NotUnderstood as exc:
            raise InvalidMetadata(f"the root cannot be understood: {exc}", repository=DIRECTOR) from exc
        if not isinstance(document.body, Root):
            raise InvalidMetadata("this is no root", repository=DIRECTOR, role=ROOT, found=document.kind)
        return document

    # -- vehicles and ECUs

    def add_vehicle(self, vin: str, primary: str | None = None) -> None:
        """A new vehicle; one that is there is reset.

        Raises:
            InvalidMetadata: a name that cannot be used.
        """
        _judge_name(vin, "VIN")
        if _BAD_IN_VIN.search(vin):
            raise InvalidMetadata(f"the VIN {vin[:60]!r} holds what leads elsewhere")
        if primary is not None:
            _judge_name(primary, "serial")
        with self.inventory.change() as fleet:
            fleet.add_vehicle(vin, primary, self.now_s())

    def register(self, vin: str, newcomers: Sequence[Newcomer], *, again: bool = False) -> None:
        """Make ECUs of a vehicle known, all of them or none.

        Args:
            vin: the vehicle.
            newcomers: its ECUs.
            again: whether an ECU that is known already, with the same key and part, is no error.

        Raises:
            UnknownVehicle: no such vehicle.
            Spoofing: an ECU is known already, or the vehicle has another Primary.
            InvalidMetadata: a name or key that cannot be used.
        """
        for each in newcomers:
            _judge_newcomer(each)
        with self.inventory.change() as fleet:
            vehicle = fleet.vehicle(vin, lock=True)
            known = fleet.ecus(vin)
            if len(known) + len(newcomers) > ECUS_MAX:
                raise InvalidMetadata(f"a vehicle has at most {ECUS_MAX} ECUs")
            primary = vehicle.primary
            for each in newcomers:
                there = known.get(each.serial)
                if (
                    again
                    and there is not None
                    and (there.key.public, there.primary) == (each.key.public, each.primary)
                ):
                    continue
                if each.primary and primary not in (None, each.serial):
                    raise Spoofing(f"{vin} has a Primary already, {each.serial[:60]!r} cannot be another one")
                if primary == each.serial and not each.primary:
                    raise Spoofing(f"{each.serial[:60]!r} is the Primary of {vin}")
                key = each.key if each.key.keyid else each.key._replace(keyid=self.codec.keyid(each.key))
                fleet.add_ecu(Ecu(each.serial, vin, each.hardware_id, each.primary, key, each.image_key))
                if each.primary and primary is None:
                    primary = each.serial
            if primary != vehicle.primary:
                fleet.update_vehicle(vin, primary_serial=primary)

    def forgive(self, serial: str) -> None:
        """Take the next good report of an ECU whatever its counter and time: it was replaced, or lost its memory.

        Raises:
            UnknownEcu: no such ECU.
        """
        with self.inventory.change() as fleet:
            fleet.ecu(serial)
            fleet.update_ecu(serial, counter=None, time_s=None, distrust="")

    # -- manifests

    def submit(self, vin: str, raw: bytes, primary: str = "") -> Judged:
        """Take a vehicle version manifest.

        Args:
            vin: the vehicle that it is handed in for.
            raw: as it came.
            primary: who hands it in, "" where nobody says.

        Raises:
            UnknownVehicle: no such vehicle.
            UptaneError: as ``director_intake.judge_manifest``; nothing has changed.
        """
        now_s = self.now_s()
        with self.inventory.change() as fleet:
            vehicle = fleet.vehicle(vin, lock=True)
            ecus = fleet.ecus(vin)
            known = Known(vin, ecus, fleet.digests(vin))
            judged = judge_manifest(raw, self.codec, known, primary=primary, now_s=now_s, policy=self.policy)
            if not judged.is_news:
                return judged
            fleet.keep_manifest(vehicle, raw, judged.digest, now_s)
            fleet.keep_reports(judged.ecus)
            fleet.raise_alerts(vin, judged.alerts, now_s)
            if self._prompt and any(order.wanted != order.signed for order in fleet.assignments(vin)):
                self._metadata.sign(fleet, vin)
        return judged

    def last_vehicle_manifest(self, vin: str) -> bytes | None:
        """As it came, None before the first.

        Raises:
            UnknownVehicle: no such vehicle.
        """
        with self.inventory.look() as fleet:
            fleet.vehicle(vin)
            found = fleet.manifests(vin, limit=1)
        return found[0].raw if found else None

    def last_ecu_manifest(self, serial: str) -> bytes | None:
        """As it came, None before the first.

        Raises:
            UnknownEcu: no such ECU.
        """
        with self.inventory.look() as fleet:
            return fleet.ecu(serial).report

    # -- assignments

    def add_image(self, image: Image) -> Image:
        """An image that can be assigned; the same one that is there already, when there is.

        Raises:
            InvalidTarget: its name leads elsewhere.
        """
        judge(image.target.path, repository=DIRECTOR)
        if not image.target.hashes:
            raise InvalidMetadata(f"{image.target.path} has no hashes")
        with self.inventory.change() as fleet:
            return fleet.add_image(image, self.now_s())

    def assign(
        self,
        vin: str,
        serial: str,
        image: Image | None,
        *,
        correlation_id: str = "",
        sealed: EncryptedTarget | None = None,
    ) -> None:
        """What an ECU shall run, once it is signed: in the place of what it was; None for nothing in particular.

        An ECU that is not registered yet may be assigned to: the image waits for it.

        Args:
            vin: the vehicle.
            serial: the ECU.
            image: one that ``add_image`` returned.
            correlation_id: what reports about it shall carry.
            sealed: the form in which it travels to that ECU, where it has a key for images.

        Raises:
            UnknownVehicle: no such vehicle.
            Spoofing: the ECU is another vehicle's.
            BadHardwareId: the image is for other hardware.
            SettingsError: its images are encrypted, and there is no encrypted form.
        """
        _judge_name(serial, "serial")
        with self.inventory.change() as fleet:
            fleet.vehicle(vin, lock=True)
            ecu = _find(fleet, serial)
            if ecu is not None and ecu.vin != vin:
                raise Spoofing(f"the ECU {serial} is not one of {vin}")
            if image is not None and ecu is not None:
                self._judge_image(fleet, ecu, image, sealed)
            fleet.want(vin, serial, image, self.now_s(), correlation_id)

    def _judge_image(self, fleet: Fleet, ecu: Ecu, image: Image, sealed: EncryptedTarget | None) -> None:
        fitting = image.target.hardware_ids
        if fitting is not None and ecu.hardware_id and ecu.hardware_id not in fitting:
            raise BadHardwareId(
                f"{image.target.path} is for other hardware than the ECU {ecu.serial}",
                repository=DIRECTOR, role=TARGETS, artifact=image.target.path,
                expected=ecu.hardware_id, found=", ".join(sorted(fitting)),
            )  # fmt: skip
        if sealed is not None:
            fleet.keep_sealed(ecu.vin, ecu.serial, image, sealed)
        elif ecu.image_key and (ecu.serial, image.number) not in fleet.sealed(ecu.vin):
            raise SettingsError(f"images for {ecu.serial} are encrypted, and {image.target.path} was not")

    def clear(self, vin: str) -> None:
        """No ECU of a vehicle shall run anything in particular, once that is signed.

        Raises:
            UnknownVehicle: no such vehicle.
        """
        with self.inventory.change() as fleet:
            fleet.vehicle(vin, lock=True)
            fleet.unwant_all(vin, self.now_s())

    def preview(
        self, vin: str, instead: Mapping[str, Image | None] | None = None
    ) -> tuple[Targets, Mapping[str, str]]:
        """What would be signed for a vehicle now, and which ECU's order would be held back, and why.

        Args:
            vin: the vehicle.
            instead: serial to what would be ordered for it in the place of what is.

        Raises:
            UnknownVehicle: no such vehicle.
        """
        with self.inventory.look() as fleet:
            fleet.vehicle(vin)
            orders = {order.serial: order for order in fleet.assignments(vin)}
            for serial, image in (instead or {}).items():
                order = orders.get(serial, Assignment(vin, serial, None, 0, None))
                orders[serial] = order._replace(wanted=image)
            present, ecus = list(orders.values()), fleet.ecus(vin)
            chosen = self._metadata.choose(fleet, vin, present, ecus)
            return self._metadata.targets(fleet, vin, present, ecus, chosen), chosen.held_back

    # -- signed metadata

    def write(self, vin: str) -> None:
        """Sign what a vehicle's ECUs shall run.

        Raises:
            UnknownVehicle: no such vehicle.
            SettingsError: there is no root yet, or the dialect has no words for an assignment.
        """
        with self.inventory.change() as fleet:
            self._metadata.sign(fleet, vin)

    def file(self, vin: str, role: str, version: int | None = None) -> SignedFile | None:
        """A file of a vehicle's repository; signed anew first when it is due. None when there is none.

        Args:
            vin: the vehicle.
            role: ``root``, ``timestamp``, ``snapshot`` or ``targets``.
            version: None for the newest.

        Raises:
            UnknownVehicle: no such vehicle.
        """
        with self.inventory.look() as fleet:
            vehicle = fleet.vehicle(vin)
            root = fleet.root(version if role == ROOT else None)
            if role == ROOT or root is None:
                return root
            if version is not None or not self._metadata.is_due(vehicle, root):
                return fleet.file(vin, role, version)
        with self.inventory.change() as fleet:
            if self._metadata.is_due(fleet.vehicle(vin, lock=True), root):
                self._metadata.sign(fleet, vin, anew=False)
            return fleet.file(vin, role)

    def files(self, vin: str) -> dict[str, bytes]:
        """All files of a vehicle's repository by name, every root among them: for a folder of static files.

        Raises:
            UnknownVehicle: no such vehicle.
        """
        with self.inventory.look() as fleet:
            fleet.vehicle(vin)
            return self._metadata.all_files(fleet, vin).named()

    def vins(self) -> list[str]:
        """Of all vehicles: for small fleets."""
        with self.inventory.look() as fleet:
            return [vehicle.vin for vehicle in fleet.vehicles(limit=1_000_000)]


def _find(fleet: Fleet, serial: str) -> Ecu | None:
    try:
        return fleet.ecu(serial)
    except UnknownEcu:
        return None


def _judge_name(name: str, what: str) -> None:
    if not 0 < len(name) <= NAME_MAX or not name.isprintable():
        raise InvalidMetadata(f"{name[:60]!r} is no {what}")


def _judge_newcomer(each: Newcomer) -> None:
    _judge_name(each.serial, "serial")
    if each.hardware_id:
        _judge_name(each.hardware_id, "hardware id")
    if len(each.key.keyid) > NAME_MAX:
        raise InvalidMetadata(f"the key identifier of {each.serial} is too long")
    try:
        schemes.load(each.key.scheme, each.key.public)
    except ValueError as exc:
        raise InvalidMetadata(f"the key of {each.serial} cannot be used: {exc}") from exc
    if each.image_key:
        from swagent.crypto.imagekey import wrap

        try:
            wrap(each.image_key, bytes(16))
        except ValueError as exc:
            raise InvalidMetadata(f"the image key of {each.serial} cannot be used: {exc}") from exc
