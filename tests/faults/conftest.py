"""Devices for the tests of this folder."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .device import Device


@pytest.fixture(scope="module")
def quick_folder() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of installs are not about the disk."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="swagent-faults-", dir=memory))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def shared_device(quick_folder: Path) -> Device:
    """One device for all tests of a module; ``reset`` it."""
    return Device(quick_folder / "unit")


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """A device of the test's own."""
    return Device(tmp_path / "unit")
