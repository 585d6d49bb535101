"""U-Boot's environment in UBI volumes of a real kernel, against libubootenv's own tools."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.bootloader.uboot import UBoot
from swagent.errors import BootEnvError
from swagent.hw.ubi import KernelUbi, Volume

SIZE_BYTES = 0x1F000
NAMES = ("env", "redund")


class Unit:
    """One or two volumes with an environment, and fw_env.config."""

    def __init__(self, folder: Path, places: list[str], size_bytes: int = SIZE_BYTES) -> None:
        self.config = folder / "fw_env.config"
        self.config.write_text("".join(f"{place} 0x0 {size_bytes:#x}\n" for place in places))
        self.tools_config = folder / "tools.config"  # fw_printenv 0.3.2 does not know /dev/mtdX:name
        self.tools_config.write_text(re.sub("/dev/mtd[0-9]+:", "/dev/ubi0:", self.config.read_text()))
        self.defaults = folder / "defaults"
        self.defaults.write_text("a=1\nb=2\n")
        self.loader = UBoot({"fwenv-config-location": str(self.config)})

    def tool(self, *words: str) -> str:
        argv = [words[0], "-c", str(self.tools_config), "-f", str(self.defaults), *words[1:]]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    def printed(self) -> dict[str, str]:
        """What fw_printenv reads."""
        return dict(line.split("=", 1) for line in self.tool("fw_printenv").splitlines())


@pytest.fixture
def kernel(ubi: str) -> Iterator[KernelUbi]:
    kernel = KernelUbi()
    number = kernel.devices()[0].number
    yield kernel
    for volume in kernel.volumes(number):
        kernel.remove(volume)


def made(kernel: KernelUbi, *, static: bool = False, names: tuple[str, ...] = NAMES) -> list[Volume]:
    number = kernel.devices()[0].number
    return [kernel.create(number, name, SIZE_BYTES, static=static) for name in names]


@pytest.mark.parametrize("way", ["name", "id", "mtd"])
def test_each_changes_what_the_other_wrote(
    tmp_path: Path, kernel: KernelUbi, nand_ubi: str, way: str
) -> None:
    volumes = made(kernel, static=way == "id")
    places = {
        "name": [f"/dev/ubi{volume.ubi}:{volume.name}" for volume in volumes],
        "id": [volume.path for volume in volumes],
        "mtd": [f"{nand_ubi}:{volume.name}" for volume in volumes],
    }[way]
    unit = Unit(tmp_path, places)
    with pytest.raises(BootEnvError, match="no valid boot environment"):
        unit.loader.set_many({"c": "3"})  # an empty volume is no environment, and gets none
    unit.tool("fw_setenv", "c", "3")  # from its defaults
    assert unit.loader.all() == {"a": "1", "b": "2", "c": "3"}
    for number in range(3):
        unit.loader.set_many({"n": str(number), "b": None})
        assert unit.printed() == {"a": "1", "c": "3", "n": str(number)}
        unit.tool("fw_setenv", "c", "3")
        unit.tool("fw_setenv", "back", str(number))
        assert unit.loader.get("back") == str(number)
        unit.loader.set_many({"back": None})


def test_a_cut_update_leaves_the_other_copy(tmp_path: Path, kernel: KernelUbi) -> None:
    unit = Unit(tmp_path, [f"/dev/ubi{volume.ubi}:{volume.name}" for volume in made(kernel)])
    unit.tool("fw_setenv", "c", "3")
    stored = [unit.loader.all()]
    unit.loader.set_many({"d": "4"})
    stored.append(unit.loader.all())
    number = kernel.devices()[0].number
    for name in NAMES:
        (volume,) = (one for one in kernel.volumes(number) if one.name == name)
        opened = kernel.open(volume, writable=True)
        opened.begin_update(SIZE_BYTES)
        opened.write(b"half of it")
        opened.close()
        assert next(one for one in kernel.volumes(number) if one.name == name).interrupted
        assert unit.loader.all() in stored
        unit.loader.set_many({"d": f"after {name}"})
        assert unit.loader.get("d") == unit.printed()["d"] == f"after {name}"
        assert not any(one.interrupted for one in kernel.volumes(number))
        stored = [unit.loader.all()]
        unit.loader.set_many({"e": name})  # both hold something again
        stored.append(unit.loader.all())


def test_a_single_copy(tmp_path: Path, kernel: KernelUbi) -> None:
    (volume,) = made(kernel, names=("env",))
    unit = Unit(tmp_path, [volume.path])
    unit.tool("fw_setenv", "c", "3")
    unit.loader.set_many({"c": "4"})
    assert unit.loader.all() == unit.printed() == {"a": "1", "b": "2", "c": "4"}
    unit.tool("fw_setenv", "c", "5")
    assert unit.loader.get("c") == "5"
