"""Programs: started without a shell of ours, fed and listened to in one loop, killed as a group.

posix_spawn rather than subprocess: it puts pipes on descriptors 3 and 4 without running Python between fork and exec,
and costs no import. The program gets a session of its own, so that what it started can be killed with it.
"""

import fcntl
import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from swagent.errors import DeadlineError, ScriptError
from swagent.model import Reader

MAX_LINE_BYTES = 4096
DRAIN_S = 1.0
"""How long output is still awaited once the program has ended but something it left behind holds its pipes."""

INFO_FD = 3
WARN_FD = 4
_LEVELS = {1: "trace", 2: "error", INFO_FD: "info", WARN_FD: "warn"}
_CHUNK_BYTES = 256 * 1024
_TICK_S = 0.05
_IN_CWD = 'cd -- "$1" && shift && exec "$@"'


def run(
    argv: list[str],
    *,
    log: Callable[[str, str], None],
    stdin: Reader | None = None,
    env: dict[str, str] | None = None,
    cwd: str | None = None,
    deadline_s: float | None = None,
) -> int:
    """Run a program to its end.

    Args:
        argv: the program (an absolute path, or looked for in PATH) and its arguments.
        log: called with level and line, without its end: stdout is ``trace``, stderr ``error``, descriptor 3 ``info``,
            descriptor 4 ``warn`` (SWUPDATE_INFO_FD and SWUPDATE_WARN_FD tell the program). Lines longer than 4096
            bytes come in pieces, bytes that are no UTF-8 as U+FFFD.
        stdin: what the program reads, none by default. A program may end or close its input before it has read all;
            the rest is then left in the Reader.
        env: its whole environment, that of this process by default; the two variables above are added.
        cwd: its working directory, that of this process by default.
        deadline_s: how long it may take; None for ever. Not looked at while ``stdin`` is waited for.

    Returns:
        Its exit status, -1 when a signal ended it.

    Raises:
        ScriptError: it cannot be started.
        DeadlineError: it did not end in time; it is killed, with everything in its session.
        SwagentError: whatever reading ``stdin`` raised; it is killed first and never sees an end of its input.
    """
    with _Child(argv, log, stdin, env, cwd) as child:
        return child.communicate(deadline_s)


class _Child:
    """One running program; leaving the block kills it if it still runs."""

    def __init__(
        self,
        argv: list[str],
        log: Callable[[str, str], None],
        stdin: Reader | None,
        env: dict[str, str] | None,
        cwd: str | None,
    ) -> None:
        self._argv = argv
        self._log = log
        self._stdin = stdin
        self._lines: dict[int, tuple[str, bytearray]] = {}  # our end of a pipe to level and unfinished line
        self._feed = -1
        self._buffer = memoryview(bytearray(_CHUNK_BYTES if stdin is not None else 0))
        self._unwritten = self._buffer[:0]
        self._pidfd = -1
        self._exit: int | None = None
        theirs: dict[int, int] = {}
        try:
            self._make_pipes(theirs)
            self._pid = _spawn(argv, env, cwd, theirs)
        except (OSError, ValueError) as exc:  # ValueError: a NUL in argv
            self._close_ours()
            name = argv[0] if argv else "nothing"
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            raise ScriptError(f"cannot start {name}: {reason}", hint="is it there and executable?") from exc
        finally:
            for fd in theirs.values():
                os.close(fd)
        if hasattr(os, "pidfd_open"):
            try:
                self._pidfd = os.pidfd_open(self._pid)
            except OSError:
                self._pidfd = -1  # kernels before 5.3: ask every now and then instead

    def __enter__(self) -> "_Child":
        return self

    def __exit__(self, *_: object) -> None:
        if self._exit is None:
            with suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        self._close_ours()

    def communicate(self, deadline_s: float | None) -> int:
        """Feed, listen and wait; the exit status."""
        until_s = None if deadline_s is None else time.monotonic() + deadline_s
        poll = select.poll()
        for fd in self._lines:
            poll.register(fd, select.POLLIN)
        if self._feed >= 0:
            poll.register(self._feed, select.POLLOUT)
        if self._pidfd >= 0:
            poll.register(self._pidfd, select.POLLIN)
        while self._exit is None or self._lines:
            now_s = time.monotonic()
            if until_s is not None and now_s >= until_s:
                if self._exit is not None:
                    break
                raise DeadlineError(
                    f"{self._argv[0]} did not end within {deadline_s:g} s and was killed",
                    hint="see its last lines in the log for what it waited for",
                )
            for fd, _ in poll.poll(self._patience_ms(until_s, now_s)):
                if fd == self._feed:
                    if not self._feed_some():
                        poll.unregister(fd)
                        self._close_feed()
                elif fd in self._lines and not self._listen(fd):
                    poll.unregister(fd)
                    self._end_of(fd)
            if self._exit is None and self._has_ended():
                # what it wrote is in the pipes; what others still write is waited for a little
                until_s = time.monotonic() + DRAIN_S
                if self._pidfd >= 0:
                    poll.unregister(self._pidfd)
                if self._feed >= 0:
                    poll.unregister(self._feed)
                    self._close_feed()
        for fd in list(self._lines):
            self._end_of(fd)
        return -1 if self._exit is None or self._exit < 0 else self._exit

    def _make_pipes(self, theirs: dict[int, int]) -> None:
        if self._stdin is None:
            theirs[0] = _above_standard(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        else:
            reading, self._feed = os.pipe()
            theirs[0] = _above_standard(reading)
            os.set_blocking(self._feed, False)
            with suppress(OSError):  # over the user's limit: it stays at 64 KiB, which is only slower
                fcntl.fcntl(self._feed, fcntl.F_SETPIPE_SZ, _CHUNK_BYTES)
        for number, level in _LEVELS.items():
            reading, writing = os.pipe()
            self._lines[reading] = (level, bytearray())
            theirs[number] = _above_standard(writing)
            os.set_blocking(reading, False)

    def _patience_ms(self, until_s: float | None, now_s: float) -> int | None:
        waits_s = [until_s - now_s] if until_s is not None else []
        if self._exit is None and self._pidfd < 0:
            waits_s.append(_TICK_S)
        return int(min(waits_s) * 1000) + 1 if waits_s else None

    def _has_ended(self) -> bool:
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid:
            self._exit = os.waitstatus_to_exitcode(status)
        return bool(pid)

    def _feed_some(self) -> bool:
        """Write what the pipe takes; False at the end of the data, or when the program wants no more."""
        if not self._unwritten:
            n = self._stdin.readinto(self._buffer) if self._stdin is not None else 0
            if n == 0:
                return False
            self._unwritten = self._buffer[:n]
        try:
            self._unwritten = self._unwritten[os.write(self._feed, self._unwritten) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False
        return True

    def _listen(self, fd: int) -> bool:
        """Log what has come; False at the end of the stream."""
        try:
            piece = os.read(fd, _CHUNK_BYTES)
        except BlockingIOError:
            return True
        level, rest = self._lines[fd]
        rest += piece
        *lines, last = rest.split(b"\n")
        for line in lines:
            self._log_line(level, line)
        while len(last) > MAX_LINE_BYTES:
            self._log_line(level, last[:MAX_LINE_BYTES])
            del last[:MAX_LINE_BYTES]
        self._lines[fd] = (level, last)
        return bool(piece)

    def _log_line(self, level: str, line: bytearray) -> None:
        for start in range(0, max(1, len(line)), MAX_LINE_BYTES):
            text = line[start : start + MAX_LINE_BYTES].decode("utf-8", "replace")
            self._log(level, text.removesuffix("\r"))

    def _end_of(self, fd: int) -> None:
        level, rest = self._lines.pop(fd)
        os.close(fd)
        if rest:
            self._log_line(level, rest)

    def _close_feed(self) -> None:
        if self._feed >= 0:
            os.close(self._feed)
            self._feed = -1

    def _close_ours(self) -> None:
        self._close_feed()
        for fd in self._lines:
            os.close(fd)
        self._lines.clear()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def _spawn(argv: list[str], env: dict[str, str] | None, cwd: str | None, theirs: dict[int, int]) -> int:
    environment = dict(os.environ if env is None else env)
    environment |= {"SWUPDATE_INFO_FD": str(INFO_FD), "SWUPDATE_WARN_FD": str(WARN_FD)}
    if cwd is not None:  # posix_spawn has no working directory
        argv = ["/bin/sh", "-c", _IN_CWD, "sh", os.path.abspath(cwd), *argv]
    actions: list[tuple[int, int, int] | tuple[int, int]] = [
        (os.POSIX_SPAWN_DUP2, fd, number) for number, fd in theirs.items()
    ]
    # ours are all closed on exec; one that whoever started us left open is not
    actions += [(os.POSIX_SPAWN_CLOSE, fd) for fd in _inheritable() if fd > WARN_FD]
    return os.posix_spawnp(
        argv[0],
        argv,
        environment,
        file_actions=actions,
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores them, and exec would pass that on
    )


def _inheritable() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:
            continue  # the descriptor that listed the folder
    return found


def _above_standard(fd: int) -> int:
    """The same, numbered so that putting pipes on 0 to 4 cannot overwrite it."""
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, WARN_FD + 1)
    finally:
        os.close(fd)
