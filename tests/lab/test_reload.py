"""A configuration that is read again: what is the same goes on, and a wrong one changes nothing."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swagent.lab.client import LabClient
from swagent.lab.errors import Gone, NotAllowed, NotNow, Unauthenticated
from swagent.lab.items import ItemType

from .labs import SERVER, Board, Keys, Served, eventually

LINES = """
  - name: lines
    provider: serial
    parameters: {{ ports: [ {{ name: tty, path: {path} }} ] }}
"""
POWER = """
  - name: power
    provider: command
    parameters: { actuators: [ { name: relay, commands: { on: ["true"], off: ["true"] } } ] }
"""
DISKS = """
  - name: disks
    provider: file
    parameters: { volumes: [ { name: disk, targets: [ { name: emmc, path: disk.img } ] } ] }
"""
DEVICES = """
devices:
  - name: board
    consoles: [ { name: main, parameters: {}, match: { boardswarm.name: tty } } ]
    volumes: [ { name: storage, match: { boardswarm.name: disk } } ]
    modes: [ { name: on, sequence: [ { match: { boardswarm.name: relay }, parameters: { mode: on } } ] } ]
"""
OTHER = """
  - name: other
    consoles: []
    modes: []
"""


class Reloading:
    """A server whose file is written anew."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.board, self.keys = folder, Board(), Keys(folder)
        (folder / "disk.img").write_bytes(bytes(1000))
        self.lines = LINES.format(path=self.board.path)
        self.write(self.lines + POWER, DEVICES)
        self.server = Served(folder)
        self.server.start()

    def write(self, providers: str, devices: str, server: str = SERVER) -> None:
        (self.folder / "lab.yaml").write_text(f"{server}\nproviders:{providers}\n{devices}")

    def reload(self, said: str = "is read again") -> None:
        count = self.server.log.count(said)
        os.kill(self.server.pid, signal.SIGHUP)
        eventually(lambda: self.server.log.count(said) > count)

    def client(self, **claims: Any) -> LabClient:
        return LabClient(f"http://127.0.0.1:{self.server.port}", self.keys.token(**claims))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Reloading]:
    lab = Reloading(tmp_path)
    yield lab
    lab.server.stop()
    lab.board.unplug()


def names(client: LabClient, kind: ItemType) -> dict[str, int]:
    return {item.name: item.number for item in client.items(kind)}


def test_what_is_the_same_goes_on(lab: Reloading) -> None:
    with lab.client() as client:
        eventually(lambda: next(client.device(0)).consoles["main"] == 0)
        client.change_mode(0, "on")
        said = client.output(0, replay=True)
        lab.board.say(b"one\n")
        assert b"one" in next(said)
        lab.write(lab.lines + POWER + DISKS, DEVICES + OTHER)
        lab.reload()
        lab.board.say(b"two\n")
        assert b"two" in next(said), "whoever watches goes on watching"
        eventually(lambda: next(client.device(0)).volumes["storage"] == 0)
        assert names(client, ItemType.DEVICE) == {"board": 0, "other": 1}
        assert next(client.device(0)).mode == "on"
        lab.write(POWER, OTHER.replace("\n  - name", "\ndevices:\n  - name", 1))
        lab.reload()
        assert names(client, ItemType.DEVICE) == {"other": 1}
        assert names(client, ItemType.CONSOLE) == names(client, ItemType.VOLUME) == {}
        assert names(client, ItemType.ACTUATOR) == {"relay": 0}
        with pytest.raises(Gone):
            list(said)
        lab.write(lab.lines + POWER, DEVICES)
        lab.reload()
        assert names(client, ItemType.DEVICE) == {"board": 2}
        eventually(lambda: next(client.device(2)).consoles["main"] == 1)
        lab.board.say(b"three\n")
        eventually(lambda: b"three" in b"".join(client.remembered(1)))


@pytest.mark.parametrize(
    "wrong",
    [
        "{",
        "providers: []",
        None,
        "\nproviders:\n  - { name: x, provider: file, parameters: { volumes: 3 } }\ndevices: []",
    ],
)
def test_a_wrong_one_changes_nothing(lab: Reloading, wrong: str | None) -> None:
    if wrong is None:
        (lab.folder / "lab.yaml").unlink()
    else:
        (lab.folder / "lab.yaml").write_text((SERVER if wrong.startswith("\n") else "") + wrong)
    lab.reload("the configuration stays as it was")
    with lab.client() as client:
        assert names(client, ItemType.DEVICE) == {"board": 0}
        assert names(client, ItemType.ACTUATOR) == {"relay": 0}


def test_leases_stay_and_roles_and_keys_are_new(lab: Reloading) -> None:
    with lab.client(sub="alice") as alice, lab.client(sub="bob") as bob:
        alice.lease(0, seconds=600)
        changed = DEVICES.replace(
            "volumes: [ { name: storage, match: { boardswarm.name: disk } } ]", "volumes: []"
        )
        roles = SERVER + "  roles: [ { verbs: [ list, power, lease ] } ]\n"
        lab.write(lab.lines + POWER, changed, roles)
        lab.reload()
        assert names(alice, ItemType.DEVICE) == {"board": 1}
        with pytest.raises(NotNow, match="leased to alice"):
            bob.change_mode(1, "on")
        alice.change_mode(1, "on")
        with pytest.raises(NotAllowed):
            next(alice.output(0))
        old = lab.keys
        lab.keys = Keys(lab.folder, "two")
        lab.reload()
        with pytest.raises(Unauthenticated):
            alice.items(ItemType.DEVICE)
        assert old.kid == "one"
        with lab.client(sub="alice") as again:
            again.release(1)


def test_what_counts_at_the_next_start_is_told(lab: Reloading) -> None:
    lab.write(lab.lines + POWER, DEVICES, SERVER + "  logs: said\n")
    lab.reload("count when the server is started again")
