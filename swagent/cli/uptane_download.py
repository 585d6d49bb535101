"""``swagent uptane download``: an update without its installation."""

from .options import Args, Command
from .uptane_parts import IDENTITY_OPTIONS, POLICY_OPTIONS, SOURCE_OPTIONS
from .uptane_service import JSON_OPTION

COMMAND = Command(
    name="uptane download",
    summary="as an update, but nothing is installed",
    target="uptane_download:run",
    options=(*IDENTITY_OPTIONS, *SOURCE_OPTIONS, *POLICY_OPTIONS, JSON_OPTION),
    examples=(
        "swagent uptane download --state /var/lib/swagent/uptane --director https://d/VIN --image-repo https://i "
        "--ecu-serial GW1 --hardware-id gateway",
    ),
)


def run(args: Args) -> int:
    """Part of a cycle; errors are raised (with ``--json`` they are the last line)."""
    from .uptane_update import one_cycle

    return one_cycle(args, install=False)
