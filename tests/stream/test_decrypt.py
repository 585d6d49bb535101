"""The decrypting stage against openssl."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swagent.errors import DecryptError
from swagent.stream.decrypt import Decryptor
from tests.faults.images import AES_IV, AES_KEY, encrypted, noise
from tests.programs import need


def plain_of(stored: bytes, pieces: list[int]) -> bytes:
    decryptor = Decryptor(AES_KEY, AES_IV)
    found = b""
    at = 0
    for piece in (*pieces, len(stored)):
        # what a push gives is only valid until the next: it is copied here
        found += b"".join(bytes(plain) for plain in decryptor.push(memoryview(stored)[at : at + piece]))
        at += piece
    return found + decryptor.finish()


def test_what_openssl_encrypts() -> None:
    need("openssl")
    plain = noise(100_003)
    argv = ["openssl", "enc", "-aes-256-cbc", "-K", AES_KEY.hex(), "-iv", AES_IV.hex()]
    stored = subprocess.run(argv, input=plain, capture_output=True, check=True).stdout
    assert plain_of(stored, [1, 15, 16, 17, 4096, 50_000]) == plain


@settings(deadline=None)  # other work on the machine must not fail a test
@given(st.binary(max_size=300), st.lists(st.integers(0, 100), max_size=8))
def test_pieces_of_any_length(plain: bytes, pieces: list[int]) -> None:
    assert plain_of(encrypted(plain), pieces) == plain


@settings(deadline=None)  # other work on the machine must not fail a test
@given(st.binary(min_size=1, max_size=100), st.integers(0, 120))
def test_cut_short(plain: bytes, end: int) -> None:
    stored = encrypted(plain)
    if end < len(stored) and end % 16:
        with pytest.raises(DecryptError):
            plain_of(stored[:end], [])
