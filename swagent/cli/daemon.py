"""``swagent daemon``: takes updates over SWUpdate's sockets, with the options of ``swagent -i``."""

import os
import sys
from typing import TextIO

from swagent.events import Event, EventBus
from swagent.settings import InstallSettings, read_selection

from .install import COMMAND as INSTALL
from .install import FOR_DOORS, HOW, WEB_OPTION, settings_of, wishes_of
from .options import Args, Command, Option
from .screen import Screen, Syslog
from .units import clean

WHERE = "where to listen"
_NOT_HERE = ("image", "check", "below-floor", "over-unconfirmed", "ask", "output", "quiet", "accepted-select")
FEEDERS = "who tells of updates"
DOOR_OPTIONS: tuple[Option, ...] = (
    Option("suricatta", "u", "WORDS", "ask a server, as SWUpdate's -u; '' for what the settings say", FEEDERS,
           dashes=True),
    Option("download", "d", "WORDS", "install from an address, as SWUpdate's -d, and end; '' waits for a client's",
           FEEDERS, dashes=True),
    WEB_OPTION,
    Option("media", "", "DEVICES", "install what USB sticks and SD cards bring: auto, or names of devices", FEEDERS),
)  # fmt: skip
COMMAND = Command(
    "daemon",
    "Wait for updates at SWUpdate's control socket, tell of them at its progress sockets; ends with SIGTERM.",
    "daemon:run",
    options=(
        *(option for option in INSTALL.options if option.long not in _NOT_HERE),
        Option("accepted-select", "q", "SET,MODE", "a selection that a client may ask for; may be repeated",
               HOW, True),
        *DOOR_OPTIONS,
        Option("control", "", "PATH", "control socket, default RUNTIME_DIRECTORY/sockinstctrl", WHERE),
        Option("progress", "", "PATH", "progress socket as of SWUpdate 2025.12", WHERE),
        Option("progress-2022", "", "PATH", "progress socket as of SWUpdate 2022.12", WHERE),
        Option("events", "", "PATH", "socket that tells the same as --json", WHERE),
        Option("socket-mode", "", "MODE", "permissions of the sockets, default 0660", WHERE),
        Option("socket-group", "", "GROUP", "group of the sockets", WHERE),
    ),
    examples=(
        "swagent daemon -f /etc/swupdate.cfg -k release.pem",
        "swagent daemon -k release.pem -e stable,copy2 --socket-group swupdate",
        "swagent daemon -k release.pem -u '-u https://hawkbit -t default -i unit-1 -k TOKEN -S hawkbit'",
        "swagent daemon -k release.pem -w '-p 8080 --auth-domain Update --global-auth-file /etc/swupdate.passwd'",
        "swagent daemon -k release.pem --control /tmp/sockinstctrl --progress-2022 /tmp/swupdateprog",
    ),
)  # fmt: skip
_LEVELS = ("error", "warn", "info", "trace", "debug")
_PRIORITIES = {"error": 3, "warn": 4, "info": 6, "trace": 7, "debug": 7}


def run(args: Args) -> int:
    """Serve until SIGTERM."""
    import asyncio

    from swagent.app import demand_trust
    from swagent.daemon.service import Plan, Service

    from .jsonlines import JsonLines, line

    settings, ignored = settings_of(args)
    wishes = wishes_of(args)
    demand_trust(settings, allow_unsigned=wishes.allow_unsigned)
    _check_words(args, settings)
    os.environ.update(
        {name: args.get(option) or "" for option, name in FOR_DOORS.items() if args.get(option)}
    )
    accepted = frozenset(read_selection(word, where="-q") for word in args.all("accepted-select"))
    bus = EventBus()
    level = settings.loglevel if settings.loglevel is not None else 3
    renderer = (
        JsonLines(sys.stdout) if args.on("json") else LogLines(sys.stdout, sys.stderr, level, os.environ)
    )
    screens = [Screen(bus, renderer), *([Screen(bus, Syslog())] if settings.syslog else [])]
    try:
        words = {option.long: args.get(option.long) for option in DOOR_OPTIONS}
        doors = {option: text for option, text in words.items() if text is not None}
        plan = Plan(settings, wishes, accepted, tuple(ignored), doors, args.get("file"))
        return asyncio.run(Service(plan, bus=bus, environ=os.environ, as_line=line).run())
    finally:
        for screen in screens:
            screen.close()


def _check_words(args: Args, settings: InstallSettings) -> None:
    """What cannot be is said at once, not by a door again and again."""
    suricatta, download = args.get("suricatta"), args.get("download")
    if suricatta is not None or download is not None:
        from swagent.suricatta.words import read_download, read_suricatta

        if suricatta is not None:
            read_suricatta(suricatta, settings, os.environ)
        if download is not None:
            read_download(download, settings)
    if args.get("webserver") is not None:
        from swagent.web.options import web_options

        web_options(settings.webserver)


class LogLines:
    """What a service writes: a line for each thing that is worth one, with its priority where the journal reads it.

    Args:
        out: for what goes well.
        err: for what does not.
        level: 0 to 5, by SWUpdate's numbers; verdicts are always written.
        environ: ``JOURNAL_STREAM`` tells whether the journal reads.
    """

    def __init__(self, out: TextIO, err: TextIO, level: int, environ: "os._Environ[str]") -> None:
        self._out, self._err = out, err
        self._levels = _LEVELS[:level]
        self._journal = _is_journal(err, environ.get("JOURNAL_STREAM", ""))

    def show(self, event: Event) -> None:
        """Write one event, if it is worth a line."""
        if event.event == "log":
            level = str(event.facts.get("level"))
            if level in self._levels:
                self._write(level, event.message)
        elif event.event == "update.noted":
            self._write("warn", event.message)
        elif event.event == "artifact.done" and "info" in self._levels:
            self._write("info", f"{event.artifact}: done")
        elif event.event == "update.verdict":
            facts = event.facts
            good = facts.get("exit_code") == 0
            more = facts.get("next") or ""
            said = event.message or str(facts.get("version") or "")
            self._write(
                "info" if good else "error", f"{facts.get('result')}: {said}{f'; {more}' if more else ''}"
            )

    def close(self) -> None:
        """Nothing is kept back."""

    def _write(self, level: str, text: str) -> None:
        out = self._err if level == "error" else self._out
        prefix = (
            f"<{_PRIORITIES.get(level, 7)}>" if self._journal else "" if level == "info" else f"{level}: "
        )
        try:
            out.write(f"{prefix}{clean(text)}\n")
            out.flush()
        except (OSError, ValueError):  # nobody reads any more; the service goes on
            return


def _is_journal(stream: TextIO, told: str) -> bool:
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return told == f"{found.st_dev}:{found.st_ino}"
