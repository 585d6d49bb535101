"""``swagent uptane abort``: stop the download or installation that runs."""

import os

from swagent.errors import Busy, DeadlineError

from .options import Args, Command
from .uptane_parts import STATE_OPTION
from .uptane_service import flow_of

HEARD_S = 60.0
COMMAND = Command(
    name="uptane abort",
    summary="stop the download or installation that runs; nothing of it is used",
    target="uptane_abort:run",
    options=(STATE_OPTION,),
    examples=("swagent uptane abort --state /var/lib/swagent/uptane",),
)


def run(args: Args) -> int:
    """Leave the word in the state folder, and wait until it was heard, or nobody is there to hear it."""
    from time import sleep

    from swagent.clock import SystemClock
    from swagent.uptane_client.flow import TICK_S

    flow, clock = flow_of(args), SystemClock()
    if not _is_busy(args):
        print("nothing is under way")
        return 0
    flow.ask_abort()
    until_s = clock.monotonic_s() + HEARD_S
    while flow.aborting() and _is_busy(args):
        if clock.monotonic_s() > until_s:
            flow.forget_abort()
            raise DeadlineError(
                "nobody has heard it",
                hint="an installation that is being committed cannot be stopped any more",
            )
        sleep(TICK_S)
    flow.forget_abort()
    print("nothing is under way any more")
    return 0


def _is_busy(args: Args) -> bool:
    from .uptane_parts import lock_state, needed

    try:
        os.close(lock_state(needed(args, "state")))
    except Busy:
        return True
    return False
