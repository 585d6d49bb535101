"""Fixtures that several rooms use."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.programs import must, need

AES_KEY = bytes(range(32))
AES_IV = bytes(range(16, 32))

# time is the machine's affair, and a run must not depend on chance: `--hypothesis-profile=default` explores
settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("steady")


@dataclass(frozen=True)
class KeyRing:
    """Keys made by openssl, once for each test process; all paths are PEM files unless said otherwise.

    Attributes:
        key, cert, public: an RSA key, its self-signed certificate, its public half.
        ec_key, ec_cert, ec_public: the same of a P-256 key.
        stranger_key, stranger_cert, stranger_public: an RSA key that nobody trusts.
        aes: key file with AES_KEY and AES_IV.
        aes_other: key file with another key.
    """

    key: Path
    cert: Path
    public: Path
    ec_key: Path
    ec_cert: Path
    ec_public: Path
    stranger_key: Path
    stranger_cert: Path
    stranger_public: Path
    aes: Path
    aes_other: Path


_numbers = count()


@pytest.fixture(autouse=True)
def _journal_apart(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test's updates are journalled in a folder of their own, never in that of this machine."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path_factory.getbasetemp() / f"state-{next(_numbers)}"))


@pytest.fixture(scope="session")
def key_ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    need("openssl")
    folder = tmp_path_factory.mktemp("keys")
    for prefix, kind in (
        ("", ["rsa:2048"]),
        ("ec_", ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        ("stranger_", ["rsa:2048"]),
    ):
        key, cert, public = (folder / f"{prefix}{name}" for name in ("key", "cert", "public"))
        must(
            ["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-days", "3650", "-subj", "/CN=Tests",
             "-keyout", key, "-out", cert]
        )  # fmt: skip
        must(["openssl", "pkey", "-in", key, "-pubout", "-out", public])
    # readable by all, as SWUpdate takes them and as they lie on devices
    (folder / "aes").write_text(f"{AES_KEY.hex()} {AES_IV.hex()}\n")
    (folder / "aes_other").write_text(f"{bytes(32).hex()} {AES_IV.hex()}\n")
    return KeyRing(**{field.name: folder / field.name for field in fields(KeyRing)})


@pytest.fixture
def quick_path() -> Iterator[Path]:
    """A folder of this test's own, in memory where there is some: for databases, which sync often."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)
