"""``swagent uptane resume``: end the pause."""

from .options import Args, Command
from .uptane_parts import STATE_OPTION
from .uptane_service import flow_of

COMMAND = Command(
    name="uptane resume",
    summary="end the pause: what was held up goes on",
    target="uptane_resume:run",
    options=(STATE_OPTION,),
    examples=("swagent uptane resume --state /var/lib/swagent/uptane",),
)


def run(args: Args) -> int:
    """Take the word away."""
    flow_of(args).resume()
    print("resumed")
    return 0
