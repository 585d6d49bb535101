"""``swagent encrypt`` and ``decrypt``, openssl on the other side; and that installs leave no plain bytes anywhere."""

import gzip
import hashlib
import os
import re
import stat
from pathlib import Path

import pytest

from swagent.cli.main import main
from swagent.testing.recording import Recorder
from tests.conftest import KeyRing
from tests.faults.images import (
    AES_IV,
    AES_KEY,
    KEY_FILE,
    Member,
    archive,
    described,
    encrypted,
    entry,
    signed,
    signing_key,
)
from tests.net.server import serving
from tests.programs import must, need

SIZES = [0, 1, 15, 16, 17, 100_000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("aes").write_text(KEY_FILE)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The attributes that ``encrypt`` prints."""
    return dict(re.findall(r'(\w+) = "?([^";]+)"?;', capsys.readouterr().out))


@pytest.mark.parametrize("size", SIZES)
def test_there_and_back(folder: Path, size: int, capsys: pytest.CaptureFixture[str]) -> None:
    Path("image").write_bytes(plain := os.urandom(size))
    assert main(["encrypt", "image", "-K", "aes", "-o", "image.enc"]) == 0
    said = told(capsys)
    stored = Path("image.enc").read_bytes()
    assert said["filename"] == "image.enc"
    assert said["encrypted"] == "aes-cbc"
    assert said["sha256"] == hashlib.sha256(stored).hexdigest()
    assert int(said["size"]) == len(stored) == size // 16 * 16 + 16
    words = ["--ivt", said["ivt"], "--sha256", said["sha256"]]
    assert main(["decrypt", "image.enc", "-K", "aes", "-o", "again", *words]) == 0
    assert Path("again").read_bytes() == plain
    assert stat.S_IMODE(Path("again").stat().st_mode) == 0o600


def test_every_image_gets_a_vector_of_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("image").write_bytes(b"the same")
    seen = set()
    for _ in range(3):
        assert main(["encrypt", "image", "-K", "aes", "-o", "image.enc"]) == 0
        seen.add((told(capsys)["ivt"], Path("image.enc").read_bytes()))
    assert len(seen) == 3


def test_openssl_reads_it_and_is_read(folder: Path) -> None:
    need("openssl")
    Path("image").write_bytes(plain := os.urandom(70_001))
    words = ["openssl", "enc", "-aes-256-cbc", "-K", AES_KEY.hex(), "-iv", AES_IV.hex()]
    assert main(["encrypt", "image", "-K", "aes", "-o", "ours", "--key-file-ivt"]) == 0
    must([*words, "-d", "-in", "ours", "-out", "opened"])
    assert Path("opened").read_bytes() == plain
    must([*words, "-e", "-in", "image", "-out", "theirs"])
    assert Path("theirs").read_bytes() == Path("ours").read_bytes()
    assert main(["decrypt", "theirs", "-K", "aes", "-o", "again"]) == 0
    assert Path("again").read_bytes() == plain


def test_it_goes_into_an_image_as_it_is(
    folder: Path, key_ring: KeyRing, capsys: pytest.CaptureFixture[str]
) -> None:
    """What ``encrypt`` prints is what an entry needs: swupdate's own way to build, with our installer behind it."""
    Path("rootfs.img").write_bytes(plain := os.urandom(50_000))
    assert main(["encrypt", "rootfs.img", "-K", "aes", "-o", "rootfs.enc"]) == 0
    said = told(capsys)
    member = Member("rootfs.enc", Path("rootfs.enc").read_bytes())
    text = described({
        "images": [entry(member, device=f"{folder}/slot", encrypted="aes-cbc", ivt=said["ivt"])]
    })  # fmt: skip
    Path("update.swu").write_bytes(archive(signed(text, member)))
    Path("key.pem").write_bytes(signing_key()[1])
    Path("slot").write_bytes(bytes(50_000))
    words = ["-i", "update.swu", "-k", "key.pem", "-K", "aes", "-H", "board:1.0", "--state-directory", "none"]
    assert main(words) == 0
    assert Path("slot").read_bytes() == plain


class TestRefused:
    """What was there before stays, and nothing is left beside it."""

    @pytest.fixture(autouse=True)
    def before(self, folder: Path) -> None:
        Path("image.enc").write_bytes(encrypted(b"secret" * 1000))
        Path("result").write_bytes(b"what was there before")

    def kept(self) -> None:
        assert Path("result").read_bytes() == b"what was there before"
        assert sorted(os.listdir()) == ["aes", "image.enc", "result"]

    def decrypt(self, *more: str) -> int:
        return main(["decrypt", "image.enc", "-K", "aes", "-o", "result", *more])

    def test_another_key(self) -> None:
        Path("aes").write_text(f"{bytes(32).hex()} {AES_IV.hex()}\n")
        assert self.decrypt() == 22
        self.kept()

    def test_cut_short(self) -> None:
        os.truncate("image.enc", 5000)
        assert self.decrypt() == 22
        self.kept()

    def test_other_bytes_than_expected(self) -> None:
        digest = hashlib.sha256(Path("image.enc").read_bytes()).hexdigest()
        lie = bytearray(Path("image.enc").read_bytes())
        lie[100] ^= 1  # CBC does not notice
        Path("image.enc").write_bytes(lie)
        assert self.decrypt("--sha256", digest) == 21
        self.kept()

    @pytest.mark.parametrize(
        "words",
        [
            ["decrypt", "image.enc", "-o", "result"],
            ["decrypt", "image.enc", "-K", "aes"],
            ["decrypt", "image.enc", "-K", "aes", "-o", "result", "--ivt", "00"],
            ["decrypt", "image.enc", "-K", "aes", "-o", "result", "--sha256", "x" * 64],
            ["decrypt", "image.enc", "-K", "aes", "-o", "./image.enc"],
            ["encrypt", "image.enc", "-K", "aes", "-o", "image.enc"],
            ["encrypt", "image.enc", "-K", "aes", "-o", "result", "--ivt", "ab " * 16],
            ["encrypt", "image.enc", "-K", "aes", "-o", "result", "--ivt", "ab" * 16, "--key-file-ivt"],
        ],
    )
    def test_words(self, words: list[str]) -> None:
        assert main(words) == 2
        self.kept()

    def test_no_such_image(self) -> None:
        assert main(["encrypt", "missing", "-K", "aes", "-o", "result"]) == 41
        self.kept()


LINES = b"".join(b"PLAINTEXT %07d is for its slot alone\n" % number for number in range(20_000))


@pytest.mark.parametrize("way", ["file", "server"])
def test_an_install_leaves_no_plain_bytes_anywhere_but_in_its_target(
    quick_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Every write of the process is looked at: also to files that are gone at the end."""
    root = quick_path
    packed = gzip.compress(LINES, mtime=0)
    direct, staged = Member("direct.enc", encrypted(LINES)), Member("staged.enc", encrypted(packed))
    text = described({
        "images": [
            entry(direct, device=f"{root}/slot-1", encrypted="aes-cbc", installed_directly=True),
            entry(staged, device=f"{root}/slot-2", encrypted="aes-cbc", compressed="zlib"),
        ]
    })  # fmt: skip
    swu = archive(signed(text, direct, staged))
    for name in ("tmp", "state"):
        (root / name).mkdir()
    (root / "key.pem").write_bytes(signing_key()[1])
    (root / "aes").write_text(KEY_FILE)
    (root / "update.swu").write_bytes(swu)
    for slot in ("slot-1", "slot-2"):
        (root / slot).write_bytes(bytes(len(LINES)))
    for name in ("TMPDIR", "RUNTIME_DIRECTORY"):
        monkeypatch.setenv(name, str(root / "tmp"))
    words = [
        "-k",
        f"{root}/key.pem",
        "-K",
        f"{root}/aes",
        "-H",
        "board:1.0",
        "--state-directory",
        f"{root}/state",
    ]
    with serving(swu) as server, Recorder(root) as recorder:
        place = f"{root}/update.swu" if way == "file" else server.url
        assert main(["-i", place, *words]) == 0
    written = [one for one in recorder.recording.operations if one.kind == "write"]
    assert all((root / slot).read_bytes() == LINES for slot in ("slot-1", "slot-2"))
    elsewhere = [one for one in written if one.path not in ("slot-1", "slot-2")]
    assert [one.path for one in elsewhere if b"PLAINTEXT" in one.data] == []
    pieces = [packed[at : at + 16] for at in range(64, len(packed) - 16, 4096)]
    assert [one.path for one in elsewhere if any(piece in one.data for piece in pieces)] == []
    if way == "server":  # the proof looks at the right place: what is staged is written there, as it came
        assert any(staged.data[:64] in one.data for one in elsewhere)
