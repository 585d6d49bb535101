"""What one entry promises, the others count on: partitions that an update will make."""

from pathlib import Path

import pytest

from swagent.errors import PreflightRefused
from swagent.handlers.api import Coming
from swagent.handlers.raw import Raw
from swagent.model import Artifact, Kind
from swagent.testing import FakeContext, FakeHardware


def preflight(device: str, size_bytes: int, ctx: FakeContext) -> None:
    art = Artifact(
        Kind.IMAGE, "raw", filename="x", device=device, size_bytes=size_bytes, installed_directly=True
    )
    Raw().preflight(art, Raw.Options(), ctx)


@pytest.fixture
def ctx(tmp_path: Path) -> FakeContext:
    """An update that makes ``new`` (not there yet) and makes ``old``, which is small and in use, larger."""
    old = tmp_path / "old"
    old.touch()
    hw = FakeHardware(capacities={str(old): 100}, busy={str(old): "it is mounted"})
    coming = [Coming("/dev/disk", name, str(tmp_path / name), 1000) for name in ("old", "new")]
    return FakeContext(str(tmp_path), hw=hw, coming=coming)


@pytest.mark.parametrize("name", ["old", "new"])
def test_a_partition_counts_as_it_will_be(ctx: FakeContext, name: str) -> None:
    path = f"{ctx.tmpdir}/{name}"
    preflight(path, 1000, ctx)
    with pytest.raises(PreflightRefused, match="holds only 1000"):
        preflight(path, 1001, ctx)


@pytest.mark.parametrize(("name", "text"), [("old", "it is mounted"), ("new", "cannot find")])
def test_without_a_promise_it_counts_as_it_is(ctx: FakeContext, name: str, text: str) -> None:
    ctx.coming.clear()
    with pytest.raises(PreflightRefused, match=text):
        preflight(f"{ctx.tmpdir}/{name}", 100, ctx)
