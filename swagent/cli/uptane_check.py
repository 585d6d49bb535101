"""``swagent uptane check``: what an update would fetch."""

from .options import Args, Command
from .uptane_parts import IDENTITY_OPTIONS, POLICY_OPTIONS, SOURCE_OPTIONS
from .uptane_service import JSON_OPTION

COMMAND = Command(
    name="uptane check",
    summary="time, metadata and report as in an update; which images it would fetch",
    target="uptane_check:run",
    options=(*IDENTITY_OPTIONS, *SOURCE_OPTIONS, *POLICY_OPTIONS, JSON_OPTION),
    examples=(
        "swagent uptane check --state /var/lib/swagent/uptane --director https://d/VIN --image-repo https://i "
        "--ecu-serial GW1 --hardware-id gateway",
    ),
)


def run(args: Args) -> int:
    """Part of a cycle; errors are raised (with ``--json`` they are the last line)."""
    from .uptane_update import one_cycle

    return one_cycle(args, fetch=False)
