"""``swagent make``, ``sign``, ``verify`` and ``extract`` as they are typed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import run

from .keys import Keys, make_keys

PROJECT = Path(__file__).parents[2]
TEXT = """software = { version = "@@V@@"; description = "July"; stable: {
    copy1: { images: ( { filename = "a.bin"; device = "/dev/a"; compressed = "zlib"; } ); };
    copy2: { images: ( { filename = "a.bin"; device = "/dev/b"; compressed = "zlib"; } ); }; }; };"""


@pytest.fixture
def typed(bench: Path) -> "Typed":
    (bench / "sw-description").write_text(TEXT)
    return Typed(bench)


class Typed:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str | Path, code: int = 0, **environ: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "swagent", *map(str, words)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(PROJECT), **environ},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr


def test_from_the_description_to_the_files(typed: Typed, keys: Keys) -> None:
    key, public, certificate = (keys.folder / name for name in ("key.pem", "pub.pem", "cert.pem"))
    said = typed("make", "-s", "sw-description", "-o", "out.swu", "-D", "V=2.4.0", "-k", key)
    assert "Built out.swu: 1 member" in said
    assert "100 KiB" in said
    said = typed("verify", "out.swu", "-k", public)
    assert '2.4.0   "July"   signed by pub.pem (RSA)' in said
    assert "stable,copy1  stable,copy2" in said
    assert "Signature and 1 digest are right." in said
    assert "a.bin" in typed("extract", "--list", "out.swu")
    typed("extract", "out.swu", "a.bin", "--plain", "-d", "out")
    assert (typed.folder / "out" / "a.bin").read_bytes() == (typed.folder / "a.bin").read_bytes()
    assert "Re-signed" in typed("sign", "out.swu", "-k", key, "--certificate", certificate)
    assert "signed by Tests (CMS)" in typed("verify", "out.swu", "-k", certificate)
    typed("verify", "out.swu", "-k", public, code=20)


def test_unsigned_has_to_be_said(typed: Typed, keys: Keys) -> None:
    make = ("make", "-s", "sw-description", "-o", "out.swu", "-D", "V=1")
    assert "--unsigned" in typed(*make, code=2)
    assert not (typed.folder / "out.swu").exists()
    assert "not signed" in typed(*make, "--unsigned")
    assert "--allow-unsigned" in typed("verify", "out.swu", code=2)
    assert "does not say who made it" in typed("verify", "out.swu", "--allow-unsigned")
    typed("verify", "out.swu", "-k", keys.folder / "pub.pem", code=20)


def test_a_key_with_a_password(typed: Typed, keys: Keys) -> None:
    key = typed.folder / "locked.pem"
    subprocess.run(
        [
            "openssl",
            "pkcs8",
            "-topk8",
            "-in",
            keys.folder / "key.pem",
            "-out",
            key,
            "-passout",
            "pass:secret",
        ],
        check=True,
    )
    (typed.folder / "password").write_text("secret\n")
    (typed.folder / "password").chmod(0o600)
    make = ("make", "-s", "sw-description", "-o", "out.swu", "-D", "V=1", "-k", key)
    typed(*make, code=70)
    assert "secret" not in typed(*make, "--password-file", "password")
    typed("verify", "out.swu", "-k", keys.folder / "pub.pem")


def test_the_time_of_members(typed: Typed) -> None:
    make = ("make", "-s", "sw-description", "-o", "out.swu", "-D", "V=1", "--unsigned")
    typed(*make, SOURCE_DATE_EPOCH="86400")
    listed = subprocess.run(
        ["cpio", "-tv", "--quiet"], input=(typed.folder / "out.swu").read_bytes(), capture_output=True,
        env={**os.environ, "TZ": "UTC", "LC_ALL": "C"}, check=True,
    ).stdout  # fmt: skip
    assert listed.count(b"Jan  2  1970") == 2
    typed(*make, SOURCE_DATE_EPOCH="soon", code=70)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("make", "-o", "out.swu", "--unsigned"), 2),
        (("make", "-s", "sw-description", "-o", "out.swu", "--unsigned", "-D", "V"), 2),
        (("make", "-s", "sw-description", "-o", "out.swu", "--unsigned"), 11),
        (("make", "-s", "nowhere", "-o", "out.swu", "--unsigned"), 41),
        (("make", "-s", "a.bin", "-o", "out.swu", "--unsigned"), 11),
        (("make", "-s", "sw-description", "-o", "out.swu", "--unsigned", "--scheme", "rsa"), 2),
        (
            (
                "make",
                "-s",
                "sw-description",
                "-o",
                "out.swu",
                "-D",
                "V=1",
                "--unsigned",
                "--encrypt-description",
            ),
            2,
        ),
        (("sign", "a.bin", "-k", "a.bin"), 10),
        (("verify", "a.bin", "--allow-unsigned"), 10),
        (("verify", "/dev/null", "--allow-unsigned"), 41),
        (("extract", "nowhere"), 41),
        (("extract", "--list", "--plain", "a.bin"), 2),
    ],
)
def test_mistakes_have_their_exit_code(typed: Typed, words: tuple[str, ...], code: int) -> None:
    typed(*words, code=code)


def test_time_and_further_certificates_of_a_cms_signature(typed: Typed, keys: Keys) -> None:
    key, certificate = keys.folder / "key.pem", keys.folder / "cert.pem"
    make_keys(typed.folder)  # another pair, whose certificate is carried along
    make = (
        "make",
        "-s",
        "sw-description",
        "-o",
        "out.swu",
        "-D",
        "V=1",
        "-k",
        key,
        "--certificate",
        certificate,
    )

    def printed(member: str = "sw-description.sig") -> str:
        typed("extract", "out.swu", member, "-d", "out")
        path = typed.folder / "out" / member
        done = run(["openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", path])
        path.unlink()
        return done.text

    typed(*make)
    assert "signingTime" not in printed()
    assert printed().count("d.certificate:") == 1
    typed(*make, "--extra-certificate", "cert.pem", SOURCE_DATE_EPOCH="1750000000")
    text = printed()
    assert "signingTime" in text
    assert "Jun 15 15:06:40 2025 GMT" in text
    assert text.count("d.certificate:") == 2
    typed("sign", "out.swu", "-k", key, "--certificate", certificate, SOURCE_DATE_EPOCH="1760000000")
    assert "Oct  9 08:53:20 2025 GMT" in printed()
    typed(
        "make", "-s", "sw-description", "-o", "o.swu", "--unsigned", "--extra-certificate", "cert.pem", code=2
    )


def test_a_private_key_that_others_can_read(typed: Typed, keys: Keys) -> None:
    (typed.folder / "k").write_bytes((keys.folder / "key.pem").read_bytes())
    (typed.folder / "k").chmod(0o640)
    make = ("make", "-s", "sw-description", "-o", "out.swu", "-D", "V=1", "-k", "k")
    assert "chmod 600 k" in typed(*make, code=70)
    assert not (typed.folder / "out.swu").exists()
    (typed.folder / "k").chmod(0o600)
    typed(*make)
