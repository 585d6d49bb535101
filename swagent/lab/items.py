"""Items and their properties: four registries, each with numbers of its own, never used twice (boardswarm §1.3).

Everything here lives on the event loop. Who watches a registry is never behind: it sees the difference between what it
was told last and what is there now, however much happened in between.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from enum import IntEnum
from typing import Generic, NamedTuple, TypeVar

from .errors import NotThere

T = TypeVar("T")

NAME = "boardswarm.name"
INSTANCE = "boardswarm.instance"
PROVIDER = "boardswarm.provider"
PROVIDER_NAME = "boardswarm.provider.name"

Properties = Mapping[str, str]


class ItemType(IntEnum):
    """The kinds of items, by their numbers on the wire."""

    DEVICE = 0
    CONSOLE = 1
    ACTUATOR = 2
    VOLUME = 3


class Item(NamedTuple, Generic[T]):
    """One thing in the lab.

    Attributes:
        number: its id, one of its registry's.
        properties: what rules are held against.
        what: the thing itself.
    """

    number: int
    properties: Properties
    what: T

    @property
    def name(self) -> str:
        """What people call it; others may be called the same."""
        return self.properties[NAME]

    @property
    def instance(self) -> str | None:
        """The server that it is from, None for one of ours."""
        return self.properties.get(INSTANCE)


def matches(rule: Properties, properties: Properties) -> bool:
    """Whether an item fits a rule: all that it names must be there and equal.

    A remote item fits a rule that names its server only, and a local one a rule that names none (boardswarm §3).
    """
    if INSTANCE in properties and INSTANCE not in rule:
        return False
    return all(properties.get(key) == value for key, value in rule.items())


class Signal:
    """Wakes whoever waits for a change; it counts changes, so that none is missed between two waits."""

    def __init__(self) -> None:
        self.count = 0
        self._waiting: set[asyncio.Event] = set()

    def tell(self) -> None:
        """Something has changed."""
        self.count += 1
        for event in self._waiting:
            event.set()

    async def after(self, count: int) -> int:
        """Wait until there were more than ``count`` changes; how many there were."""
        if self.count > count:
            return self.count
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            await event.wait()
        finally:
            self._waiting.discard(event)
        return self.count


class Change(NamedTuple, Generic[T]):
    """What is new since the last time: items that came, and numbers of those that went."""

    added: tuple[Item[T], ...]
    removed: tuple[int, ...]


class Registry(Generic[T]):
    """The items of one type, in the order of their numbers.

    Args:
        word: what one is called in messages.
    """

    def __init__(self, word: str) -> None:
        self._word = word
        self._items: dict[int, Item[T]] = {}
        self._next = 0
        self.changed = Signal()

    def add(self, properties: Properties, what: T) -> Item[T]:
        """A new item; ``properties`` must have a name."""
        item = Item(self._next, dict(properties), what)
        self._next += 1
        self._items[item.number] = item
        self.changed.tell()
        return item

    def remove(self, number: int) -> None:
        """It is gone; one that was never there is none the less."""
        if self._items.pop(number, None) is not None:
            self.changed.tell()

    def items(self) -> tuple[Item[T], ...]:
        """All of them."""
        return tuple(self._items.values())

    def get(self, number: int) -> Item[T]:
        """One of them.

        Raises:
            NotThere: there is none of this number.
        """
        try:
            return self._items[number]
        except KeyError:
            raise NotThere(f"there is no {self._word} {number}", hint="it may have been unplugged") from None

    def find(self, rule: Properties) -> list[Item[T]]:
        """Those that fit a rule, the lowest number first."""
        return [item for item in self._items.values() if matches(rule, item.properties)]

    async def watch(self) -> AsyncGenerator[Change[T], None]:
        """First all that is there, perhaps nothing; then each difference."""
        told: dict[int, Item[T]] = dict(self._items)
        count = self.changed.count
        yield Change(tuple(told.values()), ())
        while True:
            count = await self.changed.after(count)
            now = dict(self._items)
            added = tuple(item for number, item in now.items() if number not in told)
            removed = tuple(number for number in told if number not in now)
            told = now
            if added or removed:
                yield Change(added, removed)
