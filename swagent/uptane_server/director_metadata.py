"""A vehicle's signed files: what its ECUs shall run, decided and signed inside one transaction (Standard §5.3.2.1)."""

from collections.abc import Mapping, Sequence

from swagent.clock import Clock
from swagent.errors import SettingsError
from swagent.uptane.codecs.base import Codec
from swagent.uptane.metadata import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Target, Targets
from swagent.uptane.reports import UNKNOWN_IMAGE
from swagent.uptane.signing import Signer

from .director_choice import Chosen, choose, is_installed
from .inventory_fleet import Fleet
from .inventory_records import Assignment, Ecu, SignedFile, Vehicle
from .repository import RoleFiles

ONLINE = (TARGETS, SNAPSHOT, TIMESTAMP)
DUE_S = 6 * 3600
"""Files that expire sooner are signed anew when somebody asks for them."""


class VehicleMetadata:
    """Makes the files of one vehicle after the other.

    Args:
        codec: their encoding.
        signers: role to the keys that sign it; aktualizr's Directors have targets alone.
        clock: what lifetimes are counted from.
        lifetime_s: role to how long a file is good for.
    """

    def __init__(
        self,
        codec: Codec,
        signers: Mapping[str, Sequence[Signer]],
        clock: Clock,
        lifetime_s: Mapping[str, int],
    ) -> None:
        self._codec = codec
        self._signers = {role: list(signers[role]) for role in ONLINE if role in signers}
        self._clock = clock
        self._lifetime_s = dict(lifetime_s)
        self._is_ref = codec.name.startswith("ref")

    def next_root(self, roots: list[bytes], signers: Sequence[Signer], also: Sequence[Signer]) -> bytes:
        """The root behind these, which lists the online keys. See ``Director.issue_root``."""
        files = self._role_files(roots)
        files.signers[ROOT] = list(signers)
        return files.renew_root(also=also)

    def is_due(self, vehicle: Vehicle, root: SignedFile) -> bool:
        """Whether a vehicle's files must be signed anew: they expire, or were signed under another root."""
        until_s = self._now_s() + min(DUE_S, min(self._lifetime_s.values()) // 4)
        return (
            vehicle.expires_s is None or vehicle.expires_s <= until_s or vehicle.root_version != root.version
        )

    def choose(self, fleet: Fleet, vin: str, orders: Sequence[Assignment], ecus: Mapping[str, Ecu]) -> Chosen:
        """What a vehicle's ECUs shall run."""
        running = [ecu for ecu in ecus.values() if ecu.installed != UNKNOWN_IMAGE]
        known = fleet.images(*{ecu.installed.path for ecu in running}) if orders and running else []
        images = {
            ecu.serial: image
            for ecu in running
            for image in reversed(known)  # of two that say the same the newer one counts
            if is_installed(ecu.installed, image.target)
        }
        return choose(orders, ecus, images, shared=not self._is_ref)

    def targets(
        self,
        fleet: Fleet,
        vin: str,
        orders: Sequence[Assignment],
        ecus: Mapping[str, Ecu],
        chosen: Chosen,
    ) -> Targets:
        """What is to be signed of that."""
        sealed = fleet.sealed(vin) if any(ecu.image_key for ecu in ecus.values()) else {}
        correlations = [order.correlation_id for order in orders if order.serial in chosen.images]
        targets: dict[str, Target] = {}
        for serial, image in chosen.images.items():
            target = targets.get(image.target.path, image.target)
            hardware_id = ecus[serial].hardware_id if serial in ecus else ""
            targets[target.path] = target._replace(
                ecus={**target.ecus, serial: hardware_id}, encrypted=sealed.get((serial, image.number))
            )
        if self._is_ref:  # has no words for more
            return Targets(targets)
        return Targets(targets, vin=vin, correlation_id=next(filter(None, correlations), ""))

    def sign(self, fleet: Fleet, vin: str, *, anew: bool = True) -> None:
        """The next files of a vehicle: timestamp and snapshot always, targets when they say something new.

        Args:
            fleet: the transaction; it locks the vehicle.
            vin: the vehicle.
            anew: whether orders are looked at; else what was signed is signed again.

        Raises:
            UnknownVehicle: no such vehicle.
            SettingsError: there is no root yet, or the dialect has no words for an assignment.
        """
        vehicle = fleet.vehicle(vin, lock=True)
        root = fleet.root()
        if root is None:
            raise SettingsError("the Director has no root yet", hint="`swagent director root` gives it one")
        orders, ecus = fleet.assignments(vin), fleet.ecus(vin)
        if anew:
            chosen = self.choose(fleet, vin, orders, ecus)
        else:
            chosen = Chosen({order.serial: order.signed for order in orders if order.signed is not None}, {})
        before = {file.role: file for file in (fleet.file(vin, role) for role in self._signers) if file}
        files = self._role_files((), root, *before.values())
        changed = (
            TARGETS not in before or vehicle.root_version != root.version or self._is_old(before[TARGETS])
        )
        for order in orders if anew else ():
            image = chosen.images.get(order.serial)
            changed = changed or image != order.signed
            held_back = chosen.held_back.get(order.serial, "")
            fleet.settle(order, order._replace(signed=image, held_back=held_back))
        if changed:
            files.renew(TARGETS, self.targets(fleet, vin, orders, ecus, chosen))
        files.renew_lists()
        self._keep(fleet, vehicle, files, before)

    def all_files(self, fleet: Fleet, vin: str) -> RoleFiles:
        """A vehicle's repository as it is, every root in it."""
        root = fleet.root()
        found = [root, *(fleet.file(vin, role) for role in self._signers)]
        return self._role_files(fleet.roots(), *(file for file in found if file is not None))

    def _keep(
        self, fleet: Fleet, vehicle: Vehicle, files: RoleFiles, before: Mapping[str, SignedFile]
    ) -> None:
        now_s = self._now_s()
        expires_s = []
        for role in self._signers:
            old, version = before.get(role), files.versions[role]
            if old is None or old.version != version:
                old = SignedFile(role, version, now_s + self._lifetime_s[role], files.files[role])
                fleet.keep_file(vehicle.vin, old)
            expires_s.append(old.expires_s)
        fleet.update_vehicle(
            vehicle.vin,
            version=files.versions.get(TIMESTAMP, 0),
            targets_version=files.versions[TARGETS],
            root_version=files.versions[ROOT],
            expires_s=min(expires_s),
        )

    def _is_old(self, file: SignedFile) -> bool:
        return file.expires_s - self._now_s() < self._lifetime_s[file.role] // 2

    def _role_files(self, roots: Sequence[bytes], *present: SignedFile) -> RoleFiles:
        files = RoleFiles(self._codec, self._now_s(), dict(self._signers), lifetime_s=self._lifetime_s)
        files.roots = list(roots)
        files.versions[ROOT] = len(roots)
        for file in present:
            files.files[file.role], files.versions[file.role] = file.raw, file.version
        return files

    def _now_s(self) -> int:
        return int(self._clock.now_s())
