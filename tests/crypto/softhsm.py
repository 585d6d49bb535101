"""A token made of files, by the real softhsm2-util and pkcs11-tool."""

import glob
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PIN = "4711-pin"
_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/*/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
)


class Token:
    """One initialised token named ``build``; whoever uses it needs ``env`` in the environment."""

    def __init__(self, folder: Path) -> None:
        for program, package in (("softhsm2-util", "softhsm2"), ("pkcs11-tool", "opensc")):
            if shutil.which(program) is None:
                pytest.skip(f"needs {program}: apt-get install {package}")
        found = [path for pattern in _MODULES for path in glob.glob(pattern)]
        if not found:
            pytest.skip("needs libsofthsm2.so: apt-get install softhsm2")
        self.module = found[0]
        (folder / "tokens").mkdir()
        config = folder / "softhsm2.conf"
        config.write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
        self.env = {"SOFTHSM2_CONF": str(config)}
        self.pin_file = folder / "pin"
        self.pin_file.write_text(f"{PIN}\n")
        self.pin_file.chmod(0o600)
        self._run(
            "softhsm2-util",
            "--init-token",
            "--free",
            "--label",
            "build",
            "--so-pin",
            "12345678",
            "--pin",
            PIN,
        )

    def generate(self, label: str, number: int, kind: str) -> bytes:
        """A key pair made in the token, such as ``rsa:2048`` or ``EC:prime256v1``; the public key in DER."""
        self.tool("--keypairgen", "--key-type", kind, "--label", label, "--id", f"{number:02x}")
        return self.tool("--read-object", "--type", "pubkey", "--id", f"{number:02x}")

    def import_key(self, label: str, number: int, pem_file: Path) -> None:
        """Put a private key from a PKCS#8 file into the token."""
        self._run(
            "softhsm2-util", "--import", str(pem_file), "--token", "build", "--label", label,
            "--id", f"{number:02x}", "--pin", PIN,
        )  # fmt: skip

    def import_aes(self, label: str, number: int, key: bytes, folder: Path) -> None:
        """Put an AES key into the token, where it is sensitive and not extractable."""
        path = folder / f"{label}.bin"
        path.write_bytes(key)
        self.tool(
            "--write-object", str(path), "--type", "secrkey", "--key-type", f"AES:{len(key)}",
            "--label", label, "--id", f"{number:02x}", "--sensitive", "--usage-decrypt",
        )  # fmt: skip
        path.unlink()

    def uri(self, label: str, *, pin: str = "source") -> str:
        """The URI of a key."""
        pins = {"source": f"pin-source=file:{self.pin_file}&", "value": f"pin-value={PIN}&", "": ""}[pin]
        return f"pkcs11:token=build;object={label}?{pins}module-path={self.module}"

    def tool(self, *words: str) -> bytes:
        """pkcs11-tool, logged in."""
        return self._run(
            "pkcs11-tool", "--module", self.module, "--token-label", "build", "--login", "--pin", PIN, *words
        )

    def _run(self, *words: str) -> bytes:
        done = subprocess.run(words, capture_output=True, env={**os.environ, **self.env}, timeout=60)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout


TokenMaker = Callable[[], Token]
