import pytest

from swagent.bootloader import Bootloader, registry
from swagent.bootloader.none import NoBootloader


@pytest.mark.parametrize("name", ["ebg", "grub", "none", "uboot"])
def test_built_ins_open_nothing_yet(name: str) -> None:
    factory = registry().get(name)
    assert factory is not None
    loader: Bootloader = factory({"fwenv-config-location": "/nonexistent", "grubenv-path": "/nonexistent"})
    assert loader.name == name


def test_none() -> None:
    loader = NoBootloader()
    loader.set_many({"b": "1", "a": "2"})
    loader.set_many({"b": "", "c": None, "d": "4"})
    assert loader.get("a") == "2"
    assert loader.get("b") is None
    assert loader.all() == {"a": "2", "d": "4"}
    loader.all()["a"] = "changed"
    assert loader.get("a") == "2"
    assert NoBootloader().all() == {}
