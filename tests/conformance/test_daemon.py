"""Debian's clients, unchanged, against its own daemon and against ours: same exit status, same kind of output."""

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.conftest import KeyRing
from tests.daemon.running import HARDWARE, Running, daemon, real_daemon, signed_image, until
from tests.programs import Done, need

KEY, IV = "00112233445566778899AABBCCDDEEFF" * 2, "0123456789ABCDEF" * 2
Start = Callable[..., AbstractContextManager[Running]]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, key_ring: KeyRing) -> Iterator[list[tuple[Running, Path]]]:
    """Each daemon, with a folder that holds a good and a bad update."""
    need("swupdate", "swupdate-client", "swupdate-ipc", "swupdate-progress")
    started: list[tuple[Running, Path]] = []
    managers = []
    try:
        for name, start in (("theirs", real_daemon), ("ours", _ours)):
            folder = tmp_path_factory.mktemp(name)
            image = signed_image(folder, key_ring, bytes(200_000))
            whole = image.read_bytes()
            (image.parent / "bad.swu").write_bytes(whole.replace(b"1.0.1", b"1.0.2"))
            (image.parent / "cut.swu").write_bytes(whole[: len(whole) // 2])
            words = ("-k", key_ring.cert, *HARDWARE, "-p", f"echo x >> {folder}/hook", "-q", "stable,copy1")
            manager = start(folder, *words)
            started.append((manager.__enter__(), folder))
            managers.append(manager)
        yield started
    finally:
        for manager in managers:
            manager.__exit__(None, None, None)


def _ours(folder: Path, *words: str | Path) -> AbstractContextManager[Running]:
    return daemon(folder, *words, private=True)


def kind(done: Done) -> list[str]:
    """The lines of a client that do not quote the daemon's log."""
    lines = (re.sub(r"failed: .*", "failed", line) for line in done.text.splitlines())
    return [line for line in lines if line and not line.startswith("Status: ")]


CLIENT = [
    (("-v", "-p", "/tmp/update.swu"), 0),
    (("-q", "/tmp/update.swu"), 0),
    (("/tmp/update.swu", "/tmp/update.swu"), 0),
    (("-d", "/tmp/update.swu"), 0),
    (("-e", "stable,copy2", "/tmp/update.swu"), 1),
    (("-v", "-p", "/tmp/bad.swu"), 1),
    (("-v", "/tmp/cut.swu"), 1),
    (("/tmp/absent.swu",), 1),
]


@pytest.mark.parametrize(
    ("words", "status"), CLIENT, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_the_client(both: list[tuple[Running, Path]], words: tuple[str, ...], status: int) -> None:
    found = []
    for running, folder in both:
        (folder / "target").unlink(missing_ok=True)
        done = running.run("swupdate-client", *words)
        installed = (folder / "target").exists()
        statuses = [int(number) for number in re.findall(r"^Status: (\d)", done.text, re.MULTILINE)]
        found.append((done.code, installed, sorted(set(statuses)), statuses[-1:], kind(done)))
    assert found[0][0] == status
    assert found[0] == found[1]


IPC = [
    (("aes", KEY, IV), 0),
    (("aes", KEY[:60], IV), 1),
    (("aes", "x" * 64, IV), 1),
    (("setversion", "0.1", "0.2", "9.9"), 0),  # 2022.12 sends them one place too far
    (("hawkbitcfg", "-p", "10"), 0),
    (("hawkbitcfg", "-e"), 0),
    (("hawkbitcfg", "-d"), 0),
    (("hawkbitcfg", "-t"), 0),
    (("gethawkbit",), 1),
    (("sendtohawkbit", "1", "2", "success", "closed", "detail"), 0),
    (("nonsense",), 0),
]


@pytest.mark.parametrize(
    ("words", "status"), IPC, ids=lambda value: value[0] if isinstance(value, tuple) else ""
)
def test_the_other_client(both: list[tuple[Running, Path]], words: tuple[str, ...], status: int) -> None:
    theirs, ours = (running.run("swupdate-ipc", *words) for running, _ in both)
    assert theirs == ours
    assert (theirs.code == 0) == (status == 0), theirs


def test_an_update_still_installs_after_all_that(both: list[tuple[Running, Path]]) -> None:
    for running, _ in both:
        assert running.run("swupdate-client", "/tmp/update.swu").ok


def watched(running: Running, *words: str, enough: Callable[[str], bool]) -> str:
    """What a client that listens prints while a good and a bad update are handed in."""
    out = running.folder / "watched"
    with out.open("wb") as file:
        process = subprocess.Popen(
            [*running.prefix, "stdbuf", "-o0", *words], stdout=file, stderr=subprocess.STDOUT
        )
        try:
            time.sleep(1.0)  # until it has connected: nothing is told to it then
            assert running.run("swupdate-client", "/tmp/update.swu").ok
            assert not running.run("swupdate-client", "/tmp/bad.swu").ok
            until(lambda: enough(out.read_text().replace("\r", "\n")), "what it must print")
        finally:
            process.kill()
            process.wait()
    return out.read_text().replace("\r", "\n")


def progress_seen(running: Running) -> tuple[str, list[str]]:
    results = running.folder / "results"
    script = running.folder / "script"
    script.write_text("#!/bin/sh\necho $1 >> /tmp/results\n")
    script.chmod(0o755)
    text = watched(
        running,
        *("swupdate-progress", "-w", "-e", "/tmp/script"),
        enough=lambda text: results.exists() and results.read_text().count("\n") == 2,
    )
    kinds = (
        r"\[ =+ \] 1 of 1 100% \(file\)",
        "Update started !",
        "SUCCESS !",
        "FAILURE !",
        "Interface: UNKNOWN",
    )
    return results.read_text(), [each for each in kinds if re.search(f"^{each}", text, re.MULTILINE)]


def test_progress(both: list[tuple[Running, Path]]) -> None:
    theirs, ours = (progress_seen(running) for running, _ in both)
    assert theirs == ours
    assert theirs[0] == "SUCCESS\nFAILURE\n"


def monitor_seen(running: Running) -> tuple[list[str], list[str]]:
    def statuses(text: str) -> list[str]:
        return re.findall(r'"status"\s*:\s*"?(\w+)', text)

    text = watched(running, "swupdate-ipc", "monitor", enough=lambda text: "4" in statuses(text))
    keys = set(re.findall(r'"(\w+)"\s*:', text))
    return sorted(keys), [each for each in ("1", "2", "3", "4") if each in statuses(text)]


def test_monitor(both: list[tuple[Running, Path]]) -> None:
    theirs, ours = (monitor_seen(running) for running, _ in both)
    assert theirs == ours


def restarts(running: Running) -> list[int | None]:
    """What has become of ``sysrestart`` after a bad update, and then after a good one.

    It is the first process of a namespace of its own: there reboot(2) ends that, by SIGHUP, and nothing else.
    """
    need("unshare")
    words = [*running.prefix, "unshare", "--pid", "--fork", "swupdate-ipc", "sysrestart", "-w"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(1.0)  # until it has connected
        assert not running.run("swupdate-client", "/tmp/bad.swu").ok
        time.sleep(0.5)
        after_bad = process.poll()
        assert running.run("swupdate-client", "/tmp/update.swu").ok
        return [after_bad, process.wait(60)]
    finally:
        process.kill()
        process.wait()


def test_a_restart_of_the_system(both: list[tuple[Running, Path]]) -> None:
    with ThreadPoolExecutor() as pool:  # it waits for seconds before it does
        theirs, ours = pool.map(restarts, [running for running, _ in both])
    assert theirs == ours == [None, -signal.SIGHUP]
