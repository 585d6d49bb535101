"""What all attacks have in common: a refusal that leaves everything as it was, and an honest round behind it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from swagent.errors import SwagentError
from tests.uptane_client.world import PRIMARY, TCU, World

_numbers = count()


def running(world: World) -> dict[str, bytes]:
    """What the ECUs run."""
    return {serial: installer.runs for serial, installer in world.installers.items()}


@contextmanager
def nothing_installed(world: World) -> Iterator[None]:
    """All ECUs run afterwards what they ran before."""
    before = running(world)
    yield
    assert running(world) == before


@contextmanager
def kept(world: World, repository: str = "") -> Iterator[None]:
    """Nothing is installed, and both ECUs' metadata (of one repository) is afterwards what it was, byte for byte."""

    def metadata() -> dict[str, bytes]:
        return {name: raw for name, raw in world.kept().items() if f"/{repository}" in name}

    before = metadata()
    with nothing_installed(world):
        yield
    assert metadata() == before, "kept"


def refuses(cycle: Callable[[], object], *errors: type[SwagentError], role: str = "") -> SwagentError:
    """The cycle ends with one of these errors, about this role."""
    with pytest.raises(errors) as caught:
        cycle()
    if role:
        assert getattr(caught.value, "role", "") == role
    assert caught.value.message
    return caught.value


def honest_again(world: World, **facts: Any) -> None:
    """The next honest cycle of both ECUs succeeds.

    Args:
        facts: of both images, such as their release counter.
    """
    newest = f"the honest image number {next(_numbers)}".encode()
    world.link.lies.clear()
    world.order(PRIMARY, "info.img", newest, **facts)
    world.order(TCU, data=newest, **facts)
    world.secondary().report()  # its nonce, for the next attestation
    assert world.round() == "updated"
    assert running(world) == {PRIMARY: newest, TCU: newest}


def attacks_told(world: World) -> str:
    """What the last vehicle manifest says of attacks, by the Primary or its Secondaries."""
    found = world.codec.decode_vehicle_report(world.service.taken[-1]).content
    reports = [raw for raws in found.ecus.values() for raw in raws]
    return "\n".join(
        [found.attacks, *(world.codec.decode_ecu_report(raw).content.attacks for raw in reports)]
    )
