"""The gate of an update that is installed as it is fetched: what is written too early must not be what runs."""

from typing import Protocol

from swagent.errors import PreflightRefused
from swagent.model import Artifact, Fate, Plan, Unit


class System(Protocol):
    """What is known of the running system; ``swagent.hw.identity.RunningSystem``."""

    def root(self) -> str:
        """Its device, "" when that cannot be told."""
        ...

    def runs_from(self, path: str) -> bool:
        """Whether it sits on this device or file."""
        ...


class PassingGate:
    """Where the verdict on the whole archive comes last, only what does not run may be written before it.

    Asked of every entry that is written while the archive passes. UBI volumes and raw flash are looked at by their
    handlers, which refuse what is in use.

    Args:
        system: what runs.
    """

    name = "passing"

    def __init__(self, system: System) -> None:
        self._system = system

    def check(self, plan: Plan, unit: Unit) -> None:
        """Look at every target.

        Raises:
            PreflightRefused: one is, or may be, part of the running system.
        """
        if any(planned.verify_first for planned in plan.entries):
            return  # then nothing is written before the verdict
        for planned in plan.entries:
            if planned.fate not in (Fate.DIRECT, Fate.APPLY):
                continue
            art = planned.artifact
            why = self._why_not(art)
            if why:
                raise PreflightRefused(
                    f"{art.where or art.label}: {why}, and this image is installed before all of it was verified",
                    artifact=art.label,
                    handler=art.type,
                    hint="write to the other copy, drop installed-directly from its entry, or give it the property "
                    "verify-first; a Primary stores images without --no-store",
                )

    def _why_not(self, art: Artifact) -> str:
        if art.prop("allow-mounted") == "true":
            return "its property allow-mounted lets it write what is in use"
        if art.volume or art.mtdname:
            return ""
        if art.device:
            if not self._system.root():
                return f"whether the running system is on {art.device} cannot be told"
            return f"the running system is on {art.device}" if self._system.runs_from(art.device) else ""
        if art.path:
            return "it is written into the running system"
        return "what it writes cannot be told"
