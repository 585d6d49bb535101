"""The daemon under systemd: its units, its sockets, what it tells."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from swagent.ipc import ControlClient, Request, Status
from tests.conftest import KeyRing
from tests.programs import PROJECT, need, run

from .running import HARDWARE, WAIT_S, daemon, signed_image, until

UNITS = PROJECT / "systemd"


def test_the_service_is_hardened() -> None:
    need("systemd-analyze")
    done = run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=50", str(UNITS / "swagent.service")]
    )
    assert done.ok, done.text[-2000:]


def test_systemd_understands_the_units() -> None:
    need("systemd-analyze")
    units = [*UNITS.glob("*.service"), *UNITS.glob("*.socket")]
    done = run(["systemd-analyze", "verify", "--man=no", *units])
    assert done.ok, done.text
    assert not done.text.strip()


def test_variables_of_units_are_no_settings() -> None:
    """What begins with SWAGENT_ is read as a setting, and an unknown one keeps a service from starting."""
    for unit in (PROJECT / "systemd").glob("*.service"):
        assert not re.search(r"\$\{?SWAGENT_", unit.read_text()), unit.name


def test_the_names_of_sockets_are_those_that_the_daemon_knows() -> None:
    from swagent.daemon.service import KINDS

    named = [
        line.partition("=")[2]
        for unit in UNITS.glob("*.socket")
        for line in unit.read_text().splitlines()
        if line.startswith("FileDescriptorName=")
    ]
    assert sorted(named) == sorted(KINDS)


@pytest.mark.parametrize("abstract", [False, True])
def test_it_tells_how_it_does(tmp_path: Path, key_ring: KeyRing, abstract: bool) -> None:
    told: list[str] = []
    name = f"@swagent-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0"))
        sock.settimeout(WAIT_S)
        with daemon(
            tmp_path, "-k", key_ring.cert, *HARDWARE, NOTIFY_SOCKET=name, WATCHDOG_USEC="900000"
        ) as running:
            while sum("WATCHDOG=1" in text for text in told) < 3 or not any(
                "READY=1" in text for text in told
            ):
                told.append(sock.recv(4096).decode())
            assert running.stop() == 0
            while not any("STOPPING=1" in text for text in told):
                told.append(sock.recv(4096).decode())


def activated(tmp_path: Path, key: Path, names: str, *sockets: Path) -> "subprocess.Popen[bytes]":
    need("systemd-socket-activate")
    words = [word for path in sockets for word in ("-l", str(path))]
    environ = {
        "RUNTIME_DIRECTORY": str(tmp_path),
        "STATE_DIRECTORY": str(tmp_path / "state"),
        "PYTHONPATH": str(PROJECT),
        "TMPDIR": str(tmp_path),
    }
    passed = [word for name, value in environ.items() for word in ("-E", f"{name}={value}")]
    return subprocess.Popen(
        ["systemd-socket-activate", f"--fdname={names}", *words, *passed, sys.executable, "-m", "swagent",
         "daemon", "-k", str(key), *HARDWARE],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def test_it_takes_over_sockets_and_leaves_them(tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring)
    control, progress = tmp_path / "control", tmp_path / "progress"
    process = activated(tmp_path, key_ring.cert, "control:progress", control, progress)
    try:
        until(control.exists, "the socket")
        client = ControlClient(str(control), timeout_s=WAIT_S)
        assert client.status().current == Status.IDLE, "the first connection starts it"
        with client.install(Request()) as upload:
            upload.send(image.read_bytes())
        assert list(client.lines())[-1].last_result == Status.SUCCESS
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
        assert control.exists(), "it is systemd's"
        assert not (tmp_path / "swagent-events").exists(), "this one was its own"
    finally:
        process.kill()
        process.communicate()


def test_sockets_with_unknown_names_are_refused(tmp_path: Path, key_ring: KeyRing) -> None:
    control = tmp_path / "control"
    process = activated(tmp_path, key_ring.cert, "contrl", control)
    until(control.exists, "the socket")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(control))
        _, told = process.communicate(timeout=WAIT_S)
    assert process.returncode == 70
    assert b"contrl" in told


def test_a_second_daemon_and_what_a_killed_one_left(tmp_path: Path, key_ring: KeyRing) -> None:
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        environ = {"RUNTIME_DIRECTORY": str(running.folder), "PYTHONPATH": str(PROJECT)}
        second = run([sys.executable, "-m", "swagent", "daemon", "-k", key_ring.cert, *HARDWARE], env=environ)
        assert second.code == 75
        assert "listens at" in second.text
        assert running.client.status().current == Status.IDLE, "the first one goes on"
        running.process.kill()
        running.process.wait()
        assert (running.folder / "sockinstctrl").exists()
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        assert running.client.status().current == Status.IDLE


def test_permissions(tmp_path: Path, key_ring: KeyRing) -> None:
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        modes = {
            path.name: path.stat().st_mode & 0o777 for path in running.folder.iterdir() if path.is_socket()
        }
    assert set(modes.values()) == {0o660}
    assert len(modes) == 4
    words = ["--socket-mode", "0600", "--socket-group", str(os.getgid())]
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE, *words) as running:
        assert (running.folder / "sockinstctrl").stat().st_mode & 0o777 == 0o600
    for bad in (["--socket-mode", "rw"], ["--socket-group", "nobody-of-this-name"]):
        environ = {"RUNTIME_DIRECTORY": str(tmp_path), "PYTHONPATH": str(PROJECT)}
        done = run([sys.executable, "-m", "swagent", "daemon", "-k", key_ring.cert, *bad], env=environ)
        assert done.code == 70, done.text
    assert not list(tmp_path.glob("*prog*")), "nothing was begun"


def test_no_key_no_daemon(tmp_path: Path) -> None:
    environ = {"RUNTIME_DIRECTORY": str(tmp_path), "PYTHONPATH": str(PROJECT)}
    done = run([sys.executable, "-m", "swagent", "daemon"], env=environ)
    assert done.code == 70
    assert "no key" in done.text
