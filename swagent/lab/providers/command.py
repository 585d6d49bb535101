"""Actuators that run programs: whatever switches a board can be an actuator, when there is a command for it."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from swagent.lab.errors import Failed, InvalidRequest
from swagent.lab.lab import Provision

from .parameters import Parameters

DEADLINE_S = 60.0
_SAID_BYTES_MAX = 300


class CommandActuator:
    """Runs the program that belongs to a mode.

    Args:
        commands: mode to program and arguments.
        deadline_s: how long one may run.
    """

    def __init__(self, commands: Mapping[str, tuple[str, ...]], deadline_s: float) -> None:
        self._commands = commands
        self._deadline_s = deadline_s

    async def change(self, parameters: Mapping[str, object]) -> None:
        """Switch to ``{mode: NAME}``. Raises InvalidRequest or Failed."""
        mode = parameters.get("mode")
        argv = self._commands.get(mode) if isinstance(mode, str) else None
        if argv is None:
            raise InvalidRequest(f"mode is {str(mode)[:40]!r}", hint=f"known are {', '.join(self._commands)}")
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        except OSError as exc:
            raise Failed(f"{argv[0]} cannot be started: {exc.strerror}") from exc
        try:
            async with asyncio.timeout(self._deadline_s):
                said, _ = await process.communicate()
        except TimeoutError:
            raise Failed(f"{argv[0]} has not ended within {self._deadline_s:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            last = said[-_SAID_BYTES_MAX:].decode(errors="replace").strip()
            raise Failed(f"{argv[0]} ended with status {process.returncode}", hint=last)


def provide(provision: Provision) -> Coroutine[Any, Any, None]:
    """``actuators``: a list, each with ``name`` and ``commands``, a mapping of modes to lists of words."""
    found = Parameters.of(provision.rule, "actuators", "timeout")
    deadline_s = found.number("timeout", DEADLINE_S, most=3600)
    made = []
    for one in found.each("actuators", "name", "commands"):
        modes = one.keys("commands")
        commands = one.inner("commands", *modes)
        made.append(
            (one.text("name"), CommandActuator({mode: commands.words(mode) for mode in modes}, deadline_s))
        )

    async def run() -> None:
        for name, actuator in made:
            provision.lab.actuators.add(provision.properties(name), actuator)
        await asyncio.Event().wait()

    return run()
