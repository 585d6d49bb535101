"""SHA-256 and the comparison."""

from swagent.crypto.digest import SHA256_BYTES, same, sha256
from tests.crypto.pki import openssl


def test_openssl_agrees() -> None:
    running = sha256(b"one ")
    running.update(b"two")
    assert running.digest() == openssl("dgst", "-sha256", "-binary", stdin=b"one two")
    assert len(running.digest()) == SHA256_BYTES


def test_same() -> None:
    assert same(b"abc", b"abc")
    assert not same(b"abc", b"abd")
    assert not same(b"abc", b"ab")
