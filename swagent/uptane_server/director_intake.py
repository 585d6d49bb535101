"""Judges vehicle version manifests, without changing anything (Standard §5.3.2.1; uptane §2.3).

What is wrong with the manifest itself refuses it. What is wrong with one ECU's report in it drops that report with an
alert: one broken Secondary must not cut its vehicle off.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from swagent.crypto.digest import sha256
from swagent.errors import SwagentError, UptaneError
from swagent.uptane.codecs.base import Codec, NotUnderstood, write_time
from swagent.uptane.errors import InvalidMetadata, ReplayedReport, Spoofing, UnknownEcu
from swagent.uptane.metadata import RoleKeys
from swagent.uptane.paths import PATH_MAX
from swagent.uptane.reports import EcuReport, Report, VehicleReport
from swagent.uptane.trust import judge_signatures

from .inventory_records import Alert, Ecu

MANIFEST_MAX_BYTES = 2 * 1024 * 1024
REPORTS_MAX, HASHES_MAX = 1024, 16
SKEW_S = 300
ATTACK, FORMAT, MISSING, REPLAY, SIGNATURE, STRANGER, TIME = (
    "attack", "format", "missing", "replay", "signature", "stranger", "time",
)  # fmt: skip
"""Kinds of alerts."""


class Policy(NamedTuple):
    """How manifests are judged.

    Attributes:
        strict: whether one bad or missing report refuses the whole manifest, as the Standard suggests.
        skew_s: how far an ECU's clock may be ahead of ours.
    """

    strict: bool = False
    skew_s: int = SKEW_S


LENIENT = Policy()


class Known(NamedTuple):
    """What is known of a vehicle before a manifest is judged.

    Attributes:
        vin: the vehicle that the manifest is handed in for.
        ecus: its ECUs, by serial.
        digests: of its last manifests, the newest first.
    """

    vin: str
    ecus: Mapping[str, Ecu]
    digests: Sequence[str] = ()


class Judged(NamedTuple):
    """What a manifest says, as far as it can be believed.

    Attributes:
        report: the manifest.
        digest: of what the Primary signed.
        is_news: whether it is another than the last one; one that came twice says nothing new, and is no attack.
        ecus: those whose state it changes, as they are now.
        alerts: what somebody should look at.
    """

    report: VehicleReport
    digest: str
    is_news: bool
    ecus: tuple[Ecu, ...]
    alerts: tuple[Alert, ...]


def judge_manifest(
    raw: bytes, codec: Codec, known: Known, *, primary: str, now_s: int, policy: Policy = LENIENT
) -> Judged:
    """Judge a manifest.

    Args:
        raw: as it came.
        codec: its encoding.
        known: what is known of the vehicle.
        primary: who hands it in, "" where nobody says.
        now_s: our clock.
        policy: how strictly.

    Raises:
        InvalidMetadata: it cannot be understood.
        Spoofing: it is of another vehicle or Primary than it is handed in for, or by an ECU that is not the Primary.
        UnknownEcu: its Primary is not registered.
        MetadataTrustError: the Primary did not sign it.
        ReplayedReport: it was handed in before.
    """
    found = _understood(raw, codec)
    report = found.content
    if report.vin and report.vin != known.vin:
        raise Spoofing(f"a manifest of the vehicle {report.vin[:60]!r} is handed in for {known.vin}")
    if primary and primary != report.primary:
        raise Spoofing(f"{primary[:60]!r} hands in a manifest of the Primary {report.primary[:60]!r}")
    ecu = known.ecus.get(report.primary)
    if ecu is None:
        raise UnknownEcu(f"the Primary {report.primary[:60]!r} is not registered for {known.vin}")
    if not ecu.primary:
        raise Spoofing(f"{report.primary} is a Secondary and hands in the manifest of {known.vin}")
    _judge_signature(found, ecu, f"manifest of {known.vin}")
    digest = sha256(found.message).hexdigest()
    if digest in known.digests[:1]:
        return Judged(report, digest, False, (), ())
    if digest in known.digests and report.ecus:
        raise _replayed(f"manifest of {known.vin}")
    _judge_primary_report(report, codec, ecu)
    intake = _Intake(known, codec, now_s, policy)
    for serial, raws in report.ecus.items():
        for each in raws:
            intake.take(serial, each)
    intake.miss(report)
    if report.attacks:
        intake.alerts.append(Alert(report.primary, ATTACK, report.attacks))
    if policy.strict and intake.faults:
        raise intake.faults[0]
    return Judged(report, digest, True, tuple(intake.ecus.values()), tuple(intake.alerts))


def _understood(raw: bytes, codec: Codec) -> Report[VehicleReport]:
    if len(raw) > MANIFEST_MAX_BYTES:
        raise InvalidMetadata(f"the manifest has {len(raw)} bytes, more than {MANIFEST_MAX_BYTES}")
    try:
        found = codec.decode_vehicle_report(raw)
    except NotUnderstood as exc:
        raise InvalidMetadata(f"the manifest cannot be understood: {exc}") from exc
    count = sum(map(len, found.content.ecus.values()))
    if count > REPORTS_MAX:
        raise InvalidMetadata(f"the manifest holds {count} reports, more than {REPORTS_MAX}")
    return found


def _judge_signature(found: Report[VehicleReport] | Report[EcuReport], ecu: Ecu, what: str) -> None:
    judge_signatures(
        found.message,
        found.signatures,
        {ecu.key.keyid: ecu.key},
        RoleKeys((ecu.key.keyid,), 1),
        repository="",
        role=what,
    )


def _judge_primary_report(report: VehicleReport, codec: Codec, ecu: Ecu) -> None:
    """The Primary's own report makes a manifest fresh, where there is one with a counter (uptane §2.1)."""
    counters = []
    for raw in report.ecus.get(report.primary, ()):
        try:
            counters.append(codec.decode_ecu_report(raw).content.counter)
        except NotUnderstood:
            return
    newest = max((counter for counter in counters if counter is not None), default=None)
    if ecu.counter is not None and newest is not None and newest <= ecu.counter:
        raise _replayed(
            f"manifest of the Primary {ecu.serial}", f"a counter above {ecu.counter}", str(newest)
        )


class _Intake:
    """Takes the reports of one manifest in turn.

    Attributes:
        ecus: those whose state has changed, by serial.
        faults: why reports were dropped.
    """

    def __init__(self, known: Known, codec: Codec, now_s: int, policy: Policy) -> None:
        self._known = known
        self._codec = codec
        self._now_s = now_s
        self._policy = policy
        self.ecus: dict[str, Ecu] = {}
        self.alerts: list[Alert] = []
        self.faults: list[SwagentError] = []

    def take(self, serial: str, raw: bytes) -> None:
        """One report, handed in under this serial."""
        ecu = self.ecus.get(serial) or self._known.ecus.get(serial)
        if ecu is None:
            error = UnknownEcu(f"a report of {serial[:60]!r}, which is not registered for this vehicle")
            self._drop(None, STRANGER, error)
            return
        try:
            self._take(ecu, raw)
        except _Dropped as dropped:
            self._drop(ecu, dropped.kind, dropped.error)

    def _take(self, ecu: Ecu, raw: bytes) -> None:
        try:
            found = self._codec.decode_ecu_report(raw)
        except NotUnderstood as exc:
            raise _Dropped(FORMAT, InvalidMetadata(f"it cannot be understood: {exc}")) from exc
        report = found.content
        image = report.installed
        if not image.path.isprintable() or len(image.path) > PATH_MAX or len(image.hashes) > HASHES_MAX:
            raise _Dropped(FORMAT, InvalidMetadata("the image that it names has no name that can be kept"))
        if report.serial != ecu.serial:
            raise _Dropped(STRANGER, Spoofing(f"it is a report of {report.serial[:60]!r}"))
        try:
            _judge_signature(found, ecu, f"report of {ecu.serial}")
        except SwagentError as exc:
            raise _Dropped(SIGNATURE, exc) from exc
        digest = sha256(found.message).hexdigest()
        if digest == ecu.report_digest:
            return  # a Primary sends the last report of a Secondary again that is silent: no news, and no attack
        for kind, error in self._judge_freshness(ecu, report):
            raise _Dropped(kind, error)
        self.ecus[ecu.serial] = ecu._replace(
            counter=report.counter if report.counter is not None else ecu.counter,
            time_s=report.time_s,
            report=raw,
            report_digest=digest,
            report_s=self._now_s,
            installed=report.installed,
            distrust="",
        )
        if report.attacks:
            self.alerts.append(Alert(ecu.serial, ATTACK, report.attacks))

    def _judge_freshness(self, ecu: Ecu, report: EcuReport) -> Iterator[tuple[str, SwagentError]]:
        if ecu.counter is not None and (report.counter is None or report.counter <= ecu.counter):
            found = "none" if report.counter is None else str(report.counter)
            yield REPLAY, _replayed(f"report of {ecu.serial}", f"a counter above {ecu.counter}", found)
        latest_s = self._now_s + self._policy.skew_s
        if report.time_s > latest_s:
            yield TIME, _implausible(report, f"not after {write_time(latest_s)}")
        if ecu.time_s is not None and report.time_s < ecu.time_s:
            yield REPLAY, _implausible(report, f"not before {write_time(ecu.time_s)}")

    def _drop(self, ecu: Ecu | None, kind: str, error: SwagentError) -> None:
        self.faults.append(error)
        detail = ""
        if isinstance(error, UptaneError) and error.expected:
            detail = f" (expected {error.expected}, found {error.found})"
        serial = ecu.serial if ecu is not None else ""
        self.alerts.append(Alert(serial, kind, f"a report was dropped: {error.message}{detail}"))
        if ecu is not None:
            self.ecus[ecu.serial] = ecu._replace(distrust=error.message)

    def miss(self, report: VehicleReport) -> None:
        """Every ECU of the inventory should be in it; a Primary that is not, as the reference's, has signed all."""
        for serial in self._known.ecus.keys() - report.ecus.keys() - {report.primary}:
            error = UnknownEcu(f"there is no report of {serial} in the manifest")
            self.faults.append(error)
            self.alerts.append(Alert(serial, MISSING, error.message))


class _Dropped(Exception):
    """One report is not taken."""

    def __init__(self, kind: str, error: SwagentError) -> None:
        super().__init__(error.message)
        self.kind = kind
        self.error = error


def _replayed(
    what: str, expected: str = "a new one", found: str = "one that was handed in before"
) -> ReplayedReport:
    return ReplayedReport(f"the {what} is an old one", role="manifest", expected=expected, found=found)


def _implausible(report: EcuReport, expected: str) -> ReplayedReport:
    return ReplayedReport(
        f"the report of {report.serial} has an implausible time",
        role="manifest",
        expected=expected,
        found=write_time(report.time_s),
    )
