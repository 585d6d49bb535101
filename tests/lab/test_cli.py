"""``swagent lab``: a server process and the client's verbs, as people type them."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import PROJECT, run_swagent

from .labs import Board, Keys, eventually
from .test_service import DISK_BYTES, configuration


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Board]]:
    """A folder with a served lab, and its board; the client knows the server as ``here``."""
    folder, board = tmp_path_factory.mktemp("lab"), Board()
    keys = Keys(folder)
    (folder / "token").write_text(keys.token() + "\n")
    (folder / "disk.img").write_bytes(bytes(DISK_BYTES))
    (folder / "rom.img").write_bytes(b"rom" * 1000)
    (folder / "lab.yaml").write_text(configuration(folder, board))
    server = subprocess.Popen(
        [sys.executable, "-m", "swagent", "lab", "serve", "lab.yaml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stderr=subprocess.PIPE,
    )
    try:
        introduce(server, folder)
        yield folder, board
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
        board.unplug()


def introduce(server: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Keep the server in the client's list."""
    assert server.stderr is not None
    said = server.stderr.readline().decode()
    uri = said.removeprefix("serving on ").strip()
    assert uri.startswith("http://127.0.0.1:"), said
    words = ["lab", "auth", "init", "-c", "servers.yaml", "-i", "here", "-u", uri, "--token-file", "token"]
    made = run_swagent(words, folder)
    assert made.ok, made.text


def lab_says(folder: Path, *words: str) -> str:
    done = run_swagent(["lab", *words, "-c", "servers.yaml"], folder)
    assert done.ok, done.text
    return done.text


def rows(text: str) -> list[list[str]]:
    return [re.split(r"  +", line.strip()) for line in text.splitlines()]


def test_lists(lab: tuple[Path, Board]) -> None:
    folder, _ = lab
    assert rows(lab_says(folder, "list", "devices")) == [["id", "name"], ["0", "board"]]
    assert "boardswarm.provider" in lab_says(folder, "list", "volumes", "-v")
    assert ["boardswarm.name", "relay"] in rows(lab_says(folder, "properties", "actuator", "relay"))
    assert rows(lab_says(folder, "auth", "list"))[1][0] == "here"
    assert (folder / "servers.yaml").stat().st_mode & 0o777 == 0o600
    assert "!Token" in (folder / "servers.yaml").read_text()


def test_suggestions(lab: tuple[Path, Board]) -> None:
    folder, _ = lab
    assert lab_says(folder, "suggest", "consoles").splitlines() == [
        "# tty",
        "match: { boardswarm.name: tty }",
    ]


def test_a_device(lab: tuple[Path, Board]) -> None:
    folder, _ = lab
    eventually(lambda: ["console", "main", "id 0"] in rows(lab_says(folder, "device", "board", "info")))
    lab_says(folder, "device", "board", "mode", "off")
    lab_says(folder, "device", "board", "reset")
    found = rows(lab_says(folder, "device", "board", "info"))
    assert ["mode", "on", "now", "only from off"] in found
    assert ["mode", "nowhere", "its actuator is missing"] in found
    lab_says(folder, "actuator", "relay", "change-mode", '{"mode": "off"}')
    assert (folder / "power").read_text().split() == ["off", "off", "on", "off"]


def test_storage(lab: tuple[Path, Board]) -> None:
    folder, _ = lab
    data = os.urandom(5_000_001)
    (folder / "image").write_bytes(data)
    assert ["emmc", "8.0 MiB", "read write seek"] in rows(lab_says(folder, "volume", "disk", "info"))
    assert "Wrote 4.8 MiB to emmc." in lab_says(
        folder, "device", "board", "write", "-w", "storage", "emmc", "image"
    )
    assert (folder / "disk.img").read_bytes()[: len(data)] == data
    lab_says(folder, "volume", "disk", "read", "emmc", "part", "-o", "1M", "-l", "70000")
    assert (folder / "part").read_bytes() == data[1 << 20 :][:70000]
    lab_says(folder, "device", "board", "commit", "storage")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("list", "toys"), 2, "there is no type of items"),
        (("device", "board", "mod", "on"), 2, "mode"),
        (("device", "board", "mode"), 2, "takes 1 words"),
        (("device", "other", "info"), 90, "there is no device"),
        (("device", "board", "mode", "onn"), 90, "its modes are off, on"),
        (("actuator", "relay", "change-mode", "{"), 2, "no JSON"),
        (("actuator", "relay", "change-mode", '{"mode": null}'), 2, "without null"),
        (("volume", "disk", "write", "rom", "token"), 90, "cannot be written"),
        (("volume", "disk", "write", "emmc", "nothing"), 70, "cannot open"),
        (("volume", "disk", "erase", "emmc"), 90, "write zeroes"),
        (("list", "devices", "--server", "http://127.0.0.1:1"), 90, ""),
        (("list", "devices", "--server", "ftp://x"), 70, "no address of a lab"),
        (("list", "devices", "-i", "there"), 2, "known are here"),
    ],
)
def test_what_goes_wrong_says_so(
    lab: tuple[Path, Board], words: tuple[str, ...], code: int, said: str
) -> None:
    done = run_swagent(["lab", *words, "-c", "servers.yaml"], lab[0])
    assert (done.code, "Traceback" in done.text) == (code, False), done.text
    assert said in done.text


def test_a_configuration_that_is_wrong(lab: tuple[Path, Board]) -> None:
    folder, _ = lab
    good = (folder / "lab.yaml").read_text()
    (folder / "bad.yaml").write_text(good.replace("provider: command", "provider: comand"))
    done = run_swagent(["lab", "serve", "bad.yaml", "--check"], folder)
    assert done.ok  # files of other servers may name what is not here
    assert "no provider 'comand', it brings nothing (did you mean command?)" in done.text
    (folder / "bad.yaml").write_text(good.replace("writable: false", "writeable: false"))
    done = run_swagent(["lab", "serve", "bad.yaml"], folder)
    assert done.code == 70
    assert "did you mean writable?" in done.text
    done = run_swagent(["lab", "serve", "lab.yaml", "--check"], folder)
    assert done.ok, done.text


def test_a_console_at_a_terminal(lab: tuple[Path, Board]) -> None:
    folder, board = lab
    eventually(lambda: "tty" in lab_says(folder, "list", "consoles"))
    board.say(b"Hello\n")
    pid, ours = pty.fork()
    if pid == 0:
        os.chdir(folder)
        argv = [
            sys.executable,
            "-m",
            "swagent",
            "lab",
            "console",
            "tty",
            "connect",
            "--replay",
            "-c",
            "servers.yaml",
        ]
        os.execve(sys.executable, argv, {**os.environ, "PYTHONPATH": str(PROJECT)})
    shown = b""
    until_s = time.monotonic() + 60
    while b"Hello" not in shown or b"Ctrl-] ends" not in shown:
        assert time.monotonic() < until_s, shown
        if select.select([ours], [], [], 0.1)[0]:
            shown += os.read(ours, 4096)
    os.write(ours, b"ls\r")
    assert board.typed(3) == b"ls\r"
    os.write(ours, b"\x1d")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(ours)
