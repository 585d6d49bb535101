"""The Primary's cycle: time, metadata, images, installation, report (Standard §5.4.1, §5.4.2).

A step that fails ends the way to installation, and the report is made all the same. Nothing that fails leaves a
vehicle unable to be updated: stored metadata, images and what ECUs run stay as they were.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple, TypeVar

from swagent.errors import (
    AttestedTimeError,
    Cancelled,
    DeadlineError,
    DeviceError,
    SwagentError,
    TransportError,
    UptaneError,
)
from swagent.events import verdict_facts
from swagent.uptane.assignment import Assigned, assign, judge_agreement
from swagent.uptane.attested import NONCE_MAX
from swagent.uptane.metadata import DIRECTOR, IMAGE, TARGETS, Target, Targets
from swagent.uptane.reports import InstalledImage

from .installing import Installing
from .news import News
from .offline import DirectorRefresh
from .parts import Parts
from .refresh import Refresh
from .reporting import Reporting, timekeeper
from .vehicle import DOWNLOAD_FAILED, Ecu

R = TypeVar("R", bound=Refresh)


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
        self._news = News(parts.bus, parts.clock, parts.random)
        self._reporting = Reporting(parts, self._news)
        self._installing = Installing(parts, self._reporting)
        who = parts.identity
        parts.vehicle.identify({"vin": who.vin, "serial": who.serial, "dialect": parts.codec.name})
        parts.vehicle.add_ecu(who.serial, who.hardware_id, InstalledImage("", 0))

    # -- the whole

    def cycle(self) -> Cycle:
        """Everything once; the verdict is published.

        Raises:
            UptaneError: something did not pass; nothing was installed.
            SwagentError: something failed; the report tells.
        """
        return self._session(self._update)

    def install(self) -> Cycle:
        """Install what was fetched before, by the metadata that was verified then; the verdict is published.

        Raises:
            UptaneError: it no longer counts.
            SwagentError: something failed; the report tells.
        """
        return self._session(self._install_stored)

    def _session(self, work: Callable[[], Cycle]) -> Cycle:
        self._news.begin()
        if self._parts.outbox is not None:
            self._parts.outbox.begin()
        self._news.tell("update.started", facts={"source": "uptane", "size": None})
        failure: SwagentError | None = None
        done = Cycle("nothing-to-do", {})
        try:
            self._installing.complete_pending()
            done = work()
        except SwagentError as exc:
            failure = exc
            if isinstance(exc, UptaneError):
                self._parts.vehicle.note_attack(exc.message)
        try:
            self.report()
        except TransportError as exc:
            self._news.log(
                "warn", f"the report was not delivered, it follows with the next one: {exc.message}"
            )
        if self._parts.outbox is not None:
            self._parts.outbox.deliver()
        if self._parts.device_data is not None and self._parts.device_data.send():
            self._news.happened("SendDeviceDataComplete")
        if failure is not None:
            result = "refused" if isinstance(failure, UptaneError) else "failed"
            if isinstance(failure, Cancelled):
                result = "cancelled"
            self._news.verdict(failure.message, verdict_facts(failure, result))
            raise failure
        after = "reboot to complete it" if done.result == "pending" else ""
        self._news.verdict("", {"result": done.result, "exit_code": 0, "error": None, "next": after})
        return done

    def _update(self) -> Cycle:
        with self._news.completing("UpdateCheckComplete"):
            now_s = self.now_s()
            director = self.refresh(DIRECTOR, now_s)
            assigned = self._assigned(director)
            wanted = self._wanted(assigned)
            if not wanted and self._parts.handover is None:
                return self._tidied(Cycle("nothing-to-do", {}), assigned)
            if wanted and self._parts.vehicle.pending():
                self._news.log("info", "an installation waits for its reboot; nothing new is begun before")
                return Cycle("pending", {})
            image = self.refresh(IMAGE, now_s)
            agreed = self._agreed(wanted, image)
        if agreed and not self._parts.policy.fetch:
            for serial, target in sorted(agreed.items()):
                self._news.log("info", f"{serial}: {target.path}, {target.length_bytes} bytes")
            return Cycle("available", agreed)
        with self._news.completing("AllDownloadsComplete"):
            good = self._fetched(agreed)
        self._hand_over(director, image, assigned)
        if not wanted:
            done = Cycle("nothing-to-do", {})
        elif not self._parts.policy.install:
            done = Cycle("downloaded", good)
        else:
            done = self._install(good)
        return self._tidied(done, assigned)

    def _tidied(self, done: Cycle, assigned: Assigned) -> Cycle:
        """After a cycle that succeeded: images that no ECU runs, or shall run, are taken away."""
        vehicle = self._parts.vehicle
        names = {target.travelling.path for target in assigned.by_ecu.values()}
        names |= {ecu.installed.path for ecu in vehicle.ecus().values()}
        names |= {pending.image.path for pending in vehicle.pending().values()}
        try:
            for name in self._parts.images.keep_only(names):
                self._news.log("info", f"removed {name}, which no ECU needs any more")
        except DeviceError as exc:  # nothing depends on it
            self._news.log("warn", exc.message)
        return done

    def report(self) -> bytes:
        """Make the vehicle version manifest and hand it in; returns it.

        Raises:
            TransportError: it was not taken; everything in it stays for the next one.
        """
        return self._reporting.report()

    def manifest(self) -> bytes:
        """The vehicle version manifest that the next report would be."""
        return self._reporting.manifest()

    def _install(self, targets: Mapping[str, Target]) -> Cycle:
        with self._news.completing("AllInstallsComplete"):
            return Cycle(self._installing.install(targets), targets)

    def _install_stored(self) -> Cycle:
        now_s = self.now_s()
        wanted = self._wanted(self._assigned(self._stored(DIRECTOR, now_s)))
        if not wanted:
            return Cycle("nothing-to-do", {})
        if self._parts.vehicle.pending():
            self._news.log("info", "an installation waits for its reboot; nothing new is begun before")
            return Cycle("pending", {})
        agreed = self._agreed(wanted, self._stored(IMAGE, now_s))
        good = {serial: target for serial, target in agreed.items() if self._parts.images.has(target)}
        missing = sorted(agreed[serial].path for serial in agreed.keys() - good.keys())
        if missing and (self._parts.policy.all_or_none or not good):
            raise TransportError(
                f"not fetched yet: {', '.join(missing)}", hint="`swagent uptane download` fetches it"
            )
        return self._install(good)

    def _wanted(self, assigned: Assigned) -> dict[str, Target]:
        ecus = self._parts.vehicle.ecus()
        again = self._parts.policy.fetch_again
        return {
            serial: target
            for serial, target in assigned.by_ecu.items()
            if again or not runs(ecus[serial], target)
        }

    # -- time

    def now_s(self) -> float:
        """The verified time, asking the Time server for it.

        Raises:
            AttestedTimeError: there is none that is fresh enough.
        """
        parts = self._parts
        keeper = timekeeper(parts)
        if parts.time is not None:
            nonces = (int.from_bytes(parts.random(4)) & NONCE_MAX, *parts.vehicle.take_nonces())
            try:
                keeper.take(parts.time.ask(nonces), nonces)
            except TransportError as exc:
                self._news.log("warn", f"the Time server does not answer: {exc.message}")
            except AttestedTimeError as exc:
                self._news.log("warn", exc.message)
        return keeper.now_s()

    # -- metadata

    def refresh(self, repository: str, now_s: float) -> Refresh:
        """Bring one repository's metadata up to date.

        Raises:
            UptaneError: something does not pass.
            TransportError: something is not to be had.
        """
        if repository != DIRECTOR:
            image = self._begun(Refresh, IMAGE, now_s)
            image.run()
            return image
        director = self._begun(DirectorRefresh, DIRECTOR, now_s)
        director.run()
        director.follow_offline(lambda line: self._news.log("warn", line))
        return director

    def _begun(self, kind: type[R], repository: str, now_s: float) -> R:
        """A repository as it is stored, to be brought up to date."""
        parts = self._parts
        source = parts.director if repository == DIRECTOR else parts.image

        def fetch(repository: str, name: str, max_bytes: int) -> bytes | None:
            parts.checkpoint()
            self._news.log("debug", f"fetching {name} of the {repository} repository")
            return source.metadata(name, max_bytes)

        return kind(repository, parts.codec, parts.rules, fetch, parts.metadata, now_s=now_s)

    def _stored(self, repository: str, now_s: float) -> Refresh:
        """One repository's metadata as it was verified last."""
        parts = self._parts

        def nothing(repository: str, name: str, max_bytes: int) -> bytes | None:
            return None

        refresh = Refresh(repository, parts.codec, parts.rules, nothing, parts.metadata, now_s=now_s)
        refresh.stored()
        return refresh

    def _assigned(self, director: Refresh) -> Assigned:
        parts = self._parts
        body = director.repository.targets[TARGETS].body
        if not isinstance(body, Targets):
            raise TypeError("targets are no targets")
        ecus = {serial: ecu.hardware_id for serial, ecu in parts.vehicle.ecus().items()}
        assigned = assign(body, ecus, vin=parts.identity.vin, rules=parts.rules)
        for serial in assigned.skipped:
            self._news.log(
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
                self._reporting.failed(serial, target, DOWNLOAD_FAILED, exc)
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
                self._fetch(serial, target)
            except SwagentError as exc:
                failure = failure or exc
                self._reporting.failed(serial, target, DOWNLOAD_FAILED, exc)
                withheld = isinstance(exc, UptaneError | TransportError | DeadlineError)
                if self._parts.policy.all_or_none or not withheld:
                    raise
                continue
            there[serial] = target
        if failure is not None and not there:
            raise failure
        if isinstance(failure, UptaneError):
            self._parts.vehicle.note_attack(failure.message)
        return there

    def _fetch(self, serial: str, target: Target) -> None:
        parts = self._parts
        if self._installing.passes(target) or (parts.images.has(target) and not parts.policy.fetch_again):
            return
        self._reporting.step("EcuDownloadStarted", serial, target.path)
        try:
            self._download(target)
        except SwagentError:
            self._reporting.step("EcuDownloadCompleted", serial, target.path, success=False)
            raise
        self._reporting.step("EcuDownloadCompleted", serial, target.path, success=True)

    def _download(self, target: Target) -> None:
        parts = self._parts
        form = target.travelling
        self._news.tell("artifact.started", form.path, form.length_bytes)
        done = 0

        def progress(n_bytes: int) -> None:
            nonlocal done
            done += n_bytes
            parts.checkpoint()
            self._news.tell("artifact.progress", form.path, form.length_bytes, done)

        begun_s = parts.clock.monotonic_s()
        try:
            parts.images.fetch(form, self._installing.mirrors(target), progress)
        except SwagentError as exc:
            self._news.tell("artifact.failed", form.path, form.length_bytes, done, message=exc.message)
            raise
        seconds = round(parts.clock.monotonic_s() - begun_s, 3)
        self._news.tell("artifact.done", form.path, form.length_bytes, done, facts={"seconds": seconds})

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


def runs(ecu: Ecu, target: Target) -> bool:
    """Whether an ECU runs an image already."""
    return (
        ecu.installed.path == target.path
        and ecu.installed.length_bytes == target.length_bytes
        and dict(ecu.installed.hashes) == dict(target.hashes)
    )
