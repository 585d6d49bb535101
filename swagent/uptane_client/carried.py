"""A Primary's cycle with what somebody carried to it on a medium (PURE-2): no network, and no report of its own."""

from collections.abc import Mapping

from swagent.errors import AttestedTimeError
from swagent.uptane.assignment import Assigned, judge_agreement
from swagent.uptane.metadata import DIRECTOR, IMAGE, Target, Targets
from swagent.uptane.offline import assign_offline
from swagent.uptane.repository import body_of

from .offline import DirectorRefresh, ImageFromMedium
from .primary import Cycle, Primary
from .reporting import timekeeper


class CarriedPrimary(Primary):
    """A Primary whose repositories are on a medium: its parts' ``director`` and ``image`` are ``MediumSource``s."""

    def report(self) -> bytes:
        """Nothing is made or delivered: results and what was noticed are told by the next cycle that is online."""
        return b""

    def now_s(self) -> float:
        """The verified time; where none is fresh the one attested last, however long ago (PURE-2, step 1).

        Raises:
            AttestedTimeError: no time was ever attested.
        """
        try:
            return super().now_s()
        except AttestedTimeError:
            attested = timekeeper(self._parts).attested
            if not attested.time_s:
                raise
            self._news.log("warn", "no attested time is fresh: the last one counts")
            return float(attested.time_s)

    def _update(self) -> Cycle:
        parts, now_s = self._parts, self.now_s()
        director = self._begun(DirectorRefresh, DIRECTOR, now_s)
        name, document = director.offline_targets()
        body = body_of(document, Targets)
        hardware = {serial: ecu.hardware_id for serial, ecu in parts.vehicle.ecus().items()}
        by_ecu = assign_offline(body, hardware, vin=parts.identity.vin, rules=parts.rules)
        wanted = self._wanted(Assigned(by_ecu))
        if not wanted:
            return Cycle("nothing-to-do", {})
        if parts.vehicle.pending():
            self._news.log("info", "an installation waits for its reboot; nothing new is begun before")
            return Cycle("pending", {})
        image = self._begun(ImageFromMedium, IMAGE, now_s)
        image.run()
        self._judge_others(body, by_ecu, image)
        correlation = body.correlation_id or f"offline:{name}:{document.version}"
        parts.vehicle.keep_fact("correlation", correlation)
        good = self._fetched(self._agreed(wanted, image))
        for serial in sorted(good.keys() - parts.installers.keys()):
            self._news.log("info", f"{serial}: verified; nothing here puts it onto that ECU")
        return Cycle(self._installing.install(good), good)

    def _judge_others(self, body: Targets, by_ecu: Mapping[str, Target], image: ImageFromMedium) -> None:
        """Of all images on the medium, also those for other vehicles, both repositories must say the same."""
        own = {target.path for target in by_ecu.values()}
        for target in body.targets.values():
            if target.path not in own:
                hardware_id = min(target.hardware_ids or ("",))
                found = image.find(target.path, hardware_id)
                judge_agreement(target, found, rules=self._parts.rules, hardware_id=hardware_id)
