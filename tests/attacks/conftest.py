"""Vehicles that have been through a first, honest round."""

from pathlib import Path

import pytest

from swagent.uptane.codecs import NAMES
from tests.uptane_client.world import World


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
