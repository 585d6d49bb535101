"""The lab over the wire: a server in a thread, a client as command lines use it, real terminals and files."""

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.errors import LabError
from swagent.lab.client import LabClient
from swagent.lab.errors import (
    Failed,
    Gone,
    InvalidRequest,
    NotNow,
    NotSupported,
    NotThere,
    OutOfRange,
    Unauthenticated,
)
from swagent.lab.items import ItemType
from swagent.lab.server import LabServer

from .labs import SERVER, Board, Keys, eventually, serving, using

DISK_BYTES = 8 * 1024 * 1024


def configuration(folder: Path, board: Board) -> str:
    return f"""{SERVER}
providers:
  - name: lines
    provider: serial
    parameters:
      ports:
        - {{ name: tty, path: {board.path} }}
  - name: power
    provider: command
    parameters:
      actuators:
        - name: relay
          commands:
            on: [/bin/sh, -c, "echo on >> {folder}/power"]
            off: [/bin/sh, -c, "echo off >> {folder}/power"]
            broken: [/bin/sh, -c, "echo no current; exit 3"]
  - name: disks
    provider: file
    parameters:
      volumes:
        - name: disk
          targets:
            - {{ name: emmc, path: disk.img }}
            - {{ name: rom, path: rom.img, writable: false }}
devices:
  - name: board
    consoles:
      - {{ name: main, parameters: {{ rate: 115200 }}, match: {{ boardswarm.name: tty }} }}
    volumes:
      - {{ name: storage, match: {{ boardswarm.provider: file }} }}
    modes:
      - name: off
        sequence: [{{ match: {{ boardswarm.name: relay }}, parameters: {{ mode: off }} }}]
      - name: on
        depends: off
        sequence:
          - match: {{ boardswarm.name: relay }}
            parameters: {{ mode: on }}
            stabilisation: 10ms
      - name: broken
        sequence: [{{ match: {{ boardswarm.name: relay }}, parameters: {{ mode: broken }} }}]
      - name: nowhere
        sequence: [{{ match: {{ boardswarm.name: none }}, parameters: {{}} }}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def board() -> Iterator[Board]:
    board = Board()
    yield board
    board.unplug()


@pytest.fixture(scope="module")
def keys(folder: Path) -> Keys:
    return Keys(folder)


@pytest.fixture(scope="module")
def server(folder: Path, board: Board, keys: Keys) -> Iterator[LabServer]:
    (folder / "disk.img").write_bytes(bytes(DISK_BYTES))
    (folder / "rom.img").write_bytes(b"rom" * 1000)
    with serving(folder, configuration(folder, board)) as (server, _):
        yield server


@pytest.fixture
def client(server: LabServer, keys: Keys) -> Iterator[LabClient]:
    with using(server, keys.token()) as client:
        yield client


def console_of(client: LabClient) -> int:
    number: int = eventually(lambda: [item.number + 1 for item in client.items(ItemType.CONSOLE)])[0] - 1
    return number


def test_items_are_listed_by_type(client: LabClient) -> None:
    console_of(client)
    for kind, names in (
        (ItemType.DEVICE, ["board"]),
        (ItemType.CONSOLE, ["tty"]),
        (ItemType.ACTUATOR, ["relay"]),
        (ItemType.VOLUME, ["disk"]),
    ):
        assert [(item.number, item.name, item.instance) for item in client.items(kind)] == [
            (0, names[0], None)
        ]
    assert client.find(ItemType.DEVICE, "board") == 0
    with pytest.raises(NotThere, match="no volume"):
        client.find(ItemType.VOLUME, "board")


def test_properties(client: LabClient) -> None:
    assert client.properties(ItemType.ACTUATOR, 0) == {
        "boardswarm.name": "relay",
        "boardswarm.provider": "command",
        "boardswarm.provider.name": "power",
    }
    with pytest.raises(NotThere):
        client.properties(ItemType.ACTUATOR, 7)


def test_a_monitor_begins_with_what_is_there(client: LabClient) -> None:
    added, removed = next(client.monitor(ItemType.DEVICE))
    assert ([item.name for item in added], removed) == (["board"], None)


def test_modes(client: LabClient, folder: Path) -> None:
    states = client.device(0)
    first = next(states)
    assert {name: available for name, (_, available) in first.modes.items()} == {
        "off": True, "on": True, "broken": True, "nowhere": False,
    }  # fmt: skip
    client.change_mode(0, "off")
    client.change_mode(0, "on")
    while next(states).mode != "on":
        pass
    assert (folder / "power").read_text() == "off\non\n"
    with pytest.raises(NotNow, match="in mode off before on"):
        client.change_mode(0, "on")
    with pytest.raises(NotThere, match="no mode"):
        client.change_mode(0, "onn")
    with pytest.raises(Failed, match=r"status 3.*no current"):
        client.change_mode(0, "broken")
    assert next(client.device(0)).mode is None  # nobody knows any more
    with pytest.raises(NotNow):
        client.change_mode(0, "on")
    with pytest.raises(Failed, match="not there"):
        client.change_mode(0, "nowhere")
    with pytest.raises(NotThere):
        client.change_mode(1, "off")


def test_actuators_by_themselves(client: LabClient) -> None:
    client.change_actuator(0, {"mode": "off"})
    for parameters in ({}, {"mode": "sideways"}, {"mode": 1}):
        with pytest.raises(InvalidRequest):
            client.change_actuator(0, parameters)
    with pytest.raises(InvalidRequest):
        client.change_actuator(1, {"mode": "off"})


def test_a_console_has_many_readers_and_forgets_nothing(client: LabClient, board: Board) -> None:
    number = console_of(client)
    board.say(b"U-Boot 2026.10\n")
    heard = b""
    for piece in client.output(number, replay=True):
        heard += piece
        if b"U-Boot" in heard:
            break
    begun = [threading.Event() for _ in range(3)]
    found: list[bytes] = [b""] * 3

    def listen(which: int) -> None:
        for piece in client.output(number, begun=begun[which].set):
            found[which] += piece
            if found[which].endswith(b"login: "):
                return

    threads = [threading.Thread(target=listen, args=(which,)) for which in range(3)]
    for thread in threads:
        thread.start()
    for event in begun:
        assert event.wait(60)
    eventually(lambda: client.properties(ItemType.CONSOLE, number))
    client.type(number, [b"roo", b"t\n"])
    assert board.typed(5) == b"root\n"
    board.say(b"x" * 3000 + b"login: ")
    for thread in threads:
        thread.join(60)
    for text in found:
        assert text.replace(b"\r", b"").endswith(b"x" * 3000 + b"login: ")


def test_a_console_s_parameters(client: LabClient) -> None:
    number = console_of(client)
    client.configure(number, {"rate": 9600})
    for parameters in ({"rate": 9600.5}, {"rate": "fast"}, {"speed": 1}, {"rate": True}):
        with pytest.raises(InvalidRequest):
            client.configure(number, parameters)
    with pytest.raises(InvalidRequest):
        client.configure(99, {"rate": 9600})


def test_input_without_a_console(client: LabClient) -> None:
    with pytest.raises(NotThere):
        client.type(99, [b"x"])
    with pytest.raises(InvalidRequest):
        list(client.output(99))


def test_volumes(client: LabClient, folder: Path) -> None:
    targets, exhaustive = client.targets(0)
    assert exhaustive
    assert [(one.name, one.size_bytes, one.writable) for one in targets] == [
        ("emmc", DISK_BYTES, True),
        ("rom", 3000, False),
    ]
    data = os.urandom(7 * 1024 * 1024 + 13)
    told: list[int] = []
    assert client.write(0, "emmc", io.BytesIO(data), length_bytes=len(data), progress=told.append) == len(
        data
    )
    assert sum(told) == len(data)
    assert (folder / "disk.img").read_bytes() == data + bytes(DISK_BYTES - len(data))
    assert client.write(0, "emmc", io.BytesIO(b"tail"), offset_bytes=DISK_BYTES - 4) == 4
    out = io.BytesIO()
    assert client.read(0, "emmc", out, offset_bytes=4096, length_bytes=100) == 100
    assert out.getvalue() == data[4096:4196]
    out = io.BytesIO()
    assert client.read(0, "rom", out) == 3000
    client.commit(0)


def test_volumes_that_cannot(client: LabClient) -> None:
    with pytest.raises(NotThere, match="known are emmc, rom"):
        client.write(0, "nand", io.BytesIO(b"x"))
    with pytest.raises(NotSupported):
        client.write(0, "rom", io.BytesIO(b"x"))
    with pytest.raises(OutOfRange):
        client.write(0, "emmc", io.BytesIO(b"xx"), offset_bytes=DISK_BYTES - 1)
    with pytest.raises(OutOfRange):
        client.write(0, "emmc", io.BytesIO(b"x"), length_bytes=DISK_BYTES + 1)
    with pytest.raises(NotSupported):
        client.erase(0, "emmc")
    for call in (client.commit, client.targets):
        with pytest.raises(NotThere):
            call(9)


# -- tokens


def test_only_login_info_needs_no_token(server: LabServer) -> None:
    with using(server, "") as client:
        assert client.logins() == []
        for call in (
            lambda: client.items(ItemType.DEVICE),
            lambda: next(client.monitor(ItemType.DEVICE)),
            lambda: next(client.device(0)),
            lambda: client.type(0, [b"x"]),
            lambda: client.write(0, "emmc", io.BytesIO(b"x")),
        ):
            with pytest.raises(Unauthenticated):
                call()


def test_tokens_that_are_not_believed(server: LabServer, keys: Keys, tmp_path: Path) -> None:
    import jwt

    stranger = Keys(tmp_path)
    secret = "0123456789abcdef0123456789abcdef"
    good, hmac = keys.token(), jwt.encode({"exp": 1 << 33}, secret, "HS256", {"kid": "one"})
    bad = {
        "expired": keys.token(exp=1),
        "no exp": keys.token(exp=None),
        "no kid": jwt.encode({"exp": 1 << 33}, keys.private, "EdDSA"),
        "unknown kid": keys.token({"kid": "two"}),
        "another key": stranger.token(),
        "HMAC": hmac,
        "none": jwt.encode({"exp": 1 << 33}, "", "none", {"kid": "one"}),
        "another algorithm": ".".join([hmac.split(".")[0], *good.split(".")[1:]]),
        "cut": good[:-4],
        "no token": "x" * 40,
        "long": good + "x" * 20_000,
    }
    for what, token in bad.items():
        with using(server, token) as client, pytest.raises(LabError) as caught:
            client.items(ItemType.DEVICE)
        assert type(caught.value) is Unauthenticated or what == "long", what
    with using(server, keys.token(aud="somebody else", nbf=1 << 33)) as client:
        assert client.items(ItemType.DEVICE)  # neither counts for a static key set


# -- what a board said before


def test_what_is_remembered_is_given_and_no_more(tmp_path: Path) -> None:
    board, keys = Board(), Keys(tmp_path)
    (tmp_path / "disk.img").write_bytes(bytes(DISK_BYTES))
    (tmp_path / "rom.img").write_bytes(bytes(10))
    text = configuration(tmp_path, board).replace("  listen:", "  logs: said\n  listen:")
    with serving(tmp_path, text) as (server, _), using(server, keys.token()) as client:
        eventually(lambda: next(client.device(0)).consoles["main"] is not None)
        assert b"".join(client.remembered(0)) == b""
        said = os.urandom(300_000).replace(b"\n", b"x").replace(b"\x00", b"y")
        threading.Thread(target=board.say, args=(said,)).start()
        kept = tmp_path / "said/lines.tty.log"
        eventually(lambda: len(b"".join(client.remembered(0))) >= 300_000)
        found = b"".join(client.remembered(0))
        assert len(found) == len(said)
        with pytest.raises(InvalidRequest, match="no console 7"):
            list(client.remembered(7))
        eventually(lambda: kept.exists() and kept.stat().st_size > 300_000)
        head, _, rest = kept.read_bytes().partition(b"listening]\r\n")
        assert head.startswith(b"[20") and rest == found
        assert kept.stat().st_mode & 0o777 == 0o600
    board.unplug()


def test_a_server_that_does_not_remember(client: LabClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not know the question would go on for ever."""
    from swagent.lab import service

    monkeypatch.setattr(service, "REPLAY_ONLY", "other")
    with pytest.raises(NotSupported, match="does not remember"):
        list(client.remembered(0))


def test_records_are_kept_apart(tmp_path: Path) -> None:
    from swagent.lab.items import Item
    from swagent.lab.records import file_name

    def name(**properties: str) -> str:
        return file_name(Item(0, {f"boardswarm.{key}": value for key, value in properties.items()}, None))  # type: ignore[arg-type]

    assert name(name="../x y", **{"provider.name": "lines"}) == "lines..._x_y.log"
    assert name(name="tty", instance="attic", **{"provider.name": "lines"}) == "attic.tty.log"
    assert name(name="a", **{"provider.name": ".."}) == "a.log"


def test_who_types_hears_that_the_port_has_gone(tmp_path: Path) -> None:
    """Also when it takes nothing any more: its buffer is full, and then it is unplugged."""
    board, keys = Board(), Keys(tmp_path)
    (tmp_path / "disk.img").write_bytes(bytes(DISK_BYTES))
    (tmp_path / "rom.img").write_bytes(bytes(10))
    with (
        serving(tmp_path, configuration(tmp_path, board)) as (server, log),
        using(server, keys.token()) as client,
    ):
        eventually(lambda: next(client.device(0)).consoles["main"] is not None)
        threading.Timer(1.0, board.unplug).start()
        with pytest.raises(Gone):
            client.type(0, [bytes(1 << 20)])
        eventually(lambda: client.items(ItemType.CONSOLE) == [])
        assert not [line for line in log if "Error" in line]
