"""``swagent director``: decides what each ECU of a fleet shall run, and signs it for each vehicle."""

import os
from typing import TYPE_CHECKING

from .options import Args, Group, Option
from .repo import JSON_OPTION, KEYS, PASSWORD_OPTION, WHERE, keystore, say

if TYPE_CHECKING:
    from swagent.uptane_server.director import Director
    from swagent.uptane_server.director_desk import DirectorDesk
    from swagent.uptane_server.director_intake import Policy
    from swagent.uptane_server.keys import Keystore

COMMAND = Group(
    name="director",
    summary="keep an Uptane Director: vehicles, what they report, what they shall run",
    verbs=(
        ("init", "director_setup:INIT", "a new Director with new keys and its first root"),
        ("root", "director_setup:ROOT", "the next root: with other keys, or signed elsewhere"),
        ("operator", "director_setup:OPERATOR", "let somebody give orders over the network"),
        ("vehicle", "director_orders:VEHICLE", "add a vehicle or show one; without VIN list them"),
        ("ecu", "director_orders:ECU", "make an ECU of a vehicle known"),
        ("assign", "director_orders:ASSIGN", "what an ECU shall run"),
        ("withdraw", "director_orders:WITHDRAW", "nothing in particular, for one ECU or for all"),
        ("write", "director_orders:WRITE", "sign what is assigned"),
        ("serve", "director_serve:SERVE", "answer vehicles, programs and people"),
        ("time", "director_serve:TIME", "a Time server: attest the time to whoever asks"),
    ),
)
HOME_OPTION = Option(
    "home", metavar="DIR", group=WHERE, help="the Director's folder; . unless said otherwise"
)
STATIC_OPTION = Option(
    "static", group=WHERE, help="write metadata to DIR/vehicles/VIN too, for a server of static files"
)
__all__ = ["HOME_OPTION", "JSON_OPTION", "KEYS", "PASSWORD_OPTION", "STATIC_OPTION", "WHERE", "say"]


def home(args: Args) -> str:
    """The Director's folder."""
    return args.get("home") or "."


def online_keys(args: Args) -> "Keystore":
    """Its online keys."""
    from swagent.uptane_server.director_home import KEYS as FOLDER

    return keystore(args, os.path.join(home(args), FOLDER))


def open_director(args: Args, policy: "Policy | None" = None) -> "Director":
    """The Director that the options name. Raises as ``director_home.open_director``."""
    from swagent.clock import SystemClock
    from swagent.uptane_server.director_home import open_director
    from swagent.uptane_server.director_intake import LENIENT

    return open_director(home(args), online_keys(args), SystemClock(), policy=policy or LENIENT)


def open_desk(args: Args, director: "Director", sources: str | None = None) -> "DirectorDesk":
    """What gives it orders that touch files."""
    from swagent.uptane_server.director_home import open_desk

    return open_desk(home(args), director, sources, static=args.on("static"))
