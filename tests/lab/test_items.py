"""Items, rules, and who is told of what."""

import asyncio
import random
from typing import Any

import pytest

from swagent.lab.config import DeviceRule, VolumeRule
from swagent.lab.consoles import Console, History
from swagent.lab.devices import Device
from swagent.lab.errors import NotThere
from swagent.lab.items import Registry, matches


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("other", [False, True])
def test_a_rule_for_another_server(remote: bool, named: bool, other: bool) -> None:
    """Local items fit rules that name no server, remote ones those that name theirs."""
    item = {"boardswarm.name": "x", **({"boardswarm.instance": "lab2"} if remote else {})}
    rule = {"boardswarm.name": "x", **({"boardswarm.instance": "lab3" if other else "lab2"} if named else {})}
    assert matches(rule, item) is (remote == named and not (named and other))


def test_rules_compare_to_the_byte() -> None:
    assert matches({}, {"a": "b"})
    assert not matches({"a": "B"}, {"a": "b"})
    assert not matches({"c": "b"}, {"a": "b"})


def test_numbers_are_never_used_twice() -> None:
    registry: Registry[str] = Registry("thing")
    first = registry.add({"boardswarm.name": "a"}, "a")
    registry.remove(first.number)
    registry.remove(first.number)
    assert registry.add({"boardswarm.name": "a"}, "a").number == 1
    with pytest.raises(NotThere, match="no thing 0"):
        registry.get(0)


def test_who_watches_is_never_behind() -> None:
    """However much happens between two looks, the watcher ends with what is there."""

    async def watch() -> None:
        registry: Registry[int] = Registry("thing")
        seen: set[int] = set()
        dice = random.Random(7)

        async def look() -> None:
            async for change in registry.watch():
                assert not seen & {item.number for item in change.added}
                assert set(change.removed) <= seen
                seen.difference_update(change.removed)
                seen.update(item.number for item in change.added)
                await asyncio.sleep(0)

        watcher = asyncio.ensure_future(look())
        for _ in range(2000):
            if dice.random() < 0.5:
                registry.add({"boardswarm.name": "x"}, 0)
            elif registry.items():
                registry.remove(dice.choice(registry.items()).number)
            if dice.random() < 0.2:
                await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert seen == {item.number for item in registry.items()}
        watcher.cancel()

    asyncio.run(watch())


def test_the_newest_item_takes_a_slot_and_its_end_empties_it() -> None:
    async def plug() -> None:
        volumes: Registry[Any] = Registry("volume")
        rule = DeviceRule("board", (), (VolumeRule("disk", {"kind": "usb"}),), ())
        device = Device(
            rule, consoles=Registry("console"), volumes=volumes, actuators=Registry("actuator"), log=print
        )
        running = asyncio.ensure_future(device.run())
        states = device.watch()
        assert (await anext(states)).volumes[0].number is None
        volumes.add({"boardswarm.name": "a", "kind": "usb"}, None)
        assert (await anext(states)).volumes[0].number == 0
        volumes.add({"boardswarm.name": "b", "kind": "sd"}, None)
        volumes.add({"boardswarm.name": "c", "kind": "usb"}, None)
        assert (await anext(states)).volumes[0].number == 2
        volumes.remove(2)
        assert (await anext(states)).volumes[0].number is None  # the older one does not come back
        running.cancel()

    asyncio.run(plug())


# -- what a console remembers


@pytest.mark.parametrize("seed", range(20))
def test_a_history_is_the_end_of_what_was_said(seed: int) -> None:
    dice, said, history = random.Random(seed), b"", History(1000)
    for _ in range(300):
        piece = dice.randbytes(dice.choice((0, 1, 3, 200, 2500)))
        said += piece
        history.add(piece)
        assert history.end == len(said)
        assert history.end - history.begin >= min(len(said), 1000)
        place = dice.randint(history.begin, history.end)
        assert history.since(place, 700) == said[place : place + 700]
    assert history.end - history.begin < 1000 + 2500 + 4096


class Silent:
    """A port to nowhere."""

    async def open(self, console: Console) -> None: ...
    async def write(self, data: bytes) -> None: ...
    async def configure(self, parameters: object) -> None: ...
    async def close(self) -> None: ...


def test_a_reader_that_is_too_slow_is_told_what_it_lost() -> None:
    async def read() -> None:
        console = Console(Silent(), history_bytes=1000)
        output = await console.listen()
        console.heard(b"first")
        assert (await anext(output)).data == b"first"
        for _ in range(10):
            console.heard(bytes(5000))
        heard = await anext(output)
        assert heard.lost_bytes == 45_000
        assert len(heard.data) == 5000

    asyncio.run(read())
