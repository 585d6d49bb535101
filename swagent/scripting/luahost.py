"""A Lua state in a process of its own, as the session sees it: run, call, and be asked in between.

Why a process: much of Lua's library is C that no instruction limit can stop (a pattern that backtracks for ever, a file
that blocks), and memory that runs out in the wrong place ends the process it runs out in. Here such a script costs its
own process, is told as an error, and the session goes on (docs/adr/0005-lua-in-a-process.md).
"""

import fcntl
import math
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple, Protocol

from swagent.errors import RegistrationError, ScriptError

from . import wire
from .wire import Frame, Value, WireError

_START_S = 30.0
_STALL_S = 10.0  # for the rest of a frame that has begun
_PATIENCE_MAX_S = 1.0  # between two looks at whether somebody wants to stop
_REAP_TRIES = 100
_REAP_WAIT_S = 0.01
_LINE_BYTES_MAX = 4096
_CHILD_FD = 3
_CHILD = (
    "import sys; sys.path[:] = {path!r}; from swagent.scripting.child import serve; serve({fd}, *{facts!r})"
)


class Setup(NamedTuple):
    """How a state is made.

    Attributes:
        version: of Lua, one of ``settings.LUA_VERSIONS``.
        path: where ``require`` looks, as ``package.path``.
        grants: words of ``settings.LUA_GRANTS``.
        memory_bytes: how much Lua may take.
        instructions: how many one call may run.
        seconds: how long one call may take; bulk work that the session does for it does not count.
    """

    version: str = "5.4"
    path: str = ""
    grants: frozenset[str] = frozenset()
    memory_bytes: int = 64 * 1024 * 1024
    instructions: int = 500_000_000
    seconds: float = 60.0


class Answer(NamedTuple):
    """What a service gives back.

    Attributes:
        values: the results.
        blob: instead of them, one string of raw bytes.
        slow: bulk work, whose time is not the script's.
    """

    values: tuple[Value, ...] = ()
    blob: bytes | None = None
    slow: bool = False


class Services(Protocol):
    """Who answers what Lua asks; everything that is not Lua is behind this."""

    def serve(self, verb: str, arguments: tuple[Value, ...]) -> Answer:
        """Answer one question of the module ``swupdate``.

        Raises:
            ScriptError: the question makes no sense; becomes an error in Lua, which a script may catch.
            SwagentError: any other ends the state, and goes on to whoever called it.
        """
        ...

    def printed(self, line: str) -> None:
        """A line that a script wrote to its standard output or error."""
        ...

    def waiting(self) -> None:
        """Called about every second while a script runs.

        Raises:
            SwagentError: it is to be stopped.
        """
        ...


class LuaState:
    """One state; its process is there until ``close``.

    Args:
        setup: its limits.
        services: answers what it asks.
        handlers: names of the handlers there are.
        name: what messages call it.

    Raises:
        RegistrationError: lupa is not installed, or lacks this version of Lua.
        ScriptError: the process cannot be started.
    """

    def __init__(self, setup: Setup, services: Services, *, handlers: Iterable[str] = (), name: str) -> None:
        self._setup = setup
        self._services = services
        self._name = name
        self._line = bytearray()
        self._last = ""
        self._gone = ""
        self._pid = 0
        self._sock, theirs = socket.socketpair()
        self._out, their_out = os.pipe()
        self._sock.settimeout(_STALL_S)
        os.set_blocking(self._out, False)
        self._poll = select.poll()
        self._poll.register(self._sock, select.POLLIN)
        self._poll.register(self._out, select.POLLIN)
        try:
            self._pid = _spawn(setup, theirs.fileno(), their_out)
        except OSError as exc:
            self.close()
            raise ScriptError(f"cannot start a process for Lua: {exc.strerror}") from exc
        finally:
            theirs.close()
            os.close(their_out)
        try:
            self._exchange(Frame("names", (list(handlers),)), _START_S)
        except BaseException:
            self.close()
            raise

    def run(self, text: bytes, name: str) -> None:
        """Run the text of a file.

        Raises:
            ScriptError: it is no Lua, or failed, or was stopped.
        """
        self._call(Frame("run", (f"@{name}",), text or b"\n"))

    def knows(self, function: str) -> bool:
        """Whether there is a global function of this name."""
        return self._call(Frame("knows", (function,))) == (True,)

    def call(self, function: str, *arguments: Value) -> tuple[Value, ...]:
        """Call a global function.

        Raises:
            ScriptError: there is none, or it failed, or was stopped.
        """
        return self._call(Frame("call", (function, *arguments)))

    def hook(self, function: str, image: Value) -> tuple[Value, Value]:
        """Call a global function with an image table.

        Returns:
            Its first result; and its second if that is a table, else whether it was one that counts as true.

        Raises:
            ScriptError: there is none, or it failed, or was stopped.
        """
        results = self._call(Frame("hook", (function, image)))
        return (*results, None, None)[:2]

    def handle(self, handler: str, image: Value, phase: str | None) -> Value:
        """Call a registered handler; its first result.

        Raises:
            ScriptError: it failed, or was stopped.
        """
        return (*self._call(Frame("handle", (handler, image, phase))), None)[0]

    def close(self) -> None:
        """End the process, whatever it does; nothing of the script runs any more."""
        if self._pid:
            with suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0
        self._gone = self._gone or "it is closed"
        if self._out >= 0:
            self._listen()
            if self._line:
                self._print(self._line)
            os.close(self._out)
            self._out = -1
        self._sock.close()

    # -- calls

    def _call(self, frame: Frame) -> tuple[Value, ...]:
        if self._gone:
            raise ScriptError(f"{self._name}: its Lua state is gone: {self._gone}")
        try:
            return self._exchange(frame, math.inf if "endless" in self._setup.grants else self._setup.seconds)
        except _Failed as exc:
            raise ScriptError(f"{self._name}: {exc}") from exc
        except BaseException:
            self._gone = self._gone or "the update was stopped while it ran"
            self.close()
            raise

    def _exchange(self, frame: Frame, left_s: float) -> tuple[Value, ...]:
        """Send a call, and serve until its result is there."""
        try:
            wire.send(self._sock, frame)
            while True:
                begun_s = time.monotonic()
                self._wait(left_s)
                reply = wire.receive(self._sock)
                self._listen()
                left_s -= time.monotonic() - begun_s
                if reply.verb == "done":
                    return reply.values
                if reply.verb == "failed":
                    raise _Failed(_text(reply))
                if reply.verb == "limit":
                    raise self._stopped(_text(reply))
                if reply.verb == "unavailable":
                    raise RegistrationError(
                        f"Lua {self._setup.version} is not to be had here: {_text(reply)}",
                        hint="pip install 'swagent[lua]'",
                    )
                left_s -= self._serve(reply)
        except WireError as exc:
            raise self._ended(exc) from exc

    def _serve(self, question: Frame) -> float:
        """Answer a question; how many seconds of the script's time that took."""
        begun_s = time.monotonic()
        try:
            answer = self._services.serve(question.verb, question.values)
        except ScriptError as exc:
            wire.send(self._sock, Frame("refused", (exc.message,)))
            return time.monotonic() - begun_s
        if answer.blob is None:
            wire.send(self._sock, Frame("done", answer.values))
        else:
            wire.send(self._sock, Frame("bytes", (), answer.blob))
        return 0.0 if answer.slow else time.monotonic() - begun_s

    def _wait(self, left_s: float) -> None:
        """Until something can be read from the socket; what is printed meanwhile is passed on."""
        until_s = time.monotonic() + left_s
        while True:
            patience_s = min(until_s - time.monotonic(), _PATIENCE_MAX_S)
            if patience_s <= 0:
                raise self._stopped(f"longer than {self._setup.seconds:g} s")
            ready = {fd for fd, _ in self._poll.poll(int(patience_s * 1000) + 1)}
            if self._out in ready:
                self._listen()
            if self._sock.fileno() in ready:
                return
            self._services.waiting()

    # -- what it prints

    def _listen(self) -> None:
        """Pass on the lines that are there."""
        while True:
            try:
                piece = os.read(self._out, 65536)
            except BlockingIOError:
                return
            if not piece:  # nobody can write any more; the socket tells the rest
                with suppress(KeyError):
                    self._poll.unregister(self._out)
                return
            *lines, self._line = (self._line + piece).split(b"\n")
            for line in lines:
                self._print(line)
            while len(self._line) > _LINE_BYTES_MAX:
                self._print(self._line[:_LINE_BYTES_MAX])
                del self._line[:_LINE_BYTES_MAX]

    def _print(self, line: bytearray) -> None:
        for start in range(0, max(1, len(line)), _LINE_BYTES_MAX):
            text = line[start : start + _LINE_BYTES_MAX].decode("utf-8", "replace")
            self._last = text.strip() or self._last
            self._services.printed(text)

    # -- its end

    def _stopped(self, what: str) -> ScriptError:
        self._gone = f"it ran {what}"
        return ScriptError(
            f"{self._name}: stopped, because it ran {what}",
            hint="the settings lua-instructions and lua-seconds set the limits",
        )

    def _ended(self, exc: WireError) -> ScriptError:
        """The process has ended by itself, or does not keep to the protocol."""
        how = str(exc)
        for _ in range(_REAP_TRIES):
            found = (
                os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) if self._pid else None
            )
            if found is not None:
                killed = found.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
                how = f"its process ended by {'signal' if killed else 'status'} {found.si_status}"
                break
            time.sleep(_REAP_WAIT_S)
        self._gone = how
        self.close()
        said = f" ({self._last[:200]})" if self._last else ""
        return ScriptError(
            f"{self._name}: {how}{said}", hint="the setting lua-memory sets how much it may take"
        )


class _Failed(Exception):
    """What Lua says about a call that failed."""


def _text(frame: Frame) -> str:
    text = frame.values[0] if frame.values else ""
    return (
        text.encode("utf-8", "replace").decode()[:1000]
        if isinstance(text, str)
        else "an error without a text"
    )


def _spawn(setup: Setup, sock: int, out: int) -> int:
    """Start the process: our interpreter and nothing of the environment's Python, no descriptor but these."""
    facts = (
        setup.version,
        setup.path,
        setup.memory_bytes,
        setup.instructions,
        " ".join(sorted(setup.grants)),
    )
    path = [os.path.abspath(folder) for folder in sys.path]
    code = _CHILD.format(path=path, fd=_CHILD_FD, facts=facts)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    high = fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, _CHILD_FD + 1)
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-c", code],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, out, 1),
                (os.POSIX_SPAWN_DUP2, out, 2),
                (os.POSIX_SPAWN_DUP2, high, _CHILD_FD),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
    finally:
        os.close(null)
        os.close(high)
