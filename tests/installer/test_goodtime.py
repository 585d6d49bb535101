"""A wrong clock in front of certificates: no expired one passes, and no good one is refused silently."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from swagent.errors import DeviceError
from swagent.installer.goodtime import FILE, FLOOR_S, GoodTime
from tests.crypto.pki import AUTHORITY, DAY_S, Issued, Wish, certify, private_pem, write
from tests.programs import PROJECT, Done, run_swagent

T = FLOOR_S + 1000 * DAY_S


class Fixed:
    """A clock that stands."""

    def __init__(self, now_s: float) -> None:
        self._now_s = now_s

    def now_s(self) -> float:
        return self._now_s

    def monotonic_s(self) -> float:
        return 0.0


def test_the_latest_of_clock_file_and_floor_counts(tmp_path: Path) -> None:
    assert GoodTime("", Fixed(T)).now_s == T
    assert GoodTime(str(tmp_path), Fixed(0)).now_s == FLOOR_S
    GoodTime(str(tmp_path), Fixed(T)).keep()
    assert GoodTime(str(tmp_path), Fixed(0)).now_s == T
    assert GoodTime(str(tmp_path), Fixed(T + 5)).now_s == T + 5
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_it_never_goes_back(tmp_path: Path) -> None:
    GoodTime(str(tmp_path), Fixed(T)).keep()
    before = (tmp_path / FILE).stat().st_mtime_ns
    GoodTime(str(tmp_path), Fixed(T - 10 * DAY_S)).keep()
    assert (tmp_path / FILE).read_text() == f"{int(T)}\n"
    assert (tmp_path / FILE).stat().st_mtime_ns == before  # and flash is not worn for nothing


@pytest.mark.parametrize(
    ("behind_s", "told"), [(0.0, False), (DAY_S - 1, False), (DAY_S + 2, True), (T, True)]
)
def test_a_clock_that_is_behind_is_told(tmp_path: Path, behind_s: float, told: bool) -> None:
    GoodTime(str(tmp_path), Fixed(T)).keep()
    found = GoodTime(str(tmp_path), Fixed(T - behind_s))
    assert bool(found.problem) == told
    assert found.now_s == T


@pytest.mark.parametrize("text", ["", "x", "-5", "1e3", "9" * 20, "9" * 200, "\0", "nan", "²"])
def test_damage_is_told_and_stops_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    found = GoodTime(str(tmp_path), Fixed(T))
    assert found.now_s == T
    assert "damaged" in found.problem
    found.keep()
    assert GoodTime(str(tmp_path), Fixed(T)).problem == ""


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = GoodTime(str(tmp_path / "file" / "below"), Fixed(T))
    assert found.problem
    with pytest.raises(DeviceError):
        found.keep()
    GoodTime("", Fixed(T)).keep()  # nowhere: nothing happens


# -- with real processes, whose system clock says what the test wants

CLOCK = """
import sys, time
time.time = lambda: {now_s}
from swagent.cli.main import main
sys.argv[0] = "swagent"
sys.exit(main())
"""


class Device:
    """A folder with signed images, and swagent under a clock of our choice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        authority = Wish(("root",), ca=True, usages=AUTHORITY, purposes=None)
        root = certify(replace(authority, not_before_s=FLOOR_S, not_after_s=T + 5000 * DAY_S))
        write(folder / "root.pem", root.pem)
        (folder / "target.img").write_bytes(bytes(4096))
        (folder / "data.img").write_bytes(b"new" * 1000)
        (folder / "sw-description").write_text(
            'software = { version = "1.0"; hardware-compatibility: [ "1.0" ]; images: ( { filename = "data.img"; '
            f'type = "raw"; device = "{folder}/target.img"; }} ); }}\n'
        )
        # old: stolen, and out of date since T - 100 days; new: from T - 50 days on
        self.sign("old", certify(Wish(not_before_s=T - 400 * DAY_S, not_after_s=T - 100 * DAY_S), root))
        self.sign("new", certify(Wish(not_before_s=T - 50 * DAY_S, not_after_s=T + 300 * DAY_S), root))

    def sign(self, name: str, signer: Issued) -> None:
        write(self.folder / "k", private_pem(signer.key))
        write(self.folder / "c", signer.pem)
        done = run_swagent(
            ["make", "-s", "sw-description", "-o", f"{name}.swu", "-k", "k", "--certificate", "c"],
            self.folder,
        )
        assert done.ok, done.text

    def install(self, name: str, now_s: float, *words: str, key: str = "root.pem") -> Done:
        (self.folder / "tmp").mkdir(exist_ok=True)
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                CLOCK.format(now_s=now_s),
                "-i",
                f"{name}.swu",
                "-k",
                key,
                "-H",
                "b:1.0",
                "--json",
                *words,
            ],
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": str(PROJECT),
                "STATE_DIRECTORY": str(self.state),
                "RUNTIME_DIRECTORY": str(self.folder / "tmp"),
                "TMPDIR": str(self.folder / "tmp"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
        )
        return Done(done.returncode, done.stdout.decode())

    @property
    def stored_s(self) -> int:
        return int((self.state / FILE).read_text()) if (self.state / FILE).exists() else 0


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Device:
    return Device(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def device(bench: Device, tmp_path: Path) -> Device:
    bench.state = tmp_path / "state"
    return bench


def test_a_clock_set_back_does_not_bring_back_an_expired_certificate(device: Device) -> None:
    assert device.install(
        "old", T - 200 * DAY_S
    ).ok  # the clock alone is believed as long as nothing is stored
    assert device.stored_s == T - 200 * DAY_S
    assert device.install("new", T).ok
    assert device.stored_s == T
    done = device.install("old", T - 200 * DAY_S)
    assert done.code == 20, done.text
    assert "has expired" in done.text
    assert "the clock says" in done.text
    assert "the last good time is" in done.text
    assert str(device.state / FILE) in done.text


def test_a_clock_that_starts_anew_does_not_block_a_good_image(device: Device) -> None:
    assert device.install("new", T).ok
    done = device.install("new", 0)
    assert done.ok, done.text
    assert "the clock says 1970-01-01" in done.text
    assert device.stored_s == T


def test_a_certificate_that_is_not_valid_yet_says_which_time_is_meant(device: Device) -> None:
    done = device.install("new", 0)
    assert done.code == 20
    assert "not valid before" in done.text
    assert "the clock says 1970-01-01 00:00 UTC, the last good time is 2026-01-01" in done.text
    assert device.stored_s == 0


def test_a_clock_in_2099_stores_nothing(device: Device) -> None:
    assert device.install("new", 4_070_908_800).code == 20
    assert device.stored_s == 0
    assert device.install("new", T).ok


def test_only_a_committed_update_moves_the_time(device: Device) -> None:
    assert device.install("new", T, "-n").ok
    assert device.stored_s == 0
    done = device.install("new", T, "-H", "other:9.9")
    assert done.code == 30, done.text
    assert device.stored_s == 0


def test_a_state_folder_that_cannot_be_written_fails_no_update(device: Device) -> None:
    device.state.mkdir()
    (device.state / FILE).mkdir()  # cannot be read nor replaced
    done = device.install("new", T)
    assert done.ok, done.text
    assert (device.folder / "target.img").read_bytes().startswith(b"newnew")


def test_bare_keys_ask_for_no_time(device: Device) -> None:
    folder = device.folder
    subprocess.run(["openssl", "pkey", "-in", "k", "-pubout", "-out", "bare.pem"], cwd=folder, check=True)
    assert run_swagent(["make", "-s", "sw-description", "-o", "bare.swu", "-k", "k"], folder).ok
    done = device.install("bare", 0, key="bare.pem")
    assert done.ok
    assert "clock" not in done.text
    assert device.stored_s == 0


def test_a_post_update_command_that_fails_comes_after(device: Device) -> None:
    assert device.install("new", T, "-p", "false").code == 42
    assert device.stored_s == T
