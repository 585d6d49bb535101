"""``-e auto``: the selection for the copy that does not run, by a mapping of selections to devices."""

import os
from collections.abc import Sequence
from typing import Protocol

from swagent.errors import SettingsError
from swagent.model import Selection

_HOW = 'write swagent : { slots : ( { selection = "stable,copy1"; device = "/dev/mmcblk0p2"; }, ... ); };'


class System(Protocol):
    """What is known of the running system; ``swagent.hw.identity.RunningSystem``."""

    def root(self) -> str:
        """Its device, "" when that cannot be told."""
        ...

    def runs_from(self, path: str) -> bool:
        """Whether it sits on this device or file."""
        ...


def idle_selection(slots: Sequence[tuple[Selection, str]], system: System) -> Selection:
    """The first slot that the running system does not sit on.

    Args:
        slots: selections and their devices.
        system: what runs.

    Raises:
        SettingsError: there is no mapping, one of its devices is not there (it might be the running one, misspelt), or
            it cannot be told which device runs, or there is no other.
    """
    if not slots:
        raise SettingsError("the selection auto needs to know which copy is on which device", hint=_HOW)
    for selection, device in slots:
        if not os.path.exists(device):
            raise SettingsError(
                f"swagent.slots: {device} of {selection} is not there",
                hint="auto chooses only when every copy can be looked at; correct the slots, or name a selection",
            )
    if not system.root():
        raise SettingsError(
            "it cannot be told which device the running system is on",
            hint="name the selection, -e set,mode; or give the kernel root=DEVICE",
        )
    for selection, device in slots:
        if not system.runs_from(device):
            return selection
    raise SettingsError(
        "swagent.slots: the running system sits on every slot",
        hint="each selection needs a device of its own",
    )
