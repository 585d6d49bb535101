"""The vehicle version manifest: what every ECU runs, what was noticed, how installations ended (Standard §5.4.2.1)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from swagent.errors import Cancelled, LocallyAborted, SwagentError, UptaneError
from swagent.uptane.metadata import Target
from swagent.uptane.reports import UNKNOWN_IMAGE, EcuReport, InstalledImage, VehicleReport

from .news import News
from .parts import Parts
from .sources import DirectorService, Unregistered
from .timekeeping import TimeKeeper
from .vehicle import (
    CANCELLED,
    DOWNLOAD_FAILED,
    INSTALL_FAILED,
    NEEDS_COMPLETION,
    OK,
    VERIFICATION_FAILED,
    Result,
)

REPORTS_MAX_BYTES = 512 * 1024
"""Of all ECUs in one manifest, which XML-RPC makes some times as long; a Director takes some MiB."""


class Reporting:
    """Keeps results until they are reported, and reports.

    Args:
        parts: the Primary's.
        news: hears of it.
    """

    def __init__(self, parts: Parts, news: News) -> None:
        self._parts = parts
        self._news = news

    def report(self) -> bytes:
        """Make the vehicle version manifest and hand it in; what it holds is forgotten once it was taken.

        Returns:
            The manifest.

        Raises:
            TransportError: it was not taken; everything in it stays for the next one.
        """
        parts = self._parts
        waiting = self._waiting()
        raw = self._manifest(waiting, parts.vehicle.next_counter())
        if parts.service is None:
            return raw
        if parts.vehicle.pending():
            self._news.log("info", "the report is held back until the reboot completes what was installed")
            return raw
        with self._news.completing("PutManifestComplete"):
            self._submit(parts.service, raw)
        parts.vehicle.forget_attacks(waiting.last_attack)
        parts.vehicle.forget_reports(waiting.last_report)
        parts.vehicle.told_results(waiting.last_result)
        self._news.log("info", "the report was delivered")
        return raw

    def _submit(self, service: DirectorService, raw: bytes) -> None:
        who, key = self._parts.identity, self._parts.signer.key
        try:
            service.submit(who.vin, who.serial, raw)
        except Unregistered:
            self._news.log("info", "the Director does not know this Primary yet: it is told")
            service.register(who.vin, who.serial, who.hardware_id, key, primary=True)
            service.submit(who.vin, who.serial, raw)

    def manifest(self) -> bytes:
        """A signed vehicle version manifest, the Primary's own report in it; nothing is forgotten."""
        return self._manifest(self._waiting(), self._parts.vehicle.next_counter())

    def _waiting(self) -> "_Waiting":
        vehicle = self._parts.vehicle
        return _Waiting(*vehicle.attacks(), *vehicle.reports(), *vehicle.results(untold=True))

    def _manifest(self, waiting: "_Waiting", counter: int) -> bytes:
        parts = self._parts
        who = parts.identity
        attacks, results = waiting.attacks, waiting.results
        if parts.codec.name in ("ak", "tuf1"):
            hardware = {serial: ecu.hardware_id for serial, ecu in parts.vehicle.ecus().items()}
            installation = _installation(results, hardware) if results else None
        else:  # these have no other place for it
            installation = None
            failed = [result.message for result in results if result.code not in (OK, CANCELLED)]
            attacks = "\n".join(dict.fromkeys([*attacks.splitlines(), *failed]))
        known = timekeeper(parts).attested
        own = parts.vehicle.ecus()[who.serial]
        report = EcuReport(
            who.serial,
            own.installed if own.installed.path else UNKNOWN_IMAGE,
            known.time_s,
            known.previous_s,
            attacks,
            counter,
        )
        mine = parts.codec.encode_ecu_report(report, parts.signer)
        ecus = {**_newest(waiting.reports), who.serial: (mine,)}
        if parts.codec.name == "ak":  # one of each, the newest
            ecus = {serial: found[-1:] for serial, found in ecus.items()}
        vehicle = VehicleReport(who.vin, who.serial, ecus, "", installation)
        return parts.codec.encode_vehicle_report(vehicle, parts.signer)

    # -- steps

    def step(
        self,
        kind: str,
        serial: str,
        path: str,
        *,
        success: bool | None = None,
        correlation: str | None = None,
    ) -> None:
        """One step of one ECU's update: for the back end, and for whoever listens.

        Args:
            kind: a type of event, such as ``EcuDownloadStarted``.
            serial: of the ECU.
            path: of its image.
            success: of a step that is completed.
            correlation: of an update that is not the present one.
        """
        if kind in _INTERNAL:
            self._news.happened(_INTERNAL[kind], ecu=serial, artifact=path, success=success is not False)
        if self._parts.outbox is not None:
            if correlation is None:
                correlation = self._parts.vehicle.fact("correlation") or ""
            self._parts.outbox.put(kind, ecu=serial, correlation=correlation, success=success)
            if kind.endswith("Started"):  # what follows may take long
                self._parts.outbox.deliver()

    # -- results

    def succeeded(self, serial: str, image: InstalledImage, correlation: str) -> None:
        """An ECU runs its image."""
        self.step("EcuInstallationCompleted", serial, image.path, success=True, correlation=correlation)
        now_s = int(self._parts.clock.now_s())
        self._parts.vehicle.keep_result(Result(now_s, serial, image.path, OK, "", correlation))

    def failed(self, serial: str, target: Target, code: int, exc: SwagentError) -> None:
        """An ECU does not get its image.

        Args:
            serial: of the ECU.
            target: the image.
            code: of the step that failed, for what is neither a refusal nor an abort.
            exc: why; of a process that ends nothing is told, as the next one goes on.
        """
        if isinstance(exc, UptaneError):
            code = VERIFICATION_FAILED
        elif isinstance(exc, LocallyAborted):
            code = CANCELLED
        elif isinstance(exc, Cancelled):
            return
        correlation = self._parts.vehicle.fact("correlation") or ""
        self.gave_up(serial, target.path, code, exc.message[:512], correlation)

    def gave_up(self, serial: str, path: str, code: int, message: str, correlation: str) -> None:
        """An installation came to nothing."""
        now_s = int(self._parts.clock.now_s())
        self._parts.vehicle.keep_result(Result(now_s, serial, path, code, message, correlation))


class _Waiting(NamedTuple):
    """What the next report tells, and the number of the last of each."""

    last_attack: int
    attacks: str
    last_report: int
    reports: Mapping[str, tuple[bytes, ...]]
    last_result: int
    results: tuple[Result, ...]


_INTERNAL = {
    "EcuDownloadCompleted": "DownloadTargetComplete",
    "EcuInstallationStarted": "InstallStarted",
    "EcuInstallationApplied": "InstallTargetComplete",
    "EcuInstallationCompleted": "InstallTargetComplete",
}
"""What aktualizr calls the same for those who listen on the spot."""
_WORDS = {
    OK: "OK",
    1: "ALREADY_PROCESSED",
    VERIFICATION_FAILED: "VERIFICATION_FAILED",
    INSTALL_FAILED: "INSTALL_FAILED",
    DOWNLOAD_FAILED: "DOWNLOAD_FAILED",
    18: "INTERNAL_ERROR",
    19: "GENERAL_ERROR",
    NEEDS_COMPLETION: "NEED_COMPLETION",
    22: "CUSTOM_ERROR",
    CANCELLED: "OPERATION_CANCELLED",
}
"""Result codes in aktualizr's installation reports."""


def timekeeper(parts: Parts) -> TimeKeeper:
    """The verified time of a Primary."""
    return TimeKeeper(
        parts.vehicle,
        parts.codec,
        parts.time_key,
        parts.clock,
        boot_id=parts.boot_id,
        fresh_s=parts.policy.time_fresh_s,
        system_time=parts.policy.system_time,
    )


def _newest(reports: Mapping[str, tuple[bytes, ...]]) -> dict[str, tuple[bytes, ...]]:
    """As many as one manifest can hold, of each ECU the newest: one that says much must not silence the vehicle."""
    left = REPORTS_MAX_BYTES
    kept: dict[str, tuple[bytes, ...]] = {}
    for age in range(1, max(map(len, reports.values()), default=0) + 1):
        for serial, found in reports.items():
            if age <= len(found) and len(found[-age]) <= left:
                left -= len(found[-age])
                kept[serial] = (found[-age], *kept.get(serial, ()))
    return kept


def _installation(results: Sequence[Result], hardware: Mapping[str, str]) -> Mapping[str, object]:
    """Aktualizr's installation report (uptane §2.2): of each ECU, and of the vehicle, where the failures are joined."""
    failed = [result for result in results if result.code != OK]
    joined = "|".join(
        f"{hardware.get(result.serial) or result.serial}:{_word(result.code)}" for result in failed
    )
    return {
        "content_type": "application/vnd.com.here.otac.installationReport.v1",
        "report": {
            "correlation_id": results[0].correlation_id,
            "raw_report": "; ".join(result.message for result in failed),
            "result": _said(joined or _WORDS[OK], failed[0].message if failed else ""),
            "items": [
                {"ecu": result.serial, "result": _said(_word(result.code), result.message)}
                for result in results
            ],
        },
    }


def _word(code: int) -> str:
    return _WORDS.get(code, "UNKNOWN")


def _said(code: str, description: str) -> Mapping[str, object]:
    return {"code": code, "description": description, "success": code == _WORDS[OK]}
