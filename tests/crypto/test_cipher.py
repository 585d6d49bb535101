"""AES-CBC as a stream, held against ``openssl enc``, and key files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swagent.crypto.cipher import (
    OVERHEAD_BYTES,
    CbcDecryptor,
    CbcEncryptor,
    check_key,
    cipher_key_size,
    read_key_file,
)
from swagent.errors import DecryptError, DescriptionError, SettingsError
from tests.crypto.pki import openssl

KEY = bytes(range(32))
IV = bytes(range(16, 32))


def run(machine: CbcDecryptor | CbcEncryptor, data: bytes, step: int) -> bytes:
    out = b""
    target = memoryview(bytearray(step + OVERHEAD_BYTES))
    for at in range(0, len(data), step):
        out += target[: machine.update_into(memoryview(data)[at : at + step], target)]
    return out + machine.finalize()


@pytest.mark.parametrize("bits", [128, 192, 256])
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 100_000])
def test_openssl_agrees(bits: int, size: int) -> None:
    plain = bytes(i * 7 & 0xFF for i in range(size))
    key = KEY[: bits // 8]
    words = ["enc", f"-aes-{bits}-cbc", "-K", key.hex(), "-iv", IV.hex()]
    encrypted = openssl(*words, stdin=plain)
    assert run(CbcDecryptor(key, IV), encrypted, 4096) == plain
    assert run(CbcEncryptor(key, IV), plain, 4096) == encrypted


@given(st.binary(max_size=500), st.integers(1, 70), st.integers(1, 70), st.sampled_from([16, 24, 32]))
def test_any_split_comes_back(plain: bytes, one: int, other: int, size: int) -> None:
    encrypted = run(CbcEncryptor(KEY[:size], IV), plain, one)
    assert len(encrypted) == len(plain) // 16 * 16 + 16
    assert run(CbcDecryptor(KEY[:size], IV), encrypted, other) == plain


def test_a_large_block_needs_no_more_than_the_overhead() -> None:
    size = 1 << 20
    target = memoryview(bytearray(size + OVERHEAD_BYTES))
    machine = CbcDecryptor(KEY, IV)
    assert machine.update_into(memoryview(bytes(size)), target) == size - 16
    assert machine.update_into(memoryview(bytes(size)), target) == size


def encrypted_block(plain: bytes) -> bytes:
    """Encrypt without padding."""
    return openssl("enc", "-aes-256-cbc", "-K", KEY.hex(), "-iv", IV.hex(), "-nopad", stdin=plain)


@pytest.mark.parametrize(
    "plain",
    [b"x" * 15 + b"\0", b"x" * 15 + b"\x11", b"x" * 14 + b"\x01\x02", b"\x0f" + b"\x10" * 15, b"\xff" * 16],
)
def test_wrong_padding(plain: bytes) -> None:
    with pytest.raises(DecryptError, match="padding"):
        run(CbcDecryptor(KEY, IV), encrypted_block(b"y" * 16 + plain), 16)


def test_padding_of_a_whole_block() -> None:
    assert run(CbcDecryptor(KEY, IV), encrypted_block(b"\x10" * 16), 16) == b""


@pytest.mark.parametrize("size", [1, 15, 17, 33])
def test_no_multiple_of_a_block(size: int) -> None:
    with pytest.raises(DecryptError, match="multiple of 16"):
        run(CbcDecryptor(KEY, IV), bytes(size), 16)


def test_nothing_at_all() -> None:
    with pytest.raises(DecryptError, match="empty"):
        CbcDecryptor(KEY, IV).finalize()


@pytest.mark.parametrize(("key", "iv"), [(KEY[:31], IV), (b"", IV), (KEY, IV[:15]), (KEY, IV + b"x")])
def test_lengths_are_checked(key: bytes, iv: bytes) -> None:
    for machine in (CbcDecryptor, CbcEncryptor):
        with pytest.raises(DecryptError):
            machine(key, iv)


def test_names_of_ciphers() -> None:
    assert [cipher_key_size(name) for name in ("aes-cbc", "aes-cbc-128", "aes-cbc-192", "aes-cbc-256")] == [
        None,
        16,
        24,
        32,
    ]
    for name, why in (("aes-ctr-256", "not supported"), ("aes-gcm", "unknown"), ("", "unknown")):
        with pytest.raises(DescriptionError, match=why):
            cipher_key_size(name)


def test_a_key_that_does_not_go_with_the_name() -> None:
    check_key("aes-cbc-256", KEY, IV)
    with pytest.raises(DecryptError, match="128 bits, this one has 256"):
        check_key("aes-cbc-128", KEY, IV)


@pytest.mark.parametrize("size", [16, 24, 32])
@pytest.mark.parametrize("form", ["{} {}", "{} {}\n", "\n {}\t\n{} 0011223344556677\n"])
def test_key_files(tmp_path: Path, size: int, form: str) -> None:
    path = tmp_path / "key"
    path.write_text(form.format(KEY[:size].hex(), IV.hex().upper()))
    read = read_key_file(f"file://{path}")
    assert (read.key, read.iv) == (KEY[:size], IV)
    assert KEY[:size].hex() not in repr(read) and repr(KEY[:size]) not in repr(read)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "0 words"),
        (KEY.hex(), "1 words"),
        (f"{KEY.hex()}0 {IV.hex()}", "not hexadecimal"),
        (f"{KEY.hex()}00 {IV.hex()}", "66 digits"),
        (f"{KEY.hex()} {IV.hex()}00", "34 digits"),
        (f"0x{KEY.hex()[2:]} {IV.hex()}", "not hexadecimal"),
        (f"{KEY.hex()} {'é' * 16}", "not hexadecimal"),
        (f"acme:object=k {IV.hex()}", "acme: are unknown, there are file:, pkcs11:"),
        (f"file:other {IV.hex()}", "cannot name another file"),
    ],
)
def test_malformed_key_files_are_refused_without_showing_them(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(SettingsError, match=why) as caught:
        read_key_file(str(path))
    shown = f"{caught.value.message} {caught.value.hint} {caught.value.__cause__}"
    assert KEY.hex()[2:32] not in shown and IV.hex() not in shown


def test_a_key_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        read_key_file(str(tmp_path / "none"))
