"""Vehicles that have been through a first, honest round."""

from pathlib import Path
from zlib import crc32

import pytest

from swagent.uptane.codecs import NAMES
from swagent.uptane_server.inventory import Inventory
from tests.uptane_client.world import World
from tests.uptane_server.databases import blank_sqlite, inventory, postgresql, sqlite
from tests.uptane_server.fleet import Fleet

__all__ = ["blank_sqlite", "inventory", "postgresql", "sqlite"]
SAMPLE = 5
"""Of so many tests in other dialects than our own one is run each time, always the same; the others are slow ones."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave most of what differs by its encoding alone to ``make test-all``."""
    for item in items:
        if Path(__file__).parent not in item.path.parents or not isinstance(item, pytest.Function):
            continue
        params = item.callspec.params.values() if hasattr(item, "callspec") else ()
        elsewhere = any(str(each).startswith(("ak", "ref-")) for each in params)
        if elsewhere and crc32(item.nodeid.rpartition("/")[2].encode()) % SAMPLE:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(params=NAMES)
def world(request: pytest.FixtureRequest, quick_path: Path) -> World:
    """A Primary and a full Secondary."""
    return World(quick_path, request.param).started()


@pytest.fixture(params=[f"{name}-{kind}" for name in NAMES for kind in ("full", "partial")])
def either(request: pytest.FixtureRequest, quick_path: Path) -> World:
    """A Primary and a Secondary of either kind."""
    dialect, _, kind = request.param.rpartition("-")
    world = World(quick_path, dialect)
    world.partial = kind == "partial"
    return world.started()


@pytest.fixture(params=NAMES)
def partial(request: pytest.FixtureRequest, quick_path: Path) -> World:
    """A Primary and a partial Secondary."""
    world = World(quick_path, request.param)
    world.partial = True
    return world.started()


@pytest.fixture(params=NAMES)
def fleet(request: pytest.FixtureRequest, sqlite: Inventory) -> Fleet:
    """A Director, and a vehicle of two ECUs that has made itself known."""
    return Fleet(sqlite, request.param)
