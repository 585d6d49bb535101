"""Block maps of bmap-tools and sparse images of Android's own tool, written to a volume."""

import gzip
import hashlib
import lzma
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swagent.errors import ArchiveError, FormatError, HashError, SwagentError
from swagent.lab.bmap import BlockMap, Range, find_map, mapped, read_map
from swagent.lab.client import _gathered
from tests.programs import Done, run_swagent

from .labs import SERVER, Keys, serving

IMAGE_BYTES = 6 << 20
CONFIGURATION = f"""{SERVER}
providers:
  - name: disks
    provider: file
    parameters:
      volumes: [ {{ name: disk, targets: [ {{ name: emmc, path: disk.img }} ] }} ]
devices:
  - name: board
    consoles: []
    volumes: [ {{ name: storage, match: {{}} }} ]
    modes: []
"""


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"needs {program}")
    return found


def image(folder: Path) -> bytes:
    """An image with holes at its end and within; its last block is not whole."""
    path = folder / "image.img"
    with open(path, "wb") as file:
        file.truncate(IMAGE_BYTES + 100)
        for at, n_bytes in ((0, 5000), (1 << 20, 3 << 20), (5 << 20, 4096), (IMAGE_BYTES, 100)):
            file.seek(at)
            file.write(bytes((at >> 12) % 250 + 1 for _ in range(n_bytes)))
    return path.read_bytes()


def block_map(folder: Path, name: str = "image.img.bmap") -> Path:
    subprocess.run(
        [needs("bmaptool"), "create", "-o", name, "image.img"], cwd=folder, check=True, capture_output=True
    )
    return folder / name


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Path]:
    """A folder whose lab has a disk, full of ones."""
    keys = Keys(tmp_path)
    (tmp_path / "token").write_text(keys.token() + "\n")
    (tmp_path / "disk.img").write_bytes(b"\xff" * (8 << 20))
    with serving(tmp_path, CONFIGURATION) as (server, _):
        (tmp_path / "address").write_text(f"http://127.0.0.1:{server.port}")
        yield tmp_path


def says(lab: Path, *words: str) -> Done:
    options = ["--server", (lab / "address").read_text(), "--token-file", "token"]
    return run_swagent(["lab", *words, *options], lab)


def expected(data: bytes, found: BlockMap) -> bytes:
    """What a disk full of ones is then."""
    disk = bytearray(b"\xff" * (8 << 20))
    for one in found.ranges:
        disk[one.start : one.end] = data[one.start : one.end]
    return bytes(disk)


@pytest.mark.parametrize("packed", ["", "gz", "xz", "zst"])
def test_a_mapped_image(lab: Path, packed: str) -> None:
    data = image(lab)
    found = read_map(block_map(lab).read_bytes())
    assert found.image_bytes == len(data) and found.algorithm == "sha256"
    assert 3 << 20 < found.mapped_bytes < 4 << 20
    name = "image.img"
    if packed == "zst":
        subprocess.run([needs("zstd"), "-q", "image.img"], cwd=lab, check=True)
    elif packed:
        (lab / f"image.img.{packed}").write_bytes(
            gzip.compress(data) if packed == "gz" else lzma.compress(data)
        )
    if packed:
        name += f".{packed}"
        (lab / "image.img").unlink()
    done = says(lab, "device", "board", "write-bmap", "storage", "emmc", name)
    assert done.ok, done.text
    assert re.search(r"Wrote 3\.\d MiB of 6\.0 MiB to emmc, as image\.img\.bmap says", done.text)
    assert (lab / "disk.img").read_bytes() == expected(data, found)


def test_an_image_that_is_not_that_of_its_map(lab: Path) -> None:
    data = bytearray(image(lab))
    block_map(lab)
    data[2 << 20] ^= 1
    (lab / "image.img").write_bytes(data)
    done = says(lab, "volume", "disk", "write-bmap", "emmc", "image.img")
    assert not done.ok and "are not those of" in done.text and "Traceback" not in done.text
    (lab / "image.img").write_bytes(data[: 3 << 20])
    assert (
        "shorter than its block map says"
        in says(lab, "volume", "disk", "write-bmap", "emmc", "image.img").text
    )
    (lab / "image.img.bmap").unlink()
    assert "there is no block map of" in says(lab, "volume", "disk", "write-bmap", "emmc", "image.img").text


def test_a_sparse_image(lab: Path) -> None:
    data = image(lab)
    (lab / "image.img").write_bytes(data := data[:IMAGE_BYTES])
    subprocess.run([needs("img2simg"), "image.img", "image.simg"], cwd=lab, check=True, capture_output=True)
    assert (lab / "image.simg").stat().st_size < 2 << 20
    done = says(lab, "volume", "disk", "write-aimg", "emmc", "image.simg")
    assert done.ok, done.text
    assert (lab / "disk.img").read_bytes()[:IMAGE_BYTES] == data
    done = says(lab, "device", "board", "write-aimg", "storage", "emmc", "image.img")
    assert not done.ok and "no sparse image" in done.text


def test_maps_are_found(tmp_path: Path) -> None:
    for name in ("a.wic.bmap", "b.bmap", "c.img.gz.bmap"):
        (tmp_path / name).touch()
    for name, found in (
        ("a.wic.gz", "a.wic.bmap"),
        ("b.wic.xz", "b.bmap"),
        ("c.img.gz", "c.img.gz.bmap"),
        ("d", None),
    ):
        assert find_map(str(tmp_path / name)) == (found and str(tmp_path / found))


def text(
    ranges: str, *, size: int = 10000, version: str = "2.0", kind: str = "sha256", more: str = ""
) -> bytes:
    """A map with its own checksum."""
    made = f"""<?xml version="1.0" ?>
<!-- a comment -->
{more}<bmap version="{version}"><ImageSize> {size} </ImageSize><BlockSize> 4096 </BlockSize>
<ChecksumType> {kind} </ChecksumType><BmapFileChecksum> {"0" * 64} </BmapFileChecksum>
<BlockMap>{ranges}</BlockMap></bmap>
""".encode()
    return made.replace(b"0" * 64, hashlib.sha256(made).hexdigest().encode())


def test_a_map() -> None:
    found = read_map(text("<Range> 0 </Range><Range> 2-2 </Range>"))
    assert found == BlockMap(10000, (Range(0, 4096), Range(8192, 10000)))


@pytest.mark.parametrize(
    "bad",
    [
        text("<Range>1-0</Range>"),
        text("<Range>0-3</Range>"),
        text("<Range>3</Range>"),
        text("<Range>1</Range><Range>1</Range>"),
        text("<Range>1</Range><Range>0</Range>"),
        text("<Range>-1</Range>"),
        text("<Range>x</Range>"),
        text("<Range/>"),
        text('<Range chksum="00">0</Range>'),
        text("<Range>99999999999999999999</Range>"),
        text("", version="3.0"),
        text("", kind="md5"),
        text("", more='<!DOCTYPE a [<!ENTITY b "c">]>'),
        text("").replace(b"bmap version", b"map version").replace(b"</bmap>", b"</map>"),
        text("").replace(b"BlockMap", b"Blocks"),
        text("").replace(b"> 4096 <", b"> 0 <"),
        b"<bmap",
        b"",
        b"\xff\xfe",
    ],
)
def test_no_map(bad: bytes) -> None:
    with pytest.raises((FormatError, HashError)):
        read_map(bad)


def test_a_damaged_map() -> None:
    with pytest.raises(HashError, match="its own checksum"):
        read_map(text("<Range>0</Range>").replace(b"<Range>0", b"<Range>1"))


@given(st.binary(max_size=200))
def test_any_bytes_as_a_map(data: bytes) -> None:
    for made in (data, text("").replace(b"<BlockMap>", b"<BlockMap>" + data)):
        with suppress(SwagentError):
            assert read_map(made).image_bytes >= 0


@pytest.mark.parametrize(
    "data", [gzip.compress(bytes(20000))[:-9], gzip.compress(bytes(20000))[:30] + b"xx" * 50]
)
def test_a_damaged_compression(data: bytes) -> None:
    import io

    with pytest.raises(ArchiveError):
        list(mapped(io.BytesIO(data), BlockMap(30000, (Range(0, 4096), Range(24576, 30000))), "x"))


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=40))), st.integers(1, 16))
def test_pieces_are_gathered(given: list[tuple[int, bytes]], n_bytes: int) -> None:
    """The same bytes at the same places, in pieces that are whole wherever they can be."""
    pieces, at = [], 0
    for hole, data in given:
        at += hole
        pieces.append((at, data))
        at += len(data)
    got = list(_gathered(pieces, n_bytes))
    want = {offset + n: byte for offset, data in pieces for n, byte in enumerate(data)}
    assert {offset + n: byte for offset, data in got for n, byte in enumerate(data)} == want
    for (offset, data), (after, _) in pairwise(got):
        assert len(data) <= n_bytes
        assert offset + len(data) < after or len(data) == n_bytes
