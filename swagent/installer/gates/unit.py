"""Gates on the state of the unit: what runs from where, and on what power."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from swagent.errors import DeviceError, PowerRefused, PreflightRefused
from swagent.model import Artifact, Fate, Kind, Plan, Unit

if TYPE_CHECKING:
    from swagent.hw.power import Power


class RunningSystemGate:
    """No artifact may be written over the running system or anything mounted, unless its entry says ``allow-mounted``.

    Asked of every entry whose handler writes the device as a whole. Entries with a ``path`` write a file
    system through the kernel, and changes of the layout (``partitions``) are judged by their own handlers.

    Args:
        in_use: why a path must not be written, "" for nothing; raises DeviceError when it is not there.
    """

    name = "running-system"

    def __init__(self, in_use: Callable[[str], str]) -> None:
        self._in_use = in_use

    def check(self, plan: Plan, unit: Unit) -> None:
        """Look at every target.

        Raises:
            PreflightRefused: one is in use.
        """
        for planned in (*plan.entries, *plan.scripts):
            art = planned.artifact
            if planned.fate is Fate.SKIPPED or not planned.overwrites or not _writes_device(art):
                continue
            try:
                why = self._in_use(art.device)
            except DeviceError:
                continue  # not there yet: the handler knows whether that matters
            if why:
                raise PreflightRefused(
                    f"{art.where or art.label}: {why}",
                    artifact=art.label,
                    handler=art.type,
                    hint="write to the other copy (-e auto finds it), or unmount it first; "
                    "the property allow-mounted overrules this",
                )


def _writes_device(art: Artifact) -> bool:
    if art.kind is Kind.PARTITION or art.path or not art.device:
        return False
    return art.prop("allow-mounted") != "true"


class PowerGate:
    """An update does not begin on a battery that might not last.

    Args:
        least_percent: what a discharging battery must have.
        power: tells what the unit runs on.
    """

    name = "power"

    def __init__(self, least_percent: int, power: "Callable[[], Power]") -> None:
        self._least_percent = least_percent
        self._power = power

    def check(self, plan: Plan, unit: Unit) -> None:
        """Look at the battery; a unit without one passes.

        Raises:
            PowerRefused: it is discharging and too low, or does not tell its level.
        """
        power = self._power()
        if not power.discharging or (power.percent is not None and power.percent >= self._least_percent):
            return
        level = "does not tell its level" if power.percent is None else f"is at {power.percent} %"
        raise PowerRefused(
            f"the battery {power.battery} {level} and is discharging; an update needs {self._least_percent} %",
            hint="connect it to power; battery-min-percent in the settings says how much is enough",
        )
