"""What we sign, the real ``openssl`` verifies, and so do we."""

from pathlib import Path

import pytest

from swagent.crypto.signature import Trust, verify
from swagent.crypto.signing import sign
from swagent.errors import SettingsError
from tests.crypto.pki import (
    NOW_S,
    Key,
    Wish,
    certify,
    cms_accepts,
    ec_key,
    openssl,
    private_pem,
    public_pem,
    root_wish,
    rsa_key,
    write,
)

CONTENT = b"software = { };\n" * 50


def private(folder: Path, key: Key, password: bytes | None = None) -> str:
    return write(folder / "k.key", private_pem(key, password))


@pytest.mark.parametrize(
    ("key", "scheme", "words"),
    [
        (rsa_key(), "auto", ()),
        (rsa_key(), "rsa", ()),
        (rsa_key(), "rsa-pss", ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:-2")),
        (ec_key(), "auto", ()),
        (ec_key(0, "SECP384R1"), "ecdsa", ()),
        (ec_key(0, "SECP521R1"), "ecdsa", ()),
    ],
    ids=["auto-rsa", "rsa", "pss", "auto-ec", "P-384", "P-521"],
)
def test_openssl_verifies(tmp_path: Path, key: Key, scheme: str, words: tuple[str, ...]) -> None:
    signature = sign(CONTENT, key_file=private(tmp_path, key), scheme=scheme)
    public = write(tmp_path / "p.pem", public_pem(key))
    signed = write(tmp_path / "s", signature)
    said = openssl("dgst", "-sha256", "-verify", public, *words, "-signature", signed, stdin=CONTENT)
    assert said == b"Verified OK\n"
    verify(CONTENT, signature, Trust((public,), scheme=scheme), now_s=0)


@pytest.mark.parametrize("key", [rsa_key(), ec_key(), ec_key(0, "SECP384R1")], ids=["rsa", "P-256", "P-384"])
@pytest.mark.parametrize("signing_time_s", [None, NOW_S, 4e9])
def test_openssl_verifies_cms(tmp_path: Path, key: Key, signing_time_s: float | None) -> None:
    root = certify(root_wish())
    middle = certify(root_wish("middle"), root)
    leaf = certify(Wish(), middle, key)
    signature = sign(
        CONTENT,
        key_file=private(tmp_path, key),
        certificate_file=write(tmp_path / "leaf.pem", leaf.pem),
        extra_certificate_files=[write(tmp_path / "middle.pem", middle.pem)],
        signing_time_s=signing_time_s,
    )
    roots = write(tmp_path / "root.pem", root.pem)
    assert cms_accepts(tmp_path, CONTENT, signature, roots)
    assert not cms_accepts(tmp_path, CONTENT + b"x", signature, roots)
    assert verify(CONTENT, signature, Trust((roots,)), now_s=NOW_S).label == "release"
    printed = openssl("cms", "-cmsout", "-print", "-inform", "DER", stdin=signature)
    assert (b"signingTime" in printed) == (signing_time_s is not None)
    # openssl writes it again as DER wants it: sets sorted, lengths short
    assert openssl("cms", "-cmsout", "-inform", "DER", "-outform", "DER", stdin=signature) == signature


def test_the_same_input_gives_the_same_signature(tmp_path: Path) -> None:
    key = private(tmp_path, rsa_key())
    leaf = write(tmp_path / "leaf.pem", certify(Wish(), key=rsa_key()).pem)
    for time_s in (None, NOW_S):
        one, other = (
            sign(CONTENT, key_file=key, certificate_file=leaf, signing_time_s=time_s) for _ in range(2)
        )
        assert one == other
    assert sign(CONTENT, key_file=key) == sign(CONTENT, key_file=key)
    assert sign(CONTENT, key_file=key, scheme="rsa-pss") != sign(CONTENT, key_file=key, scheme="rsa-pss")


def test_a_password(tmp_path: Path) -> None:
    key = private(tmp_path, ec_key(), b"secret")
    assert sign(CONTENT, key_file=key, password=b"secret")
    with pytest.raises(SettingsError, match="is encrypted"):
        sign(CONTENT, key_file=key)
    with pytest.raises(SettingsError, match="wrong password") as caught:
        sign(CONTENT, key_file=key, password=b"hunter2")
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint} {caught.value.__cause__}"
    with pytest.raises(SettingsError, match="not encrypted"):
        sign(CONTENT, key_file=private(tmp_path, ec_key()), password=b"x")


@pytest.mark.parametrize(
    ("key", "scheme", "why"),
    [
        (ec_key(), "rsa", "is EC"),
        (ec_key(), "rsa-pss", "is EC"),
        (rsa_key(), "ecdsa", "is RSA"),
        (rsa_key(), "cms", "needs the signer's certificate"),
        (rsa_key(), "gpg", "unknown signature scheme"),
        (rsa_key(0, 1024), "rsa", "1024 bits"),
        (ec_key(0, "SECP256K1"), "auto", "secp256k1"),
    ],
)
def test_a_key_that_does_not_go_with_the_scheme(tmp_path: Path, key: Key, scheme: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        sign(CONTENT, key_file=private(tmp_path, key), scheme=scheme)


def test_a_signing_time_out_of_range(tmp_path: Path) -> None:
    leaf = write(tmp_path / "leaf.pem", certify(Wish(), key=ec_key()).pem)
    with pytest.raises(SettingsError, match="out of range"):
        sign(CONTENT, key_file=private(tmp_path, ec_key()), certificate_file=leaf, signing_time_s=1e30)


def test_files_that_do_not_belong(tmp_path: Path) -> None:
    key = private(tmp_path, rsa_key())
    other = write(tmp_path / "other.pem", certify(Wish(), key=rsa_key(1)).pem)
    with pytest.raises(SettingsError, match="does not belong to key"):
        sign(CONTENT, key_file=key, certificate_file=other)
    with pytest.raises(SettingsError, match="no place"):
        sign(CONTENT, key_file=key, certificate_file=other, scheme="rsa")
    with pytest.raises(SettingsError, match="is a public key"):
        sign(CONTENT, key_file=key, certificate_file=write(tmp_path / "p.pem", public_pem(rsa_key())))
    with pytest.raises(SettingsError, match="no PEM private key"):
        sign(CONTENT, key_file=other)
    with pytest.raises(SettingsError, match="neither RSA nor EC"):
        sign(CONTENT, key_file=write(tmp_path / "e", openssl("genpkey", "-algorithm", "ed25519")))
