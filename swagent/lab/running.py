"""What runs of a configuration: its providers and devices. Another one changes what is different, and no more."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple

from swagent.errors import SwagentError
from swagent.plugins import Registry

from .access import Access
from .config import DeviceRule, LabConfig, ProviderRule
from .devices import Device
from .items import INSTANCE, NAME, PROVIDER_NAME, ItemType, Properties
from .lab import BUILT_INS, SHELF, Lab, Provide, Provision


class Ready(NamedTuple):
    """What can begin: checked, and not begun."""

    providers: tuple[tuple[ProviderRule, Coroutine[Any, Any, None] | None], ...]
    devices: tuple[tuple[DeviceRule, Device | None], ...]

    def forget(self) -> None:
        """It will not begin."""
        for _, work in self.providers:
            if work is not None:
                work.close()


class _Part(NamedTuple):
    rule: Any
    task: "asyncio.Task[None]"
    number: int = -1


class Running:
    """The providers and devices at work.

    Args:
        lab: where their items go.
        access: knows the leases of devices.
        log: takes sentences for people.
    """

    def __init__(self, lab: Lab, access: Access, log: Callable[[str], None]) -> None:
        self._lab = lab
        self._access = access
        self._log = log
        self._providers: list[_Part] = []
        self._devices: list[_Part] = []

    def prepare(self, config: LabConfig) -> Ready:
        """Check what is new of a configuration; None stands for what runs already.

        Raises:
            SettingsError: a provider's parameters make no sense.
        """
        shelf: Registry[Provide] = Registry(SHELF)
        shelf.add_built_ins("swagent.lab.providers", BUILT_INS)
        providers: list[tuple[ProviderRule, Coroutine[Any, Any, None] | None]] = []
        same = [_plain(part.rule) for part in self._providers if not part.task.done()]
        try:
            for rule in config.providers:
                if _plain(rule) in same:
                    providers.append((rule, None))
                    continue
                provide = shelf.get(rule.kind)
                if provide is None:
                    self._log(_unknown(rule, shelf.names()))
                    continue
                providers.append((rule, provide(Provision(rule, self._lab, self._log))))
        except BaseException:
            Ready(tuple(providers), ()).forget()
            raise
        there = [part.rule for part in self._devices]
        devices = tuple((rule, None if rule in there else self._device(rule)) for rule in config.devices)
        return Ready(tuple(providers), devices)

    async def apply(self, ready: Ready, tasks: asyncio.TaskGroup) -> None:
        """End what is not wanted any more, and begin what is new."""
        kept = [_plain(rule) for rule, work in ready.providers if work is None]
        ended = [part for part in self._providers if _plain(part.rule) not in kept]
        self._providers = [part for part in self._providers if part not in ended]
        await _end(ended)
        for part in ended:
            await self._remove_items(part.rule)
        stay = [rule for rule, device in ready.devices if device is None]
        left = [part for part in self._devices if part.rule not in stay]
        self._devices = [part for part in self._devices if part not in left]
        await _end(left)
        for rule, device in ready.devices:
            if device is None:
                continue
            task = tasks.create_task(device.run())
            item = self._lab.devices.add({NAME: rule.name}, device)
            self._devices.append(_Part(rule, task, item.number))
            for old in left:
                if old.rule.name == rule.name:
                    self._access.move(old.number, item.number)
        for part in left:
            self._access.move(part.number, None)
            self._lab.devices.remove(part.number)
        for provider, work in ready.providers:
            if work is not None:
                self._providers.append(_Part(provider, tasks.create_task(self._provide(provider.name, work))))

    def _device(self, rule: DeviceRule) -> Device:
        lab = self._lab
        return Device(
            rule, consoles=lab.consoles, volumes=lab.volumes, actuators=lab.actuators, log=self._log
        )

    async def _provide(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """A provider that fails ends alone, said once; the lab goes on."""
        try:
            await work
        except SwagentError as exc:
            self._log(f"provider {name} has ended: {exc.message}")
        except Exception as exc:  # noqa: BLE001 - one provider's bug must not cost all the others
            self._log(f"provider {name} has ended by {type(exc).__name__}: {exc}")

    async def _remove_items(self, rule: ProviderRule) -> None:
        for kind in ItemType:
            registry = self._lab.registry(kind)
            for item in registry.items():
                if _is_from(item.properties, rule):
                    registry.remove(item.number)
                    if kind is ItemType.CONSOLE:
                        await item.what.close()


def _plain(rule: ProviderRule) -> ProviderRule:
    """Without its place in the file, which is no difference."""
    return rule._replace(where="")


def _is_from(properties: Properties, rule: ProviderRule) -> bool:
    if INSTANCE in properties:
        return properties[INSTANCE] == rule.name and rule.kind == "boardswarm"
    return properties.get(PROVIDER_NAME) == rule.name


def _unknown(rule: ProviderRule, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(rule.kind, list(known), n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"{rule.where}: there is no provider {rule.kind[:80]!r}, it brings nothing ({hint})"


async def _end(parts: list[_Part]) -> None:
    for part in parts:
        part.task.cancel()
    await asyncio.gather(*(part.task for part in parts), return_exceptions=True)
