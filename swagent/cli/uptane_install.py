"""``swagent uptane install``: what was downloaded before."""

from .options import Args, Command
from .uptane_parts import IDENTITY_OPTIONS, POLICY_OPTIONS, SOURCE_OPTIONS
from .uptane_service import JSON_OPTION

COMMAND = Command(
    name="uptane install",
    summary="install what `download` has fetched, by the metadata verified then; report",
    target="uptane_install:run",
    options=(*IDENTITY_OPTIONS, *SOURCE_OPTIONS, *POLICY_OPTIONS, JSON_OPTION),
    examples=(
        "swagent uptane install --state /var/lib/swagent/uptane --director https://d/VIN --image-repo https://i "
        "--ecu-serial GW1 --hardware-id gateway --installer swu",
    ),
)


def run(args: Args) -> int:
    """The second half of a cycle; errors are raised (with ``--json`` they are the last line)."""
    from swagent.uptane_client.primary import Primary

    from .uptane_update import one_cycle

    return one_cycle(args, step=Primary.install)
