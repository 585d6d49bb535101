"""Differential updates: deltas of librsync. (The ``delta`` of 2022.12 hangs where it has no network, as here.)"""

import struct
from pathlib import Path

import pytest

from tests.conftest import KeyRing

from .bench import Case, check, files, images, params, software, to_device, to_file

OLD = bytes(range(256)) * 64
DISK = b"\xa5" * 0x8000
MAGIC = struct.pack(">I", 0x72730236)
LITERAL = b"\x42\x00\x05fresh"
DELTA = MAGIC + b"\x4a" + struct.pack(">HH", 0x200, 0x1000) + LITERAL + b"\x45\x07\x03\x04tail\0"
NEW = OLD[0x200:0x1200] + b"fresh" + OLD[7:10] + b"tail"
OTHER_BASE = MAGIC + LITERAL + b"\x4a" + struct.pack(">HH", 0x3FFF, 2) + b"\0"


def rdiff_image(delta: str = "a", **attributes: object) -> str:
    return images(to_device(delta, type="rdiff_image", properties={"rdiffbase": "@ROOT@/base"}, **attributes))


def rdiff(name: str, description: str, delta: bytes, **more: object) -> Case:
    return Case(
        name=f"rdiff-{name}",
        description=software(description),
        members={"a": delta},
        device={"base": OLD, "disk": DISK[: len(NEW)]},
        **more,  # type: ignore[arg-type]  # fields of Case
    )


BEFORE = {"base": OLD, "disk": DISK[: len(NEW)]}
END = "end of an `rdiff` delta"
FAILED = "slot file after a failed `rdiff_image`"
TO_FILE = files(to_file("a", "base", type="rdiff_file"))

CASES = [
    rdiff("image", rdiff_image(), DELTA, holds={"base": OLD, "disk": NEW}, quick=True),
    rdiff("image-streamed", rdiff_image(installed_directly=True), DELTA, holds={"base": OLD, "disk": NEW}),
    rdiff("file", TO_FILE, DELTA, holds={**BEFORE, "base": NEW}),
    rdiff("image-offset", rdiff_image(offset="16"), DELTA, ok=False, exit=34),
    rdiff("no-delta", rdiff_image(), b"not a delta", ok=False, exit=10,
          holds={"base": OLD, "disk": b""}, ours=BEFORE, differs=FAILED),
    rdiff("file-no-delta", TO_FILE, b"not a delta", ok=False, exit=10),
    rdiff("no-end", rdiff_image(), DELTA[:-1], holds={"base": OLD, "disk": NEW},
          exit=10, ours=BEFORE, says="cut short", differs=END),
    rdiff("file-no-end", TO_FILE, DELTA[:-1], holds={**BEFORE, "base": NEW},
          exit=10, ours=BEFORE, says="cut short", differs=END),
    rdiff("goes-on", rdiff_image(), DELTA + b"more", holds={"base": OLD, "disk": NEW},
          exit=10, ours=BEFORE, says="goes on behind its end", differs=END),
    rdiff("other-base", rdiff_image(), OTHER_BASE, ok=False, exit=10, says="made for another base",
          holds={"base": OLD, "disk": b""}, ours=BEFORE, differs=FAILED),
    rdiff("file-other-base", TO_FILE, OTHER_BASE, ok=False, exit=10),
    rdiff("missing-file", files(to_file("a", "missing", type="rdiff_file")), DELTA, ok=False, exit=41),
]  # fmt: skip


@pytest.mark.parametrize("case", params(CASES))
def test_deltas(case: Case, tmp_path: Path, key_ring: KeyRing) -> None:
    check(case, tmp_path, key_ring)
