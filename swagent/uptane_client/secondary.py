"""A Secondary's cycle: it gets time, metadata and its image from the Primary, and believes none of it (§5.4.4).

A full Secondary verifies what its Primary does; a partial one the Director's targets alone. However the cycle ends, a
report follows.
"""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import quote

from swagent.clock import Clock
from swagent.errors import AttestedTimeError, SwagentError, TransportError, UptaneError
from swagent.events import Event, EventBus
from swagent.model import EcuInstaller, InstallRequest, Reader
from swagent.uptane import partial
from swagent.uptane.assignment import assign, judge_agreement
from swagent.uptane.attested import NONCE_MAX
from swagent.uptane.codecs.base import Codec
from swagent.uptane.errors import TargetHashMismatch
from swagent.uptane.images import JudgedImage
from swagent.uptane.metadata import DIRECTOR, IMAGE, ROOT, TARGETS, Key, RoleKeys, Target, Targets
from swagent.uptane.reports import EcuReport, InstalledImage
from swagent.uptane.rules import Rules
from swagent.uptane.signing import Signer

from .bundle import unpack
from .encrypted import opened
from .files import FileStore
from .refresh import Refresh
from .timekeeping import TimeKeeper
from .vehicle import NEEDS_COMPLETION, Pending, Vehicle

if TYPE_CHECKING:
    from swagent.crypto.imagekey import ImageKey

NO_UPDATE, NOT_NEEDED, UPDATED, PENDING = "no-update", "no-update-needed", "updated", "pending"


class PrimaryLink(Protocol):
    """The way to the Primary. All methods raise TransportError when it cannot be asked."""

    def register(self) -> None:
        """Say who we are; again is fine."""
        ...

    def attestation(self) -> bytes | None:
        """The newest time attestation; None before the first."""
        ...

    def metadata(self, *, partial: bool) -> bytes:
        """The archive of all metadata, or the Director's targets alone."""
        ...

    def update_exists(self) -> bool:
        """Whether there is an image for us."""
        ...

    def image(self) -> tuple[str, Reader] | None:
        """The name and the bytes of our image, None when there is none."""
        ...

    def submit(self, nonce: int, raw: bytes) -> None:
        """Hand in our report, and the nonce that the next attestation shall answer."""
        ...


class Parts(NamedTuple):
    """What a Secondary works with.

    Attributes:
        metadata: where verified metadata is kept.
        memory: its ECUs are this one alone.
        director_keys: of a partial Secondary: the Director's targets keys; None makes it a full one.
        boot_id: names the present boot.
        image_key: opens images that were encrypted for this ECU.
        installer: puts images onto this ECU; it reads them to their end before it changes anything.
    """

    vin: str
    serial: str
    hardware_id: str
    codec: Codec
    rules: Rules
    link: PrimaryLink
    metadata: FileStore
    memory: Vehicle
    signer: Signer
    installer: EcuInstaller
    clock: Clock
    bus: EventBus
    time_key: Key | None = None
    time_fresh_s: float = 24 * 3600.0
    boot_id: str = ""
    director_keys: tuple[Mapping[str, Key], RoleKeys] | None = None
    log: Callable[[str, str], None] = lambda level, message: None
    image_key: "ImageKey | None" = None
    random: Callable[[int], bytes] = os.urandom


class Secondary:
    """One Secondary.

    Args:
        parts: what it works with.
        factory: what it runs before its first update.
    """

    def __init__(self, parts: Parts, factory: InstalledImage) -> None:
        self._parts = parts
        self.serial = parts.serial
        self._session = parts.random(6).hex()
        parts.memory.identify({"vin": parts.vin, "serial": parts.serial, "dialect": parts.codec.name})
        parts.memory.add_ecu(parts.serial, parts.hardware_id, factory)
        self._time = TimeKeeper(
            parts.memory,
            parts.codec,
            parts.time_key,
            parts.clock,
            boot_id=parts.boot_id,
            fresh_s=parts.time_fresh_s,
        )

    def cycle(self) -> str:
        """Everything once; returns ``no-update``, ``no-update-needed``, ``updated`` or ``pending`` (for a reboot).

        Raises:
            UptaneError: something did not pass; what runs is as it was.
            SwagentError: something failed; the report tells.
        """
        failure: SwagentError | None = None
        result = NO_UPDATE
        try:
            self.complete_pending()
            result = self._update()
        except UptaneError as exc:
            self._parts.memory.note_attack(exc.message)
            failure = exc
        except SwagentError as exc:
            failure = exc
        try:
            self.report()
        except TransportError as exc:
            self._parts.log("warn", f"the report was not delivered: {exc.message}")
        if failure is not None:
            raise failure
        return result

    def _update(self) -> str:
        parts = self._parts
        now_s = self.now_s()
        target = self._verified_partially(now_s) if parts.director_keys else self._verified_fully(now_s)
        if target is None:
            return NO_UPDATE
        ecu = parts.memory.ecus()[parts.serial]
        if ecu.installed.path == target.path and dict(ecu.installed.hashes) == dict(target.hashes):
            return NOT_NEEDED
        if parts.memory.pending():
            return PENDING
        if not parts.link.update_exists():
            return NO_UPDATE
        return self._install(target)

    # -- time

    def now_s(self) -> float:
        """The verified time; what the Primary hands on answers our own nonce, or changes nothing.

        Raises:
            AttestedTimeError: there is none that is fresh enough.
        """
        parts = self._parts
        nonce = parts.memory.fact("nonce_sent")
        if self._time.wants_attestation and nonce is not None:
            raw = parts.link.attestation()
            if raw:
                try:
                    self._time.take(raw, (nonce,))
                except AttestedTimeError as exc:
                    parts.log("warn", exc.message)  # the old time goes on, as long as it is fresh
                else:
                    parts.memory.keep_fact("nonce", None)
        return self._time.now_s()

    # -- metadata

    def _verified_fully(self, now_s: float) -> Target | None:
        parts = self._parts
        raw = parts.link.metadata(partial=False)
        files = unpack(raw, parts.codec.extension, parts.rules.caps)

        def fetch(repository: str, name: str, max_bytes: int) -> bytes | None:
            found = files[repository]
            return found.get(quote(name, safe=""), found.get(_unversioned(name)))

        refreshes = {}
        for repository in (DIRECTOR, IMAGE):
            refresh = Refresh(repository, parts.codec, parts.rules, fetch, parts.metadata, now_s=now_s)
            refresh.run()
            refreshes[repository] = refresh
        body = refreshes[DIRECTOR].repository.targets[TARGETS].body
        if not isinstance(body, Targets):
            raise TypeError("targets are no targets")
        ours = parts.rules._replace(unknown_ecu_skipped=True)  # the other ECUs are for the Primary to know
        target = assign(body, {parts.serial: parts.hardware_id}, vin=parts.vin, rules=ours).by_ecu.get(
            parts.serial
        )
        if target is None:
            return None
        ecu = parts.memory.ecus()[parts.serial]
        before = Target(ecu.installed.path, 0, {}, release_counter=ecu.release_counter)
        found = refreshes[IMAGE].find(target.path, parts.hardware_id)
        judge_agreement(target, found, rules=parts.rules, hardware_id=parts.hardware_id, previous=before)
        return target

    def _verified_partially(self, now_s: float) -> Target | None:
        parts = self._parts
        if parts.director_keys is None:
            raise TypeError("a full Secondary")
        keys, who = parts.director_keys
        floors = dict(parts.metadata.floors(DIRECTOR).listed)
        stored = parts.metadata.load(DIRECTOR, TARGETS)
        previous = parts.codec.decode(stored) if stored is not None else None
        accepted = partial.verify(
            parts.link.metadata(partial=True),
            partial.PartialTrust(keys, who, previous, floors.get(TARGETS, 0)),
            parts.codec,
            parts.rules,
            serial=parts.serial,
            hardware_id=parts.hardware_id,
            vin=parts.vin,
            now_s=now_s,
        )
        floors[TARGETS] = accepted.document.version
        kept = parts.metadata.floors(DIRECTOR)._replace(listed=tuple(sorted(floors.items())))
        parts.metadata.save_floors(DIRECTOR, kept)
        parts.metadata.save(DIRECTOR, TARGETS, accepted.document.raw)
        return accepted.target

    # -- the image

    def _install(self, target: Target) -> str:
        parts = self._parts
        found = parts.link.image()
        if found is None:
            raise TargetHashMismatch("Requested image from Primary but received none.", artifact=target.path)
        name, source = found
        form = target.travelling
        if name != form.path:
            raise TargetHashMismatch(
                "Received unexpected image from Primary with unexpected filename.",
                artifact=target.path,
                expected=form.path,
                found=name[:80],
            )
        judged = JudgedImage(source, form.path, form.length_bytes, form.hashes)
        plain = opened(judged, target, parts.image_key)
        request = InstallRequest(
            target.path, plain, target.length_bytes, target.hashes, "uptane", verified=False
        )
        image = InstalledImage(target.path, target.length_bytes, target.hashes)
        # before it begins: after a cut the installer's own journal tells what became of it
        mark = parts.installer.mark()
        parts.memory.keep_pending(
            Pending(parts.serial, image, target.release_counter, "", parts.boot_id, mark)
        )
        try:
            outcome = parts.installer.install(request)
        except SwagentError:
            parts.memory.drop_pending(parts.serial)
            raise
        if outcome.code == NEEDS_COMPLETION:
            return PENDING
        parts.memory.installed(parts.serial, image, target.release_counter)
        parts.bus.publish(
            Event("ecu.updated", time_s=parts.clock.now_s(), session=self._session, artifact=target.path)
        )
        return UPDATED

    def complete_pending(self) -> None:
        """After a reboot: what became of what waited for it."""
        memory = self._parts.memory
        for serial, pending in memory.pending().items():
            done = self._parts.installer.completed(pending.mark)
            if done:
                memory.installed(serial, pending.image, pending.release_counter)
            elif done is not None:
                memory.drop_pending(serial)

    # -- the report

    def report(self) -> None:
        """Sign a report and hand it in, with a nonce for the next attestation.

        Raises:
            TransportError: the Primary does not take it; what was noticed stays for the next one.
        """
        parts = self._parts
        nonce = parts.memory.fact("nonce")
        if nonce is None:
            nonce = int.from_bytes(parts.random(4)) & NONCE_MAX
            parts.memory.keep_fact("nonce", nonce)
        last, attacks = parts.memory.attacks()
        known = self._time.attested
        report = EcuReport(
            parts.serial,
            parts.memory.ecus()[parts.serial].installed,
            known.time_s,
            known.previous_s,
            attacks,
            parts.memory.next_counter(),
        )
        parts.link.submit(nonce, parts.codec.encode_ecu_report(report, parts.signer))
        parts.memory.keep_fact("nonce_sent", nonce)
        parts.memory.forget_attacks(last)


def _unversioned(name: str) -> str:
    """The plain name under which a Primary hands on ``3.targets.json``; of roots it has the whole chain."""
    version, _, plain = name.partition(".")
    return quote(plain, safe="") if version.isdecimal() and not plain.startswith(f"{ROOT}.") else ""
