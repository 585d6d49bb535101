"""The Primary's cycle: time, metadata, images, installation, report (Standard §5.4.1, §5.4.2).

A step that fails ends the way to installation, and the report is made all the same. Nothing that fails leaves a
vehicle unable to be updated: stored metadata, images and what ECUs run stay as they were.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from swagent.clock import Clock
from swagent.errors import AttestedTimeError, SwagentError, TransportError, UptaneError
from swagent.events import Event, EventBus, verdict_facts
from swagent.model import EcuInstaller, InstallRequest
from swagent.net import Folder
from swagent.uptane.assignment import Assigned, assign, judge_agreement
from swagent.uptane.attested import NONCE_MAX
from swagent.uptane.codecs.base import Codec
from swagent.uptane.metadata import DIRECTOR, IMAGE, TARGETS, Key, Target, Targets
from swagent.uptane.reports import UNKNOWN_IMAGE, EcuReport, InstalledImage, VehicleReport
from swagent.uptane.rules import Rules
from swagent.uptane.signing import Signer

from .desk import HandOver
from .encrypted import opened
from .files import FileStore
from .images import ImageStore
from .refresh import Refresh
from .sources import DirectorService, RepositorySource, TimeSource, Unregistered
from .timekeeping import TimeKeeper
from .vehicle import (
    DOWNLOAD_FAILED,
    INSTALL_FAILED,
    NEEDS_COMPLETION,
    OK,
    VERIFICATION_FAILED,
    Ecu,
    Pending,
    Result,
    Vehicle,
)

if TYPE_CHECKING:
    from swagent.crypto.imagekey import ImageKey


class Identity(NamedTuple):
    """Who the Primary is."""

    vin: str
    serial: str
    hardware_id: str


class Policy(NamedTuple):
    """Decisions of whoever runs the Primary.

    Attributes:
        time_fresh_s: how old an attestation may be.
        system_time: whether the system's clock may stand in for an attested one.
        fetch: whether images are fetched; without, what would be fetched is told.
        install: whether verified images are installed, where an ECU has an installer.
        all_or_none: whether nothing is installed when one image of the bundle does not pass.
    """

    time_fresh_s: float = 24 * 3600.0
    system_time: bool = False
    fetch: bool = True
    install: bool = True
    all_or_none: bool = True


class Parts(NamedTuple):
    """What a Primary works with; ``app`` puts them together.

    Attributes:
        time_key: the Time server's, None where there is none.
        installers: serial to what puts images onto that ECU.
        boot_id: names the present boot.
        paused: called between steps and pieces; may raise to stop.
        handover: where verified metadata is put for Secondaries, None where there are none.
        image_keys: serial to what opens images that were encrypted for that ECU.
    """

    identity: Identity
    codec: Codec
    rules: Rules
    director: RepositorySource
    image: RepositorySource
    metadata: FileStore
    vehicle: Vehicle
    images: ImageStore
    signer: Signer
    clock: Clock
    bus: EventBus
    policy: Policy = Policy()
    time: TimeSource | None = None
    time_key: Key | None = None
    service: DirectorService | None = None
    installers: Mapping[str, EcuInstaller] = {}
    boot_id: str = ""
    paused: Callable[[], None] = lambda: None
    handover: HandOver | None = None
    image_keys: "Mapping[str, ImageKey]" = MappingProxyType({})
    random: Callable[[int], bytes] = os.urandom


class Cycle(NamedTuple):
    """What a cycle came to.

    Attributes:
        result: ``installed``, ``pending`` (a reboot completes it), ``downloaded``, ``available`` (nothing was
            fetched, as policy wants it) or ``nothing-to-do``.
        targets: serial to the verified image for it.
    """

    result: str
    targets: Mapping[str, Target]


class Primary:
    """One vehicle's Primary.

    Args:
        parts: what it works with.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._begin()
        who = parts.identity
        parts.vehicle.identify({"vin": who.vin, "serial": who.serial, "dialect": parts.codec.name})
        parts.vehicle.add_ecu(who.serial, who.hardware_id, InstalledImage("", 0))

    def _begin(self) -> None:
        self._session = self._parts.random(6).hex()
        self._started_s = self._parts.clock.monotonic_s()

    # -- the whole

    def cycle(self) -> Cycle:
        """Everything once; the verdict is published.

        Raises:
            UptaneError: something did not pass; nothing was installed.
            SwagentError: something failed; the report tells.
        """
        self._begin()
        self._tell("update.started", facts={"source": "uptane", "size": None})
        failure: SwagentError | None = None
        done = Cycle("nothing-to-do", {})
        try:
            self.complete_pending()
            done = self._update()
        except SwagentError as exc:
            failure = exc
            if isinstance(exc, UptaneError):
                self._parts.vehicle.note_attack(exc.message)
        try:
            self.report()
        except TransportError as exc:
            self._log("warn", f"the report was not delivered, it follows with the next one: {exc.message}")
        if failure is not None:
            result = "refused" if isinstance(failure, UptaneError) else "failed"
            self._verdict(failure.message, verdict_facts(failure, result))
            raise failure
        after = "reboot to complete it" if done.result == "pending" else ""
        self._verdict("", {"result": done.result, "exit_code": 0, "error": None, "next": after})
        return done

    def _update(self) -> Cycle:
        now_s = self.now_s()
        director = self.refresh(DIRECTOR, now_s)
        assigned = self._assigned(director)
        wanted = {
            serial: target
            for serial, target in assigned.by_ecu.items()
            if not _runs(self._parts.vehicle.ecus()[serial], target)
        }
        if not wanted and self._parts.handover is None:
            return Cycle("nothing-to-do", {})
        if wanted and self._parts.vehicle.pending():
            self._log("info", "an installation waits for its reboot; nothing new is begun before")
            return Cycle("pending", {})
        image = self.refresh(IMAGE, now_s)
        agreed = self._agreed(wanted, image)
        if agreed and not self._parts.policy.fetch:
            for serial, target in sorted(agreed.items()):
                self._log("info", f"{serial}: {target.path}, {target.length_bytes} bytes")
            return Cycle("available", agreed)
        good = self._fetched(agreed)
        self._hand_over(director, image, assigned)
        if not wanted:
            return Cycle("nothing-to-do", {})
        if not self._parts.policy.install or not any(serial in self._parts.installers for serial in good):
            return Cycle("downloaded", good)
        return Cycle(self._install(good, director), good)

    # -- time

    def now_s(self) -> float:
        """The verified time, asking the Time server for it.

        Raises:
            AttestedTimeError: there is none that is fresh enough.
        """
        parts = self._parts
        keeper = self._timekeeper()
        if parts.time is not None:
            nonces = (int.from_bytes(parts.random(4)) & NONCE_MAX, *parts.vehicle.take_nonces())
            try:
                keeper.take(parts.time.ask(nonces), nonces)
            except TransportError as exc:
                self._log("warn", f"the Time server does not answer: {exc.message}")
            except AttestedTimeError as exc:
                self._log("warn", exc.message)
        return keeper.now_s()

    def _timekeeper(self) -> TimeKeeper:
        parts = self._parts
        return TimeKeeper(
            parts.vehicle,
            parts.codec,
            parts.time_key,
            parts.clock,
            boot_id=parts.boot_id,
            fresh_s=parts.policy.time_fresh_s,
            system_time=parts.policy.system_time,
        )

    # -- metadata

    def refresh(self, repository: str, now_s: float) -> Refresh:
        """Bring one repository's metadata up to date.

        Raises:
            UptaneError: something does not pass.
            TransportError: something is not to be had.
        """
        parts = self._parts
        source = parts.director if repository == DIRECTOR else parts.image

        def fetch(repository: str, name: str, max_bytes: int) -> bytes | None:
            parts.paused()
            self._log("debug", f"fetching {name} of the {repository} repository")
            return source.metadata(name, max_bytes)

        refresh = Refresh(repository, parts.codec, parts.rules, fetch, parts.metadata, now_s=now_s)
        refresh.run()
        return refresh

    def _assigned(self, director: Refresh) -> Assigned:
        parts = self._parts
        body = director.repository.targets[TARGETS].body
        if not isinstance(body, Targets):
            raise TypeError("targets are no targets")
        ecus = {serial: ecu.hardware_id for serial, ecu in parts.vehicle.ecus().items()}
        assigned = assign(body, ecus, vin=parts.identity.vin, rules=parts.rules)
        for serial in assigned.skipped:
            self._log(
                "warn", f"the Director has a target for the ECU {serial[:60]}, which is not in this vehicle"
            )
        parts.vehicle.keep_fact("correlation", body.correlation_id)
        return assigned

    def _agreed(self, wanted: Mapping[str, Target], image: Refresh) -> dict[str, Target]:
        """Those of which the Image repository says the same; what it says otherwise is reported."""
        good: dict[str, Target] = {}
        failure: UptaneError | None = None
        ecus = self._parts.vehicle.ecus()
        for serial, target in wanted.items():
            ecu = ecus[serial]
            before = Target(ecu.installed.path, 0, {}, release_counter=ecu.release_counter)
            try:
                found = image.find(target.path, ecu.hardware_id)
                judge_agreement(
                    target, found, rules=self._parts.rules, hardware_id=ecu.hardware_id, previous=before
                )
            except UptaneError as exc:
                failure = failure or exc
                self._failed(serial, target, VERIFICATION_FAILED, exc)
                continue
            good[serial] = target
        if failure is not None and (self._parts.policy.all_or_none or not good):
            raise failure
        if failure is not None:
            self._parts.vehicle.note_attack(failure.message)
        return good

    # -- images

    def _fetched(self, targets: Mapping[str, Target]) -> dict[str, Target]:
        """Those whose images are there, fetched where they were not; what is withheld is reported."""
        there: dict[str, Target] = {}
        failure: SwagentError | None = None
        for serial, target in targets.items():
            try:
                self._fetch(target)
            except SwagentError as exc:
                failure = failure or exc
                code = VERIFICATION_FAILED if isinstance(exc, UptaneError) else DOWNLOAD_FAILED
                self._failed(serial, target, code, exc)
                if self._parts.policy.all_or_none or not isinstance(exc, UptaneError | TransportError):
                    raise
                continue
            there[serial] = target
        if failure is not None and not there:
            raise failure
        if isinstance(failure, UptaneError):
            self._parts.vehicle.note_attack(failure.message)
        return there

    def _fetch(self, target: Target) -> None:
        parts = self._parts
        if parts.images.has(target):
            return
        form = target.travelling
        self._tell("artifact.started", form.path, form.length_bytes)
        done = 0

        def progress(n_bytes: int) -> None:
            nonlocal done
            done += n_bytes
            parts.paused()
            self._tell("artifact.progress", form.path, form.length_bytes, done)

        begun_s = parts.clock.monotonic_s()
        try:
            parts.images.fetch(form, self._mirrors(target, form), progress)
        except SwagentError as exc:
            self._tell("artifact.failed", form.path, form.length_bytes, done, message=exc.message)
            raise
        seconds = round(parts.clock.monotonic_s() - begun_s, 3)
        self._tell("artifact.done", form.path, form.length_bytes, done, facts={"seconds": seconds})

    def _mirrors(self, target: Target, form: Target) -> Sequence[tuple[Folder, str]]:
        parts = self._parts
        mirrors = [*parts.director.images(form), *parts.image.images(form)]
        if target.uri and target.uri != "https://example.com/":
            from swagent.net import open_folder

            from .sources import OPTIONS

            base, _, name = target.uri.rpartition("/")
            mirrors.insert(0, (open_folder(base, OPTIONS, parts.clock), name))
        return mirrors

    def _hand_over(self, director: Refresh, image: Refresh, assigned: Assigned) -> None:
        """Put what was verified where Secondaries are served from, with every delegated file that they will ask for."""
        parts = self._parts
        if parts.handover is None:
            return
        ecus = parts.vehicle.ecus()
        for serial, target in assigned.by_ecu.items():
            # of an image that an ECU runs already nothing depends on the answer: only what was found is handed on
            with suppress(UptaneError, TransportError):
                image.find(target.path, ecus[serial].hardware_id)
        parts.handover.give({DIRECTOR: director.files(), IMAGE: image.files()})

    # -- installing

    def _install(self, targets: Mapping[str, Target], director: Refresh) -> str:
        """Hand images to their ECUs; returns ``installed`` or ``pending``."""
        parts = self._parts
        result = "installed"
        for serial, target in targets.items():
            installer = parts.installers.get(serial)
            if installer is None:
                continue
            correlation = parts.vehicle.fact("correlation") or ""
            image = InstalledImage(target.path, target.length_bytes, target.hashes)
            try:
                with parts.images.reader(target) as source:
                    plain = opened(source, target, parts.image_keys.get(serial))
                    request = InstallRequest(
                        target.path, plain, target.length_bytes, target.hashes, "uptane", correlation
                    )
                    # before it begins: after a cut the installer's own journal tells what became of it
                    parts.vehicle.keep_pending(
                        Pending(serial, image, target.release_counter, correlation, parts.boot_id)
                    )
                    outcome = installer.install(request)
            except SwagentError as exc:
                parts.vehicle.drop_pending(serial)
                self._failed(serial, target, INSTALL_FAILED, exc)
                raise
            if outcome.code == NEEDS_COMPLETION:
                result = "pending"
            else:
                parts.vehicle.installed(serial, image, target.release_counter)
                self._succeeded(serial, image, correlation)
        return result

    def complete_pending(self) -> None:
        """After a reboot: what became of what waited for it."""
        parts = self._parts
        for serial, pending in parts.vehicle.pending().items():
            installer = parts.installers.get(serial)
            done = installer.completed() if installer is not None else None
            if done is None:
                continue
            if done:
                parts.vehicle.installed(serial, pending.image, pending.release_counter)
                self._succeeded(serial, pending.image, pending.correlation_id)
            else:
                parts.vehicle.drop_pending(serial)
                parts.vehicle.keep_result(
                    Result(
                        int(parts.clock.now_s()),
                        serial,
                        pending.image.path,
                        INSTALL_FAILED,
                        "it did not prove good after its reboot",
                        pending.correlation_id,
                    )
                )

    # -- reports

    def report(self) -> None:
        """Make the vehicle version manifest and hand it in; what it holds is forgotten once it was taken.

        Raises:
            TransportError: it was not taken; everything in it stays for the next one.
        """
        parts = self._parts
        last_attack, attacks = parts.vehicle.attacks()
        last_report, reports = parts.vehicle.reports()
        last_result, results = parts.vehicle.results(untold=True)
        raw = self.manifest(attacks=attacks, reports=reports, results=results)
        if parts.service is None:
            return
        if parts.vehicle.pending():
            self._log("info", "the report is held back until the reboot completes what was installed")
            return
        who = parts.identity
        try:
            parts.service.submit(who.vin, who.serial, raw)
        except Unregistered:
            self._log("info", "the Director does not know this Primary yet: it is told")
            parts.service.register(who.vin, who.serial, who.hardware_id, parts.signer.key, primary=True)
            parts.service.submit(who.vin, who.serial, raw)
        parts.vehicle.forget_attacks(last_attack)
        parts.vehicle.forget_reports(last_report)
        parts.vehicle.told_results(last_result)
        self._log("info", "the report was delivered")

    def manifest(
        self,
        *,
        attacks: str = "",
        reports: Mapping[str, tuple[bytes, ...]] | None = None,
        results: Sequence[Result] = (),
    ) -> bytes:
        """A signed vehicle version manifest, the Primary's own report in it."""
        parts = self._parts
        who = parts.identity
        if parts.codec.name in ("ak", "tuf1"):
            installation = _installation(results) if results else None
        else:  # these have no other place for it
            installation = None
            failed = [result.message for result in results if result.code != OK]
            attacks = "\n".join(dict.fromkeys([*attacks.splitlines(), *failed]))
        known = self._timekeeper().attested
        own = parts.vehicle.ecus()[who.serial]
        report = EcuReport(
            who.serial,
            own.installed if own.installed.path else UNKNOWN_IMAGE,
            known.time_s,
            known.previous_s,
            attacks,
            parts.vehicle.next_counter(),
        )
        mine = parts.codec.encode_ecu_report(report, parts.signer)
        ecus = {**(reports or {}), who.serial: (mine,)}
        if parts.codec.name == "ak":  # one of each, the newest
            ecus = {serial: found[-1:] for serial, found in ecus.items()}
        vehicle = VehicleReport(who.vin, who.serial, ecus, "", installation)
        return parts.codec.encode_vehicle_report(vehicle, parts.signer)

    def _succeeded(self, serial: str, image: InstalledImage, correlation: str) -> None:
        now_s = int(self._parts.clock.now_s())
        self._parts.vehicle.keep_result(Result(now_s, serial, image.path, OK, "", correlation))

    def _failed(self, serial: str, target: Target, code: int, exc: SwagentError) -> None:
        correlation = self._parts.vehicle.fact("correlation") or ""
        now_s = int(self._parts.clock.now_s())
        self._parts.vehicle.keep_result(
            Result(now_s, serial, target.path, code, exc.message[:512], correlation)
        )

    # -- news

    def _tell(
        self,
        event: str,
        artifact: str = "",
        total_bytes: int | None = None,
        done_bytes: int = 0,
        *,
        message: str = "",
        facts: Mapping[str, object] | None = None,
    ) -> None:
        self._parts.bus.publish(
            Event(
                event,
                time_s=self._parts.clock.now_s(),
                session=self._session,
                artifact=artifact,
                done_bytes=done_bytes,
                total_bytes=total_bytes,
                message=message,
                facts=facts or {},
            )
        )

    def _log(self, level: str, message: str) -> None:
        self._tell("log", message=message, facts={"level": level})

    def _verdict(self, message: str, facts: Mapping[str, object]) -> None:
        seconds = round(self._parts.clock.monotonic_s() - self._started_s, 3)
        self._tell("update.verdict", message=message, facts={**facts, "seconds": seconds})


def _runs(ecu: Ecu, target: Target) -> bool:
    """Whether an ECU runs an image already."""
    return (
        ecu.installed.path == target.path
        and ecu.installed.length_bytes == target.length_bytes
        and dict(ecu.installed.hashes) == dict(target.hashes)
    )


def _installation(results: Sequence[Result]) -> Mapping[str, object]:
    """Aktualizr's installation report (uptane §2.2)."""
    newest = results[0]
    failed = [result for result in results if result.code != OK]
    return {
        "content_type": "application/vnd.com.here.otac.installationReport.v1",
        "report": {
            "correlation_id": newest.correlation_id,
            "raw_report": "; ".join(result.message for result in failed),
            "result": {
                "code": str(failed[0].code if failed else OK),
                "description": failed[0].message if failed else "",
                "success": not failed,
            },
            "items": [
                {
                    "ecu": result.serial,
                    "result": {
                        "code": str(result.code),
                        "description": result.message,
                        "success": result.code == OK,
                    },
                }
                for result in results
            ],
        },
    }
