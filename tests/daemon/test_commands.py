"""``swagent client`` and ``swagent progress``, with both daemons."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from swagent.cli.jsonlines import as_object, event_of
from tests.cli.sessions import failing, installing
from tests.conftest import KeyRing
from tests.programs import PROJECT

from .running import HARDWARE, Running, daemon, real_daemon, signed_image, until


def swagent(running: Running, *words: str | Path, stdin: bytes | None = None) -> tuple[int, str]:
    done = subprocess.run(
        [*running.prefix, sys.executable, "-m", "swagent", *words],
        env={
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "RUNTIME_DIRECTORY": "/tmp" if running.private else str(running.folder),
        },
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.decode()


def test_a_good_and_a_bad_one(tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring)
    bad = tmp_path / "bad.swu"
    bad.write_bytes(image.read_bytes().replace(b"1.0.1", b"1.0.2"))
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE, "-p", f"touch {tmp_path}/hook") as running:
        code, text = swagent(running, "client", "-p", image)
        assert code == 0, text
        assert "Installed 1.0.1" in text
        assert (tmp_path / "hook").exists()
        code, text = swagent(running, "client", bad, image)
        assert code == 10, text
        assert "refused: " in text
        assert "nothing was written" in text
        code, text = swagent(running, "client", "--json", "-", stdin=image.read_bytes())
        assert code == 0, text
        assert json.loads(text.splitlines()[-1])["result"] == "installed"
        code, text = swagent(running, "client", "-d", image)
        assert (code, "Nothing was written" in text) == (0, True), text


def test_swupdates_daemon(tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring)
    with real_daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        code, text = swagent(running, "client", "/tmp/update.swu")
        assert (code, text) == (0, "installed\n")
        (running.folder / "bad.swu").write_bytes(image.read_bytes().replace(b"1.0.1", b"1.0.2"))
        code, text = swagent(running, "client", "/tmp/bad.swu")
        assert code == 1, text
        assert text.endswith("failed\n")


@pytest.mark.parametrize(
    "words", [(), ("--json",), ("--swupdate", "swupdateprog"), ("--swupdate-2022", "swupdateprog.2022")]
)
def test_watching(tmp_path: Path, key_ring: KeyRing, words: tuple[str, ...]) -> None:
    image = signed_image(tmp_path, key_ring)
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        assert swagent(running, "client", "-d", image)[0] == 0, "an earlier one, which is not waited for"
        options = [words[0], str(running.folder / words[1])] if len(words) > 1 else list(words)
        watching = subprocess.Popen(
            [sys.executable, "-m", "swagent", "progress", "--once", *options],
            env={**os.environ, "PYTHONPATH": str(PROJECT), "RUNTIME_DIRECTORY": str(running.folder)},
            stdout=subprocess.PIPE,
        )
        until(lambda: has_socket(watching.pid), "its connection")
        assert swagent(running, "client", image)[0] == 0
        out, _ = watching.communicate(timeout=60)
    assert watching.returncode == 0
    last = out.decode().splitlines()[-1]
    expected = {0: "Installed 1.0.1", 1: '"result": "installed"', 2: "SUCCESS"}[len(words)]
    assert expected in out.decode() if not words else expected in last


def has_socket(pid: int) -> bool:
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return any(link.startswith("socket:") for link in found)


def test_nobody_there(tmp_path: Path) -> None:
    for verb in ("client", "progress"):
        done = subprocess.run(
            [sys.executable, "-m", "swagent", verb],
            env={**os.environ, "PYTHONPATH": str(PROJECT), "RUNTIME_DIRECTORY": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 50, done.stderr
        assert b"cannot connect" in done.stderr


def test_events_survive_the_way() -> None:
    for event in (*installing(), *failing()):
        assert as_object(event_of(as_object(event))) == as_object(event)
