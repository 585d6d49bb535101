"""``swagent``: finds the command, runs it, and turns errors into a message and an exit code."""

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NoReturn

from swagent.errors import SwagentError, UsageError

from .options import Command, Group, help_text, nearest, parse

# verb, where its table is (see command_at), what it is for
VERBS: tuple[tuple[str, str, str], ...] = (
    ("install", "install", "install an update (also `swagent -i FILE`, with SWUpdate's options)"),
    ("check", "check", "say what an update would do, on this device or as another (--as)"),
    ("info", "info", "say what is in an update, without judging it; without a file, how this device stands"),
    ("verify", "verify", "check signature and digests of an update"),
    ("make", "make", "build an update from a sw-description"),
    ("sign", "sign", "sign or re-sign an update"),
    ("extract", "extract", "list or unpack an update"),
    ("encrypt", "encrypt", "encrypt one image"),
    ("decrypt", "decrypt", "open an encrypted image"),
    ("handlers", "handlers", "list the handlers: what they serve, where they come from"),
    ("daemon", "daemon", "wait for updates at SWUpdate's control socket"),
    ("client", "client", "hand updates to a daemon, swagent's or SWUpdate's"),
    ("progress", "progress", "watch the updates of a daemon"),
    ("door", "door", "one network-facing process of the daemon, which starts it"),
    ("confirm", "confirm", "after the reboot: run the checks, keep the update or give it up"),
    ("uptane", "uptane", "keep a vehicle up to date from a Director and an Image repository"),
    ("repo", "repo", "keep an Image repository: images, delegations, keys, what is published"),
    ("testbed", "testbed", "all parties of Uptane on this desk: an exercise, attacks, consoles"),
    ("director", "director", "keep an Uptane Director: vehicles, what they report, what they shall run"),
    ("authdb", "authdb", "make and examine UniAuth.db: which units may be updated to what"),
    ("lab", "lab", "share boards: consoles, power, storage; serve them, and use Boardswarm servers"),
    ("config", "config", "show the settings in force and where each comes from"),
)


def run() -> NoReturn:
    """The program: one command, then the end without taking the interpreter apart (docs/adr/0002-start-up.md)."""
    import gc

    gc.set_threshold(
        50_000, 20, 20
    )  # imports make much that lives until the end; looking at it again is waste
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # whoever read it has gone
            stream.flush()
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except SwagentError as exc:
        from .refusal import refusal_text
        from .terminal import wants_colour, width_of

        sys.stdout.flush()
        text = refusal_text(exc, width_of(sys.stderr, os.environ), wants_colour(sys.stderr, os.environ))
        sys.stderr.write(text)
        return exc.exit_code
    except BrokenPipeError:
        # whoever read our output has gone; that is no error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 80


def _run(words: list[str]) -> int:
    if not words or words[0] in ("help", "--help", "-h"):
        sys.stdout.write(_overview())
        return 0 if words else 2
    if words[0] == "--version":
        from swagent import __version__

        sys.stdout.write(f"swagent {__version__}\n")
        return 0
    if words[0].startswith("-"):
        verb, rest = "install", words
    else:
        verb, rest = words[0], words[1:]
    command = _command(verb, VERBS)
    if isinstance(command, Group):
        if not rest or rest[0] in ("--help", "-h"):
            sys.stdout.write(_group_overview(command))
            return 0 if rest else 2
        group, verb, rest = command, rest[0], rest[1:]
        command = _command(verb, group.verbs, group.name)
    assert isinstance(command, Command)  # noqa: S101 - groups hold no groups
    if "--help" in rest or "-h" in rest:
        from .terminal import width_of

        sys.stdout.write(help_text(command, width_of(sys.stdout, os.environ)))
        return 0
    args = parse(command, rest)
    from importlib import import_module

    module, _, function = command.target.partition(":")
    code: int = getattr(import_module(f"swagent.cli.{module}"), function)(args)
    return code


def command_at(module: str) -> Command | Group:
    """The table of a command: ``module`` below ``swagent.cli``, which has it as ``COMMAND``, or ``module:NAME``."""
    from importlib import import_module

    name, _, attribute = module.partition(":")
    command: Command | Group = getattr(import_module(f"swagent.cli.{name}"), attribute or "COMMAND")
    return command


def _command(verb: str, verbs: tuple[tuple[str, str, str], ...], group: str = "") -> Command | Group:
    for name, module, _ in verbs:
        if name == verb:
            return command_at(module)
    words = " ".join(["swagent", group, "--help"] if group else ["swagent", "--help"])
    raise UsageError(
        f"unknown command {f'{group} {verb}'.strip()!r}",
        hint=nearest(verb, [name for name, _, _ in verbs]) or f"`{words}` lists the commands",
    )


def _listed(verbs: Iterable[tuple[str, str, str]]) -> list[str]:
    """A line for each: its name and what it does."""
    rows = [(name, summary) for name, _, summary in verbs]
    width = max(10, *(len(name) for name, _ in rows))
    return [f"  {name:<{width}} {summary}" for name, summary in rows]


def _group_overview(group: Group) -> str:
    lines = [
        f"usage: swagent {group.name} COMMAND [OPTIONS]",
        "",
        group.summary,
        "",
        "commands:",
        *_listed(group.verbs),
        "",
        f"`swagent {group.name} COMMAND --help` tells more.",
    ]
    return "\n".join(lines) + "\n"


def _overview() -> str:
    from swagent import __version__

    lines = [
        f"swagent {__version__}: streams SWUpdate images to their targets, verifying as it goes",
        "",
        "usage: swagent -i UPDATE.swu -k KEY [OPTIONS]",
        "       swagent COMMAND [OPTIONS]",
        "",
        "commands:",
        *_listed(VERBS),
        "",
        "`swagent COMMAND --help` tells more.",
    ]
    return "\n".join(lines) + "\n"
