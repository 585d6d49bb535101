"""Row 27: a name that leads out of the folder, signed by both repositories."""

from pathlib import Path

import pytest

from swagent.errors import SettingsError
from swagent.testing.repositories import image_target
from swagent.uptane.errors import InvalidMetadata
from tests.uptane_client.world import PRIMARY, TCU, World

from .scenes import honest_again, nothing_installed, refuses

NAMES = [
    "../evil.img",
    "a/../../evil.img",
    "..",
    ".",
    "a/./b",
    "a//b",
    "a/",
    "/etc/evil.img",
    "//etc/evil.img",
    "..\\evil.img",
    "C:evil.img",
    "evil\0.img",
    "evil\n.img",
    "x" * 256,
    "x/" * 600 + "x",
]


def outside(world: World) -> set[Path]:
    return {
        path
        for path in Path(world.folder).rglob("*")
        if "db" not in path.parts and "metadata" not in path.parts
    }


@pytest.mark.parametrize("serial", [PRIMARY, TCU])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_leads_elsewhere(either: World, name: str, serial: str) -> None:
    if name == "/etc/evil.img" and either.dialect.startswith("ref"):
        pytest.skip("one leading slash is how this dialect spells names")
    try:
        either.order(serial, name, b"evil")
    except SettingsError:
        pytest.skip("this encoding cannot spell it")
    there = outside(either)
    with nothing_installed(either):
        refuses(either.primary().cycle, InvalidMetadata)
        if serial == TCU:
            refuses(either.secondary().cycle, InvalidMetadata)
    assert outside(either) == there
    for sim in (either.director, either.image):
        sim.targets.pop(name)
    honest_again(either)


def test_a_name_of_a_folder(world: World) -> None:
    world.order(PRIMARY, "a/b.img", b"good")
    world.primary().cycle()
    world.director.targets = {"a": image_target("a", b"evil", PRIMARY)}
    world.image.targets["a"] = image_target("a", b"evil")
    world.mirror.images["a"] = b"evil"
    world.publish()
    with nothing_installed(world), pytest.raises(Exception) as caught:
        world.primary().cycle()
    assert type(caught.value).__module__.startswith("swagent")
    honest_again(world)
