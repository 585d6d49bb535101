"""Keys in a token through the commands as they are typed, and their PIN nowhere to be seen."""

import os
from pathlib import Path

import pytest

from tests.crypto.pki import openssl
from tests.crypto.softhsm import PIN, Token
from tests.programs import PROJECT, Done, run_swagent

AES_KEY = bytes(range(32))
IV = bytes(range(100, 116))
OPEN = ("-K", "aes.key")
DATA = os.urandom(300_000) + bytes(2_000_000)
TEXT = """software = { version = "1.0"; hardware-compatibility: [ "1.0" ]; images: (
    { filename = "a.bin"; type = "raw"; device = "@@DIR@@/one.img"; encrypted = true; compressed = "zlib";
      installed-directly = true; },
    { filename = "b.bin"; type = "raw"; device = "@@DIR@@/two.img"; encrypted = true; } ); };
"""
pytest.importorskip("pkcs11", reason="needs python-pkcs11: pip install python-pkcs11")


class Desk:
    """A token, its public key, files to build from and a device made of files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = Token(folder)
        public = self.token.generate("release", 1, "rsa:2048")
        (folder / "release.pem").write_bytes(openssl("pkey", "-pubin", "-inform", "DER", stdin=public))
        self.token.import_aes("images", 2, AES_KEY, folder)
        (folder / "aes.key").write_text(f"{AES_KEY.hex()} {IV.hex()}\n")
        (folder / "token.key").write_text(f"{self.token.uri('images', pin='value')} {IV.hex()}\n")
        (folder / "sw-description").write_text(TEXT)
        (folder / "a.bin").write_bytes(DATA)
        (folder / "b.bin").write_bytes(DATA)
        self.blank()

    def blank(self) -> None:
        for name in ("one.img", "two.img"):
            (self.folder / name).write_bytes(bytes(len(DATA) + 4096))

    def run(self, *words: str, stdin: bytes | None = None, path: str = str(PROJECT)) -> Done:
        done = run_swagent(
            words,
            self.folder,
            stdin=stdin,
            STATE_DIRECTORY=str(self.folder / "state"),
            SOFTHSM2_CONF=self.token.env["SOFTHSM2_CONF"],
            PYTHONPATH=path,
        )
        assert PIN not in done.text
        assert "Traceback" not in done.text
        return done


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    made = Desk(tmp_path_factory.mktemp("desk"))
    done = made.run(
        "make", "-s", "sw-description", "-o", "update.swu", "-D", f"DIR={made.folder}", "-K", "aes.key",
        "-k", made.token.uri("release", pin="value"), "--encrypt-description",
    )  # fmt: skip
    assert done.ok, done.text
    assert "signed with pkcs11:token=build;object=release, description encrypted" in done.text
    return made


@pytest.mark.parametrize("words", [("-i", "update.swu"), ("install", "-")], ids=["file", "stream"])
def test_the_device_decrypts_with_its_token(desk: Desk, words: tuple[str, ...]) -> None:
    desk.blank()
    image = (desk.folder / "update.swu").read_bytes() if words[-1] == "-" else None
    done = desk.run(
        *words, "-k", "release.pem", "-K", "token.key", "-H", "b:1.0", "--json", "-v", stdin=image
    )
    assert done.ok, done.text
    for name in ("one.img", "two.img"):
        assert (desk.folder / name).read_bytes()[: len(DATA)] == DATA
    for path in (desk.folder / "state").iterdir():
        assert PIN.encode() not in path.read_bytes()


def test_a_host_looks_into_the_image_with_a_token(desk: Desk) -> None:
    assert desk.run("verify", "update.swu", "-k", "release.pem", "-K", "token.key").ok
    assert desk.run("extract", "update.swu", "b.bin", "--plain", "-K", "token.key", "-d", "out").ok
    assert (desk.folder / "out" / "b.bin").read_bytes() == DATA


def test_one_token_signs_and_opens_the_description(desk: Desk) -> None:
    uri = desk.token.uri("release", pin="value")
    done = desk.run(
        "sign", "update.swu", "-o", "pss.swu", "-k", uri, "-K", "token.key", "--scheme", "rsa-pss"
    )
    assert done.ok, done.text
    assert "Re-signed pss.swu with pkcs11:token=build;object=release:" in done.text
    assert desk.run("verify", "pss.swu", "-k", "release.pem", "-K", "token.key").ok


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (
            ("sign", "update.swu", "-k", "pkcs11:object=x?pin-value=4711-pin&x=4711-pin", *OPEN),
            70,
            "not known",
        ),
        (("sign", "update.swu", "-k", "acme:4711-pin", *OPEN), 70, "acme: are unknown"),
        (("-i", "update.swu", "-k", "pkcs11:object=x?pin-value=4711-pin", *OPEN), 70, "a file is needed"),
        (
            ("-i", "update.swu", "-k", "release.pem", "-K", "pkcs11:object=x?pin-value=4711-pin"),
            70,
            "an initialization vector",
        ),
        (
            ("make", "-s", "sw-description", "-o", "o.swu", "-D", "DIR=.", "--unsigned", "-K", "token.key"),
            70,
            "the AES key itself is needed",
        ),
    ],
)
def test_refusals_do_not_show_the_pin(desk: Desk, words: tuple[str, ...], code: int, why: str) -> None:
    done = desk.run(*words)
    assert done.code == code
    assert why in " ".join(done.text.split())


def test_a_token_that_is_gone_fails_before_anything_is_written(desk: Desk) -> None:
    desk.blank()
    (desk.folder / "gone.key").write_text(
        (desk.folder / "token.key").read_text().replace("token=build", "token=gone")
    )
    done = desk.run("-i", "update.swu", "-k", "release.pem", "-K", "gone.key", "-H", "b:1.0")
    assert done.code == 70, done.text
    assert "means no token" in done.text
    assert not any((desk.folder / "one.img").read_bytes())


def test_without_the_library_the_package_is_named(desk: Desk) -> None:
    blocked = desk.folder / "blocked"
    (blocked / "pkcs11").mkdir(parents=True)
    (blocked / "pkcs11" / "__init__.py").write_text("raise ImportError('not here')\n")
    done = desk.run(
        "sign", "update.swu", "-o", "x.swu", "-K", "aes.key", "-k", desk.token.uri("release"),
        path=f"{blocked}:{PROJECT}",
    )  # fmt: skip
    assert done.code == 71
    assert "swagent[pkcs11]" in done.text
