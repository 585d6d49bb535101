"""The gate that remembers: nothing below what was confirmed before."""

from swagent.errors import VersionRefused
from swagent.model import Plan, Unit
from swagent.versions import compare


class FloorGate:
    """Nothing below the highest version that was ever confirmed on this unit.

    Args:
        floor: that version.
    """

    name = "floor"

    def __init__(self, floor: str) -> None:
        self._floor = floor

    def check(self, plan: Plan, unit: Unit) -> None:
        """Compare; an image without a version is below everything.

        Raises:
            VersionRefused: it is lower.
        """
        version = plan.description.version
        if not version or compare(version, self._floor) < 0:
            raise VersionRefused(
                f"release {version or 'without a version'} is below {self._floor}, which was confirmed here",
                hint="--below-floor REASON lets it in, and leaves the reason in the journal",
            )
