"""The provider ``qemu``: with QEMU itself where it is, and a stand-in that does what QEMU does only when it breaks."""

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swagent.errors import LabError, SettingsError
from swagent.lab.client import PIECE_BYTES, LabClient
from swagent.lab.errors import Failed, Gone, InvalidRequest, NotNow
from swagent.lab.items import ItemType

from .labs import SERVER, Keys, Served, eventually, serving, using

STAND_IN = r'''
"""Speaks as QEMU does on its two sockets; its first word says how it goes wrong."""
import json, os, socket, sys, time
how, *argv = sys.argv[1:]
fds = {w.split("id=")[1].split(",")[0]: int(w.rsplit("fd=")[1]) for w in argv if w.startswith("socket,")}
serial, qmp = (socket.socket(fileno=fds[n]) for n in ("swagent-serial", "swagent-qmp"))
serial.sendall(b"first byte\r\n")
with open("pid", "w") as file:
    file.write(str(os.getpid()))
if how == "refuses":
    sys.exit("no such machine")
if how == "mute":
    time.sleep(600)
qmp.sendall(b'{"QMP": {}}\r\n{"event": "RESUME"}\r\n')
for line in qmp.makefile("rb"):
    command = json.loads(line)["execute"]
    if command == "quit" and how == "deaf":
        continue
    if command == "system_reset" and how == "angry":
        qmp.sendall(b'{"error": {"class": "GenericError", "desc": "not now"}}\r\n')
        continue
    qmp.sendall(b'{"event": "X"}\r\n{"return": {}}\r\n')
    if command == "qmp_capabilities" and how == "falls":
        serial.recv(1)
        serial.sendall(b"last word")
        sys.stderr.write("out of magic\n")
        os._exit(3)
    if command == "system_reset":
        serial.sendall(b"reset\r\n")
    if command == "quit":
        break
'''
DISK_BYTES = 8 << 20


def configuration(command: list[str]) -> str:
    return f"""{SERVER}
providers:
  - name: virtual
    provider: qemu
    parameters:
      boards:
        - name: gateway
          command: {command}
          start-timeout: 2
          disks: [ {{ name: sd, path: "a,b.img" }} ]
devices:
  - name: gateway
    consoles: [ {{ name: main, parameters: {{}}, match: {{ boardswarm.name: gateway }} }} ]
    volumes: [ {{ name: storage, match: {{ boardswarm.name: gateway }} }} ]
    modes:
      - name: off
        sequence: [ {{ match: {{ boardswarm.name: gateway }}, parameters: {{ mode: off }} }} ]
      - name: on
        depends: off
        sequence: [ {{ match: {{ boardswarm.name: gateway }}, parameters: {{ mode: on }} }} ]
"""


@contextmanager
def board(folder: Path, how: str) -> Iterator[tuple[LabClient, list[str]]]:
    (folder / "stand_in.py").write_text(STAND_IN)
    (folder / "a,b.img").write_bytes(bytes(DISK_BYTES))
    keys = Keys(folder)
    with (
        serving(folder, configuration([sys.executable, "stand_in.py", how])) as (server, log),
        using(server, keys.token()) as client,
    ):
        eventually(lambda: next(client.device(0)).modes["on"][1])
        yield client, log


def said(client: LabClient, until: bytes) -> bytes:
    found = b""
    for piece in client.output(0, replay=True):
        found += piece
        if until in found:
            break
    return found


def pid_of(folder: Path) -> int:
    return int((folder / "pid").read_text())


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_power_console_and_disk(tmp_path: Path) -> None:
    with board(tmp_path, "well") as (client, _):
        with pytest.raises(Gone, match="gateway is off"):
            client.type(0, [b"hello"])
        assert client.write(0, "sd", io.BytesIO(b"update")) == 6
        client.change_mode(0, "off")
        client.change_mode(0, "on")
        assert said(client, b"\r\n") == b"first byte\r\n"
        with pytest.raises(NotNow, match="its disks are its own"):
            client.write(0, "sd", io.BytesIO(b"update"))
        assert (tmp_path / "a,b.img").read_bytes().startswith(b"update\0")
        actuator = client.find(ItemType.ACTUATOR, "gateway")
        client.change_actuator(actuator, {"mode": "reset"})
        assert said(client, b"reset\r\n").endswith(b"reset\r\n")
        with pytest.raises(InvalidRequest, match="mode is 'sideways'"):
            client.change_actuator(actuator, {"mode": "sideways"})
        client.change_mode(0, "off")
        assert is_gone(pid_of(tmp_path))
        client.write(0, "sd", io.BytesIO(b"another"))
        with pytest.raises(NotNow, match="is off"):
            client.change_actuator(actuator, {"mode": "reset"})


def test_nobody_starts_it_while_its_disk_is_written(tmp_path: Path) -> None:
    class Slow(io.BytesIO):
        go = threading.Event()

        def read(self, n_bytes: int | None = -1) -> bytes:
            if self.tell():
                self.go.wait(60)
            return super().read(n_bytes)

    slow, disk = Slow(b"x" * (PIECE_BYTES + 1)), tmp_path / "a,b.img"
    with board(tmp_path, "well") as (client, _):
        client.change_mode(0, "off")
        thread = threading.Thread(target=client.write, args=(0, "sd", slow))
        thread.start()
        try:
            eventually(lambda: disk.read_bytes().startswith(b"x"))
            with pytest.raises(Failed, match="a disk of gateway is being written"):
                client.change_mode(0, "on")
        finally:
            slow.go.set()
            thread.join()
        client.change_mode(0, "off")
        client.change_mode(0, "on")


def test_one_that_does_not_start(tmp_path: Path) -> None:
    with board(tmp_path, "refuses") as (client, _):
        client.change_mode(0, "off")
        with pytest.raises(Failed, match="QEMU ended with status 1") as caught:
            client.change_mode(0, "on")
        assert "no such machine" in f"{caught.value.message} {caught.value.hint}"
        assert next(client.device(0)).mode is None
        client.change_mode(0, "off")


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    with (
        serving(tmp_path, configuration(["no-such-qemu"])) as (server, _),
        using(server, keys.token()) as client,
    ):
        eventually(lambda: client.items(ItemType.ACTUATOR))
        with pytest.raises(Failed, match="by signal 9") as caught:
            client.change_actuator(0, {"mode": "on"})
        assert "no-such-qemu cannot be started" in f"{caught.value.message} {caught.value.hint}"


def test_one_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with board(tmp_path, "mute") as (client, _):
        with pytest.raises(Failed, match="has not answered within 2 s"):
            client.change_actuator(0, {"mode": "on"})
        assert is_gone(pid_of(tmp_path))


def test_one_that_falls_over_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swagent.lab.providers.qemu.STOP_S", 0.2)
    with board(tmp_path, "falls") as (client, log):
        client.change_mode(0, "off")
        client.change_mode(0, "on")
        assert next(client.device(0)).mode == "on"
        client.type(0, [b"!"])
        eventually(lambda: next(client.device(0)).mode is None)
        assert b"last word\r\n[QEMU ended with status 3: out of magic]" in said(client, b"magic]")
        assert log == ["board gateway: QEMU ended with status 3: out of magic"]
        client.change_mode(0, "off")
        client.change_mode(0, "on")


def test_one_that_refuses_a_command(tmp_path: Path) -> None:
    with board(tmp_path, "angry") as (client, _):
        client.change_actuator(0, {"mode": "on"})
        with pytest.raises(LabError, match="not now"):
            client.change_actuator(0, {"mode": "reset"})


def test_one_that_does_not_quit_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swagent.lab.providers.qemu.STOP_S", 0.2)
    with board(tmp_path, "deaf") as (client, log):
        client.change_actuator(0, {"mode": "on"})
        client.change_actuator(0, {"mode": "off"})
        assert is_gone(pid_of(tmp_path))
        assert not log


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_server(tmp_path: Path, how: int) -> None:
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    (tmp_path / "a,b.img").write_bytes(bytes(DISK_BYTES))
    keys = Keys(tmp_path)
    (tmp_path / "lab.yaml").write_text(configuration([sys.executable, "stand_in.py", "well"]))
    server = Served(tmp_path)
    server.start()
    try:
        with using(server, keys.token()) as client:
            eventually(lambda: client.items(ItemType.ACTUATOR))
            client.change_actuator(0, {"mode": "on"})
        assert not is_gone(pid_of(tmp_path))
    finally:
        server.stop() if how == signal.SIGTERM else server.kill()
    eventually(lambda: is_gone(pid_of(tmp_path)))


def test_a_wrong_configuration_is_refused(tmp_path: Path) -> None:
    Keys(tmp_path)
    text = configuration(["qemu"]).replace("command:", "comand:")
    with pytest.raises(SettingsError, match="unknown parameter 'comand'"), serving(tmp_path, text):
        pass
