"""Devices: boards, made of consoles, volumes and modes that rules find among the items (boardswarm §1.4)."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol

from swagent.errors import LabError

from .actuators import Actuator
from .config import DeviceRule, ModeRule
from .consoles import Console
from .errors import Failed, NotNow, NotThere
from .items import Item, ItemType, Registry, Signal, matches
from .volumes import Volume


class Slot(NamedTuple):
    """A console or volume of a device, and the item that fills it."""

    name: str
    number: int | None


class ModeState(NamedTuple):
    """A mode of a device."""

    name: str
    depends: str | None
    available: bool


class DeviceState(NamedTuple):
    """All that clients see of a device; ``mode`` is None when nobody knows."""

    consoles: tuple[Slot, ...]
    volumes: tuple[Slot, ...]
    modes: tuple[ModeState, ...]
    mode: str | None


class AnyDevice(Protocol):
    """A device, here or on another server."""

    def watch(self) -> AsyncGenerator[DeviceState, None]:
        """How it is now, then each time that something has changed."""
        ...

    async def change_mode(self, name: str) -> None:
        """Go through the steps of a mode.

        Raises:
            LabError: there is none, or it cannot be entered, or a step failed.
        """
        ...


class Device:
    """One board.

    Args:
        rule: what it is made of.
        consoles, volumes, actuators: where its parts are found.
        log: hears of consoles that refuse their parameters.
        sleep: waits; tests have no time.
    """

    def __init__(
        self,
        rule: DeviceRule,
        *,
        consoles: Registry[Console],
        volumes: Registry[Volume],
        actuators: Registry[Actuator],
        log: Callable[[str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rule = rule
        self._consoles = consoles
        self._volumes = volumes
        self._actuators = actuators
        self._log = log
        self._sleep = sleep
        self._console_slots: dict[str, int | None] = {one.name: None for one in rule.consoles}
        self._volume_slots: dict[str, int | None] = {one.name: None for one in rule.volumes}
        self._mode: str | None = None
        self._switched: set[int] = set()  # the actuators that the present mode was entered by
        self._changing = asyncio.Lock()
        self._changed = Signal()

    async def run(self) -> None:
        """Keep the slots filled; ends when it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._bind_consoles())
            tasks.create_task(self._bind_volumes())
            tasks.create_task(self._watch_actuators())

    def state(self) -> DeviceState:
        """How it is now."""
        return DeviceState(
            tuple(Slot(name, number) for name, number in self._console_slots.items()),
            tuple(Slot(name, number) for name, number in self._volume_slots.items()),
            tuple(ModeState(mode.name, mode.depends, self._available(mode)) for mode in self._rule.modes),
            self._mode,
        )

    async def watch(self) -> AsyncGenerator[DeviceState, None]:
        """How it is now, then each time that something has changed."""
        count, told = self._changed.count, self.state()
        yield told
        while True:
            count = await self._changed.after(count)
            now = self.state()
            if now != told:
                told = now
                yield now

    def holds(self, kind: ItemType, number: int) -> bool:
        """Whether an item is a part of this device now."""
        if kind is ItemType.CONSOLE:
            return number in self._console_slots.values()
        if kind is ItemType.VOLUME:
            return number in self._volume_slots.values()
        if kind is ItemType.ACTUATOR:
            steps = (step for mode in self._rule.modes for step in mode.sequence)
            return any(item.number == number for step in steps for item in self._actuators.find(step.match))
        return False

    async def change_mode(self, name: str) -> None:
        """Go through the steps of a mode; one change at a time, and a client that goes away stops none half-way.

        Raises:
            NotThere: there is no such mode.
            NotNow: the mode that it depends on is not the present one.
            Failed: a step could not be done; the mode is unknown from then on.
        """
        mode = next((mode for mode in self._rule.modes if mode.name == name), None)
        if mode is None:
            known = ", ".join(mode.name for mode in self._rule.modes)
            raise NotThere(f"{self._rule.name} has no mode {name[:80]!r}", hint=f"its modes are {known}")
        await asyncio.shield(asyncio.ensure_future(self._go_through(mode)))

    async def _go_through(self, mode: ModeRule) -> None:
        async with self._changing:
            if mode.depends is not None and self._mode != mode.depends:
                raise NotNow(
                    f"{self._rule.name} must be in mode {mode.depends} before {mode.name}, and is in "
                    f"{self._mode or 'none that is known'}",
                    hint=f"change to {mode.depends} first",
                )
            self._switched.clear()
            self._set_mode(None)
            for number, step in enumerate(mode.sequence, 1):
                found = self._actuators.find(step.match)
                if not found:
                    raise Failed(f"step {number} of mode {mode.name}: its actuator is not there")
                try:
                    await found[0].what.change(step.parameters)
                except LabError as exc:
                    raise Failed(f"step {number} of mode {mode.name}: {exc.message}", hint=exc.hint) from exc
                self._switched.add(found[0].number)
                if step.stabilisation_s:
                    await self._sleep(step.stabilisation_s)
            if not self._switched <= {item.number for item in self._actuators.items()}:
                raise Failed(f"mode {mode.name}: what was switched has gone meanwhile")
            self._set_mode(mode.name)

    def _set_mode(self, mode: str | None) -> None:
        self._mode = mode
        self._changed.tell()

    def _available(self, mode: ModeRule) -> bool:
        return all(self._actuators.find(step.match) for step in mode.sequence)

    # -- slots: the newest item that fits takes one, and one that goes leaves it empty

    async def _bind_consoles(self) -> None:
        async for change in self._consoles.watch():
            self._release(self._console_slots, change.removed)
            for item in change.added:
                for rule in self._rule.consoles:
                    if matches(rule.match, item.properties):
                        await self._take(item, rule.parameters)
                        self._console_slots[rule.name] = item.number
            self._changed.tell()

    async def _take(self, item: Item[Console], parameters: Mapping[str, object]) -> None:
        """Set a console up, and listen to it from now on: what a board says before anybody looks is remembered."""
        try:
            await item.what.configure(parameters)
        except LabError as exc:
            self._log(f"{self._rule.name}: console {item.name} refuses its parameters: {exc.message}")
        try:
            await item.what.open()
        except LabError as exc:
            self._log(f"{self._rule.name}: console {item.name} is not listened to yet: {exc.message}")

    async def _bind_volumes(self) -> None:
        async for change in self._volumes.watch():
            self._release(self._volume_slots, change.removed)
            for item in change.added:
                for rule in self._rule.volumes:
                    if matches(rule.match, item.properties):
                        self._volume_slots[rule.name] = item.number
            self._changed.tell()

    async def _watch_actuators(self) -> None:
        async for change in self._actuators.watch():
            if self._switched & set(change.removed):  # nobody knows how the board is without it
                self._switched.clear()
                self._mode = None
            self._changed.tell()

    def _release(self, slots: dict[str, int | None], removed: tuple[int, ...]) -> None:
        for name, number in slots.items():
            if number in removed:
                slots[name] = None
