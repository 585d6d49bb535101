"""Starts the child processes, starts them again when they end, and ends them."""

import asyncio
import os
import signal
import socket
from asyncio.subprocess import DEVNULL
from asyncio.subprocess import Process as Started
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from swagent.errors import NotAcknowledged
from swagent.ipc.messages import Command, Message

from .doors import FD, Line, Process

BACKOFF_S = (1.0, 60.0)
STEADY_S = 60.0
"""A child that ran so long begins anew at the shortest wait."""
STOP_S = 10.0


@dataclass
class Child:
    """One child and how it does.

    Attributes:
        starts: how often it was started.
        ended: how it ended last, "" before.
    """

    process: Process
    running: Started | None = None
    line: Line | None = None
    starts: int = 0
    ended: str = ""
    asked: asyncio.Lock = field(default_factory=asyncio.Lock)


class Supervisor:
    """Keeps child processes going.

    Args:
        processes: what to start.
        log: takes level and line.
        socket_gid: group of our sockets, which children may need; None for none.
        finished: told the status of a child whose end is the daemon's.
        backoff_s: shortest and longest wait before a child is started again.
    """

    def __init__(
        self,
        processes: list[Process],
        log: Callable[[str, str], None],
        *,
        socket_gid: int | None = None,
        finished: Callable[[int], None] = lambda status: None,
        backoff_s: tuple[float, float] = BACKOFF_S,
    ) -> None:
        self._children = [Child(process) for process in processes]
        self._log = log
        self._socket_gid = socket_gid
        self._finished = finished
        self._backoff_s = backoff_s

    async def run(self) -> None:
        """Keep them going, until cancelled; they are ended then."""
        async with asyncio.TaskGroup() as group:
            for child in self._children:
                group.create_task(self._keep(child))

    def states(self) -> list[dict[str, object]]:
        """How each does."""
        return [
            {
                "name": child.process.name,
                "pid": child.running.pid if child.running else None,
                "starts": child.starts,
                "ended": child.ended,
            }
            for child in self._children
        ]

    async def command(self, command: Command) -> Message:
        """Pass a message on to the child that it is for; one at a time.

        Raises:
            NotAcknowledged: there is no such child, or it does not answer.
        """
        for child in self._children:
            if child.process.origin == command.origin and child.process.origin and child.line is not None:
                async with child.asked:
                    if child.line is not None:
                        return await child.line.ask(command)
        raise NotAcknowledged("there is no such child process")

    async def _keep(self, child: Child) -> None:
        shortest_s, longest_s = self._backoff_s
        wait_s = shortest_s
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            try:
                status = await self._run_once(child)
                if child.process.once and status >= 0:  # one that was killed has not come to its end
                    self._finished(status)
                    return
                child.ended = (
                    f"killed by {signal.Signals(-status).name}"
                    if status < 0
                    else f"ended with status {status}"
                )
            except (OSError, ValueError) as exc:
                child.ended = f"could not be started: {exc}"
            if loop.time() - began_s >= STEADY_S:
                wait_s = shortest_s
            self._log("error", f"{child.process.name}: {child.ended}; it is started again in {wait_s:g} s")
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, longest_s)

    async def _run_once(self, child: Child) -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        identity = child.process.identity
        dropped = identity.uid is not None or identity.gid is not None
        groups = [] if self._socket_gid is None else [self._socket_gid]
        argv = [word.replace(FD, str(theirs.fileno())) for word in child.process.argv]
        try:
            running = await asyncio.create_subprocess_exec(
                *argv,
                stdin=DEVNULL,
                pass_fds=(theirs.fileno(),) if FD in child.process.argv else (),
                start_new_session=True,
                user=identity.uid,
                group=identity.gid,
                extra_groups=groups if dropped and os.geteuid() == 0 else None,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        child.running, child.line = running, Line(ours)
        child.starts += 1
        self._log("info", f"{child.process.name}: started as process {running.pid}")
        try:
            return await running.wait()
        except asyncio.CancelledError:
            await _end(running)
            raise
        finally:
            child.running = None
            line, child.line = child.line, None
            line.close()


async def _end(running: Started) -> None:
    """Ask a child to end, then make it."""
    for number, wait_s in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, STOP_S)):
        with suppress(ProcessLookupError):
            os.killpg(running.pid, number)  # with all that it has started
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await running.wait()
            return
