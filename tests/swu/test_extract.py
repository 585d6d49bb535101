"""Images unpacked."""

import subprocess
from pathlib import Path

import pytest

from swagent.crypto.cipher import AesKey, read_key_file
from swagent.errors import ArchiveError, DecryptError, DeviceError, HashError
from swagent.model import Compression
from swagent.swu.extract import contents_of, extract
from swagent.swu.make import make

from .keys import Keys

TEXT = """software = { version = "1"; images: (
    { filename = "a.bin"; device = "/dev/x"; compressed = "zlib"; encrypted = true; },
    { filename = "b.bin"; device = "/dev/y"; compressed = "xz"; } ); };"""


@pytest.fixture
def aes(keys: Keys) -> AesKey:
    return read_key_file(str(keys.folder / "aes.key"))


@pytest.fixture
def update(bench: Path, aes: AesKey) -> str:
    (bench / "sw-description").write_text(TEXT)
    make(str(bench / "sw-description"), output=str(bench / "out.swu"), encryption=aes)
    return str(bench / "out.swu")


def test_the_list(update: str) -> None:
    assert [(c.member.name, c.compression, c.cipher, c.used) for c in contents_of(update)] == [
        ("sw-description", Compression.NONE, "", True),
        ("a.bin", Compression.ZLIB, "aes-cbc", True),
        ("b.bin", Compression.XZ, "", True),
    ]


def test_as_stored_it_is_what_cpio_unpacks(update: str, bench: Path) -> None:
    extract(update, str(bench / "ours"))
    (bench / "theirs").mkdir()
    raw = Path(update).read_bytes()
    subprocess.run(["cpio", "-i", "--quiet"], input=raw, cwd=bench / "theirs", check=True)
    ours, theirs = ({p.name: p.read_bytes() for p in (bench / d).iterdir()} for d in ("ours", "theirs"))
    assert ours == theirs


def test_plain_it_is_what_went_in(update: str, bench: Path, aes: AesKey) -> None:
    written = extract(update, str(bench / "plain"), names=["a.bin", "b.bin"], plain=True, aes_key=aes)
    assert [(w.path, w.size_bytes) for w in written] == [
        (str(bench / "plain" / "a.bin"), 102400),
        (str(bench / "plain" / "b.bin"), 70000),
    ]
    for name in ("a.bin", "b.bin"):
        assert (bench / "plain" / name).read_bytes() == (bench / name).read_bytes()


def test_plain_needs_the_key(update: str, bench: Path) -> None:
    with pytest.raises(DecryptError, match="no key"):
        extract(update, str(bench / "plain"), plain=True)
    assert not (bench / "plain" / "a.bin").exists()


def test_a_damaged_member_does_not_appear(update: str, bench: Path) -> None:
    raw = bytearray(Path(update).read_bytes())
    raw[raw.index(b"\xfd7zXZ") + 40] ^= 1
    Path(update).write_bytes(raw)
    with pytest.raises(HashError, match=r"b\.bin"):
        extract(update, str(bench / "out"), names=["b.bin"])
    assert list((bench / "out").iterdir()) == []


def test_nothing_is_overwritten_unasked(update: str, bench: Path) -> None:
    with pytest.raises(DeviceError, match="there already"):
        extract(update, str(bench), names=["b.bin"])
    assert (bench / "b.bin").read_bytes() == b"b" * 70_000
    extract(update, str(bench), names=["b.bin"], overwrite=True)
    assert (bench / "b.bin").read_bytes() != b"b" * 70_000


def test_a_link_is_replaced_not_followed(update: str, bench: Path) -> None:
    (bench / "out").mkdir()
    (bench / "victim").write_bytes(b"precious")
    (bench / "out" / "b.bin").symlink_to(bench / "victim")
    extract(update, str(bench / "out"), names=["b.bin"], overwrite=True)
    assert (bench / "victim").read_bytes() == b"precious"
    assert not (bench / "out" / "b.bin").is_symlink()


def test_an_unknown_member_is_named_with_its_neighbour(update: str, bench: Path) -> None:
    with pytest.raises(ArchiveError, match=r"no member 'a\.bim'") as caught:
        extract(update, str(bench / "out"), names=["a.bim"])
    assert "a.bin" in caught.value.hint
