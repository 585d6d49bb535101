import os
import stat
from pathlib import Path

import pytest

from swagent.errors import DeviceError, HashError
from swagent.store.atomic import open_replacement, replace


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_new_content_and_mode(tmp_path: Path) -> None:
    target = tmp_path / "state"
    replace(str(target), b"one", mode=0o600)
    assert target.read_bytes() == b"one"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    replace(str(target), b"two")
    assert target.read_bytes() == b"two"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert names(tmp_path) == ["state"]


def test_mode_does_not_depend_on_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        replace(str(tmp_path / "state"), b"", mode=0o644)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o644


def test_private_from_the_first_byte(tmp_path: Path) -> None:
    with open_replacement(str(tmp_path / "key"), mode=0o600) as file:
        file.write(b"secret")
        file.flush()
        (temporary,) = names(tmp_path)
        assert stat.S_IMODE((tmp_path / temporary).stat().st_mode) == 0o600


def test_old_content_until_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "state"
    target.write_bytes(b"old")
    with open_replacement(str(target)) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"


def test_failure_leaves_old_content_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "state"
    target.write_bytes(b"old")
    with pytest.raises(HashError), open_replacement(str(target)) as file:
        file.write(b"half of the ne")
        raise HashError("wrong digest")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["state"]


def test_os_errors_are_translated(tmp_path: Path) -> None:
    with pytest.raises(DeviceError) as caught:
        replace(str(tmp_path / "no" / "such" / "state"), b"")
    assert caught.value.errno == 2
    assert caught.value.path.endswith("state")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DeviceError):
        replace(str(tmp_path / "folder"), b"")
    assert names(tmp_path) == ["folder"]


def test_full_file_system(tmp_path: Path) -> None:
    import resource
    import signal

    target = tmp_path / "state"
    target.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(DeviceError):
            replace(str(target), b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["state"]


def test_symlink_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "state").symlink_to("precious")
    replace(str(tmp_path / "state"), b"new")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not (tmp_path / "state").is_symlink()


def test_leftover_of_a_dead_process_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / ".state.swagent-4194305").write_bytes(b"cut")  # above the largest possible pid
    (tmp_path / f".state.swagent-{os.getpid()}").write_bytes(b"cut, before the last boot")
    (tmp_path / f".state.swagent-{os.getppid()}").write_bytes(b"another one, at work")
    replace(str(tmp_path / "state"), b"new")
    assert names(tmp_path) == [f".state.swagent-{os.getppid()}", "state"]


def test_everything_is_synced_before_and_after_the_rename(tmp_path: Path) -> None:
    """The order of system calls decides about power cuts; strace sees them."""
    import shutil
    import subprocess
    import sys

    if shutil.which("strace") is None:
        pytest.skip("needs strace: apt-get install strace")
    trace = tmp_path / "trace"
    code = f"from swagent.store.atomic import replace; replace({str(tmp_path / 'state')!r}, b'new')"
    argv = ["strace", "-o", str(trace), "-e", "trace=fsync,fdatasync,rename,renameat,renameat2"]
    done = subprocess.run([*argv, sys.executable, "-c", code], capture_output=True)
    if b"ptrace" in done.stderr:
        pytest.skip("needs permission to ptrace")
    assert done.returncode == 0, done.stderr
    calls = [line.split("(")[0] for line in trace.read_text().splitlines() if "(" in line]
    assert calls == ["fsync", "rename", "fsync"]
