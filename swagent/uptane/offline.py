"""What updates from a medium add (PURE-2): two roles of the Director, and an Image repository without timestamp.

A medium carries everything but news: the Director's snapshot for such updates lists the targets files that may still be
installed, and the newest one that this vehicle has seen counts, whether it came with a medium or over the network.
"""

from collections.abc import Mapping

from .assignment import judge_hardware, judge_vehicle
from .errors import BadEcuId, MixAndMatch, UnmetThreshold
from .metadata import (
    DIRECTOR,
    OFFLINE_ROLES,
    OFFLINE_SNAPSHOT,
    OFFLINE_TARGETS,
    ROOT,
    SNAPSHOT,
    TARGETS,
    Document,
    FileFacts,
    Root,
    Snapshot,
    Target,
    Targets,
)
from .paths import judge
from .repository import Repository, body_of
from .rules import Rules


class OfflineDirector(Repository):
    """A Director's repository with its roles for updates from a medium.

    Attributes:
        offline_snapshot: the one that counts, None before the first.
    """

    offline_snapshot: Document | None = None

    @property
    def allows_offline(self) -> bool:
        """Whether root says who signs updates from a medium."""
        return all(role in body_of(self.root, Root).roles for role in OFFLINE_ROLES)

    def recall_offline_snapshot(self, raw: bytes) -> None:
        """Take the stored one back, if it holds under the present root; else its floors alone remain."""
        from swagent.errors import UptaneError

        try:
            document = self._decode(raw, SNAPSHOT, role=OFFLINE_SNAPSHOT, offline=True)
            self._judge_signatures(document, OFFLINE_SNAPSHOT, ROOT)
        except UptaneError:
            return
        self._become_offline_snapshot(document)

    def update_offline_snapshot(self, raw: bytes, *, from_medium: bool) -> bool:
        """A snapshot for updates from a medium; its expiry is judged when it is used.

        Args:
            raw: the file.
            from_medium: whether it may be older than the one that is there, which then counts.

        Returns:
            Whether it replaces the one that was there.

        Raises:
            UptaneError: not allowed by root, not understood, not signed, or it, or what it lists, is older.
        """
        self._judge_allowed()
        new = self._decode(raw, SNAPSHOT, role=OFFLINE_SNAPSHOT, offline=True)
        there = self.offline_snapshot
        if there is not None and (new.raw == there.raw or (from_medium and new.version <= there.version)):
            return False
        self._judge_signatures(new, OFFLINE_SNAPSHOT, ROOT)
        self._judge_version(new, OFFLINE_SNAPSHOT, self.floors.offline_snapshot)
        floors = dict(self.floors.offline)
        for name, facts in body_of(new, Snapshot).files.items():
            self._judge_not_lower(
                facts.version,
                floors.get(name, 0),
                OFFLINE_SNAPSHOT,
                f"{name[:60]} as the offline snapshot lists it",
            )
        self._become_offline_snapshot(new)
        return True

    def offline_files(self) -> Mapping[str, FileFacts]:
        """The targets files that may be installed from a medium, by name.

        Raises:
            ExpiredMetadata: the snapshot that lists them has expired.
        """
        if self.offline_snapshot is None:
            raise ValueError("the offline snapshot comes before its targets")
        self._judge_expiry(self.offline_snapshot, OFFLINE_SNAPSHOT)
        return body_of(self.offline_snapshot, Snapshot).files

    def update_offline_targets(self, name: str, raw: bytes) -> Document:
        """The targets file of a medium, the one that the snapshot lists under this name.

        Raises:
            UptaneError: not listed, not the version listed, not understood, not signed, expired, or it delegates.
        """
        facts = self.offline_files().get(name)
        if facts is None:
            raise MixAndMatch(
                f"the offline snapshot does not list {name[:60]}",
                repository=self.name,
                role=OFFLINE_TARGETS,
                found=name[:60],
            )
        new = self._decode(raw, TARGETS, role=OFFLINE_TARGETS, offline=True)
        self._judge_facts(new, facts, OFFLINE_TARGETS)
        self._judge_signatures(new, OFFLINE_TARGETS, ROOT)
        self._judge_listed_version(new, facts, OFFLINE_TARGETS, OFFLINE_SNAPSHOT)
        self._judge_expiry(new, OFFLINE_TARGETS)
        self._judge_no_delegations(body_of(new, Targets), OFFLINE_TARGETS)
        return new

    def _judge_allowed(self) -> None:
        if not self.allows_offline:
            raise UnmetThreshold(
                "the Director's root allows no updates from a medium",
                repository=self.name,
                role=OFFLINE_SNAPSHOT,
                expected="the roles " + " and ".join(OFFLINE_ROLES),
                found="none",
            )

    def _become_offline_snapshot(self, document: Document) -> None:
        """Floors of files that it no longer lists remain: listed again, they are not older than they were."""
        self.offline_snapshot = document
        floors = dict(self.floors.offline)
        for name, facts in body_of(document, Snapshot).files.items():
            floors[name] = max(floors.get(name, 0), facts.version or 0)
        self.floors = self.floors._replace(
            offline_snapshot=max(self.floors.offline_snapshot, document.version),
            offline=tuple(sorted(floors.items())),
        )


class OfflineImage(Repository):
    """The Image repository as a medium has it: no timestamp says which snapshot is the newest."""

    def update_offline_snapshot(self, raw: bytes) -> bool:
        """The medium's snapshot, unless the one that is there is as new; neither need be unexpired.

        Returns:
            Whether it replaces the one that was there.

        Raises:
            UptaneError: not understood, not signed, or it, or what it lists, is older.
        """
        new = self._decode(raw, SNAPSHOT)
        if self.snapshot is not None and new.version <= self.snapshot.version:
            return False
        self._judge_signatures(new, SNAPSHOT, ROOT)
        self._judge_not_rolled_back(new)
        self._become_snapshot(new)
        return True


def assign_offline(body: Targets, ecus: Mapping[str, str], *, vin: str, rules: Rules) -> dict[str, Target]:
    """Which image of a medium is for which ECU: for its serial where one is named, else for its hardware.

    A target names afterwards the ECUs of this vehicle that it is for.

    A medium is for many vehicles: images for others are passed over.

    Args:
        body: what the Director signed.
        ecus: the vehicle's ECUs: serial to hardware id, "" where that is not known.
        vin: the vehicle, "" where it has no name.
        rules: the rule set.

    Raises:
        BadVehicleId: they are for another vehicle.
        BadEcuId: an ECU could have two images, or an image does not say what it is for.
        BadHardwareId: an image is for other hardware than the ECU that it names.
        InvalidTarget: an image's name leads elsewhere.
    """
    judge_vehicle(body, vin=vin, rules=rules._replace(vin_on_empty=False))
    by_ecu: dict[str, Target] = {}
    for target in body.targets.values():
        judge(target.path, repository=DIRECTOR)
        if not target.ecus and not target.hardware_ids:
            raise _bad_ecu(f"{target.path} does not say what it is for", "an ECU or a hardware id", "neither")
        fitting = {serial: hardware for serial, hardware in ecus.items() if _fits(target, serial, hardware)}
        for serial in fitting:
            if serial in by_ecu:
                raise _bad_ecu(
                    f"the medium has two images for the ECU {serial[:60]}: {by_ecu[serial].path} and {target.path}",
                    "one image for each ECU",
                    serial[:60],
                )
            by_ecu[serial] = target._replace(ecus=fitting)
    return by_ecu


def _fits(target: Target, serial: str, hardware: str) -> bool:
    """Whether an image is for this ECU."""
    if not target.ecus:
        return bool(hardware) and hardware in (target.hardware_ids or ())
    if serial not in target.ecus:
        return False
    judge_hardware(target, target.ecus[serial], hardware, repository=DIRECTOR)
    return True


def _bad_ecu(message: str, expected: str, found: str) -> BadEcuId:
    return BadEcuId(message, repository=DIRECTOR, role=OFFLINE_TARGETS, expected=expected, found=found)
