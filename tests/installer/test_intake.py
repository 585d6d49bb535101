"""The head of an archive: order, signature, encryption, bounds; from a file and from a stream."""

from pathlib import Path

import pytest

from swagent.crypto.cipher import AesKey
from swagent.crypto.signature import Trust
from swagent.errors import ArchiveError, DecryptError, SignatureError, SwagentError
from swagent.installer.intake import SIGNATURE_BYTES_MAX, Intake, take_in
from swagent.stream import Archive
from tests.faults.images import (
    AES_IV,
    AES_KEY,
    CRC,
    DESCRIPTION,
    NEWC,
    SIGNATURE,
    Member,
    archive,
    encrypted,
    signed,
    signing_key,
)
from tests.stream.sources import file_source, stream_source

TEXT = b'software = { version = "1.0"; };\n'
OTHER = Member("rootfs.img", b"data")
KEY = AesKey(AES_KEY, AES_IV)
SIZE_MAX = 10_000


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    path = tmp_path_factory.mktemp("trust") / "public.pem"
    path.write_bytes(signing_key()[1])
    return Trust((str(path),))


def take(
    members: tuple[Member, ...], trust: Trust | None, *, key: AesKey | None = None, seekable: bool = True,
    magic: bytes = CRC, size_max_bytes: int = SIZE_MAX,
) -> tuple[Intake, list[str]]:  # fmt: skip
    """What was taken in, and the names of the members behind it."""
    raw = archive(members, magic)
    with file_source(raw) if seekable else stream_source(raw) as origin:
        intake = take_in(Archive(origin), trust, key, size_max_bytes=size_max_bytes, now_s=lambda: 0.0)
        return intake, [member.name for member in intake.rest]


@pytest.mark.parametrize("seekable", [False, True])
def test_a_signed_head(trust: Trust, seekable: bool) -> None:
    intake, rest = take(signed(TEXT, OTHER), trust, seekable=seekable)
    assert intake.text == TEXT
    assert intake.signer is not None and intake.signer.label.endswith("public.pem")
    assert rest == ["rootfs.img"]


@pytest.mark.parametrize("seekable", [False, True])
def test_without_trust_a_signature_is_passed_over(seekable: bool) -> None:
    intake, rest = take(signed(TEXT, OTHER), None, seekable=seekable)
    assert (intake.text, intake.signer) == (TEXT, None)
    assert rest == [SIGNATURE, "rootfs.img"]


def wrong_heads() -> list[tuple[str, tuple[Member, ...], type[SwagentError]]]:
    description, signature, *_ = signed(TEXT)
    flipped = Member(SIGNATURE, bytes([signature.data[0] ^ 1]) + signature.data[1:])
    return [
        ("empty", (), ArchiveError),
        ("another first", (OTHER, description, signature), ArchiveError),
        ("signature first", (signature, description), ArchiveError),
        ("nothing behind it", (description,), SignatureError),
        ("unsigned", (description, OTHER), SignatureError),
        ("signature too late", (description, OTHER, signature), SignatureError),
        ("another text", (Member(DESCRIPTION, TEXT + b" "), signature), SignatureError),
        ("another signature", (description, flipped), SignatureError),
        ("an empty signature", (description, Member(SIGNATURE, b"")), SignatureError),
        ("a long signature", (description, Member(SIGNATURE, bytes(SIGNATURE_BYTES_MAX + 1))), ArchiveError),
        ("no text", (Member(DESCRIPTION, b"\x80\xff" * 40), signature), DecryptError),
        ("control characters", (Member(DESCRIPTION, TEXT + b"\0"), signature), DecryptError),
    ]


@pytest.mark.parametrize("seekable", [False, True])
@pytest.mark.parametrize(("what", "members", "error"), wrong_heads(), ids=lambda value: str(value)[:20])
def test_wrong_heads(
    trust: Trust, what: str, members: tuple[Member, ...], error: type[SwagentError], seekable: bool
) -> None:
    with pytest.raises(error) as caught:
        take(members, trust, seekable=seekable)
    assert type(caught.value) is error, what


@pytest.mark.parametrize("seekable", [False, True])
def test_an_encrypted_description(trust: Trust, seekable: bool) -> None:
    """The signature is over the plain text; without the key, or with another, nothing is believed."""
    sign, _ = signing_key()
    members = (Member(DESCRIPTION, encrypted(TEXT)), Member(SIGNATURE, sign(TEXT)), OTHER)
    intake, rest = take(members, trust, key=KEY, seekable=seekable)
    assert (intake.text, rest) == (TEXT, ["rootfs.img"])
    with pytest.raises(DecryptError, match="encrypted"):
        take(members, trust, seekable=seekable)
    with pytest.raises((DecryptError, SignatureError)):
        take(members, trust, key=AesKey(bytes(32), AES_IV), seekable=seekable)
    short = (Member(DESCRIPTION, encrypted(TEXT)[:-1]), *members[1:])
    with pytest.raises(DecryptError):
        take(short, trust, key=KEY, seekable=seekable)


def test_a_plain_description_is_accepted_beside_a_key(trust: Trust) -> None:
    assert take(signed(TEXT), trust, key=KEY)[0].text == TEXT


@pytest.mark.parametrize("seekable", [False, True])
def test_the_size_is_bounded(trust: Trust, seekable: bool) -> None:
    members = signed(TEXT)
    take(members, trust, seekable=seekable, size_max_bytes=len(TEXT))
    with pytest.raises(ArchiveError, match="more than the"):
        take(members, trust, seekable=seekable, size_max_bytes=len(TEXT) - 1)


@pytest.mark.parametrize("name", [DESCRIPTION, SIGNATURE])
@pytest.mark.parametrize("seekable", [False, True])
def test_sums_of_the_head_are_always_judged(trust: Trust, name: str, seekable: bool) -> None:
    raw = bytearray(archive(signed(TEXT), CRC))
    at = raw.index(name.encode() + b"\0") - 1  # the last digit of its sum
    raw[at] = ord("0") if raw[at] != ord("0") else ord("1")
    opened = file_source(bytes(raw)) if seekable else stream_source(bytes(raw))
    with opened as origin, pytest.raises(ArchiveError, match="cpio checksum"):
        take_in(Archive(origin), trust, None, size_max_bytes=SIZE_MAX, now_s=lambda: 0.0)
    assert take(signed(TEXT), trust, magic=NEWC)[0].text == TEXT


def test_a_stranger_is_named_nowhere(trust: Trust, tmp_path: Path) -> None:
    """A key that did not sign: refused, whatever else is right."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    public = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    path = tmp_path / "stranger.pem"
    path.write_bytes(
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(SignatureError):
        take(signed(TEXT), Trust((str(path),)))
    assert take(signed(TEXT), Trust((str(path), *trust.key_files)))[0].signer is not None
