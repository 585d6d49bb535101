"""Events of an update in SWUpdate's words: messages of the progress socket, and lines of the log.

Order and texts are those of runtime interfaces §2.5 and §3.4; where a client looks for a text or counts on its
spacing, it is SWUpdate's to the letter.
"""

import json
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from swagent.authdb.codes import code_of
from swagent.events import Event
from swagent.ipc import Level, Notification, Progress, Status, StatusReply

LINES_MAX = 100
_IN_WORDS = ("update.started", "update.planned", "update.writing", "update.verdict")
"""Events whose numbers say no more than SWUpdate's START, RUN, SUCCESS and FAILURE."""
_LEVELS = {level.name.lower(): level for level in Level}
_FORBIDDEN = str.maketrans("\t\r\n", "   ")


class Told(NamedTuple):
    """What an event means to clients: at most one of both."""

    progress: Progress | None = None
    line: Notification | None = None


class News:
    """Keeps what the clients of SWUpdate may ask for, and translates."""

    def __init__(self) -> None:
        self.current: int = Status.IDLE
        self.last_result: int = Status.IDLE
        self._lines: deque[Notification] = deque(maxlen=LINES_MAX)
        self._now = Progress(Status.IDLE)
        self._info = ""
        self._wrote = False

    # -- what is asked for

    def status(self) -> StatusReply:
        """The answer to GET_STATUS; takes the oldest line away."""
        if not self._lines:
            return StatusReply(self.current, self.last_result)
        line = self._lines.popleft()
        return StatusReply(line.status, self.last_result, line.error, line.text)

    def standing(self) -> StatusReply:
        """The same without a line."""
        return StatusReply(self.current, self.last_result)

    def lines(self) -> list[Notification]:
        """The lines that nobody has fetched yet."""
        return list(self._lines)

    # -- what happens

    def accepted(self, origin: int, info: str) -> list[Told]:
        """An update was let in."""
        self._lines.clear()
        self.current = Status.START
        self._info = info
        self._wrote = False
        self._now = Progress(Status.START, origin=origin)
        return [self._line(Status.START, Level.INFO, "Software Update started !")]

    def happened(self, event: Event) -> list[Told]:
        """Something happened in it; the verdict is for ``ended``."""
        return [*self._happened(event), *self._coded(event)]

    def ended(self, verdict: Event) -> list[Told]:
        """It is over, and the next one can be let in."""
        good = verdict.facts.get("exit_code") == 0
        self.last_result = self.current = Status.SUCCESS if good else Status.FAILURE
        told: list[Told] = []
        if good:
            told.append(self._line(Status.SUCCESS, Level.INFO, "SWUPDATE successful !"))
        else:
            hint = verdict.facts.get("next")
            reason = f"{verdict.message}; {hint}" if hint else verdict.message
            told.append(self._line(Status.FAILURE, Level.ERROR, f"ERROR : Installation failed: {reason}"))
            last = "Installation failed !" if self._wrote else "Error happened. Not installing ..."
            told.append(self._line(Status.FAILURE, Level.ERROR, last, error=1))
        told.append(Told(self._now._replace(status=self.current, info="")))
        self.current = Status.IDLE
        self._now = Progress(Status.IDLE, image=self._now.image, handler=self._now.handler)
        told.append(self._line(Status.RUN, Level.TRACE, "Main thread sleep again !"))
        told.append(self._line(Status.IDLE, Level.INFO, "Waiting for requests..."))
        return told

    def done(self, info: str) -> list[Told]:
        """POST_UPDATE was asked for."""
        return [Told(self._now._replace(status=Status.DONE, info=info))]

    def downloaded(self, percent: int, total_bytes: int) -> list[Told]:
        """So much of the update has come."""
        self._now = self._now._replace(download_percent=percent, download_bytes=total_bytes)
        return [Told(self._now._replace(status=Status.DOWNLOAD))]

    def log(self, level: str, text: str) -> list[Told]:
        """A line that belongs to no update."""
        return [self._log_line(level, text)]

    def _happened(self, event: Event) -> Iterator[Told]:
        match event.event:
            case "update.planned":
                yield from self._planned(event)
            case "artifact.started" | "script.started":
                self._wrote = True
                yield from self._step(event)
            case "artifact.progress":
                yield from self._percent(event)
            case "artifact.done":
                yield from self._percent(event, all_of_it=True)
            case "artifact.skipped":
                yield self._line(Status.RUN, Level.INFO, f"{event.artifact}: skipped, {event.message}")
            case "description.verified":
                yield self._line(
                    Status.RUN, Level.INFO, f"sw-description is signed by {event.facts.get('signer')}"
                )
            case "update.noted":
                yield self._line(Status.RUN, Level.WARN, event.message)
            case "log":
                yield self._log_line(str(event.facts.get("level")), event.message)

    def _coded(self, event: Event) -> Iterator[Told]:
        """What update authorization has a number for, and SWUpdate no word (authorization db §8)."""
        code = code_of(event)
        if code is None or event.event in _IN_WORDS:
            return
        facts = {key: event.facts[key] for key in ("list", "datum", "reason") if event.facts.get(key)}
        yield Told(self._run(json.dumps({"code": code, "event": event.event, **facts})))

    def _planned(self, event: Event) -> Iterator[Told]:
        facts = event.facts
        self.current = Status.RUN
        steps = sum(entry["fate"] != "skipped" for entry in facts["entries"]) + 2 * len(facts["scripts"])
        self._now = self._now._replace(steps=event.steps or steps)
        yield self._line(Status.RUN, Level.INFO, f"Version {facts['version']}")
        yield Told(self._now._replace(status=Status.START, info=self._info))
        yield Told(self._run(f'{{"0": {{"VERSION" : {json.dumps(facts["version"])}}}}}'))
        if facts.get("reboot") is False:
            yield Told(self._run('{"1": { "reboot-mode" : "no-reboot"}}'))
        if facts["dry_run"]:
            yield Told(self._run('{"2": { "dry-run" : true }}'))
        yield self._line(Status.RUN, Level.INFO, "Installation in progress")

    def _step(self, event: Event) -> Iterator[Told]:
        handler = event.handler
        self._now = self._now._replace(step=event.step, percent=0, image=event.artifact, handler=handler)
        yield Told(self._run())
        yield self._line(Status.RUN, Level.TRACE, f"{event.artifact}: installing with {handler}")

    def _percent(self, event: Event, *, all_of_it: bool = False) -> Iterator[Told]:
        percent = (
            100 if all_of_it else 100 * event.done_bytes // event.total_bytes if event.total_bytes else 0
        )
        percent = min(percent, 100)
        if percent > self._now.percent:
            self._now = self._now._replace(percent=percent)
            yield Told(self._now._replace(status=Status.PROGRESS))

    def _run(self, info: str = "") -> Progress:
        return self._now._replace(status=Status.RUN, info=info)

    def _log_line(self, word: str, text: str) -> Told:
        level = _LEVELS.get(word, Level.DEBUG)
        if level is Level.ERROR:
            return self._line(Status.FAILURE, level, f"ERROR : {text}")
        return self._line(Status.IDLE if self.current == Status.IDLE else Status.RUN, level, text)

    def _line(self, status: int, level: int, text: str, *, error: int = 0) -> Told:
        line = Notification(status, error, level, text.translate(_FORBIDDEN))
        self._lines.append(line)
        return Told(line=line)
