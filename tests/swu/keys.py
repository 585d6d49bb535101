"""Keys for the tests of this room, made by openssl."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from swagent.crypto.signature import Trust
from swagent.swu.sign import SigningSpec

AES_TEXT = "00112233445566778899aabbccddeeff" * 2 + " " + "0f" * 16 + "\n"


@dataclass(frozen=True)
class Keys:
    folder: Path

    @property
    def rsa(self) -> SigningSpec:
        return SigningSpec(str(self.folder / "key.pem"))

    @property
    def cms(self) -> SigningSpec:
        return SigningSpec(str(self.folder / "key.pem"), certificate_file=str(self.folder / "cert.pem"))

    @property
    def public(self) -> Trust:
        return Trust((str(self.folder / "pub.pem"),))

    @property
    def certificate(self) -> Trust:
        return Trust((str(self.folder / "cert.pem"),))


def make_keys(folder: Path) -> Keys:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl: apt-get install openssl")
    key, cert, pub = folder / "key.pem", folder / "cert.pem", folder / "pub.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=Tests",
         "-keyout", key, "-out", cert], check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-out", pub], check=True, capture_output=True)
    (folder / "aes.key").write_text(AES_TEXT)
    return Keys(folder)
