"""Signing what is there already."""

import subprocess
from pathlib import Path

import pytest

from swagent.crypto.cipher import read_key_file
from swagent.errors import ArchiveError, DecryptError, SignatureError
from swagent.stream import Archive, FileSource
from swagent.swu.make import make
from swagent.swu.opened import OpenedImage
from swagent.swu.sign import SigningSpec, sign
from swagent.swu.verify import verify
from swagent.swu.writer import ArchiveWriter

from .keys import Keys

TEXT = """software = { version = "1"; images: (
    { filename = "a.bin"; device = "/dev/x"; }, { filename = "b.bin"; device = "/dev/y"; } ); };"""


def build(bench: Path, signing: SigningSpec | None = None, name: str = "out.swu") -> Path:
    (bench / "sw-description").write_text(TEXT)
    make(str(bench / "sw-description"), output=str(bench / name), signing=signing)
    return bench / name


def pieces(path: Path) -> dict[str, bytes]:
    """Each member with its header, as it stands in the file."""
    raw = path.read_bytes()
    with path.open("rb") as file:
        members = Archive(FileSource(file.fileno(), "x")).index()
    found, start = {}, 0
    for member in members:
        end = member.offset + member.size_bytes
        found[member.name] = raw[start:end]
        start = end + -end % 4
    found["the rest"] = raw[start:].rstrip(b"\0")
    return found


@pytest.mark.parametrize("signed_before", [False, True])
def test_everything_else_stays(bench: Path, keys: Keys, signed_before: bool) -> None:
    update = build(bench, keys.cms if signed_before else None)
    before = pieces(update)
    done = sign(str(update), str(bench / "new.swu"), keys.rsa)
    after = pieces(bench / "new.swu")
    assert list(after)[:2] == ["sw-description", "sw-description.sig"]
    assert done.replaced == signed_before
    assert done.size_bytes == (bench / "new.swu").stat().st_size
    assert done.size_bytes % 512 == 0
    assert after.pop("sw-description.sig") != before.pop("sw-description.sig", b"")
    assert after == before
    verify(str(bench / "new.swu"), trust=keys.public)


def test_openssl_agrees(bench: Path, keys: Keys) -> None:
    update = build(bench)
    sign(str(update), str(update), keys.rsa)
    subprocess.run(["cpio", "-iu", "--quiet"], input=update.read_bytes(), cwd=bench, check=True)
    checked = subprocess.run(
        ["openssl", "dgst", "-sha256", "-verify", keys.folder / "pub.pem", "-signature", "sw-description.sig",
         "sw-description"], cwd=bench, capture_output=True, text=True,
    )  # fmt: skip
    assert checked.stdout.strip() == "Verified OK"


def test_cpio_takes_the_result(bench: Path, keys: Keys) -> None:
    update = build(bench)
    sign(str(update), str(update), keys.cms)
    done = subprocess.run(
        ["cpio", "--only-verify-crc", "-iv", "--quiet"], input=update.read_bytes(), capture_output=True
    )
    assert done.returncode == 0
    assert done.stderr.decode().split() == ["sw-description", "sw-description.sig", "a.bin", "b.bin"]


def test_an_encrypted_description_needs_its_key(bench: Path, keys: Keys) -> None:
    (bench / "sw-description").write_text(TEXT)
    aes = read_key_file(str(keys.folder / "aes.key"))
    update = str(bench / "out.swu")
    make(str(bench / "sw-description"), output=update, encryption=aes, encrypted_description=True)
    before = (bench / "out.swu").read_bytes()
    with pytest.raises(DecryptError, match="encrypted"):
        sign(update, update, keys.rsa)
    assert (bench / "out.swu").read_bytes() == before
    sign(update, update, keys.rsa, aes_key=aes)
    with OpenedImage(update, aes) as image:
        assert b"software" in image.description()
        assert image.encrypted
        image.verify_signature(keys.public, now_s=0)


def test_a_signature_in_the_wrong_place_is_refused(bench: Path, keys: Keys) -> None:
    with (bench / "odd.swu").open("w+b") as file:
        writer = ArchiveWriter(file)
        writer.add_bytes("sw-description", b"software = {};")
        writer.add_bytes("a.bin", b"a")
        writer.add_bytes("sw-description.sig", b"s")
        writer.finish()
    with pytest.raises(ArchiveError, match="belongs second"):
        sign(str(bench / "odd.swu"), str(bench / "new.swu"), keys.rsa)
    assert not (bench / "new.swu").exists()


def test_the_old_key_no_longer_opens_it(
    bench: Path, keys: Keys, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from .keys import make_keys

    others = make_keys(tmp_path_factory.mktemp("others"))
    update = str(build(bench, keys.rsa))
    verify(update, trust=keys.public)
    sign(update, update, others.rsa)
    verify(update, trust=others.public)
    with pytest.raises(SignatureError):
        verify(update, trust=keys.public)
