"""The three windows of the exercise: a Python prompt with the objects of some parties (uptane §5.8)."""

import code
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from swagent.errors import SettingsError, SwagentError
from swagent.store.atomic import make_folders, replace

from .banners import Banner, large
from .place import DIRECTOR, IMAGE_REPO, PRIMARY_WINDOW, SECONDARY_WINDOW, TIME_SERVER, Place, Ports, Voice
from .primary_side import PrimarySide
from .script import Parties, parties
from .secondary_side import SecondarySide

WINDOWS = ("server", "primary", "secondary")
ABOUT = ".testbed.json"
"""What the server's window tells the others: dialect and ports."""
_ABOUT_MAX_BYTES = 4096


class Window:
    """A ``Voice`` of one window: what its parties say, as the exercise shows it.

    Args:
        shown: which parties.
        colour: whether banners are coloured.
    """

    def __init__(self, shown: tuple[str, ...], *, colour: bool) -> None:
        self._shown = shown
        self._colour = colour

    def line(self, party: str, text: str) -> None:
        """A line in the window of a party."""
        if party in self._shown:
            print(text, flush=True)

    def banner(self, party: str, banner: Banner) -> None:
        """A word in large letters, and as a word."""
        if party in self._shown:
            print(f"\n{large(banner, colour=self._colour)}\n{banner}\n", flush=True)

    def step(self, number: int) -> None:
        """Its line says it."""


class Console(code.InteractiveConsole):
    """A prompt at which refusals are sentences, not tracebacks."""

    def showtraceback(self) -> None:
        """An error of ours as a sentence."""
        error = sys.exc_info()[1]
        if isinstance(error, SwagentError):
            self.write(f"refused: {error.message}\n" + (f"  try: {error.hint}\n" if error.hint else ""))
        else:
            super().showtraceback()


def open_place(
    window: str, folder: str, voice: Voice, *, dialect: str, ports: Ports, seed: int | None
) -> Place:
    """The testbed that a window belongs to: the server's begins it, the others find it.

    Raises:
        SettingsError: there is none, or it cannot be understood.
        DeviceError: it cannot be written.
    """
    path = os.path.join(folder, ABOUT)
    if window == WINDOWS[0]:
        make_folders(folder)
        about = {"dialect": dialect, "ports": ports._asdict()}
        replace(path, json.dumps(about).encode() + b"\n")
        return Place(folder, dialect, voice, ports=ports, seed=seed)
    try:
        with open(path, "rb") as file:
            tree: Any = json.loads(file.read(_ABOUT_MAX_BYTES))
        found = Ports(**{**tree["ports"], "primary": tuple(tree["ports"]["primary"])})
        return Place(folder, str(tree["dialect"]), voice, ports=found, seed=seed)
    except FileNotFoundError as exc:
        raise SettingsError(
            f"there is no testbed in {folder}", hint="`swagent testbed console server` begins one"
        ) from exc
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise SettingsError(f"{path} cannot be used: {exc}") from exc


def objects(window: str, place: Place) -> tuple[dict[str, Any], list[Any]]:
    """What can be typed at a window's prompt, and what must be closed in the end."""
    if window == "primary":
        dp = PrimarySide(place)
        return {"dp": dp}, [dp]
    if window == "secondary":
        ds = SecondarySide(place)
        return {"ds": ds}, [ds]
    found: Parties = parties(place)
    keys = {
        "generate_key": lambda name: place.signer(name, new=True).key,
        "import_public_key": place.public,
        "import_private_key": place.keys.open,
    }
    return {"di": found.di, "dd": found.dd, "dt": found.dt, **keys}, [found.dt, found.dd, found.di]


SHOWN: Mapping[str, tuple[str, ...]] = {
    "server": (IMAGE_REPO, DIRECTOR, TIME_SERVER), "primary": (PRIMARY_WINDOW,), "secondary": (SECONDARY_WINDOW,),
}  # fmt: skip
_BEGIN = {
    "server": "di.clean_slate(), dd.clean_slate(), dt.listen()",
    "primary": "dp.clean_slate(), then dp.update_cycle()",
    "secondary": "ds.clean_slate(), then ds.update_cycle()",
}


def interact(window: str, place: Place) -> None:
    """Show a prompt until it ends."""
    names, to_close = objects(window, place)
    console = Console(names, filename="<testbed>")
    if sys.stdin.isatty():
        import readline
        import rlcompleter

        readline.set_completer(rlcompleter.Completer(names).complete)
        readline.parse_and_bind("tab: complete")
    head = f"{window} of the testbed in {place.folder} ({place.dialect}); here are {', '.join(names)}.\n"
    try:
        console.interact(banner=f"{head}Begin with {_BEGIN[window]}. Ctrl-D ends it.", exitmsg="")
    finally:
        for each in to_close:
            each.close()
