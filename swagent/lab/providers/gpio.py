"""Lines of a GPIO chip as actuators, by the kernel's character devices (boardswarm §4.5).

A line is held while we run. What it shows is left alone until somebody switches it: a lab that starts must not switch a
board off.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, NamedTuple

from swagent.errors import DeviceError, SettingsError
from swagent.hw.gpio import HeldLine
from swagent.hw.udev import Found
from swagent.lab.errors import Failed, InvalidRequest
from swagent.lab.items import matches
from swagent.lab.lab import Provision
from swagent.lab.udev import follow, properties

from .parameters import Parameters

LINES_MAX = 1 << 16


class LineRule(NamedTuple):
    """A line, by its name or its number on the chip."""

    name: str
    line: str | int


class GpioActuator:
    """One line. Args: line: held by us."""

    def __init__(self, line: HeldLine) -> None:
        self._line = line

    async def change(self, parameters: Mapping[str, object]) -> None:
        """Switch to ``{value: true}``, which is high, or false. Raises InvalidRequest or Failed."""
        value = parameters.get("value")
        if not isinstance(value, bool) or len(parameters) != 1:
            raise InvalidRequest("a line takes {value: true} or {value: false}")
        try:
            await asyncio.to_thread(self._line.set, value)
        except DeviceError as exc:
            raise Failed(exc.message, hint=exc.hint) from exc


def provide(provision: Provision) -> Coroutine[Any, Any, None]:
    """``match``: which chip, and ``lines``: a list, each with ``name`` and ``line_name`` or ``line_number``."""
    parameters = Parameters.of(provision.rule, "match", "lines")
    match = parameters.texts("match")
    rules = []
    for one in parameters.each("lines", "name", "line_name", "line_number"):
        if one.has("line_name") == one.has("line_number"):
            raise SettingsError(f"{one.where}: it must have a line_name or a line_number")
        line: str | int = (
            one.text("line_name") if one.has("line_name") else one.whole("line_number", most=LINES_MAX)
        )
        rules.append(LineRule(one.text("name"), line))
    taken: list[str] = []

    async def serve(chip: Found) -> None:
        if taken:
            provision.log(f"{provision.rule.name}: {chip.node} fits too; {taken[0]} is in use already")
            return
        taken.append(chip.node)
        numbers, held = [], []
        try:
            for rule in rules:
                try:
                    line = await asyncio.to_thread(HeldLine, chip.node, rule.line)
                except DeviceError as exc:
                    provision.log(f"{provision.rule.name}: no actuator {rule.name}: {exc.message}")
                    continue
                held.append(line)
                more = {
                    **properties(chip),
                    "gpio.chip_label": line.chip_label,
                    "gpio.line_number": str(line.offset),
                    "gpio.line_name": line.name,
                }
                item = provision.lab.actuators.add(provision.properties(rule.name, more), GpioActuator(line))
                numbers.append(item.number)
            await asyncio.Event().wait()
        finally:
            taken.clear()
            for number in numbers:
                provision.lab.actuators.remove(number)
            for line in held:
                line.close()

    def wanted(chip: Found) -> bool:
        return bool(chip.node) and matches(match, properties(chip))

    return follow("gpio", wanted, serve, provision.log)
