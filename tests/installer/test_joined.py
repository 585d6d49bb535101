"""Images of several members: joined on the fly, each part judged, and refused when they are not what they should be."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from swagent.crypto.cipher import AesKey
from swagent.stream import Archive, read_all
from swagent.swu.make import make
from swagent.swu.staging import PART_BYTES
from tests.faults.device import OLD_ENV, Device
from tests.faults.images import AES_IV, AES_KEY, CRC, Image, Member, archive, half_noise, signed
from tests.programs import PROJECT, exit_and_peak, measured
from tests.stream.sources import file_source

PLAIN = half_noise(900_000, 3)
OLD = b"old second copy\n" * 100
WAYS = {
    "plain": "",
    "zlib": 'compressed = "zlib";',
    "aes and zstd": 'compressed = "zstd"; encrypted = true;',
    "xz": 'compressed = "xz";',
}


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path / "unit")


def joined_image(device: Device, *, way: str = "plain", direct: bool = True, table: bool = True) -> Image:
    """Parts of 100 000 bytes."""
    streamed = "installed-directly = true;" if direct else ""
    text = (
        'software = { version = "2.0"; hardware-compatibility = [ "1.0" ]; images = ( { '
        f'filename = "rootfs.img"; type = "raw"; device = "{device.root}/slot-b.img"; {streamed} {WAYS[way]} }} ); '
        'bootenv = ( { name = "slot"; value = "b"; } ); };'
    )
    with TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "sw-description").write_text(text)
        (path / "rootfs.img").write_bytes(PLAIN)
        output = str(path / "made.swu")
        make(
            str(path / "sw-description"),
            output=output,
            encryption=AesKey(AES_KEY, AES_IV),
            part_bytes=100_000,
        )
        with file_source((path / "made.swu").read_bytes()) as source:
            made = Archive(source)
            found = [
                Member(m.name, read_all(made.open(m, verify_sum=True), 1 << 30, what=m.name))
                for m in made.members()
            ]
    description = found[0].data
    if not table:
        description = description.replace(b"chunk-table", b"no-table")
        found = [member for member in found if not member.name.endswith(".chunks")]
    options = ("-K", str(device.root / "aes.key"))
    return Image("joined", CRC, signed(description, *found[1:]), options=options)


@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize(
    ("way", "table"), [*((way, True) for way in WAYS), ("plain", False), ("aes and zstd", False)]
)
def test_installs(device: Device, way: str, table: bool, direct: bool, pipe: bool) -> None:
    image = joined_image(device, way=way, direct=direct, table=table)
    assert len(image.members) > 4
    for more in (("-n",), ()):
        outcome = device.install(image.raw, image, pipe=pipe, more=more)
        assert outcome.code == 0, outcome
    assert (device.root / "slot-b.img").read_bytes() == PLAIN
    assert device.env()["slot"] == "b"


Members = list[Member]
FAULTS: dict[str, tuple[Callable[[Members], Sequence[Member]], int]] = {
    "missing": (lambda m: [*m[:4], *m[5:]], 10),
    "last missing": (lambda m: m[:-1], 10),
    "order": (lambda m: [*m[:3], m[4], m[3], *m[5:]], 10),
    "first later": (lambda m: [*m[:2], *m[3:6], m[2], *m[6:]], 10),
    "between": (lambda m: [*m[:4], Member("other", b"x"), *m[4:]], 10),
    "short": (lambda m: [*m[:4], replace(m[4], data=m[4].data[:-4]), *m[5:]], 23),
    "damaged": (lambda m: [*m[:4], replace(m[4], data=b"?" + m[4].data[1:]), *m[5:]], 21),
}


@pytest.mark.parametrize(("table", "verify_first"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_parts_that_are_wrong(
    device: Device, fault: str, table: bool, pipe: bool, verify_first: bool
) -> None:
    """What can be known beforehand, and all of it with --verify-first, is refused before anything is written."""
    image = joined_image(device, table=table)
    change, code = FAULTS[fault]
    more = ("--verify-first",) if verify_first else ()
    if table:
        raw = image.with_members(
            lambda members: [*members[:2], members[2], *change([*members[:2], *members[3:]])[2:]]
        )
    else:
        raw = image.with_members(change)
    outcome = device.install(raw, image, pipe=pipe, more=more)
    if pipe and verify_first and fault in ("order", "first later", "between"):
        assert outcome.code == 0, outcome  # it is a file by then, and each part is where it is
        return
    assert outcome.code == code, outcome
    assert "Traceback" not in outcome.stderr
    assert device.env()["slot"] == OLD_ENV["slot"]
    if verify_first or (not pipe and fault != "damaged"):
        assert (device.root / "slot-b.img").read_bytes() == OLD
        assert device.env() == OLD_ENV


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"rootfs.img.001"', b'"rootfs.img.000"'),
        (b'parts = [ "rootfs.img.000", ', b"parts = [ "),
        (b'parts-size = [ "100000", ', b"parts-size = [ "),
        (b'parts-size = [ "100000", ', b'parts-size = [ "many", '),
        (b'parts-sha256 = [ "', b'parts-sha256 = [ "00'),
        (b'chain = "raw"', b'chain = "joined"'),
        (b'chain = "raw"', b'chain = "shellscript"'),
        (b'chain = "raw"', b'chain = "unheard"'),
        (b'filename = "rootfs.img.000"', b'filename = "rootfs.img.001"'),
    ],
)
def test_descriptions_that_are_wrong(device: Device, old: bytes, new: bytes) -> None:
    image = joined_image(device)
    description = image.members[0].data
    assert description.count(old) == 1 or b"001" in old
    raw = archive(signed(description.replace(old, new, 1), *image.members[2:]), CRC)
    outcome = device.install(raw, image, pipe=False)
    assert outcome.code == 11, outcome
    assert device.env() == OLD_ENV
    assert (device.root / "slot-b.img").read_bytes() == OLD


@pytest.mark.slow
@pytest.mark.parametrize("pipe", [False, True])
def test_more_than_four_gibibytes(tmp_path: Path, pipe: bool) -> None:
    """What no single member can hold, in little memory; the target is sparse and so is most of the image."""
    device = Device(tmp_path / "unit")
    size_bytes = (4 << 30) + (3 << 20) + 5
    plain, target = tmp_path / "rootfs.img", device.root / "slot-b.img"
    marks = [(0, b"begin"), (PART_BYTES - 3, b"over the edge"), (size_bytes - 3, b"end")]
    for path in (plain, target):
        with path.open("wb") as file:
            file.truncate(size_bytes)
            for at, mark in marks if path is plain else ():
                file.seek(at)
                file.write(mark)
    (tmp_path / "sw-description").write_text(
        'software = { version = "2.0"; hardware-compatibility = [ "1.0" ]; images = ( { '
        f'filename = "rootfs.img"; type = "raw"; device = "{target}"; installed-directly = true; }} ); }};'
    )
    made = make(str(tmp_path / "sw-description"), output=str(tmp_path / "made.swu"))
    assert [part.size_bytes for part in made.members[0].parts] == [PART_BYTES, size_bytes - PART_BYTES]
    words = ["install", "-" if pipe else str(tmp_path / "made.swu"), "--allow-unsigned", "-H", "board:1.0"]
    with (tmp_path / "made.swu").open("rb") as image:
        process = subprocess.Popen(
            [*measured(device.tmp / "usage"), sys.executable, "-m", "swagent", *words, "-B", "none"],
            cwd=PROJECT,
            env={**os.environ, "TMPDIR": str(device.tmp), "RUNTIME_DIRECTORY": str(device.run)},
            stdin=subprocess.PIPE if pipe else subprocess.DEVNULL,
        )
        if process.stdin is not None:
            with process.stdin as stdin:
                shutil.copyfileobj(image, stdin, 1 << 20)
        process.wait()
    code, peak_kib = exit_and_peak(device.tmp / "usage")
    assert code == 0
    assert peak_kib < 100 << 10
    with target.open("rb") as file:
        for at, mark in marks:
            file.seek(at)
            assert file.read(len(mark)) == mark
    assert target.stat().st_size == size_bytes
