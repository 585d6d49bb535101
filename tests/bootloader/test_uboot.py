import fcntl
import os
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swagent.bootloader import uboot
from swagent.bootloader.uboot import UBoot
from swagent.errors import BootEnvError, SettingsError

from .tools import Board, need

NAMES = st.text("abcXYZ019_-. é", min_size=1, max_size=12).filter(lambda name: not name.startswith("."))
VALUES = st.text(st.characters(exclude_characters="\0\n", codec="utf-8"), min_size=1, max_size=60)
ENVS = st.dictionaries(NAMES, VALUES, max_size=12)


@pytest.fixture(params=[1, 2], ids=["single", "redundant"])
def board(request: pytest.FixtureRequest, tmp_path: Path) -> Board:
    return Board(tmp_path, request.param)


def test_set_get_remove(board: Board) -> None:
    board.fill({"a": "1", "b": "2"})
    board.loader.set_many({"a": "x=y z", "b": None, "c": "3", "d": "", "missing": None})
    assert board.loader.all() == {"a": "x=y z", "c": "3"}
    assert board.loader.get("a") == "x=y z"
    assert board.loader.get("b") is None
    assert all(file.read_bytes()[: board.offset] == b"\xee" * board.offset for file in board.files)


def test_another_object_sees_it(board: Board) -> None:
    board.fill({})
    board.loader.set_many({"slot": "b"})
    assert UBoot({"fwenv-config-location": str(board.config)}).get("slot") == "b"


def test_number_goes_round(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.put(0, board.raw({"n": "start"}, flags=254))
    board.put(1, board.raw({"n": "old"}, flags=253))
    seen = []
    for n in range(4):
        board.loader.set_many({"n": str(n)})
        assert board.loader.get("n") == str(n)
        seen.append(board.flags())
    assert seen == [(254, 255), (0, 255), (0, 1), (2, 1)]


def test_the_copy_in_force_is_not_touched(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.fill({"a": "1"})
    before = board.take(0)
    board.loader.set_many({"a": "2"})
    assert board.take(0) == before
    assert board.loader.get("a") == "2"


def test_nothing_is_written_when_nothing_changes(board: Board) -> None:
    board.fill({"a": "1"})
    before = [file.read_bytes() for file in board.files]
    board.loader.set_many({"a": "1", "missing": ""})
    board.loader.set_many({})
    assert [file.read_bytes() for file in board.files] == before


@pytest.mark.parametrize("fresh", [0, 1])
@pytest.mark.parametrize("damage", ["flip", "short", "empty", "erased"])
def test_damaged_copy(tmp_path: Path, fresh: int, damage: str) -> None:
    """The other copy counts, however new the damaged one claims to be; the next step repairs it."""
    board = Board(tmp_path)
    board.put(fresh, board.raw({"a": "good"}, flags=5))
    bad = bytearray(board.raw({"a": "bad"}, flags=6))
    if damage == "flip":
        bad[100] ^= 1
    elif damage == "short":
        del bad[-1]
    elif damage == "empty":
        bad.clear()
    else:
        bad[:] = b"\xff" * len(bad)
    board.put(1 - fresh, bytes(bad))
    assert board.loader.all() == {"a": "good"}
    before = board.take(fresh)
    board.loader.set_many({"b": "2"})
    assert board.loader.all() == {"a": "good", "b": "2"}
    assert board.take(fresh) == before
    assert board.flags()[1 - fresh] == 6


def test_no_valid_copy_is_never_overwritten(board: Board) -> None:
    for index in range(len(board.files)):
        board.put(index, b"\xff" * board.size_bytes)
    before = [file.read_bytes() for file in board.files]
    for act in (lambda: board.loader.set_many({"a": "1"}), board.loader.all):
        with pytest.raises(BootEnvError, match="no valid boot environment") as caught:
            act()
        assert "mkenvimage" in caught.value.hint
    assert [file.read_bytes() for file in board.files] == before


def test_missing_file(board: Board) -> None:
    board.fill({"a": "1"})
    board.files[-1].unlink()
    with pytest.raises(BootEnvError, match="cannot open"):
        board.loader.all()
    with pytest.raises(BootEnvError, match="cannot open"):
        board.loader.set_many({"a": "2"})
    assert not board.files[-1].exists()


@pytest.mark.parametrize(
    "changes",
    [{"a": "x" * 5000}, {"a=b": "1"}, {"": "1"}, {"a\0": "1"}, {"a": "1\0"}, {"\ud800": "1"}, {"a=b": None}],
)
def test_bad_changes_write_nothing(board: Board, changes: dict[str, str | None]) -> None:
    board.fill({"a": "1"})
    before = [file.read_bytes() for file in board.files]
    with pytest.raises(BootEnvError):
        board.loader.set_many({"good": "1"} | changes)
    assert [file.read_bytes() for file in board.files] == before


def test_flags_variable_is_obeyed_and_kept(board: Board) -> None:
    board.fill({".flags": "serial:sr,count:d", "serial": "4711", "count": "1"})
    with pytest.raises(BootEnvError, match="read-only"):
        board.loader.set_many({"count": "2", "serial": "1"})
    with pytest.raises(BootEnvError, match="decimal"):
        board.loader.set_many({"count": "two"})
    assert board.loader.get("count") == "1"
    board.loader.set_many({"count": "2", "serial": "4711"})
    assert board.loader.all() == {".flags": "serial:sr,count:d", "serial": "4711", "count": "2"}


def test_offset_from_the_end(tmp_path: Path) -> None:
    board = Board(tmp_path, 1)
    board.files[0].write_bytes(b"\xee" * 5000 + board.raw({"a": "1"}))
    board.config.write_text(f"{board.files[0]} -{board.size_bytes:#x} {board.size_bytes:x}\n")
    board.loader.set_many({"a": "2"})
    assert board.loader.get("a") == "2"
    assert board.files[0].read_bytes()[:5000] == b"\xee" * 5000
    assert board.files[0].stat().st_size == 5000 + board.size_bytes
    board.config.write_text(f"{board.files[0]} -0x10 {board.size_bytes:x}\n")
    with pytest.raises(BootEnvError, match="does not lie within"):
        board.loader.all()


def test_two_copies_on_one_device(tmp_path: Path) -> None:
    board = Board(tmp_path, 2)
    disk = board.files[0]
    disk.write_bytes(board.raw({"a": "1"}, flags=1) + board.raw({"a": "0"}, flags=0))
    (tmp_path / "by-label").symlink_to(disk)
    size = board.size_bytes
    board.config.write_text(f"{disk} 0 {size:x}\n{tmp_path / 'by-label'} {size:#x} {size:x}\n")
    board.loader.set_many({"a": "2"})
    assert board.loader.get("a") == "2"
    for second in ("0", hex(size - 1), f"-{size + 1:#x}"):
        board.config.write_text(f"{disk} 0 {size:x}\n{tmp_path / 'by-label'} {second} {size:x}\n")
        with pytest.raises(BootEnvError, match="overlap"):
            board.loader.all()


@pytest.mark.parametrize("device", ["/dev/mtdblock3", "/dev/mtd0ro"])
def test_some_flash_is_refused(tmp_path: Path, device: str) -> None:
    board = Board(tmp_path, 1)
    board.config.write_text(f"{device} 0 1000\n")
    with pytest.raises(BootEnvError, match="not supported by this version"):
        board.loader.all()


@pytest.mark.parametrize("device", ["/dev/null", "/tmp"])
def test_other_things_are_no_devices(tmp_path: Path, device: str) -> None:
    board = Board(tmp_path, 1)
    board.config.write_text(f"{device} 0 1000\n")
    with pytest.raises(BootEnvError):
        board.loader.all()


def test_missing_config(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        UBoot({"fwenv-config-location": str(tmp_path / "missing")}).all()


def test_waits_for_the_lock(board: Board, tmp_path: Path) -> None:
    board.fill({"a": "1"})
    fd = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    timer = threading.Timer(0.3, os.close, (fd,))
    timer.start()
    board.loader.set_many({"a": "2"})
    assert not timer.is_alive()
    timer.join()
    assert board.loader.get("a") == "2"


def test_does_not_wait_for_ever(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board.fill({"a": "1"})
    monkeypatch.setattr(uboot, "LOCK_WAIT_S", 0.1)
    with open(tmp_path / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BootEnvError, match="locked by another program"):
            board.loader.set_many({"a": "2"})
    assert board.loader.get("a") == "1"


def test_lock_that_cannot_be_had(board: Board, tmp_path: Path) -> None:
    """Writing needs it; reading does not, as units may have a read-only root."""
    board.fill({"a": "1"})
    loader = UBoot(
        {"fwenv-config-location": str(board.config), "fwenv-lockfile": str(tmp_path / "no" / "lock")}
    )
    assert loader.get("a") == "1"
    with pytest.raises(BootEnvError, match="cannot open the lock"):
        loader.set_many({"a": "2"})
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    loader = UBoot({"fwenv-config-location": str(board.config), "fwenv-lockfile": str(tmp_path / "link")})
    with pytest.raises(BootEnvError, match="cannot open the lock"):
        loader.set_many({"a": "2"})
    assert not (tmp_path / "elsewhere").exists()


def test_concurrent_writers_lose_nothing(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.fill({})
    failures: list[Exception] = []

    def count(name: str) -> None:
        try:
            for n in range(10):
                board.loader.set_many({f"{name}{n}": "1"})
        except BootEnvError as exc:
            failures.append(exc)

    threads = [threading.Thread(target=count, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(board.loader.all()) == 30


@pytest.mark.parametrize("boundary_bytes", [64])
def test_power_cut_while_writing(tmp_path: Path, boundary_bytes: int) -> None:
    """However much of the new copy reached the device: the old values or the new ones, all of them."""
    board = Board(tmp_path)
    old = {"slot": "a", "count": "1", **{f"v{n:03}": "x" * 20 for n in range(100)}}
    new = old | {"slot": "b", "count": "2"}
    for stale in (old, {"slot": "c"}, {}):
        board.put(0, board.raw(old, flags=7))
        board.put(1, board.raw(stale, flags=6))
        before = board.take(1)
        board.loader.set_many({"slot": "b", "count": "2"})
        after = board.take(1)
        seen = set()
        for cut in range(0, board.size_bytes + 1, boundary_bytes):
            for torn in (
                after[:cut] + before[cut:],
                before[:cut] + after[cut:],
                after[:cut] + b"\xff" * len(after[cut:]),
            ):
                board.put(1, torn)
                found = board.loader.all()
                assert found in (old, new)
                seen.add(found["slot"])
                assert found == new or board.loader.get("slot") == "a"
        assert seen == {"a", "b"}


def test_sync_comes_before_success(tmp_path: Path) -> None:
    """The order of system calls decides about power cuts; strace sees them."""
    import sys

    need("strace", "strace")
    board = Board(tmp_path)
    board.fill({"a": "1"})
    code = (
        "from swagent.bootloader.uboot import UBoot\n"
        f"UBoot({{'fwenv-config-location': {str(board.config)!r}, 'fwenv-lockfile': {str(tmp_path / 'lock')!r}}})"
        ".set_many({'a': '2'})"
    )
    trace = tmp_path / "trace"
    argv = ["strace", "-o", str(trace), "-e", "trace=fsync,fdatasync,pwrite64,fadvise64,pread64,flock"]
    done = subprocess.run([*argv, sys.executable, "-c", code], capture_output=True)
    if b"ptrace" in done.stderr:
        pytest.skip("needs permission to ptrace")
    assert done.returncode == 0, done.stderr
    calls = [line.split("(")[0] for line in trace.read_text().splitlines() if "(" in line]
    calls = calls[calls.index("flock") :]  # before it the interpreter loads its libraries
    assert calls == ["flock", "pread64", "pread64", "pwrite64", "fsync", "fadvise64", "pread64"]


def test_what_comes_back_otherwise_is_an_error(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worn-out device: the byte flips between the write and the reading back."""
    board.fill({"a": "1"})

    def wear_out(fd: int, start: int, size_bytes: int, advice: int) -> None:
        os.pwrite(fd, b"!", board.offset + 9)

    monkeypatch.setattr(os, "posix_fadvise", wear_out)
    with pytest.raises(BootEnvError, match="does not give back"):
        board.loader.set_many({"a": "2"})
    if board.redundant:  # the only copy of the other kind is gone with its device
        assert board.loader.get("a") == "1"


def test_failing_device(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    board.fill({"a": "1"})

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(BootEnvError, match=r"cannot write .*Input/output error"):
        board.loader.set_many({"a": "2"})
    with pytest.raises(BootEnvError, match=r"cannot sync .*Input/output error"):
        board.loader.set_many({"a": board.loader.get("a")})  # unchanged, and yet not known to be durable


@pytest.mark.parametrize("fault", ["fsync", "flip"])
def test_what_failed_does_not_come_into_force(
    board: Board, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """An error means the old values, also for the next step: that one marks the update as failed."""
    board.fill({"slot": "a"})
    fsync, fadvise = os.fsync, os.posix_fadvise

    def fail_once(fd: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        raise OSError(5, "Input/output error")

    def flip_once(fd: int, start: int, size_bytes: int, advice: int) -> None:
        monkeypatch.setattr(os, "posix_fadvise", fadvise)
        os.pwrite(fd, b"!", board.offset + 9)

    if fault == "fsync":
        monkeypatch.setattr(os, "fsync", fail_once)
    else:
        monkeypatch.setattr(os, "posix_fadvise", flip_once)
    with pytest.raises(BootEnvError):
        board.loader.set_many({"slot": "b", "ustate": "1"})
    assert board.loader.all() == {"slot": "a"}
    board.loader.set_many({"ustate": "3"})
    assert board.loader.all() == {"slot": "a", "ustate": "3"}


def test_unreadable_copy_is_a_damaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(tmp_path)
    board.fill({"a": "1"})
    bad = board.files[1].stat().st_ino
    pread = os.pread

    def fail(fd: int, size_bytes: int, start: int) -> bytes:
        if os.fstat(fd).st_ino == bad:
            raise OSError(5, "Input/output error")
        return pread(fd, size_bytes, start)

    monkeypatch.setattr(os, "pread", fail)
    assert board.loader.get("a") == "1"


def test_odd_names_that_are_stored_do_not_hinder(board: Board) -> None:
    board.fill([b"two\nlines=1", b"noequals", b"\xff=\xfe", b"a=1"])
    board.loader.set_many({"a": "2"})
    assert board.loader.all() == {"two\nlines": "1", "\udcff": "\udcfe", "a": "2"}


# ---- against U-Boot's own tools


def test_fw_printenv_reads_what_we_write(board: Board) -> None:
    need("fw_printenv", "libubootenv-tool")
    board.fill({"a": "1"})
    board.loader.set_many({"b": "x=y  z ", "c": "é", "a": None})
    assert board.fw_printenv() == {"b": "x=y  z ", "c": "é"}


def test_we_read_what_fw_setenv_writes(board: Board) -> None:
    need("fw_setenv", "libubootenv-tool")
    board.fill({"a": "1"})
    board.fw_setenv("b=x=y\nc=é\na=\n")
    assert board.loader.all() == {"b": "x=y", "c": "é"}
    before = board.flags() if board.redundant else ()
    board.fw_setenv("c=2\n")
    board.loader.set_many({"d": "3"})
    board.fw_setenv("e=4\n")
    assert board.loader.all() == {"b": "x=y", "c": "2", "d": "3", "e": "4"} == board.fw_printenv()
    if board.redundant:
        assert max(board.flags()) == max(before) + 3


def test_byte_for_byte_as_fw_setenv(tmp_path: Path) -> None:
    need("fw_setenv", "libubootenv-tool")
    for copies in (1, 2):
        boards = []
        for who in ("ours", "theirs"):
            folder = tmp_path / f"{who}{copies}"
            folder.mkdir()
            boards.append(Board(folder, copies))
            boards[-1].fill({"b": "1", "B": "2", "a": "3", "_x": "4"})
        ours, theirs = boards
        ours.loader.set_many({"c": "5", "b": "", "A": "6 7"})
        theirs.fw_setenv("c=5\nb=\nA=6 7\n")
        assert [f.read_bytes() for f in ours.files] == [f.read_bytes() for f in theirs.files]


def test_mkenvimage(board: Board) -> None:
    need("mkenvimage", "u-boot-tools")
    text = b"a=1\nbootcmd=run x; run y\nempty_is_kept=\n"
    argv = ["mkenvimage", *(["-r"] if board.redundant else []), "-s", str(board.size_bytes), "-o", "-", "-"]
    image = subprocess.run(argv, input=text, capture_output=True, check=True).stdout
    for index in range(len(board.files)):
        board.put(index, image)
    assert board.loader.all() == {"a": "1", "bootcmd": "run x; run y", "empty_is_kept": ""}
    board.loader.set_many({"a": "2"})
    assert board.loader.get("a") == "2"
    assert board.loader.get("bootcmd") == "run x; run y"


def test_our_copy_is_mkenvimages(board: Board) -> None:
    need("mkenvimage", "u-boot-tools")
    board.fill({"z": "1"})
    board.loader.set_many({"a": "1", "b": "2 3"})
    argv = [
        "mkenvimage",
        *(["-r"] if board.redundant else []),
        "-p",
        "0",
        "-s",
        str(board.size_bytes),
        "-o",
        "-",
        "-",
    ]
    image = subprocess.run(argv, input=b"a=1\nb=2 3\nz=1\n", capture_output=True, check=True).stdout
    ours = board.take(len(board.files) - 1)
    skip = 5 if board.redundant else 4
    assert ours[:4] + ours[skip:] == image[:4] + image[skip:]


@pytest.mark.parametrize(
    "flags",
    [
        (0, 0),
        (1, 0),
        (0, 1),
        (255, 0),
        (0, 255),
        (255, 1),
        (1, 255),
        (254, 255),
        (255, 254),
        (200, 3),
        (255, 255),
    ],
)
def test_choice_and_next_number_as_fw_setenv(tmp_path: Path, flags: tuple[int, int]) -> None:
    need("fw_setenv", "libubootenv-tool")
    board = Board(tmp_path)
    results = []
    for ours in (True, False):
        for index in (0, 1):
            board.put(index, board.raw({"which": str(index)}, flags=flags[index]))
        assert board.fw_printenv() == board.loader.all()
        if ours:
            board.loader.set_many({"n": "1"})
        else:
            board.fw_setenv("n=1\n")
        results.append((board.flags(), board.loader.all()))
    assert results[0] == results[1]


@pytest.mark.parametrize("damaged", [(False, False), (True, False), (False, True), (True, True)])
def test_same_verdict_on_damage(board: Board, damaged: tuple[bool, bool]) -> None:
    need("fw_printenv", "libubootenv-tool")
    for index in range(len(board.files)):
        raw = bytearray(board.raw({"which": str(index)}, flags=index))
        if damaged[index]:
            raw[50] ^= 1
        board.put(index, bytes(raw))
    theirs = board.fw_printenv()
    try:
        ours: dict[str, str] | None = board.loader.all()
    except BootEnvError:
        ours = None
    assert ours == theirs


def check_against_tools(folder: Path, copies: int, stored: dict[str, str], changes: dict[str, str]) -> None:
    board = Board(folder, copies)
    board.fill(stored)
    removed = dict.fromkeys(list(stored)[::3], "")
    board.loader.set_many(changes | removed)
    wanted = {name: value for name, value in (stored | changes | removed).items() if value}
    assert board.fw_printenv() == wanted
    assert board.loader.all() == wanted
    board.fw_setenv("swagent_back=1\n")  # and back: they write what we wrote, with one more
    assert board.loader.all() == {**wanted, "swagent_back": "1"}
    if copies == 2:  # the newer copy is damaged: both go back to the one before
        newer = 0 if board.flags()[0] == (board.flags()[1] + 1) % 256 else 1
        raw = bytearray(board.take(newer))
        raw[-1] ^= 1
        board.put(newer, bytes(raw))
        assert board.loader.all() == board.fw_printenv() == wanted


@pytest.mark.parametrize("copies", [1, 2])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stored=ENVS, changes=ENVS)
def test_random_environments(
    tmp_path: Path, copies: int, stored: dict[str, str], changes: dict[str, str]
) -> None:
    need("fw_printenv", "libubootenv-tool")
    check_against_tools(tmp_path, copies, stored, changes)


@pytest.mark.slow
@pytest.mark.parametrize("copies", [1, 2])
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stored=ENVS, changes=ENVS)
def test_many_random_environments(
    tmp_path: Path, copies: int, stored: dict[str, str], changes: dict[str, str]
) -> None:
    need("fw_printenv", "libubootenv-tool")
    check_against_tools(tmp_path, copies, stored, changes)


@pytest.mark.root
def test_block_device(tmp_path: Path) -> None:
    """Two copies on one loop device, the second counted from the end; read back by fw_printenv."""
    need("losetup", "mount")
    need("fw_printenv", "libubootenv-tool")
    board = Board(tmp_path, 2)
    disk = tmp_path / "disk"
    size = board.size_bytes
    room = b"\xee" * (1 << 20)
    raw = [board.raw({"a": str(n)}, flags=n) for n in range(2)]
    disk.write_bytes(room[:0x1200] + raw[0] + room + raw[1])
    disk_bytes = disk.stat().st_size // 512 * 512
    os.truncate(disk, disk_bytes)  # loop devices have whole sectors
    done = subprocess.run(["losetup", "--find", "--show", str(disk)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("needs a loop device")
    loop = done.stdout.strip()
    try:
        board.config.write_text(f"{loop} 0x1200 {size:x}\n{loop} -{size:#x} {size:x}\n")
        with open(loop, "r+b") as device:
            device.seek(-size, os.SEEK_END)
            device.write(raw[1])
        assert board.fw_printenv() == board.loader.all() == {"a": "1"}
        for n in range(2, 5):
            board.loader.set_many({"a": str(n)})
            assert board.fw_printenv() == board.loader.all() == {"a": str(n)}
        board.config.write_text(f"{loop} 0x1200 {size:x}\n{loop} {disk_bytes:#x} {size:x}\n")
        with pytest.raises(BootEnvError, match="does not lie within"):
            board.loader.all()
    finally:
        subprocess.run(["losetup", "-d", loop], check=True)
    assert disk.read_bytes()[:0x1200] == room[:0x1200]
