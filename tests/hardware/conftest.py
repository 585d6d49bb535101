"""Fixtures for the devices of the hardware bench (tools/hwbench); everywhere else these tests are skipped."""

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DEVICES = Path("/dev/hwbench")


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses by the mark
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    on_bench = os.environ.get("HWBENCH") == "1"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.hardware)
            if not on_bench:
                item.add_marker(pytest.mark.skip(reason="needs the hardware bench: make test-hw"))


def device(name: str) -> str:
    """The kernel's own path of a device of the bench, such as /dev/mtd0 for ``nand``.

    A device that the bench was not asked for (``--devices``) skips the test; one that did not come up fails it.
    """
    link = DEVICES / name
    if not link.is_symlink():
        pytest.skip(f"the bench was started without {name}")
    path = link.resolve()
    assert path.exists(), f"{name} did not come up: {link} leads nowhere"
    return str(path)


@pytest.fixture
def nand() -> str:
    """NAND, 8 MiB: pages of 2 KiB, erase blocks of 128 KiB."""
    return device("nand")


@pytest.fixture
def nand_ubi() -> str:
    """NAND, 120 MiB, which UBI is attached to."""
    return device("nand-ubi")


@pytest.fixture
def ubi() -> str:
    """A UBI device; tests remove the volumes that they make."""
    return device("ubi")


@pytest.fixture
def nor() -> str:
    """NOR flash, 16 MiB: erase blocks of 64 KiB, written byte by byte."""
    return device("nor")


@pytest.fixture
def flash() -> str:
    """An MTD device of 64 MiB on a disk; it outlives the guest with ``--state``."""
    return device("flash")


@pytest.fixture
def disk() -> str:
    """A disk of 256 MiB."""
    return device("disk")


@pytest.fixture
def sd() -> str:
    """An SD card of 256 MiB."""
    return device("sd")


@pytest.fixture
def emmc() -> str:
    """An eMMC of 4 GiB with two boot partitions."""
    return device("emmc")


@pytest.fixture
def gpio() -> str:
    """A GPIO chip with 16 lines, line0 to line15."""
    return device("gpio")


@pytest.fixture
def uart_a() -> str:
    """One end of a serial line."""
    return device("uart-a")


@pytest.fixture
def uart_b() -> str:
    """The other end of ``uart_a``."""
    return device("uart-b")
