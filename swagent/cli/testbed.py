"""``swagent testbed``: the five parties of Uptane on one desk."""

import json
import sys
import threading
from typing import TYPE_CHECKING, TextIO

from .options import Args, Command, Group, Option

if TYPE_CHECKING:
    from swagent.testbed.banners import Banner
    from swagent.testbed.place import Ports

DIALECTS = ("tuf1", "ref-json", "ref-der")
HOW, OUT = "how", "output"
COMMAND = Group(
    name="testbed",
    summary="all parties of Uptane on this desk: an exercise, attacks, consoles",
    verbs=(
        ("up", "testbed_up", "all five parties on one screen, with keys to deliver, update, attack, recover"),
        ("run", "testbed:RUN", "the exercise from its beginning to its end: ten cycles, ten banners"),
        (
            "attack",
            "testbed_attack",
            "one attack between two honest rounds, with its verdict; without NAME list them",
        ),
        ("console", "testbed_console", "a prompt with the servers, the Primary or the Secondary"),
    ),
)
DIALECT_OPTION = Option(
    "dialect", metavar="NAME", group=HOW, choices=DIALECTS, help="encoding; tuf1 unless said otherwise"
)
FOLDER_OPTION = Option(
    "folder", metavar="DIR", group=HOW, help="work there and leave it; else in a folder that is taken away"
)
PORTS_OPTION = Option(
    "original-ports", group=HOW, help="listen where the reference implementation does; else where it is free"
)
SEED_OPTION = Option(
    "seed", metavar="N", group=HOW, help="the same keys, names and nonces for the same number"
)
RUN = Command(
    name="testbed run",
    summary="the exercise from its beginning to its end: ten cycles, ten banners",
    target="testbed:run",
    options=(
        DIALECT_OPTION,
        FOLDER_OPTION,
        PORTS_OPTION,
        SEED_OPTION,
        Option("json", group=OUT, help="one banner a line, for programs"),
    ),
    examples=("swagent testbed run", "swagent testbed run --dialect ref-der --original-ports"),
)


class Lines:
    """A ``Voice`` that prints what is said; banners in large letters."""

    def __init__(self, out: TextIO, *, colour: bool) -> None:
        self._out = out
        self._colour = colour
        self._lock = threading.Lock()

    def line(self, party: str, text: str) -> None:
        """A line in the window of a party."""
        from .units import clean

        self._write(f"{party:<10} {clean(text)}")

    def banner(self, party: str, banner: "Banner") -> None:
        """A word in large letters."""
        from swagent.testbed.banners import large

        self._write(f"\n{large(banner, colour=self._colour)}\n{party:<10} {banner}")

    def step(self, number: int) -> None:
        """Its line says it."""

    def title(self, text: str) -> None:
        """What comes next."""
        self._write(f"\n== {text}")

    def _write(self, text: str) -> None:
        with self._lock:
            self._out.write(text + "\n")
            self._out.flush()


class BannerLines:
    """A ``Voice`` that prints banners as JSON and nothing else."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def line(self, party: str, text: str) -> None:
        """Not told."""

    def banner(self, party: str, banner: "Banner") -> None:
        """One line."""
        self._out.write(json.dumps({"event": "testbed.banner", "banner": banner, "party": party}) + "\n")
        self._out.flush()

    def step(self, number: int) -> None:
        """Not told."""

    def title(self, text: str) -> None:
        """Not told."""


def run(args: Args) -> int:
    """Play the script; the exit code says whether it went as it must."""
    import os

    from swagent.errors import VerificationError
    from swagent.testbed.script import BANNERS, Heard, play, started

    from .terminal import wants_colour

    shown: Lines | BannerLines
    shown = (
        BannerLines(sys.stdout)
        if args.on("json")
        else Lines(sys.stdout, colour=wants_colour(sys.stdout, os.environ))
    )
    heard = Heard(shown)
    with started(
        args.get("dialect") or "tuf1", heard, folder=args.get("folder"), ports=ports(args), seed=seed(args)
    ) as parties:
        play(parties, shown.title)
    if tuple(heard.banners) != BANNERS:
        raise VerificationError(
            f"the exercise showed {', '.join(heard.banners)}", hint=f"it must show {', '.join(BANNERS)}"
        )
    return 0


def ports(args: Args) -> "Ports | None":
    """Where to listen; None for where it is free."""
    from swagent.testbed.place import Ports

    return Ports() if args.on("original-ports") else None


def seed(args: Args) -> int | None:
    """What makes chance repeatable, None for chance.

    Raises:
        UsageError: no number.
    """
    text = args.get("seed")
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        from swagent.errors import UsageError

        raise UsageError(f"--seed takes a number, not {text[:20]!r}")
    return int(text)
