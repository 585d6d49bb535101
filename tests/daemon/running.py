"""Daemons for tests: ours, and Debian's swupdate, each in a network and with a /tmp of its own.

Debian's clients look for their sockets in /tmp, whatever their environment says, and swupdate's processes talk over an
abstract socket of one name.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from swagent.ipc import ControlClient
from tests.conftest import KeyRing
from tests.programs import PROJECT, Done, cpio, must, need, own_network_words, run

WAIT_S = 60.0
HARDWARE = ("-H", "board:1.0")
_PRIVATE_TMP = """
set -e
own=$0 base=$1 project=$2
shift 2
mount --make-rprivate /
for kept in "$base" "$project"; do  # the tests' own folders and a checkout stay where they are
    case $kept in /tmp/*)
        mkdir -p "$own/${kept#/tmp/}"
        mount --bind "$kept" "$own/${kept#/tmp/}"
    esac
done
mount --rbind "$own" /tmp
exec "$@"
"""


def until(happened: Callable[[], object], what: str) -> None:
    """Wait for it."""
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        if happened():
            return
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


@cache
def private_tmp_words() -> tuple[str, ...]:
    """What a command line must begin with to have a /tmp of its own.

    Three folders follow, the one that is to be /tmp and two that stay where they are, then the command.
    """
    need("unshare")
    for rights in ((), ("--user", "--map-root-user")):
        words = ("unshare", *rights, "--mount", "sh", "-c", _PRIVATE_TMP)
        if run([*words, "/var/tmp", "/var", "/var", "true"]).ok:
            return words
    pytest.skip("needs unshare and the right to mount")


@dataclass
class Running:
    """A daemon.

    Attributes:
        folder: its /tmp, if it has one of its own.
        log: what it has written so far, a file.
    """

    process: "subprocess.Popen[bytes]"
    folder: Path
    log: Path
    private: bool

    @property
    def client(self) -> ControlClient:
        return ControlClient(str(self.folder / "sockinstctrl"), timeout_s=WAIT_S)

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def run(self, *words: str | Path) -> Done:
        """A client, where the daemon is."""
        return run([*self.prefix, *words])

    @property
    def prefix(self) -> list[str]:
        return (
            [*private_tmp_words(), str(self.folder), str(self.folder.parents[1]), str(PROJECT)]
            if self.private
            else []
        )

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        return self.process.wait(WAIT_S)


@contextmanager
def daemon(folder: Path, *words: str | Path, private: bool = False, **env: str) -> Iterator[Running]:
    """``swagent daemon``; its sockets are in ``folder/run``."""
    own = folder / "run"
    own.mkdir(exist_ok=True)
    places: list[str | Path] = []
    if private:
        places = ["--control", "/tmp/sockinstctrl", "--progress-2022", "/tmp/swupdateprog"]
        places += ["--progress", "/tmp/progress", "--events", "/tmp/swagent-events"]
    prefix = [*private_tmp_words(), str(own), str(folder.parent), str(PROJECT)] if private else []
    environ = {
        "RUNTIME_DIRECTORY": "/tmp" if private else str(own),  # its lock is there
        "TMPDIR": "" if private else str(own),
        "STATE_DIRECTORY": str(folder / "state"),
        "PYTHONPATH": str(PROJECT),
        **env,
    }
    command = [*prefix, sys.executable, "-m", "swagent", "daemon", *words, *places]
    with _started(command, folder, own, environ, private=private) as running:
        until(
            lambda: "waiting for updates" in running.text() or running.process.poll() is not None,
            "the daemon",
        )
        assert running.process.poll() is None, running.text()
        yield running
        assert "Traceback" not in running.text(), running.text()


@contextmanager
def real_daemon(folder: Path, *words: str | Path) -> Iterator[Running]:
    """Debian's swupdate."""
    need("swupdate", "swupdate-client")
    own = folder / "run"
    own.mkdir(exist_ok=True)
    command = [
        *own_network_words(),
        *private_tmp_words(),
        str(own),
        str(folder.parent),
        str(PROJECT),
        "swupdate",
        "-v",
        *words,
    ]
    with _started(command, folder, own, {}, private=True) as running:
        until(lambda: (own / "sockinstctrl").exists() and (own / "swupdateprog").exists(), "swupdate")
        yield running


@contextmanager
def _started(
    command: list[str | Path], folder: Path, own: Path, environ: dict[str, str], *, private: bool
) -> Iterator[Running]:
    log = folder / "daemon.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield Running(process, own, log, private)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(WAIT_S)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


def signed_image(
    folder: Path,
    keys: KeyRing,
    data: bytes = b"new content\n",
    *,
    name: str = "update.swu",
    target: str = "",
    direct: bool = False,
    more: str = "",
) -> Path:
    """An update that both daemons take: writes ``data`` to ``target``, or ``folder/target``.

    Args:
        folder: the update will be ``run/NAME`` below it.
        keys: who signs.
        data: of its only file.
        name: of the update.
        target: where the file goes.
        direct: write it as it comes.
        more: further entries of its description.
    """
    import hashlib

    work = folder / "image"
    work.mkdir(exist_ok=True)
    (work / "file").write_bytes(data)
    place, digest = target or f"{folder}/target", hashlib.sha256(data).hexdigest()
    (work / "sw-description").write_text(
        f"""software = {{ version = "1.0.1"; hardware-compatibility = [ "1.0" ]; {more}
        files = ( {{ filename = "file"; path = "{place}"; sha256 = "{digest}";
            installed-directly = {str(direct).lower()}; }} );
        }}"""
    )
    must(
        ["openssl", "cms", "-sign", "-in", "sw-description", "-out", "sw-description.sig", "-signer", keys.cert,
         "-inkey", keys.key, "-outform", "DER", "-nosmimecap", "-binary"],
        cwd=work,
    )  # fmt: skip
    path = folder / "run" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(cpio(work, ["sw-description", "sw-description.sig", "file"]))
    return path
