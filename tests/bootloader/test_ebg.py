import errno
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swagent.bootloader import ebg
from swagent.bootloader.ebg import EfiBootGuard
from swagent.clock import SystemClock
from swagent.errors import BootEnvError, RolledBack
from swagent.hw.process import run
from swagent.installer.confirm import Check, Confirmation, confirm
from swagent.installer.env import SessionEnv
from swagent.installer.journal import Journal, Record, State

from .tools import need

NAMES = st.text("abcXYZ019_-. é", min_size=1, max_size=12)
VALUES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=40)
ENVS = st.dictionaries(NAMES, VALUES, max_size=8)
RELAXED = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TOTAL_BYTES = 132104
SMALL_BYTES = 1028 + 200 + 4


def record(name: bytes, value: bytes, kind: int = 32) -> bytes:
    return name + b"\0" + struct.pack("<IQ", 12 + len(value), kind) + value


def raw(
    revision: int,
    ustate: int = 0,
    *,
    in_progress: int = 0,
    kernel: str = "C:BOOT:vmlinuz",
    params: str = "root=/dev/sda2",
    watchdog: int = 30,
    records: bytes = b"",
    size_bytes: int = TOTAL_BYTES,
) -> bytes:
    """An environment, made here and not by the code under test."""
    head = kernel.encode("utf-16-le").ljust(510, b"\0") + params.encode("utf-16-le").ljust(510, b"\0")
    data = head + struct.pack("<BBHI", in_progress, ustate, watchdog, revision) + records
    data = data.ljust(size_bytes - 4, b"\0")
    return data + struct.pack("<I", zlib.crc32(data))


class Board:
    """A unit with config partitions, each a folder.

    Args:
        folder: where they are made.
        copies: content of BGENV.DAT in each.
    """

    def __init__(self, folder: Path, *copies: bytes) -> None:
        self.files = []
        for index, copy in enumerate(copies):
            (folder / f"config{index}").mkdir()
            self.files.append(folder / f"config{index}" / "BGENV.DAT")
            self.files[-1].write_bytes(copy)
        self.loader = EfiBootGuard({"ebg-config-paths": " ".join(str(file.parent) for file in self.files)})

    def bytes(self) -> list[bytes]:
        return [file.read_bytes() for file in self.files]

    def states(self) -> list[tuple[int, int, int]]:
        """Of each copy revision, ustate and in_progress; all with a right checksum."""
        found = []
        for data in self.bytes():
            assert zlib.crc32(data[:-4]) == struct.unpack("<I", data[-4:])[0]
            in_progress, ustate, _, revision = struct.unpack_from("<BBHI", data, 1020)
            found.append((revision, ustate, in_progress))
        return found


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path, raw(5, records=record(b"slot", b"a\0")), raw(4, params="root=/dev/sda3"))


# -- reading


def test_the_current_one_is_read(board: Board) -> None:
    assert board.loader.all() == {
        "kernelfile": "C:BOOT:vmlinuz",
        "kernelparams": "root=/dev/sda2",
        "watchdog_timeout_sec": "30",
        "revision": "5",
        "ustate": "0",
        "in_progress": "0",
        "slot": "a",
    }
    assert board.loader.get("slot") == "a"
    assert board.loader.get("missing") is None
    assert board.loader.get("recovery_status") is None


@pytest.mark.parametrize(
    ("copies", "revision"),
    [
        ([raw(4), raw(5)], "5"),
        ([raw(7), raw(9, in_progress=1), raw(8)], "8"),
        ([raw(3), raw(9)[:-1]], "3"),
        ([raw(3), raw(9)[:-1] + b"\xff"], "3"),
        ([raw(3), b""], "3"),
        ([raw(3), raw(0, 3)], "3"),
        ([raw(0, 3), raw(0, 0)], "0"),
    ],
)
def test_which_one_is_current(tmp_path: Path, copies: list[bytes], revision: str) -> None:
    assert Board(tmp_path, *copies).loader.get("revision") == revision


def test_files_may_be_named_and_count_once(tmp_path: Path) -> None:
    board = Board(tmp_path, raw(1), raw(2))
    named = EfiBootGuard({"ebg-config-paths": f" {board.files[0]}  {board.files[1].parent}\t"})
    assert named.get("revision") == "2"
    (tmp_path / "again").symlink_to(board.files[0].parent)
    twice = EfiBootGuard({"ebg-config-paths": f"{board.files[0]} {tmp_path / 'again'}"})
    with pytest.raises(BootEnvError, match="1 environments"):
        twice.all()


def test_mounted_file_systems_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(tmp_path, raw(1), raw(2), raw(3))
    (tmp_path / "a b\\c").mkdir()
    board.files[1].rename(tmp_path / "a b\\c" / "BGENV.DAT")
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"/dev/sda1 {tmp_path}/config0 vfat rw 0 0\n/dev/sda2 {tmp_path}/a\\040b\\134c msdos rw 0 0\n"
        f"/dev/sda3 {tmp_path}/config2 ext4 rw 0 0\n/dev/sda4 {tmp_path} vfat rw 0 0\nodd\n"
    )
    monkeypatch.setattr(ebg, "MOUNTS_PATH", str(mounts))
    assert EfiBootGuard().get("revision") == "2"
    mounts.write_text("")
    with pytest.raises(BootEnvError, match="0 environments") as caught:
        EfiBootGuard().all()
    assert "ebg-config-paths" in caught.value.hint
    monkeypatch.setattr(ebg, "MOUNTS_PATH", str(tmp_path / "missing"))
    with pytest.raises(BootEnvError, match="cannot read"):
        EfiBootGuard({}).all()


# -- the whole of an update


def test_an_update_is_one_write_of_the_oldest_copy(board: Board) -> None:
    before = board.bytes()
    env = SessionEnv(board.loader)
    env.require()
    env.stage("kernelfile", "C:BOOT:new")
    env.stage("slot", "b")
    env.stage("more", "x=y z")
    env.begin()
    assert board.bytes() == before
    env.succeed()
    assert board.bytes()[0] == before[0]
    assert board.bytes()[1] == raw(
        6, 1, kernel="C:BOOT:new", records=record(b"slot", b"b\0") + record(b"more", b"x=y z\0")
    )


def test_a_failed_update_leaves_nothing(board: Board) -> None:
    before = board.bytes()
    env = SessionEnv(board.loader)
    env.stage("slot", "b")
    env.begin()
    env.fail()
    assert board.bytes() == before
    again = SessionEnv(board.loader)
    again.begin()
    again.succeed()
    assert board.states() == [(5, 0, 0), (6, 1, 0)]


@pytest.mark.parametrize("transaction", [True, False])
@pytest.mark.parametrize("state", [True, False])
def test_without_marks(board: Board, *, transaction: bool, state: bool) -> None:
    """Without the state mark the new one counts as good at once; nothing that was asked for is lost."""
    before = board.bytes()
    env = SessionEnv(board.loader, transaction_marker=transaction, state_marker=state)
    env.stage("slot", "b")
    env.begin()
    assert board.bytes() == before
    env.succeed()
    assert board.states() == [(5, 0, 0), (6, int(state), 0)]
    assert board.loader.get("slot") == "b"


@pytest.mark.parametrize(
    ("ustate", "said"), [(1, "reboot first"), (2, "not been confirmed"), (3, "not been confirmed")]
)
def test_the_way_back_is_never_overwritten(tmp_path: Path, ustate: int, said: str) -> None:
    board = Board(tmp_path, raw(5, ustate), raw(4))
    before = board.bytes()
    changes: list[Mapping[str, str | None]] = [
        {"recovery_status": "in_progress", "ustate": "7"},
        {"recovery_status": "in_progress"},
        {"ustate": "7"},
        {"slot": "b"},
        {"slot": "b", "recovery_status": None, "ustate": "1"},
    ]
    for change in changes:
        with pytest.raises(BootEnvError) as caught:
            board.loader.set_many(change)
        assert said in caught.value.message + caught.value.hint
    assert board.bytes() == before


@pytest.mark.parametrize(
    "confirm", [{"ustate": "0"}, {"ustate": None}, {"ustate": "", "recovery_status": ""}]
)
def test_confirm(tmp_path: Path, confirm: dict[str, str | None]) -> None:
    board = Board(tmp_path, raw(5, 2), raw(4))
    board.loader.set_many({**confirm, "slot": "b"})
    assert board.states() == [(5, 0, 0), (4, 0, 0)]
    assert board.loader.get("slot") == "b"
    before = board.bytes()
    board.loader.set_many(confirm)
    assert board.bytes() == before


@pytest.mark.parametrize("ustate", [1, 3, 4])
def test_what_was_not_tried_is_not_confirmed(tmp_path: Path, ustate: int) -> None:
    board = Board(tmp_path, raw(5, ustate), raw(4))
    before = board.bytes()
    with pytest.raises(BootEnvError, match="cannot be confirmed"):
        board.loader.set_many({"ustate": "0"})
    assert board.bytes() == before


def test_a_failure_is_told_until_it_is_acknowledged(tmp_path: Path) -> None:
    board = Board(tmp_path, raw(5), raw(0, 3))
    assert board.loader.get("ustate") == "3"
    board.loader.set_many({"ustate": "0"})
    assert board.states() == [(5, 0, 0), (0, 0, 0)]
    assert board.loader.get("ustate") == "0"


def test_a_failure_is_old_news_while_a_newer_update_is_tried(tmp_path: Path) -> None:
    board = Board(tmp_path, raw(5, 2), raw(0, 3), raw(0, 3))
    assert board.loader.get("ustate") == "2"


def test_a_failed_copy_is_the_next_target(tmp_path: Path) -> None:
    board = Board(tmp_path, raw(5), raw(0, 3), raw(3))
    board.loader.set_many({"ustate": "1"})
    assert board.states() == [(5, 0, 0), (6, 1, 0), (3, 0, 0)]


def test_variables_and_acknowledgement_together(tmp_path: Path) -> None:
    board = Board(tmp_path, raw(5), raw(0, 3), raw(0, 3))
    board.loader.set_many({"ustate": "0", "slot": "b"})
    assert board.states() == [(5, 0, 0), (6, 0, 0), (0, 0, 0)]


def test_a_damaged_copy_is_the_next_target(tmp_path: Path) -> None:
    for index, damaged in enumerate(
        (b"", raw(9)[:-1], b"\xff" * TOTAL_BYTES, raw(1) + b"x", raw(9)[:-1] + b"\xff")
    ):
        (tmp_path / str(index)).mkdir()
        board = Board(tmp_path / str(index), raw(5), damaged, raw(1))
        board.loader.set_many({"ustate": "1"})
        assert board.states() == [(5, 0, 0), (6, 1, 0), (1, 0, 0)]


def test_the_revision_is_above_half_changed_copies_too(tmp_path: Path) -> None:
    board = Board(tmp_path, raw(5), raw(9, in_progress=1), raw(4))
    board.loader.set_many({"ustate": "1"})
    assert board.states() == [(5, 0, 0), (9, 0, 1), (10, 1, 0)]
    full = tmp_path / "full"
    full.mkdir()
    board = Board(full, raw(0xFFFFFFFF), raw(4))
    with pytest.raises(BootEnvError, match="cannot go beyond"):
        board.loader.set_many({"ustate": "1"})


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"slot": "a"},
        {"missing": None},
        {"recovery_status": None},
        {"recovery_status": "failed"},
        {"ustate": "3"},
        {"ustate": "0"},
        {"kernelparams": "root=/dev/sda2", "watchdog_timeout_sec": "30"},
    ],
)
def test_nothing_is_written_when_nothing_changes(board: Board, change: dict[str, str | None]) -> None:
    before = board.bytes()
    board.loader.set_many(change)
    assert board.bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"": "1"},
        {"a=b": "1"},
        {"a\nb": None},
        {"a\0": "1"},
        {"a": "1\0"},
        {"a": "\ud800"},
        {"\ud800": "1"},
        {"a": "x" * 131072},
        {"kernelfile": None},
        {"kernelfile": "x" * 255},
        {"kernelparams": "\U0001f600" * 128},
        {"kernelparams": "x\0"},
        {"kernelparams": "\ud800"},
        {"watchdog_timeout_sec": ""},
        {"watchdog_timeout_sec": "65536"},
        {"watchdog_timeout_sec": "-1"},
        {"watchdog_timeout_sec": "٣"},
        {"watchdog_timeout_sec": "9" * 5000},
        {"revision": "9"},
        {"in_progress": "0"},
        {"in_progress": None},
        {"ustate": "2"},
        {"ustate": "x"},
        {"recovery_status": "odd"},
        {"recovery_status": "in_progress", "ustate": "1"},
        {"recovery_status": "failed", "ustate": "7"},
        {"ustate": "7", "a": "1"},
        {"recovery_status": "failed", "a": "1"},
    ],
)
def test_what_cannot_be_stored_writes_nothing(board: Board, change: dict[str, str | None]) -> None:
    before = board.bytes()
    with pytest.raises(BootEnvError):
        board.loader.set_many(
            {"ustate": "1", **change} if not {"ustate", "recovery_status"} & set(change) else change
        )
    assert board.bytes() == before


def test_limits_of_the_head(board: Board) -> None:
    board.loader.set_many({"kernelfile": "x" * 254, "kernelparams": None, "watchdog_timeout_sec": "65535"})
    assert board.bytes()[1] == raw(
        6, kernel="x" * 254, params="", watchdog=65535, records=record(b"slot", b"a\0")
    )


def test_room_for_user_variables(tmp_path: Path) -> None:
    board = Board(tmp_path, raw(5, size_bytes=SMALL_BYTES), raw(4, size_bytes=SMALL_BYTES))
    room = 200 - len(record(b"a", b"\0")) - 1
    with pytest.raises(BootEnvError, match="room for 199 bytes of user variables, these need 200"):
        board.loader.set_many({"a": "x" * (room + 1)})
    board.loader.set_many({"a": "x" * room})
    assert board.loader.get("a") == "x" * room
    assert board.bytes()[1] == raw(6, records=record(b"a", b"x" * room + b"\0"), size_bytes=SMALL_BYTES)


def test_variables_of_other_types_are_kept(tmp_path: Path) -> None:
    others = (
        record(b"n", b"\x01\x02", 3)
        + record(b"s", b"old\0")
        + record(b"s", b"two\0")
        + record(b"t", b"no end")
    )
    board = Board(tmp_path, raw(5, records=others), raw(4))
    found = board.loader.all()
    assert (found["s"], found["t"], "n" in found) == ("old", "no end", False)
    board.loader.set_many({"s": "new", "z": "\udcff"})
    records = record(b"n", b"\x01\x02", 3) + record(b"s", b"new\0") + record(b"t", b"no end")
    assert board.bytes()[1] == raw(6, records=records + record(b"z", b"\xff\0"))


@pytest.mark.parametrize(
    "records",
    [
        b"x" * 400,
        b"a\0" + struct.pack("<IQ", 11, 32),
        b"a\0" + struct.pack("<IQ", 0xFFFFFFFF, 32),
        b"x" * 195 + b"\0abcd",
    ],
)
def test_damaged_user_variables(tmp_path: Path, records: bytes) -> None:
    small = raw(5, records=records[: SMALL_BYTES - 1032], size_bytes=SMALL_BYTES)
    board = Board(tmp_path, small, raw(4, size_bytes=SMALL_BYTES))
    for act in (board.loader.all, lambda: board.loader.set_many({"ustate": "1"})):
        with pytest.raises(BootEnvError, match="are damaged, although the checksum is right"):
            act()
    assert board.bytes()[0] == small


@pytest.mark.parametrize(
    "copies",
    [
        [],
        [raw(1)],
        [b"", b""],
        [b"\xff" * TOTAL_BYTES] * 2,
        [raw(1, in_progress=1), raw(2, in_progress=1)],
        [raw(0, 3), raw(0, 3)],
        [raw(1), raw(2, size_bytes=SMALL_BYTES)],
    ],
)
def test_no_environment_is_made_up(tmp_path: Path, copies: list[bytes]) -> None:
    board = Board(tmp_path, *copies)
    if not copies:
        board.loader = EfiBootGuard({"ebg-config-paths": str(tmp_path / "none")})
    for act in (board.loader.all, lambda: board.loader.set_many({"ustate": "1"})):
        with pytest.raises(BootEnvError):
            act()
    assert board.bytes() == copies


def test_other_things_are_no_environments(tmp_path: Path) -> None:
    board = Board(tmp_path, raw(1))
    os.mkfifo(tmp_path / "fifo")
    for other in (tmp_path / "fifo", tmp_path / "missing", tmp_path, Path("/dev/null")):
        with pytest.raises(BootEnvError):
            EfiBootGuard({"ebg-config-paths": f"{board.files[0]} {other}"}).all()


def test_begin_asks_whether_the_target_can_be_written(board: Board) -> None:
    need("chattr", "e2fsprogs")
    if subprocess.run(["chattr", "+i", str(board.files[1])], capture_output=True).returncode:
        pytest.skip("needs a file system with immutable files")
    try:
        with pytest.raises(BootEnvError, match="cannot open"):
            SessionEnv(board.loader).begin()
    finally:
        subprocess.run(["chattr", "-i", str(board.files[1])], check=True)


def test_a_failed_write_does_not_come_into_force(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync
    failed: list[int] = []

    def failing(fd: int) -> None:
        if not failed:
            failed.append(fd)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(fd)

    monkeypatch.setattr(os, "fsync", failing)
    before = board.bytes()
    with pytest.raises(BootEnvError, match="Input/output error"):
        board.loader.set_many({"ustate": "1"})
    assert failed
    assert board.bytes() == before


@pytest.mark.parametrize("cut_bytes", [1, 511, 1021, 1025, 60000, TOTAL_BYTES - 1])
def test_a_torn_write_does_not_count(board: Board, cut_bytes: int) -> None:
    """Power goes while the new copy is written: its head is on the disk, its rest is not, or the other way round."""
    before = board.bytes()
    board.loader.set_many({"ustate": "1", "slot": "b"})
    after = board.bytes()[1]
    for torn in (after[:cut_bytes] + before[1][cut_bytes:], before[1][:cut_bytes] + after[cut_bytes:]):
        board.files[1].write_bytes(torn)
        if torn not in (before[1], after):
            assert board.loader.get("slot") == "a"


@given(ENVS, ENVS)
@RELAXED
def test_round_trip(tmp_path: Path, first: dict[str, str], second: dict[str, str]) -> None:
    shutil.rmtree(tmp_path / "unit", ignore_errors=True)
    (tmp_path / "unit").mkdir()
    board = Board(tmp_path / "unit", raw(2), raw(1))
    board.loader.set_many(first)
    board.loader.set_many(second)
    found = board.loader.all()
    assert {name: value for name, value in found.items() if name in first | second} == first | second
    board.loader.set_many(dict.fromkeys(first | second))
    assert set(board.loader.all()) == set(found) - set(first | second)


# -- against bg_setenv and bg_printenv


def bg_setenv(file: Path, *words: str) -> None:
    need("bg_setenv", "efibootguard")
    subprocess.run(["bg_setenv", "-f", str(file), *words], check=True, capture_output=True)


def bg_printenv(file: Path) -> dict[str, str]:
    need("bg_printenv", "efibootguard")
    done = subprocess.run(["bg_printenv", "-r", "-f", str(file)], check=True, capture_output=True)
    pairs = (line.partition("=") for line in done.stdout.decode().split("\n") if line)
    return {name: value for name, _, value in pairs}


def test_bg_setenv_makes_what_we_make(tmp_path: Path) -> None:
    board = Board(tmp_path, raw(2), raw(1))
    board.loader.set_many(
        {"kernelfile": "C:B:k", "kernelparams": "quiet ro", "watchdog_timeout_sec": "7", "a": "1", "b": "ä q"}
    )
    made = tmp_path / "made"
    bg_setenv(
        made, "-r", "3", "-k", "C:B:k", "-a", "quiet ro", "-w", "7", "-s", "0", "-x", "a=1", "-x", "b=ä q"
    )
    assert board.bytes()[1] == made.read_bytes()


SIMPLE = st.dictionaries(
    st.text("abcXYZ019_é", min_size=1, max_size=12),
    st.text(st.characters(exclude_categories=("C", "Z"), codec="utf-8"), min_size=1, max_size=40),
    max_size=6,
)


@given(SIMPLE)
@RELAXED
def test_bg_printenv_reads_what_we_write(tmp_path: Path, variables: dict[str, str]) -> None:
    shutil.rmtree(tmp_path / "unit", ignore_errors=True)
    (tmp_path / "unit").mkdir()
    board = Board(tmp_path / "unit", raw(2), raw(1))
    board.loader.set_many({"ustate": "1", "kernelfile": "C:B:k", **variables})
    assert bg_printenv(board.files[1]) == {
        "IN_PROGRESS": "0",
        "REVISION": "3",
        "KERNEL": "C:B:k",
        "KERNELARGS": "root=/dev/sda2",
        "WATCHDOG_TIMEOUT": "30",
        "USTATE": "1",
        **variables,
    }


def split_by_bg_setenv(variables: dict[str, str]) -> bool:
    """Whether it sees what is meant: it splits its argument at every ``=``."""
    return not any("=" in value for value in variables.values())


@given(SIMPLE.filter(split_by_bg_setenv))
@RELAXED
def test_we_read_what_bg_setenv_writes(tmp_path: Path, variables: dict[str, str]) -> None:
    shutil.rmtree(tmp_path / "unit", ignore_errors=True)
    (tmp_path / "unit").mkdir()
    board = Board(tmp_path / "unit", raw(0), raw(1))
    words = [word for name, value in variables.items() for word in ("-x", f"{name}={value}")]
    bg_setenv(board.files[0], "-r", "9", "-s", "0", "-k", "C:B:k", "-a", "p", "-w", "1", "-i", "0", *words)
    assert board.loader.all() == {
        "kernelfile": "C:B:k",
        "kernelparams": "p",
        "watchdog_timeout_sec": "1",
        "revision": "9",
        "ustate": "0",
        "in_progress": "0",
        **variables,
    }


def test_each_changes_what_the_other_wrote(board: Board) -> None:
    SessionEnv(board.loader).begin()
    board.loader.set_many({"ustate": "1", "slot": "b", "gone": "1"})
    bg_setenv(board.files[1], "-P", "-s", "2", "-x", "gone=")  # as the boot loader does when it tries it
    assert board.loader.get("ustate") == "2"
    assert board.loader.get("gone") is None
    board.loader.set_many({"ustate": None})
    assert bg_printenv(board.files[1])["USTATE"] == "0"
    assert bg_printenv(board.files[1])["slot"] == "b"
    assert board.states() == [(5, 0, 0), (6, 0, 0)]


# -- with what confirms updates after the reboot


def installed(folder: Path, board: Board) -> Callable[[str], Confirmation]:
    """Commit an update of ``slot`` in the first boot; returns what confirms in another one."""
    env = SessionEnv(board.loader)
    env.stage("slot", "b")
    env.begin()
    commit = env.commit
    env.succeed()
    record = Record("s", State.COMMITTED, "2.0", digest="d1", boot_id="boot-1", variables=commit, tested=True)
    Journal(str(folder), "boot-1").put(record)

    def parts(boot_id: str) -> Confirmation:
        return Confirmation(
            journal=Journal(str(folder), boot_id),
            bootloader=board.loader,
            clock=SystemClock(),
            run=run,
            runs_from=lambda _: None,
            slots={},
            on_pass={},
            on_fail={},
            floor_in_env=True,
            log=lambda level, line: None,
        )

    return parts


def boot(board: Board) -> None:
    """What EFI Boot Guard does with ustate when it starts: 1 becomes 2; 2 a failure, and it goes back."""
    newest = max(board.files, key=lambda file: struct.unpack_from("<I", file.read_bytes(), 1024)[0])
    data = bytearray(newest.read_bytes())
    if data[1021] == 1:
        data[1021] = 2
    elif data[1021] == 2:
        data[1021:1028] = struct.pack("<BHI", 3, 30, 0)
    data[-4:] = struct.pack("<I", zlib.crc32(data[:-4]))
    newest.write_bytes(data)


def test_an_update_is_confirmed_after_the_reboot(board: Board, tmp_path: Path) -> None:
    parts = installed(tmp_path, board)
    assert "waits for its first boot" in confirm(parts("boot-1"), list).message
    boot(board)
    assert confirm(parts("boot-2"), lambda: [Check("good", ("/bin/true",))]).tested
    assert board.states() == [(5, 0, 0), (6, 0, 0)]
    assert board.loader.get("swagent_floor") == "2.0"
    assert board.loader.get("slot") == "b"


def test_a_bad_update_is_left_at_the_next_start(board: Board, tmp_path: Path) -> None:
    parts = installed(tmp_path, board)
    boot(board)
    with pytest.raises(RolledBack, match="check bad"):
        confirm(parts("boot-2"), lambda: [Check("bad", ("/bin/false",))])
    assert board.states() == [(5, 0, 0), (6, 2, 0)]
    boot(board)
    assert board.loader.get("slot") == "a"
    assert board.loader.get("ustate") == "3"
    assert not confirm(parts("boot-3"), list).tested


def test_a_boot_loader_that_went_back_is_noticed(board: Board, tmp_path: Path) -> None:
    parts = installed(tmp_path, board)
    boot(board)
    boot(board)
    with pytest.raises(RolledBack, match="went back"):
        confirm(parts("boot-3"), list)
    assert board.states() == [(5, 0, 0), (0, 3, 0)]
    SessionEnv(board.loader).begin()
