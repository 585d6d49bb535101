"""``swagent uptane pause``: hold up downloads and installations."""

from .options import Args, Command
from .uptane_parts import STATE_OPTION
from .uptane_service import flow_of

COMMAND = Command(
    name="uptane pause",
    summary="hold up downloads and installations until `resume`, over restarts too",
    target="uptane_pause:run",
    options=(STATE_OPTION,),
    examples=("swagent uptane pause --state /var/lib/swagent/uptane",),
)


def run(args: Args) -> int:
    """Leave the word in the state folder."""
    flow_of(args).pause()
    print("paused: downloads and installations wait for `swagent uptane resume`")
    return 0
