"""The update as people see it on a terminal: state first, reason next, then what to do.

Everything is drawn from events alone. Lines of finished artifacts stay; below them a small region is redrawn, at most
ten times a second. Text of an image is shown with its control characters made visible.
"""

import os
from collections import deque
from collections.abc import Mapping
from typing import Any, TextIO

from swagent.events import Event

from .refusal import LAYOUT_COLUMNS, paint, refusal_text
from .units import clean, columns, fit, left, pad, rate, seconds, size

__all__ = ["Terminal", "is_terminal", "make_terminal", "paint", "refusal_text", "wants_colour", "width_of"]

REDRAW_S = 0.1
_WAITING_SHOWN = 4
_BAR_LEAST = 8
_RATE_WINDOW_S = 3.0
_LEVELS = ("error", "warn", "info", "debug", "trace")

_UNICODE = {"done": "✓", "now": "▸", "waiting": "·", "skipped": "–", "failed": "✗", "arrow": "→", "cut": "…"}  # noqa: RUF001 - the dash is meant
_ASCII = {"done": "+", "now": ">", "waiting": ".", "skipped": "-", "failed": "x", "arrow": "->", "cut": ".."}
_MARK_COLOUR = {"done": "green", "waiting": "yellow", "skipped": "yellow", "failed": "red"}


def speaks_unicode(stream: TextIO) -> bool:
    """Whether the stream's encoding has the marks and the bar."""
    encoding = getattr(stream, "encoding", None)
    if encoding is None:  # io.StringIO
        return True
    try:
        "".join(_UNICODE.values()).encode(encoding)
        "━╸".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


class _Row:
    """One entry of the plan and how far it is."""

    __slots__ = ("artifact", "handler", "note", "open", "samples", "started_s", "target")

    def __init__(self, artifact: str, handler: str, target: str) -> None:
        self.artifact = artifact
        self.handler = handler
        self.target = target
        self.open = True
        self.note = ""
        self.started_s = 0.0
        self.samples: deque[tuple[float, int]] = deque(maxlen=64)


class Terminal:
    """Renders one session.

    Args:
        out: where to write.
        width: columns of the terminal; the layout wants 80, what is redrawn never exceeds ``width``.
        colour: whether verdicts are coloured (the word is always there too).
        live: False leaves the verdict on success and nothing else: not a terminal, or ``--quiet``.
        motion: False never moves the cursor (``TERM=dumb``): finished lines only, no bar.
        log_level: the least important log lines to show: error, warn, info, debug or trace.
    """

    def __init__(
        self,
        out: TextIO,
        *,
        width: int,
        colour: bool,
        live: bool,
        motion: bool = True,
        log_level: str = "warn",
    ) -> None:
        self._out: TextIO | None = out
        self._columns = max(20, width)
        self._width = max(LAYOUT_COLUMNS, width)
        self._colour = colour
        self._live = live
        self._motion = live and motion
        self._levels = _LEVELS[: _LEVELS.index(log_level) + 1]
        unicode = speaks_unicode(out)
        self._marks = _UNICODE if unicode else _ASCII
        self._bar_cells = ("━", "╸", "─") if unicode else ("=", ">", "-")
        self._encoding = None if unicode else getattr(out, "encoding", None) or "ascii"
        self._rows: list[_Row] = []
        self._named: dict[str, list[_Row]] = {}  # open rows by artifact
        self._current: _Row | None = None
        self._progress: Event | None = None
        self._name_columns = 12
        self._what_columns = 12
        self._kept: list[str] = []  # finished lines that wait for the next redraw
        self._drawn = 0  # lines of the region that is redrawn
        self._drawn_s = float("-inf")
        self._source = ""
        self._size_bytes: int | None = None
        self._signed = ""
        self._version = ""
        self._selection = ""
        self._started_s: float | None = None

    def show(self, event: Event) -> None:
        """Take one event into account, and draw when it is time to."""
        name = event.event
        facts = event.facts
        if self._started_s is None:
            self._started_s = event.time_s
        if name == "update.started":
            self._source = _text(facts, "source")
            size_bytes = facts.get("size")
            self._size_bytes = size_bytes if isinstance(size_bytes, int) else None
        elif name == "description.verified":
            scheme = _text(facts, "scheme")
            self._signed = f"signed by {_text(facts, 'signer')}" + (f" ({scheme})" if scheme else "")
        elif name == "description.unsigned":
            self._signed = "not signed"
        elif name == "update.planned":
            self._plan(facts)
        elif name == "update.noted":
            self._log(event, "warning")
        elif name == "update.verdict":
            self._verdict(event)
        elif not self._live:
            return
        elif name.startswith("artifact."):
            self._artifact(event)
        elif name == "script.done" or name == "script.failed":
            self._script(event)
        elif name == "bootenv.done":
            names = [clean(str(variable)) for variable in facts.get("variables") or []]
            self._keep("done", "boot environment", ", ".join(names) or "unchanged", [])
        elif name == "log" and _text(facts, "level") in self._levels:
            self._log(event, _text(facts, "level"))
        if self._live and event.time_s - self._drawn_s >= REDRAW_S - 1e-6:
            self._draw(event.time_s)

    def close(self) -> None:
        """Leave nothing half-drawn behind."""
        self._current = None
        self._rows = []
        self._draw(self._drawn_s)

    # --- what events change

    def _plan(self, facts: Mapping[str, Any]) -> None:
        self._version = _text(facts, "version")
        self._selection = _text(facts, "selection")
        if not self._live:
            return
        for entry in facts.get("entries") or []:
            handler = _text(entry, "handler")
            self._add(_Row(_text(entry, "artifact") or handler, handler, _text(entry, "target")))
        if self._rows:
            longest = max(columns(row.artifact) for row in self._rows)
            self._name_columns = max(8, min(longest, self._width // 4))
            longest = max(columns(self._what(row)) for row in self._rows)
            self._what_columns = max(8, min(longest, self._width - self._name_columns - 33))
        self._kept += self._head(facts)

    def _head(self, facts: Mapping[str, Any]) -> list[str]:
        source = clean(os.path.basename(self._source)) or "update"
        first = [self._version]
        if description := _text(facts, "description"):
            first.append(f'"{fit(description, 40, self._marks["cut"])}"')
        if self._signed:
            first.append(self._signed)
        if self._size_bytes is not None:
            first.append(size(self._size_bytes))
        second = [part for part in (_text(facts, "hardware"),) if part]
        if self._selection:
            second.append(f"{'checks' if facts.get('dry_run') else 'installs'} {self._selection}")
        if facts.get("dry_run"):
            second.append("dry run: nothing is written")
        margin = max(columns(source), 3)
        lines = [pad(source, margin) + "   " + "   ".join(part for part in first if part)]
        if second:
            lines.append(pad("for", margin) + "   " + "   ".join(second))
        return [*lines, ""]

    def _artifact(self, event: Event) -> None:
        row = self._row(event)
        if event.event == "artifact.started":
            row.started_s = event.time_s
            row.samples.append((event.time_s, 0))
            self._current = row
            self._progress = event
        elif event.event == "artifact.progress":
            self._current = row
            self._progress = event
        else:
            row.open = False
            self._named[row.artifact].remove(row)
            if self._current is row:
                self._current = None
            self._finish(row, event)

    def _row(self, event: Event) -> _Row:
        name = clean(event.artifact or event.handler)
        if self._current is not None and self._current.artifact == name:
            return self._current
        candidates = self._named.get(name, [])
        for row in candidates:
            if row.handler == clean(event.handler):
                return row
        if candidates:
            return candidates[0]
        return self._add(_Row(name, clean(event.handler), ""))

    def _add(self, row: _Row) -> _Row:
        self._rows.append(row)
        self._named.setdefault(row.artifact, []).append(row)
        return row

    def _finish(self, row: _Row, event: Event) -> None:
        if event.event == "artifact.skipped":
            reason = _text(event.facts, "reason") or "not needed"
            self._keep("skipped", row.artifact, reason, ["skipped"], "yellow")
        elif event.event == "artifact.failed":
            self._keep("failed", row.artifact, self._what(row), ["failed"], "red")
        else:
            taken = event.facts.get("seconds")
            took_s = taken if isinstance(taken, int | float) else event.time_s - row.started_s
            amount = event.total_bytes if event.total_bytes is not None else event.done_bytes
            details = [f"{size(amount):>9}"] if amount else [" " * 9]
            details.append(f"{seconds(took_s):>7}")
            if event.message:
                details.append(clean(event.message))
            self._keep("done", row.artifact, self._what(row), details)

    def _script(self, event: Event) -> None:
        phase = _text(event.facts, "phase")
        what = " ".join(part for part in (clean(event.handler), phase) if part)
        if event.event == "script.failed":
            self._keep("failed", clean(event.artifact) or "script", what, ["failed"], "red")
            return
        taken = event.facts.get("seconds")
        details = [" " * 9, f"{seconds(taken):>7}"] if isinstance(taken, int | float) else []
        self._keep("done", clean(event.artifact) or "script", what, details)

    def _log(self, event: Event, level: str) -> None:
        level = {"warn": "warning"}.get(level, level)
        colour = {"warning": "yellow", "error": "red"}.get(level)
        word = paint(level, colour, colour=self._colour) if colour else level
        self._kept.append(f"  {word}: {clean(event.message)}")

    def _verdict(self, event: Event) -> None:
        facts = event.facts
        result = _text(facts, "result")
        if self._live:
            self._current = None
            self._rows = []
        lines: list[str] = []
        if result in ("installed", "checked", "nothing-to-do"):
            lines.append(self._success(event, result))
            if following := _text(facts, "next"):
                lines.append(f"Next: {following}")
        if self._live and (lines or self._kept or self._drawn):
            self._kept += ["", *lines] if lines else []
        else:
            self._kept += lines
        self._draw(event.time_s)

    def _success(self, event: Event, result: str) -> str:
        taken = event.facts.get("seconds")
        if not isinstance(taken, int | float):
            taken = event.time_s - (self._started_s if self._started_s is not None else event.time_s)
        if event.message:
            first, space, rest = clean(event.message).partition(" ")
            return paint(first, "green", colour=self._colour) + space + rest
        version = self._version or "the update"
        where = f" ({self._selection})" if self._selection else ""
        if result == "installed":
            word, rest = "Installed", f" {version}{where} in {seconds(taken)}."
        elif result == "checked":
            word = "Checked"
            rest = f" {version}{where} in {seconds(taken)}: it can be installed. Nothing was written."
        else:
            word, rest = "Nothing to do", f": {version}{where} is installed already."
        return paint(word, "green", colour=self._colour) + rest

    # --- lines

    def _what(self, row: _Row) -> str:
        if not row.target or row.artifact == row.target:
            return row.handler
        return f"{row.handler} {self._marks['arrow']} {row.target}"

    def _columns_of(self, mark: str, name: str, what: str) -> str:
        cut = self._marks["cut"]
        return (
            f"  {mark} {pad(fit(name, self._name_columns, cut), self._name_columns)}"
            f"   {pad(fit(what, self._what_columns, cut), self._what_columns)}"
        )

    def _keep(self, mark: str, name: str, what: str, details: list[str], colour_name: str = "") -> None:
        """Queue a finished line; details that do not fit go, the last first (but never a verdict's word)."""
        start = self._columns_of(self._marks[mark], name, what)
        if len(details) <= 1:  # nothing below lines up with it, so it may be as long as it is
            plain = f"  {self._marks[mark]} {pad(name, self._name_columns)}   {pad(what, self._what_columns)}"
            if columns(plain) + sum(len(d) + 3 for d in details) <= self._width:
                start = plain
        while details and not colour_name and columns(start) + sum(len(d) + 3 for d in details) > self._width:
            details = details[:-1]
        if colour_name and details:
            details = [*details[:-1], paint(details[-1], colour_name, colour=self._colour)]
        line = "   ".join([start, *details]).rstrip()
        self._kept.append(self._painted(line, mark))

    def _painted(self, line: str, mark: str) -> str:
        colour_name = _MARK_COLOUR.get(mark)
        if not self._colour or colour_name is None:
            return line
        sign = self._marks[mark]
        return line.replace(f"  {sign} ", f"  {paint(sign, colour_name, colour=True)} ", 1)

    def _now_line(self, row: _Row, event: Event, now_s: float) -> str:
        room = self._columns - 1
        done, total = event.done_bytes, event.total_bytes
        speed = self._speed(row, now_s, done)
        parts: list[str] = []
        if total:
            parts.append(f"{min(100, 100 * done // total):>3} %")
        elif done:
            parts.append(size(done))
        if speed:
            parts.append(rate(speed))
            if total and done < total:
                parts.append(f"ETA {left((total - done) / speed)}")
        least = _BAR_LEAST + 3 if total else 0
        start = self._columns_of(self._marks["now"], row.artifact, self._what(row))
        if columns(start) + least + sum(len(part) + 3 for part in parts) > room:
            start = f"  {self._marks['now']} {pad(row.artifact, self._name_columns)}"
        start = fit(start, room * 3 // 5, self._marks["cut"])
        if total:
            parts.append(f"{size(min(done, total))} of {size(total)}")
        if event.steps:
            parts.append(f"step {max(1, event.step)}/{event.steps}")
        free = room - columns(start) - least
        while parts and sum(len(part) + 3 for part in parts) > free:
            parts.pop()
        if total:
            cells = room - columns(start) - 3 - sum(len(part) + 3 for part in parts)
            if cells >= _BAR_LEAST:
                parts.insert(0, self._bar(done / total, min(24, cells)))
        return fit("   ".join([start, *parts]), room, self._marks["cut"])

    def _bar(self, share: float, cells: int) -> str:
        full, tip, rest = self._bar_cells
        filled = int(max(0.0, min(1.0, share)) * cells)
        if filled >= cells:
            return full * cells
        return full * filled + tip + rest * (cells - filled - 1)

    def _speed(self, row: _Row, now_s: float, done_bytes: int) -> float:
        row.samples.append((now_s, done_bytes))
        while len(row.samples) > 2 and now_s - row.samples[0][0] > _RATE_WINDOW_S:
            row.samples.popleft()
        since_s, from_bytes = row.samples[0]
        return (done_bytes - from_bytes) / (now_s - since_s) if now_s - since_s >= 0.2 else 0.0

    def _region(self, now_s: float) -> list[str]:
        lines: list[str] = []
        if self._current is not None and self._progress is not None:
            lines.append(self._now_line(self._current, self._progress, now_s))
        waiting = [row for row in self._rows if row.open and row is not self._current]
        room = self._columns - 1
        for row in waiting[:_WAITING_SHOWN]:
            start = self._columns_of(self._marks["waiting"], row.artifact, self._what(row))
            line = fit(start, max(8, room - 10), self._marks["cut"])
            lines.append(
                f"{self._painted(line, 'waiting')}   {paint('waiting', 'yellow', colour=self._colour)}"
            )
        if len(waiting) > _WAITING_SHOWN:
            more = f"  {self._marks['waiting']} {len(waiting) - _WAITING_SHOWN} more"
            lines.append(f"{more}   {paint('waiting', 'yellow', colour=self._colour)}")
        return lines

    # --- drawing

    def _draw(self, now_s: float) -> None:
        region = self._region(now_s) if self._motion else []
        if not self._kept and not region and not self._drawn:
            return
        pieces: list[str] = []
        if self._drawn:
            pieces.append(f"\x1b[{self._drawn}F\x1b[J")  # up to the region's first line, clear to the end
        pieces += [line + "\n" for line in self._kept]
        pieces += [line + "\n" for line in region]
        self._kept = []
        self._drawn = len(region)
        self._drawn_s = now_s
        self._write("".join(pieces))

    def _write(self, text: str) -> None:
        if self._out is None:
            return
        if self._encoding is not None:
            text = text.encode(self._encoding, "replace").decode(self._encoding)
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):  # a terminal that goes away must not stop an update; ValueError: closed
            self._out = None


def _text(facts: Mapping[str, Any], key: str) -> str:
    value = facts.get(key)
    return "" if value is None else clean(str(value))


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody looks at the stream."""
    try:
        return stream.isatty()
    except (OSError, ValueError, AttributeError):
        return False


def wants_colour(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Colour needs a terminal that can, and nobody who says ``NO_COLOR`` (any value but the empty one)."""
    return is_terminal(stream) and not env.get("NO_COLOR") and env.get("TERM", "dumb") != "dumb"


def width_of(stream: TextIO, env: Mapping[str, str]) -> int:
    """Columns of the stream's terminal; ``COLUMNS`` wins, 80 when nobody knows."""
    told = env.get("COLUMNS", "")
    if told.isascii() and told.isdigit() and int(told[:6]) > 0:
        return int(told[:6])
    try:
        return os.get_terminal_size(stream.fileno()).columns or LAYOUT_COLUMNS
    except (OSError, ValueError, AttributeError):
        return LAYOUT_COLUMNS


def make_terminal(
    stream: TextIO, env: Mapping[str, str], quiet: bool, *, log_level: str = "warn"
) -> Terminal:
    """The terminal for a stream and an environment (``NO_COLOR``, ``TERM``, ``COLUMNS``).

    Args:
        stream: usually ``sys.stdout``.
        env: usually ``os.environ``.
        quiet: leave the verdict only.
        log_level: see ``Terminal``.
    """
    return Terminal(
        stream,
        width=width_of(stream, env),
        colour=wants_colour(stream, env),
        live=is_terminal(stream) and not quiet,
        motion=env.get("TERM", "dumb") != "dumb",
        log_level=log_level,
    )
