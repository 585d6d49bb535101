"""Images judged without installing them; and those of swugenerator."""

import shutil
import subprocess
from pathlib import Path

import pytest

from swagent.clock import SystemClock
from swagent.crypto.cipher import AesKey, read_key_file
from swagent.errors import ArchiveError, DecryptError, HashError, SignatureError, SizeError, SwagentError
from swagent.swu.encrypt import bare_key
from swagent.swu.make import make
from swagent.swu.sign import SigningSpec, make_signature
from swagent.swu.verify import Evidence, verify
from swagent.swu.writer import ArchiveWriter, Format

from .keys import Keys

TEXT = """software = { version = "1"; images: (
    { filename = "a.bin"; device = "/dev/x"; compressed = "zlib"; encrypted = true; },
    { filename = "b.bin"; device = "/dev/y"; } ); };"""


@pytest.fixture
def aes(keys: Keys) -> AesKey:
    return read_key_file(str(keys.folder / "aes.key"))


@pytest.fixture
def update(bench: Path, keys: Keys, aes: AesKey) -> Path:
    (bench / "sw-description").write_text(TEXT)
    make(str(bench / "sw-description"), output=str(bench / "out.swu"), signing=keys.rsa, encryption=aes)
    return bench / "out.swu"


def by_hand(
    bench: Path,
    text: str,
    members: dict[str, bytes],
    signing: SigningSpec | None = None,
    kind: Format = "crc",
) -> str:
    """An image with a description that says what it likes."""
    path = bench / "hand.swu"
    with path.open("w+b") as file:
        writer = ArchiveWriter(file, kind)
        writer.add_bytes("sw-description", text.encode())
        if signing is not None:
            writer.add_bytes("sw-description.sig", make_signature(text.encode(), signing))
        for name, data in members.items():
            writer.add_bytes(name, data)
        writer.finish()
    return str(path)


def test_a_good_image(update: Path, keys: Keys, aes: AesKey) -> None:
    found = verify(str(update), trust=keys.public, aes_key=aes)
    assert found.signer is not None
    assert found.signer.label == "pub.pem"
    assert [(j.content.member.name, j.evidence, j.plain_bytes) for j in found.members] == [
        ("a.bin", Evidence.SHA256, 102400),
        ("b.bin", Evidence.SHA256, 70000),
    ]


def test_without_a_key_encrypted_members_are_only_hashed(update: Path, keys: Keys) -> None:
    assert [j.plain_bytes for j in verify(str(update), trust=keys.public).members] == [None, 70000]


def test_the_wrong_key_is_noticed(update: Path, keys: Keys, aes: AesKey) -> None:
    with pytest.raises((DecryptError, ArchiveError)):
        verify(str(update), trust=keys.public, aes_key=AesKey(bare_key(aes)[::-1], aes.iv))


def test_every_flipped_byte_is_noticed(update: Path, keys: Keys, aes: AesKey) -> None:
    """But for padding, and for fields of headers that mean nothing."""
    raw = update.read_bytes()
    places = [raw.index(b"software"), raw.index(b"sw-description.sig\0") + 200, raw.index(b"b" * 999) + 500]
    places += [raw.index(b"a.bin\0") + 100]
    for place in places:
        update.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        with pytest.raises(SwagentError):
            verify(str(update), trust=keys.public, aes_key=aes)


def test_a_changed_member_is_a_wrong_hash(update: Path, keys: Keys) -> None:
    raw = update.read_bytes()
    place = raw.index(b"b" * 999)
    update.write_bytes(raw[:place] + b"c" + raw[place + 1 :])
    with pytest.raises(HashError, match=r"b\.bin"):
        verify(str(update), trust=keys.public)


def test_an_unsigned_image_is_refused(bench: Path, keys: Keys) -> None:
    path = by_hand(bench, 'software = { version = "1"; };', {})
    with pytest.raises(SignatureError, match="not signed"):
        verify(path, trust=keys.public)


def test_a_signed_description_has_a_digest_for_all(bench: Path, keys: Keys) -> None:
    text = 'software = { version = "1"; images: ( { filename = "x"; device = "/dev/x"; } ); };'
    with pytest.raises(HashError, match="nobody vouches"):
        verify(by_hand(bench, text, {"x": b"x"}, keys.rsa), trust=keys.public)
    found = verify(by_hand(bench, text, {"x": b"x"}), trust=None)
    assert [j.evidence for j in found.members] == [Evidence.CHECKSUM]
    found = verify(by_hand(bench, text, {"x": b"x"}, kind="newc"), trust=None)
    assert [j.evidence for j in found.members] == [Evidence.NOTHING]


def test_a_member_that_nobody_names_is_told(bench: Path) -> None:
    found = verify(by_hand(bench, 'software = { version = "1"; };', {"x": b"x"}), trust=None)
    assert [j.content.used for j in found.members] == [False]


def test_a_wrong_sum_of_an_unhashed_member(bench: Path) -> None:
    path = Path(by_hand(bench, 'software = { version = "1"; };', {"x": b"needle"}))
    path.write_bytes(path.read_bytes().replace(b"needle", b"noodle"))
    with pytest.raises(ArchiveError, match="checksum"):
        verify(str(path), trust=None)


def test_a_missing_member(bench: Path) -> None:
    text = 'software = { version = "1"; images: ( { filename = "x"; device = "/dev/x"; } ); };'
    with pytest.raises(ArchiveError, match="lacks x"):
        verify(by_hand(bench, text, {}), trust=None)


def test_a_wrong_size(bench: Path) -> None:
    text = 'software = { version = "1"; images: ( { filename = "x"; device = "/dev/x"; size = 2; } ); };'
    with pytest.raises(SizeError, match="promises 2"):
        verify(by_hand(bench, text, {"x": b"x"}), trust=None)


def test_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no image" * 100)
    with pytest.raises(ArchiveError, match="no cpio header"):
        verify(str(tmp_path / "x"), trust=None)


def test_an_image_of_swugenerator(bench: Path, keys: Keys) -> None:
    if shutil.which("swugenerator") is None:
        pytest.skip("needs swugenerator: apt-get install swugenerator")
    (bench / "sw-description").write_text(TEXT.replace('"1"', '"@@V@@"'))
    (bench / "config").write_text('variables: { V = "1.5"; };')
    aes = (keys.folder / "aes.key").read_text().split()
    (bench / "aes.csv").write_text(f"key={aes[0]}\niv={aes[1]}\n")
    key, certificate = keys.folder / "key.pem", keys.folder / "cert.pem"
    done = subprocess.run(
        ["swugenerator", "-s", "sw-description", "-a", ".", "-o", "gen.swu", "-c", "config", "-K", "aes.csv",
         "-k", f"CMS,{key},{certificate}", "create"],
        cwd=bench, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = verify(
        str(bench / "gen.swu"),
        trust=keys.certificate,
        aes_key=read_key_file(str(keys.folder / "aes.key")),
        now_s=SystemClock().now_s(),
    )
    assert b'"1.5"' in found.description
    assert sorted(j.plain_bytes or 0 for j in found.members) == [70000, 102400]
