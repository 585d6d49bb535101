"""The digest of the plain bytes, for those who ask."""

import gzip
import hashlib
import os
import random
from pathlib import Path

import pytest

from swagent.crypto.cipher import CbcEncryptor
from swagent.model import Compression, Sink
from swagent.stream import ArtifactData, Codec
from swagent.stream.decrypt import Decryptor
from swagent.stream.pipeline import Decoder, drain
from swagent.testing import FakeData

KEY, IV = bytes(range(32)), bytes(range(16))
MIB = 1 << 20


def half_noise(n_bytes: int) -> bytes:
    return b"".join(random.Random(1).randbytes(64) + bytes(64) for _ in range(n_bytes // 128 + 1))[:n_bytes]


def opened(plain: bytes, *, packed: bool, secret: bool, hashed: bool) -> ArtifactData:
    stored = gzip.compress(plain, 1) if packed else plain
    if secret:
        encryptor, out = CbcEncryptor(KEY, IV), memoryview(bytearray(len(stored) + 64))
        n = encryptor.update_into(memoryview(stored), out)
        stored = bytes(out[:n]) + encryptor.finalize()

    def decryptor(vector: bytes) -> Decoder:
        return Decryptor(KEY, vector or IV)

    digest = hashlib.sha256(stored).digest() if hashed else None
    compression = Compression.ZLIB if packed else Compression.NONE
    codec = Codec("a", len(stored), digest, compression, decryptor if secret else None, len(plain))
    return ArtifactData(FakeData(stored), codec)


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize("secret", [True, False])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("n_bytes", [0, 1000, 9 * MIB + 5])
def test_poured_and_read(n_bytes: int, packed: bool, secret: bool, hashed: bool, tmp_path: Path) -> None:
    plain = half_noise(n_bytes)
    expected = hashlib.sha256(plain).digest()
    poured = opened(plain, packed=packed, secret=secret, hashed=hashed)
    poured.want_plain_sha256()
    fd = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT, 0o600)
    assert poured.pour(Sink(fd)) == n_bytes
    os.close(fd)
    assert poured.plain_sha256 == expected
    assert (tmp_path / "out").read_bytes() == plain
    read = opened(plain, packed=packed, secret=secret, hashed=hashed)
    read.want_plain_sha256()
    drain(read)
    assert read.plain_sha256 == expected


def test_nobody_asked() -> None:
    data = opened(b"abc", packed=True, secret=False, hashed=True)
    drain(data)
    assert data.plain_sha256 is None
