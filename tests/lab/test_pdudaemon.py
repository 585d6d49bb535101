"""Outlets switched by the real pdudaemon, which runs a command for each."""

import fcntl
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.lab.errors import Failed, InvalidRequest
from swagent.lab.items import ItemType
from tests.programs import PROJECT

from .labs import SERVER, Keys, eventually, serving, using

VENV = PROJECT / ".venv" / "pdudaemon"
PACKAGES = "aiohttp requests pexpect pyserial pyusb hidapi pysnmp paramiko pymodbus"
"""What its drivers import; systemd-python, which only --journal uses, would have to be compiled."""


def program() -> Path:
    """Its program, in a virtual environment of its own."""
    found = VENV / "bin" / "pdudaemon"
    with open(PROJECT / ".venv" / ".pdudaemon.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            for words in (
                [sys.executable, "-m", "venv", str(VENV)],
                [*pip, *PACKAGES.split()],
                [*pip, "--no-deps", "pdudaemon"],
            ):
                done = subprocess.run(words, capture_output=True, text=True, check=False)
                if done.returncode:
                    pytest.skip(f"pdudaemon could not be installed: {done.stderr.strip()[-200:]}")
    return found


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[str]:
    """The address of a pdudaemon with one unit, ``rack``; it writes to ``switched``."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = {
        "daemon": {
            "hostname": "127.0.0.1",
            "port": port,
            "listener": "http",
            "dbname": str(tmp_path / "pdu.db"),
        },
        "pdus": {
            "rack": {
                "driver": "localcmdline",
                "cmd_on": f"echo on %s >> {tmp_path}/switched",
                "cmd_off": f"echo off %s >> {tmp_path}/switched",
            }
        },
    }
    (tmp_path / "pdu.conf").write_text(json.dumps(settings))
    process = subprocess.Popen([program(), "--conf", tmp_path / "pdu.conf"], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: process.poll() is None and not _refused(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return True
    return False


def test_outlets(tmp_path: Path, daemon: str) -> None:
    keys = Keys(tmp_path)
    text = f"""{SERVER}
providers:
  - name: pdu
    provider: pdudaemon
    parameters:
      uri: {daemon}
      pdus:
        - {{ name: rack, ports: 2 }}
        - {{ name: unknown, ports: [ left, 7 ] }}
devices: []
"""
    with serving(tmp_path, text) as (server, _), using(server, keys.token()) as client:
        items = eventually(lambda: client.items(ItemType.ACTUATOR))
        names = ["pdu.rack.port-1", "pdu.rack.port-2", "pdu.unknown.port-left", "pdu.unknown.port-7"]
        assert [item.name for item in items] == names
        assert client.properties(ItemType.ACTUATOR, 1)["pdudaemon.port"] == "2"
        client.change_actuator(1, {"mode": "on"})
        client.change_actuator(0, {"mode": "off"})
        assert (tmp_path / "switched").read_text() == "on 2\noff 1\n"
        with pytest.raises(Failed, match="refused to switch unknown port left on"):
            client.change_actuator(2, {"mode": "on"})
        for parameters in ({"mode": "reboot"}, {}, {"mode": True}):
            with pytest.raises(InvalidRequest):
                client.change_actuator(0, parameters)


def test_a_daemon_that_is_not_there(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    pdus = "parameters: { uri: 'http://127.0.0.1:1', pdus: [ { name: rack, ports: 1 } ] }"
    text = f"{SERVER}\nproviders:\n  - name: pdu\n    provider: pdudaemon\n    {pdus}\ndevices: []\n"
    with serving(tmp_path, text) as (server, _), using(server, keys.token()) as client:
        eventually(lambda: client.items(ItemType.ACTUATOR))
        with pytest.raises(Failed, match="pdudaemon at"):
            client.change_actuator(0, {"mode": "on"})
