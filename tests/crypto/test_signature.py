"""Bare signatures made by the real ``openssl``, and what is refused."""

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from swagent.crypto.signature import SIGNATURE_MAX_BYTES, Signer, Trust, check, scheme_of_provider, verify
from swagent.errors import SettingsError, SignatureError
from tests.crypto.pki import (
    Key,
    certify,
    ec_key,
    openssl,
    private_pem,
    public_pem,
    root_wish,
    rsa_key,
    write,
)

CONTENT = b'software = { version = "1.0"; };\n'
PSS = ("-sigopt", "rsa_padding_mode:pss", "-sigopt")
CURVES = {"SECP256R1": "P-256", "SECP384R1": "P-384", "SECP521R1": "P-521"}


def made(folder: Path, key: Key, *words: str, content: bytes = CONTENT) -> bytes:
    """What the reference command ``openssl dgst -sha256 -sign`` makes."""
    return openssl("dgst", "-sha256", "-sign", write(folder / "k", private_pem(key)), *words, stdin=content)


def public(folder: Path, *keys: Key, name: str = "release.pem") -> str:
    return write(folder / name, *(public_pem(key) for key in keys))


def checked(signature: bytes, *files: str, scheme: str = "auto", content: bytes = CONTENT) -> Signer:
    return verify(content, signature, Trust(files, scheme=scheme), now_s=0)


@pytest.mark.parametrize("scheme", ["auto", "rsa"])
def test_rsa(tmp_path: Path, scheme: str) -> None:
    signature = made(tmp_path, rsa_key())
    assert checked(signature, public(tmp_path, rsa_key()), scheme=scheme) == Signer("release.pem", "RSA")


@pytest.mark.parametrize("salt", ["-1", "-2", "-3", "0", "20", "32", "100"])
@pytest.mark.parametrize("scheme", ["auto", "rsa-pss"])
def test_rsa_pss_with_any_salt(tmp_path: Path, salt: str, scheme: str) -> None:
    signature = made(tmp_path, rsa_key(), *PSS, f"rsa_pss_saltlen:{salt}")
    assert checked(signature, public(tmp_path, rsa_key()), scheme=scheme).scheme == "RSA-PSS"


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("scheme", ["auto", "rsa", "ecdsa"])
def test_ecdsa(tmp_path: Path, curve: str, scheme: str) -> None:
    key = ec_key(0, curve)
    signer = checked(made(tmp_path, key), public(tmp_path, key), scheme=scheme)
    assert signer == Signer("release.pem", f"ECDSA {CURVES[curve]}")


def test_a_key_that_is_for_pss_only(tmp_path: Path) -> None:
    private = openssl("genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048")
    path = write(tmp_path / "release.pem", openssl("pkey", "-pubout", stdin=private))
    signature = openssl("dgst", "-sha256", "-sign", write(tmp_path / "k", private), stdin=CONTENT)
    assert checked(signature, path) == Signer("release.pem", "RSA-PSS")
    with pytest.raises(SettingsError, match="no key for the signature scheme rsa"):
        checked(signature, path, scheme="rsa")
    key = load_pem_private_key(private, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    with pytest.raises(SignatureError, match="no trusted key"):
        checked(key.sign(CONTENT, PKCS1v15(), SHA256()), path)


@pytest.mark.parametrize(
    ("words", "scheme"),
    [((), "rsa-pss"), ((*PSS, "rsa_pss_saltlen:-2"), "rsa")],
)
def test_a_scheme_is_not_another(tmp_path: Path, words: tuple[str, ...], scheme: str) -> None:
    with pytest.raises(SignatureError, match=f"with scheme {scheme}"):
        checked(made(tmp_path, rsa_key(), *words), public(tmp_path, rsa_key()), scheme=scheme)


@pytest.mark.parametrize("words", [("-sha1",), ("-sha512",), (*PSS, "rsa_mgf1_md:sha1")])
def test_another_digest_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(SignatureError):
        checked(made(tmp_path, rsa_key(), *words), public(tmp_path, rsa_key()))


def test_any_key_of_any_file_will_do(tmp_path: Path) -> None:
    first = public(tmp_path, rsa_key(1), ec_key(), name="old.pem")
    second = f"file://{public(tmp_path, ec_key(1), rsa_key(), name='new.pem')}"
    assert checked(made(tmp_path, rsa_key()), first, second).label == "new.pem#2"
    assert checked(made(tmp_path, ec_key()), first, second).label == "old.pem#2"


def test_none_of_the_keys(tmp_path: Path) -> None:
    path = public(tmp_path, rsa_key(1), ec_key())
    with pytest.raises(SignatureError) as caught:
        checked(made(tmp_path, rsa_key()), path)
    assert "tried release.pem#1 (RSA 2048), release.pem#2 (ECDSA P-256)" in caught.value.message
    assert caught.value.exit_code == 20


@pytest.mark.parametrize("key", [rsa_key(), ec_key()], ids=["rsa", "ec"])
def test_what_was_changed_is_refused(tmp_path: Path, key: Key) -> None:
    signature, path = made(tmp_path, key), public(tmp_path, key)
    checked(signature, path)
    for changed in (signature + b"\0", signature[:-1], b"\0" + signature, signature[:-1] + b"\0", b"x"):
        with pytest.raises(SignatureError):
            checked(changed, path)
    with pytest.raises(SignatureError):
        checked(signature, path, content=CONTENT + b"\n")


def test_size_and_form_of_a_signature(tmp_path: Path) -> None:
    path = public(tmp_path, rsa_key())
    with pytest.raises(SignatureError, match="empty"):
        checked(b"", path)
    with pytest.raises(SignatureError, match="at most"):
        checked(bytes(SIGNATURE_MAX_BYTES + 1), path)
    with pytest.raises(SignatureError, match="PEM"):
        checked(b"-----BEGIN CMS-----\n", path)


def test_a_bare_signature_is_never_checked_with_a_certificate(tmp_path: Path) -> None:
    root = certify(root_wish(), key=rsa_key())
    path = write(tmp_path / "root.pem", root.pem)
    signature = made(tmp_path, rsa_key())
    with pytest.raises(SignatureError, match="certificates only"):
        checked(signature, path)
    with pytest.raises(SettingsError, match="no public key"):
        checked(signature, path, scheme="rsa")
    with pytest.raises(SignatureError, match="not CMS"):
        checked(signature, path, scheme="cms")
    assert checked(signature, path, public(tmp_path, rsa_key())).scheme == "RSA"


def test_a_forced_name_cannot_be_passed_by(tmp_path: Path) -> None:
    path = public(tmp_path, rsa_key())
    for trust in (Trust((path,), forced_signer_name="me"), Trust((path,), crl_path="/nowhere")):
        with pytest.raises(SettingsError, match="go past it"):
            verify(CONTENT, made(tmp_path, rsa_key()), trust, now_s=0)


def encoded(text: str) -> bytes:
    return f"-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n".encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "holds no PEM"),
        (b"\x30\x82\x01", "holds no PEM"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n", "not closed"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END CERTIFICATE-----\n", "not closed"),
        (encoded("A*AA"), "malformed"),
        (encoded("AAAA"), "malformed"),
        (encoded(""), "malformed"),
        (encoded("MAA="), "malformed"),
        (private_pem(ec_key()), "holds a private key"),
        (public_pem(rsa_key(0, 1024)), "1024 bits"),
        (public_pem(ec_key(0, "SECP256K1")), "secp256k1"),
        (public_pem(ec_key())[:60] + b"A" + public_pem(ec_key())[61:], "malformed|cannot be used"),
        (b"x" * ((1 << 20) + 1), "larger than"),
    ],
)
def test_key_files_that_cannot_be_used(tmp_path: Path, data: bytes, why: str) -> None:
    trust = Trust((write(tmp_path / "bad.pem", data),))
    for attempt in (lambda: check(trust), lambda: verify(CONTENT, b"x", trust, now_s=0)):
        with pytest.raises(SettingsError, match=why) as caught:
            attempt()
        assert "bad.pem" in caught.value.message


def test_an_ed25519_key_is_refused(tmp_path: Path) -> None:
    public_key = openssl("pkey", "-pubout", stdin=openssl("genpkey", "-algorithm", "ed25519"))
    with pytest.raises(SettingsError, match="neither RSA nor EC"):
        check(Trust((write(tmp_path / "k", public_key),)))


@pytest.mark.parametrize(
    ("trust", "why"),
    [
        (Trust(()), "no key"),
        (Trust(("/nowhere/k.pem",)), "No such file"),
        (Trust(("/",)), "Is a directory"),
        (Trust(("a\0b",)), "cannot read"),
        (Trust(("pkcs11:object=k",)), "a file is needed"),
        (Trust(("acme:k",)), "a file is needed"),
        (Trust(("file://host/k",)), "another host"),
        (Trust(("file:",)), "names no file"),
        (Trust(("k",), scheme="gpg"), "unknown signature scheme"),
        (Trust(("k",), cert_purpose="any"), "unknown certificate purpose"),
    ],
)
def test_settings_that_cannot_be_used(trust: Trust, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        check(trust)


def test_check_wants_a_key_for_the_scheme(tmp_path: Path) -> None:
    path = public(tmp_path, ec_key())
    check(Trust((path,)))
    check(Trust((path,), scheme="ecdsa"))
    with pytest.raises(SettingsError, match=r"release\.pem is ECDSA P-256"):
        check(Trust((path,), scheme="rsa-pss"))
    with pytest.raises(SettingsError, match="no certificate"):
        check(Trust((path,), scheme="cms"))


def test_uris_are_decoded(tmp_path: Path) -> None:
    path = public(tmp_path, rsa_key(), name="my key.pem")
    check(Trust((f"file:{path}".replace(" ", "%20"),)))
    check(Trust((f"file://localhost{path}",)))


def test_names_of_providers() -> None:
    for name, scheme in (
        ("", "auto"),
        ("opensslRSA", "rsa"),
        ("mbedtlsRSAPSS", "rsa-pss"),
        ("opensslCMS", "cms"),
        ("pkcs#7WolfSSL", "cms"),
    ):
        assert scheme_of_provider(name) == scheme
    with pytest.raises(SettingsError, match="GPG"):
        scheme_of_provider("GPG")
    with pytest.raises(SettingsError, match="unknown digest provider"):
        scheme_of_provider("opensslDSA")


@pytest.mark.parametrize("key", [rsa_key(), ec_key()], ids=["rsa", "ec"])
def test_a_bare_key_loads_neither_x509_nor_key_loaders(tmp_path: Path, key: Key) -> None:
    write(tmp_path / "s", made(tmp_path, key))
    code = (
        "import sys; from swagent.crypto.signature import Trust, verify\n"
        f"verify({CONTENT!r}, open('s', 'rb').read(), Trust(({public(tmp_path, key)!r},)), now_s=0)\n"
        "print(*sys.modules)"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True)
    loaded = run.stdout.decode().split()
    assert "cryptography.hazmat.primitives.hashes" in loaded, run.stderr
    for heavy in ("cryptography.x509", "cryptography.hazmat.primitives.serialization", "asyncio", "datetime"):
        assert heavy not in loaded
