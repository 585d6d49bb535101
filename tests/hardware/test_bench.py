"""The bench itself: every device is there, and is what the tests take it for."""

import stat
from pathlib import Path

import pytest

from .conftest import device


@pytest.mark.parametrize("name", ["nand", "nand-ubi", "ubi", "nor", "flash", "gpio", "uart-a", "uart-b"])
def test_character_device(name: str) -> None:
    assert stat.S_ISCHR(Path(device(name)).stat().st_mode)


@pytest.mark.parametrize("name", ["disk", "sd", "emmc"])
def test_block_device(name: str) -> None:
    assert stat.S_ISBLK(Path(device(name)).stat().st_mode)


def test_what_is_written_here_is_lost_with_the_guest() -> None:
    filesystems = dict(line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines())
    assert filesystems["/"] == "overlay"
