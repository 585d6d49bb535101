"""Running programs: swagent as it is typed, Debian's swupdate, and the tools that make their input."""

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

PROJECT = Path(__file__).parents[1]
TIMEOUT_S = 60
_ATTEMPTS = 8
_HUNG_S = 15
_INSTALLED = "SWUpdate was successful !"
_POST_UPDATE = "Post-update command"
_NOISE = (
    "lua_report_exception",
    "print_registered_",
    "listener_create",
    "extract_file_to_tmp",
    "read_module_settings",
)
_PACKAGES = {
    "mkenvimage": "u-boot-tools",
    "fw_printenv": "libubootenv-tool",
    "grub-editenv": "grub-common",
    "unshare": "util-linux",
    "xz": "xz-utils",
    "sfdisk": "fdisk",
    "losetup": "mount",
    "blkid": "util-linux",
    "mkfs.vfat": "dosfstools",
    "mkfs.ext4": "e2fsprogs",
    "btrfs": "btrfs-progs",
}


def need(*programs: str) -> None:
    """Skip the test, with the reason, when one of these programs is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: apt-get install {_PACKAGES.get(program, program)}")


@dataclass(frozen=True)
class Done:
    """How a program ended.

    Attributes:
        code: exit status, negative when a signal ended it.
        text: all that it wrote on both channels.
    """

    code: int
    text: str

    @property
    def ok(self) -> bool:
        return self.code == 0


def run(
    command: Iterable[str | Path],
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    stdin: bytes | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Done:
    """Run a program to its end, standard input from ``stdin`` (nothing when None).

    Raises:
        subprocess.TimeoutExpired: it took too long; it and its children were killed.
    """
    with subprocess.Popen(
        [str(word) for word in command],
        cwd=cwd,
        env=None if env is None else {**os.environ, **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            told, _ = process.communicate(stdin, timeout=timeout_s)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return Done(process.returncode, told.decode(errors="replace"))


def must(command: Iterable[str | Path], *, cwd: Path | None = None, stdin: bytes | None = None) -> None:
    """Run a program that has to succeed."""
    words = list(command)
    done = run(words, cwd=cwd, stdin=stdin)
    assert done.ok, f"{words}\n{done.text}"


_MEASURING = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
with open(sys.argv[1], "w") as file:
    file.write(f"{os.waitstatus_to_exitcode(status)} {usage.ru_maxrss}")
"""
"""Stands between, because a process inherits the peak of the one that forked it, and a test process is large. Address
space is limited to 1 GiB: it is more than memory, as libraries and threads' stacks reserve some."""


def measured(usage: Path) -> list[str]:
    """The words before a command that have ``usage`` tell of it; see ``exit_and_peak``."""
    return [sys.executable, "-I", "-S", "-c", _MEASURING, str(usage)]


def exit_and_peak(usage: Path) -> tuple[int, int]:
    """How a measured command ended, and its peak of memory in KiB."""
    code, peak_kib = usage.read_text().split()
    return int(code), int(peak_kib)


def run_swagent(words: Iterable[str | Path], folder: Path, *, stdin: bytes | None = None, **env: str) -> Done:
    """``swagent`` from this checkout, run in ``folder``; its lock and temporary files are in ``folder/tmp``."""
    return run(
        [sys.executable, "-m", "swagent", *words],
        cwd=folder,
        env={**_alone(folder), "PYTHONPATH": str(PROJECT), **env},
        stdin=stdin,
    )


def run_swupdate(
    words: Iterable[str | Path],
    folder: Path,
    *,
    fresh: Callable[[], None] = lambda: None,
    stdin: bytes | None = None,
    **env: str,
) -> Done:
    """The real ``swupdate``, run in ``folder``.

    Its processes talk over an abstract socket with a fixed name, so each run gets a network of its own; and over
    sockets in its temporary folder, whose path must be short. Now and then (one run in seven here) 2022.12 installs,
    says so, and then fails to reach its own process for the post-update command, which makes the exit status 1; and
    rarely its processes wait for each other for ever. Such runs tell nothing and are done again.

    Args:
        words: options, without a log level.
        folder: where relative paths start.
        fresh: puts the device into its state before the run.
        stdin: its standard input.
        env: further variables of its environment.
    """
    need("swupdate")
    command = [*own_network_words(), "swupdate", "-l", "5", *words]
    for _ in range(_ATTEMPTS):
        fresh()
        with TemporaryDirectory(prefix="sw") as private:
            try:
                done = run(
                    command, cwd=folder, env={"TMPDIR": private, **env}, stdin=stdin, timeout_s=_HUNG_S
                )
            except subprocess.TimeoutExpired:
                continue
        told = [line for line in done.text.splitlines() if not any(word in line for word in _NOISE)]
        done = Done(done.code, "\n".join(told))
        if done.ok or _INSTALLED not in done.text or _POST_UPDATE in done.text:
            return done
    pytest.skip(f"swupdate did not get through to itself in {_ATTEMPTS} attempts")


def cpio(folder: Path, names: Iterable[str], *, archive_format: str = "crc") -> bytes:
    """What ``cpio -o`` makes of these files, in this order."""
    need("cpio")
    done = subprocess.run(
        ["cpio", "-o", "--quiet", "-H", archive_format],
        cwd=folder,
        input="".join(f"{name}\n" for name in names).encode(),
        capture_output=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    return done.stdout


def _alone(folder: Path) -> dict[str, str]:
    private = folder / "tmp"
    private.mkdir(exist_ok=True)
    return {"TMPDIR": str(private), "RUNTIME_DIRECTORY": str(private)}


@cache
def own_network_words() -> tuple[str, ...]:
    """What a command line must begin with to run in a network of its own."""
    for wrap in (("unshare", "--net"), ("unshare", "--user", "--map-current-user", "--net")):
        if shutil.which("unshare") is not None and run([*wrap, "true"]).ok:
            return wrap
    pytest.skip("needs unshare and the right to use it: two swupdates at once would talk to each other")


@contextmanager
def own_network() -> Iterator[None]:
    """A network of our own for this thread, and for the threads and programs that it starts: ports are all free, and
    no other swupdate is in reach."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    libc = ctypes.CDLL(None, use_errno=True)
    clone_newnet, siocsifflags, up = 0x40000000, 0x8914, 0x1
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(clone_newnet):
            pytest.skip(f"needs the right to unshare a network: {os.strerror(ctypes.get_errno())}")
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                fcntl.ioctl(sock, siocsifflags, struct.pack("16sh14x", b"lo", up))
            yield
        finally:
            assert libc.setns(before, clone_newnet) == 0
    finally:
        os.close(before)
