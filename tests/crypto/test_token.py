"""Keys in a token: what is signed and decrypted inside SoftHSM, judged by openssl and by the verifier."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.crypto import token as token_room
from swagent.crypto import uri
from swagent.crypto.cipher import CbcDecryptor, CbcEncryptor, read_key_file
from swagent.crypto.signature import Trust, verify
from swagent.crypto.signing import sign
from swagent.errors import DecryptError, SettingsError, SwagentError

from .pki import (
    NOW_S,
    Key,
    Wish,
    certify,
    ec_key,
    openssl,
    private_pem,
    public_pem,
    root_wish,
    rsa_key,
    write,
)
from .softhsm import PIN, Token

CONTENT = b'software = { version = "1"; };\n' * 50
AES_KEY = bytes(range(32))
IV = bytes(range(100, 116))
pkcs11 = pytest.importorskip("pkcs11", reason="needs python-pkcs11: pip install python-pkcs11")


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    folder = tmp_path_factory.mktemp("token")
    made = Token(folder)
    pairs: list[tuple[str, Key]] = [("rsa", rsa_key()), ("ec", ec_key())]
    for number, (label, key) in enumerate(pairs, 1):
        path = folder / f"{label}.pem"
        write(path, private_pem(key))
        made.import_key(label, number, path)
    made.import_aes("aes", 3, AES_KEY, folder)
    made.generate("weak", 4, "rsa:1024")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.env.items():
            patch.setenv(name, value)
        patch.delenv(token_room.PIN_VARIABLE, raising=False)
        yield made
        pkcs11.unload(made.module)  # its C library read the variable once


def check_by_openssl(folder: Path, signature: bytes, public: bytes, *words: str) -> None:
    (folder / "s").write_bytes(signature)
    (folder / "p").write_bytes(public)
    openssl("dgst", "-sha256", "-verify", folder / "p", "-signature", folder / "s", *words, stdin=CONTENT)


@pytest.mark.parametrize(
    ("label", "scheme", "words"),
    [
        ("rsa", "rsa", ()),
        ("rsa", "auto", ()),
        ("rsa", "rsa-pss", ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32")),
        ("ec", "ecdsa", ()),
        ("ec", "auto", ()),
    ],
)
def test_openssl_verifies_what_the_token_signed(
    token: Token, tmp_path: Path, label: str, scheme: str, words: tuple[str, ...]
) -> None:
    signature = sign(CONTENT, key_file=token.uri(label), scheme=scheme)
    public = public_pem(rsa_key() if label == "rsa" else ec_key())
    check_by_openssl(tmp_path, signature, public, *words)
    trust = Trust((write(tmp_path / "public.pem", public),))
    assert verify(CONTENT, signature, trust, now_s=0).label == "public.pem"


def test_a_token_signs_what_a_file_signs(token: Token, tmp_path: Path) -> None:
    by_file = sign(CONTENT, key_file=write(tmp_path / "k", private_pem(rsa_key())), scheme="rsa")
    assert sign(CONTENT, key_file=token.uri("rsa"), scheme="rsa") == by_file


def test_a_key_made_in_the_token(token: Token, tmp_path: Path) -> None:
    public = openssl("pkey", "-pubin", "-inform", "DER", stdin=token.generate("born", 9, "rsa:3072"))
    check_by_openssl(tmp_path, sign(CONTENT, key_file=token.uri("born")), public)


@pytest.mark.parametrize("label", ["rsa", "ec"])
def test_openssl_verifies_cms_by_a_token(token: Token, tmp_path: Path, label: str) -> None:
    root = certify(root_wish())
    leaf = certify(Wish(), root, rsa_key() if label == "rsa" else ec_key())
    certificate, roots = write(tmp_path / "leaf.pem", leaf.pem), write(tmp_path / "root.pem", root.pem)
    signature = sign(CONTENT, key_file=token.uri(label), certificate_file=certificate, signing_time_s=NOW_S)
    assert verify(CONTENT, signature, Trust((roots,)), now_s=NOW_S).label == "release"
    (tmp_path / "s").write_bytes(signature)
    (tmp_path / "c").write_bytes(CONTENT)
    openssl(
        "cms", "-verify", "-inform", "DER", "-in", tmp_path / "s", "-content", tmp_path / "c", "-binary",
        "-CAfile", roots, "-attime", str(int(NOW_S)),
    )  # fmt: skip
    other = "ec" if label == "rsa" else "rsa"
    with pytest.raises(SettingsError, match="does not belong to key pkcs11:token=build;object="):
        sign(CONTENT, key_file=token.uri(other), certificate_file=certificate)


def test_a_certificate_of_another_key_of_the_same_kind(token: Token, tmp_path: Path) -> None:
    certificate = write(tmp_path / "leaf.pem", certify(Wish(), None, rsa_key(2)).pem)
    with pytest.raises(SettingsError, match="does not belong"):
        sign(CONTENT, key_file=token.uri("rsa"), certificate_file=certificate)


@pytest.mark.parametrize("chunk", [1, 15, 16, 17, 4096, 100_000])
@pytest.mark.parametrize("length", [0, 1, 16, 33_333])
def test_the_token_decrypts(token: Token, tmp_path: Path, chunk: int, length: int) -> None:
    plain = os.urandom(length)
    encryptor = CbcEncryptor(AES_KEY, IV)
    target = memoryview(bytearray(length + 64))
    stored = bytes(target[: encryptor.update_into(memoryview(plain), target)]) + encryptor.finalize()
    if chunk == 1:
        stored_by_openssl = openssl("enc", "-aes-256-cbc", "-K", AES_KEY.hex(), "-iv", IV.hex(), stdin=plain)
        assert stored == stored_by_openssl
        chunk = 1 if length < 100 else 7
    key = read_key_file(write(tmp_path / "aes.key", f"{token.uri('aes')} {IV.hex()}\n".encode()))
    assert not isinstance(key.key, bytes)
    assert key.key.size_bytes == 32
    assert PIN not in repr(key) + repr(key.key)
    decryptor = CbcDecryptor(key.key, key.iv)
    out = bytearray()
    for start in range(0, len(stored), chunk):
        piece = memoryview(stored)[start : start + chunk]
        target = memoryview(bytearray(len(piece) + 32))
        out += target[: decryptor.update_into(piece, target)]
    assert bytes(out) + decryptor.finalize() == plain
    # beside a key that is logged in, another one can be used and let go of
    assert sign(CONTENT, key_file=token.uri("rsa"))
    assert key.key.decrypt_blocks(IV, bytes(16))
    key.key.close()


def test_half_a_block(token: Token, tmp_path: Path) -> None:
    key = read_key_file(write(tmp_path / "aes.key", f"{token.uri('aes')} {IV.hex()}\n".encode()))
    decryptor = CbcDecryptor(key.key, key.iv)
    decryptor.update_into(memoryview(bytes(24)), memoryview(bytearray(64)))
    with pytest.raises(DecryptError, match="no multiple of 16"):
        decryptor.finalize()
    assert not isinstance(key.key, bytes)
    key.key.close()
    with pytest.raises(DecryptError, match="cannot decrypt"):
        decryptor.update_into(memoryview(bytes(24)), memoryview(bytearray(64)))


def test_the_key_does_not_leave_the_token(token: Token) -> None:
    with pytest.raises(AssertionError):
        token.tool("--read-object", "--type", "secrkey", "--id", "03")


def test_where_the_pin_may_stand(token: Token, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sign(CONTENT, key_file=token.uri("rsa", pin="value"))
    assert sign(CONTENT, key_file=token.uri("rsa", pin=""), password=PIN.encode())
    monkeypatch.setenv(token_room.PIN_VARIABLE, PIN)
    assert sign(CONTENT, key_file=token.uri("rsa", pin=""))
    monkeypatch.setenv(token_room.MODULE_VARIABLE, token.module)
    assert sign(CONTENT, key_file="pkcs11:token=build;id=%01;type=private")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("object=rsa", "object=none"), "the token has no private key"),
        (("token=build", "token=other"), "means no token"),
        (("object=rsa", "object=rsa;id=%02"), "the token has no private key"),
        (("object=rsa", "object=aes"), "the token has no private key"),
        (("object=rsa", "object=weak"), "has 1024 bits"),
        (("object=rsa", "type=cert;object=rsa"), "a private one is needed"),
        ((";object=rsa", ""), "names no key"),
        (("object=rsa", "object=rsa;colour=red"), "'colour' is not known"),
        (("object=rsa", "object=rsa;object=ec"), "given twice"),
        (("module-path=", f"pin-value={PIN}&module-path="), "two PINs"),
        (("module-path=", "pin=4711-pin&module-path="), "an attribute behind [?] is not known"),
        (("pin-source=file:", "pin-source=|cat "), "names a command"),
        (("pin-source=file:", "pin-source=file:/nowhere"), "cannot read PIN file"),
        (("libsofthsm2", "libnone"), "cannot load the PKCS#11 module"),
    ],
)
def test_what_is_refused_without_showing_the_pin(token: Token, change: tuple[str, str], why: str) -> None:
    name = token.uri("rsa").replace(*change)
    with pytest.raises(SettingsError, match=why) as caught:
        sign(CONTENT, key_file=name)
    assert PIN not in f"{caught.value.message} {caught.value.hint}"


def test_wrong_pins(token: Token) -> None:
    with pytest.raises(SettingsError, match="PIN is wrong"):
        sign(CONTENT, key_file=token.uri("rsa", pin=""), password=b"0000-pin")
    with pytest.raises(SettingsError, match="no private key") as caught:
        sign(CONTENT, key_file=token.uri("rsa", pin=""))
    assert "pin-source" in caught.value.hint
    token.pin_file.chmod(0o640)
    try:
        with pytest.raises(SettingsError, match="open to others"):
            sign(CONTENT, key_file=token.uri("rsa"))
    finally:
        token.pin_file.chmod(0o600)


def test_schemes_that_do_not_go_with_the_key(token: Token) -> None:
    with pytest.raises(SettingsError, match="is RSA, scheme ecdsa"):
        sign(CONTENT, key_file=token.uri("rsa"), scheme="ecdsa")
    with pytest.raises(SettingsError, match="is EC, scheme rsa-pss"):
        sign(CONTENT, key_file=token.uri("ec"), scheme="rsa-pss")


def test_an_unknown_scheme_names_those_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="acme: are unknown, there are file:, pkcs11:"):
        sign(CONTENT, key_file="acme:release?pin=1")
    assert uri.shown("acme:release?pin=1") == "acme:…"
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a:b", private_pem(rsa_key()))
    assert sign(CONTENT, key_file="./a:b") == sign(CONTENT, key_file=f"file://{tmp_path}/a:b")


def test_uris_from_outside() -> None:
    for text in (
        "pkcs11:",
        "pkcs11:?",
        "pkcs11:a",
        "pkcs11:object=%",
        "pkcs11:;;",
        "pkcs11:id=%00?pin-value",
    ):
        with pytest.raises(SwagentError):
            sign(CONTENT, key_file=text)
    parsed = token_room.parse_uri("pkcs11:object=a%20b;id=%01%ff?pin-value=1%262")
    assert parsed.path == {"object": b"a b", "id": b"\x01\xff"}
    assert parsed.query == {"pin-value": b"1&2"}
    assert "1" not in repr(parsed).partition("id=")[2].replace("%01", "")


def test_private_key_files_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "k"
    write(path, private_pem(rsa_key()))
    for mode in (0o640, 0o604, 0o644, 0o620):
        path.chmod(mode)
        with pytest.raises(SettingsError, match="open to others") as caught:
            sign(CONTENT, key_file=str(path))
        assert caught.value.hint == f"chmod 600 {path}"
    path.chmod(0o400)
    assert sign(CONTENT, key_file=str(path))
    memory = os.memfd_create("key")  # its mode is 0777, and nobody else can open it
    os.write(memory, path.read_bytes())
    assert sign(CONTENT, key_file=f"/proc/self/fd/{memory}")
    os.close(memory)
    read_end, write_end = os.pipe()
    with subprocess.Popen(["cat", path], stdout=write_end):
        os.close(write_end)
        assert sign(CONTENT, key_file=f"/dev/fd/{read_end}")
    os.close(read_end)


@pytest.mark.parametrize(("label", "scheme"), [("rsa", "rsassa-pss-sha256"), ("ec", "ecdsa-sha2-nistp256")])
def test_reports_are_signed_in_the_token(token: Token, label: str, scheme: str) -> None:
    from swagent.crypto import schemes

    key = schemes.open_private(token.uri(label))
    assert key.scheme == scheme
    assert schemes.load(scheme, key.public).made(key.sign(CONTENT), CONTENT)
    assert not schemes.load(scheme, key.public).made(key.sign(CONTENT), CONTENT + b"!")


def test_a_curve_that_no_scheme_of_ours_signs(token: Token) -> None:
    from swagent.crypto import schemes

    token.tool("--keypairgen", "--key-type", "EC:secp384r1", "--label", "p384", "--id", "61")
    with pytest.raises(SettingsError, match="P-384"):
        schemes.open_private(token.uri("p384"))


def test_a_key_without_its_public_half(token: Token) -> None:
    from swagent.crypto import schemes

    token.generate("alone", 98, "rsa:2048")
    token.tool("--delete-object", "--type", "pubkey", "--id", "62")
    with pytest.raises(SettingsError, match="public key beside it"):
        schemes.open_private(token.uri("alone"))
