"""What the client's verbs of ``swagent lab`` share: which server, which item, progress."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from swagent.errors import UsageError

from .options import Args, Option

if TYPE_CHECKING:
    from swagent.lab.client import LabClient
    from swagent.lab.items import ItemType
    from swagent.lab.login import Question

SERVER = "which server"
SERVER_OPTIONS = (
    Option("instance", "i", "NAME", "a server of the list; the first one is the default", SERVER),
    Option("server", "", "URI", "an address instead: http://host:6683 or https://host:6683", SERVER),
    Option("token-file", "", "FILE", "a token in its first line, for --server", SERVER),
    Option("ca", "", "PEM", "authorities to believe instead of the system's", SERVER),
    Option("config", "c", "FILE", "the list of servers, default ~/.config/boardswarm/config.yaml", SERVER),
)
TYPES = ("devices", "consoles", "actuators", "volumes")


def config_path(args: Args) -> str:
    """Where the list of servers is."""
    from swagent.lab.servers import default_path

    return args.get("config") or default_path(os.environ)


@contextmanager
def connected(args: Args) -> "Iterator[LabClient]":
    """A client of the server that was asked for."""
    from swagent.lab.servers import Where, reach

    where = Where(config_path(args), *(args.get(name) for name in ("instance", "server", "token-file", "ca")))
    with reach(where, asking()) as client:
        yield client


def asking() -> "Callable[[Question], None] | None":
    """Who tells a person how to log in; None where there is no terminal with one."""
    from .terminal import is_terminal

    return tell_login if is_terminal(sys.stderr) and sys.stdin.isatty() else None


def tell_login(question: "Question") -> None:
    """Say what to do, on standard error."""
    from .units import clean

    sys.stderr.write(f"Open {clean(question.uri)} in a browser, and enter the code {clean(question.code)}\n")
    if question.whole_uri:
        sys.stderr.write(f"or go directly to {clean(question.whole_uri)}\n")
    sys.stderr.flush()


def type_of(word: str) -> "ItemType":
    """The type that a word means, ``device`` or ``devices``.

    Raises:
        UsageError: it means none.
    """
    from swagent.lab.items import ItemType

    for kind in ItemType:
        if word in (kind.name.lower(), f"{kind.name.lower()}s"):
            return kind
    raise UsageError(f"there is no type of items {word!r}", hint=f"say {', '.join(TYPES)}")


def parameters_of(text: str) -> dict[str, Any]:
    """Parameters, as a JSON object.

    Raises:
        UsageError: it is none, or holds a null.
    """
    try:
        found = json.loads(text)
    except ValueError as exc:
        raise UsageError(f"{text[:80]!r} is no JSON: {exc}", hint="""write '{"mode": "on"}'""") from exc
    if not isinstance(found, dict) or any(value is None for value in found.values()):
        raise UsageError("parameters are a JSON object without null", hint="""write '{"mode": "on"}'""")
    return found


def one_of(word: str, known: tuple[str, ...]) -> str:
    """A verb behind an item.

    Raises:
        UsageError: it is none of these.
    """
    if word not in known:
        from .options import nearest

        raise UsageError(
            f"there is no verb {word!r} here", hint=nearest(word, known) or f"known are {', '.join(known)}"
        )
    return word


@contextmanager
def transfer(name: str, what: str, total_bytes: int | None) -> Iterator[Callable[[int], None]]:
    """Shows bytes on their way, on a terminal; gives what is to be called with each piece's length."""
    from swagent.clock import SystemClock
    from swagent.events import Event, EventBus

    from .screen import Screen
    from .terminal import is_terminal, make_terminal

    if not is_terminal(sys.stderr):
        yield lambda n_bytes: None
        return
    clock, bus, done_bytes = SystemClock(), EventBus(), 0
    screen = Screen(bus, make_terminal(sys.stderr, os.environ, quiet=False))
    begun_s = clock.monotonic_s()

    def tell(event: str, **facts: object) -> None:
        bus.publish(Event(event, clock.now_s(), "", name, what, done_bytes, total_bytes, 1, 1, "", facts))

    def more(n_bytes: int) -> None:
        nonlocal done_bytes
        done_bytes += n_bytes
        tell("artifact.progress")

    try:
        tell("artifact.started")
        yield more
        tell("artifact.done", seconds=round(clock.monotonic_s() - begun_s, 3))
    finally:
        screen.close()
