"""Many listeners and silent peers beside an install: everybody is served, and memory stays."""

import os
from pathlib import Path

import pytest

from tests.conftest import KeyRing

from .load import measured
from .running import HARDWARE, daemon, signed_image

MIB = 1 << 20


@pytest.mark.parametrize("size_mib", [64, pytest.param(1024, marks=pytest.mark.slow)])
@pytest.mark.timeout(1200)
def test_a_crowd(tmp_path: Path, key_ring: KeyRing, size_mib: int) -> None:
    image = signed_image(tmp_path, key_ring, os.urandom(MIB) * size_mib, direct=True)
    small = signed_image(tmp_path, key_ring, b"small", name="small.swu")
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        first = measured(running, small)
        alone = measured(running, image)
        crowded = measured(running, image, listeners=200, idle=50)
    print(
        f"{size_mib} MiB: {alone.seconds:.2f} s alone, {crowded.seconds:.2f} s with a crowd, {alone} {crowded}"
    )
    assert crowded.heard >= 200 * 5, "each hears of start, version, step, end, and some percents"
    assert alone.peak_kib - first.peak_kib < 24 * 1024
    assert crowded.peak_kib - alone.peak_kib < 8 * 1024
