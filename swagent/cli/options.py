"""The command line's grammar: one table per command, parsed here.

Not argparse: SWUpdate's options (values that must not begin with ``-``, ``-w`` strings that may) are not argparse's,
and ``swagent -i`` is held to a start-up budget that argparse alone would take a fifth of (docs/adr/0002-start-up.md).
"""

from collections.abc import Sequence
from typing import NamedTuple

from swagent.errors import UsageError


class Option(NamedTuple):
    """One option.

    Attributes:
        long: name without dashes; also the key in ``Args``.
        short: one letter, "" if none.
        metavar: name of its value in the help text, "" for a switch.
        help: what it does, one sentence.
        group: heading in the help text.
        repeat: may be given several times; the value is a list.
        aliases: further long names.
        choices: the only values accepted, () for any.
        dashes: the value may begin with ``-``.
    """

    long: str
    short: str = ""
    metavar: str = ""
    help: str = ""
    group: str = "options"
    repeat: bool = False
    aliases: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    dashes: bool = False


class Command(NamedTuple):
    """One verb.

    Attributes:
        name: as typed, such as ``make``.
        summary: one line for the list of commands.
        options: in the order of the help text.
        arguments: names of the positional arguments; ``[x]`` is optional, ``x...`` takes one or more.
        target: ``module:function`` below ``swagent.cli``; called with ``Args``, returns the exit code.
        examples: command lines with a remark behind ``#``.
        own_grammar: the words are its target's to read, all of them as arguments; ``options`` are for the help text.
    """

    name: str
    summary: str
    target: str
    options: tuple[Option, ...] = ()
    arguments: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    own_grammar: bool = False


class Group(NamedTuple):
    """A verb with verbs of its own.

    Attributes:
        name: as typed, such as ``uptane``.
        summary: one line for the list of commands.
        verbs: each with its module below ``swagent.cli`` and what it is for, as in ``main.VERBS``.
    """

    name: str
    summary: str
    verbs: tuple[tuple[str, str, str], ...]


class Args:
    """What was typed.

    Attributes:
        values: of the options, by long name.
        switches: long names of those given.
        arguments: the positional ones, in order.
    """

    def __init__(self) -> None:
        self.values: dict[str, list[str]] = {}
        self.switches: set[str] = set()
        self.arguments: list[str] = []

    def get(self, name: str) -> str | None:
        """The last value of an option, None if it was not given."""
        values = self.values.get(name)
        return values[-1] if values else None

    def all(self, name: str) -> list[str]:
        """All values of a repeated option, in order."""
        return self.values.get(name, [])

    def on(self, name: str) -> bool:
        """Whether a switch was given."""
        return name in self.switches


def parse(command: Command, argv: Sequence[str]) -> Args:
    """Read the words behind a command.

    Raises:
        UsageError: an unknown option (with the nearest one named), a value missing or unwanted, a wrong number of
            arguments.
    """
    args = Args()
    words = list(argv)
    if command.own_grammar:
        args.arguments = words
        return args
    while words:
        word = words.pop(0)
        if word == "--":
            args.arguments += words
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            option = _find(command, name)
            if equals and not option.metavar:
                raise UsageError(f"--{option.long} takes no value", hint=_see_help(command))
            _take(command, args, option, [value, *words] if equals else words)
            if not equals and option.metavar:
                words.pop(0)
        elif word.startswith("-") and len(word) > 1:
            letters = word[1:]
            while letters:
                option = _find_short(command, letters[0])
                letters = letters[1:]
                if not option.metavar:
                    args.switches.add(option.long)
                elif letters:
                    _take(command, args, option, [letters.removeprefix("=")])
                    letters = ""
                else:
                    _take(command, args, option, words)
                    words.pop(0)
        else:
            args.arguments.append(word)
    _count_arguments(command, args)
    return args


def _take(command: Command, args: Args, option: Option, words: list[str]) -> None:
    if not option.metavar:
        args.switches.add(option.long)
        return
    if not words:
        raise UsageError(f"--{option.long} needs {option.metavar}", hint=_see_help(command))
    value = words[0]
    if value.startswith("-") and value != "-" and not option.dashes:
        raise UsageError(
            f"--{option.long} needs {option.metavar}, and {value!r} looks like an option",
            hint=_see_help(command),
        )
    if option.choices and value not in option.choices:
        raise UsageError(f"--{option.long} takes {' or '.join(option.choices)}, not {value!r}")
    if option.repeat:
        args.values.setdefault(option.long, []).append(value)
    else:
        args.values[option.long] = [value]


def _find(command: Command, name: str) -> Option:
    for option in command.options:
        if name == option.long or name in option.aliases:
            return option
    known = [long for option in command.options for long in (option.long, *option.aliases)]
    raise UsageError(f"unknown option --{name}", hint=nearest(name, known, prefix="--") or _see_help(command))


def _find_short(command: Command, letter: str) -> Option:
    for option in command.options:
        if option.short == letter:
            return option
    raise UsageError(f"unknown option -{letter}", hint=_see_help(command))


def _count_arguments(command: Command, args: Args) -> None:
    least = sum(not name.startswith("[") for name in command.arguments)
    most = None if any("..." in name for name in command.arguments) else len(command.arguments)
    given = len(args.arguments)
    if given < least:
        raise UsageError(f"{command.arguments[given]} is missing", hint=_see_help(command))
    if most is not None and given > most:
        raise UsageError(f"unexpected argument {args.arguments[most]!r}", hint=_see_help(command))


def _see_help(command: Command) -> str:
    return f"see `swagent {command.name} --help`".replace("  ", " ")


def nearest(name: str, known: Sequence[str], *, prefix: str = "") -> str:
    """A hint that names the known word nearest to a mistyped one, "" when none is near."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    return f"did you mean {prefix}{close[0]}?" if close else ""


def help_text(command: Command, width: int = 80) -> str:
    """The command's help: usage, options by group, examples."""
    from textwrap import wrap

    usage = " ".join(
        ["swagent", command.name, *(["[OPTIONS]"] if command.options else []), *command.arguments]
    )
    lines = [" ".join(usage.split()), "", command.summary]
    column = 32
    for group in dict.fromkeys(option.group for option in command.options):
        lines += ["", f"{group}:"]
        for option in command.options:
            if option.group != group:
                continue
            short = f"-{option.short}, " if option.short else "    "
            left = f"  {short}--{option.long} {option.metavar}".rstrip()
            text = wrap(option.help, max(24, width - column)) or [""]
            if len(left) >= column:
                lines.append(left)
            else:
                lines.append(f"{left:<{column}}{text.pop(0)}".rstrip())
            lines += [" " * column + line for line in text]
    if command.examples:
        lines += ["", "examples:", *(f"  {example}" for example in command.examples)]
    return "\n".join(lines) + "\n"
