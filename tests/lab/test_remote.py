"""Two servers, one re-exporting the other's items: used through, killed, restarted."""

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.errors import LabError
from swagent.lab.client import LabClient
from swagent.lab.errors import Failed, NotSupported, NotThere, OutOfRange
from swagent.lab.items import ItemType

from .cable import Cable
from .labs import SERVER, Board, Keys, Served, eventually, using
from .test_service import DISK_BYTES, configuration


class Pair:
    """A server with a board, and one that re-exports it; the first can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._far, self._near = folder / "far", folder / "near"
        self.board = Board()
        for one in (self._far, self._near):
            one.mkdir()
        self.far_keys, self.near_keys = Keys(self._far), Keys(self._near)
        (self._far / "disk.img").write_bytes(bytes(DISK_BYTES))
        (self._far / "rom.img").write_bytes(b"rom" * 1000)
        (self._near / "far.token").write_text(self.far_keys.token() + "\n")
        (self._far / "lab.yaml").write_text(configuration(self._far, self.board))
        self.far, self.near = Served(self._far), Served(self._near)
        self.far.start()
        self.cable = Cable(self.far.port)
        text = f"""{SERVER}
providers:
  - name: attic
    provider: boardswarm
    parameters: {{ uri: "http://127.0.0.1:{self.cable.port}", token: far.token }}
devices:
  - name: mine
    consoles: [ {{ name: c, parameters: {{ rate: 9600 }}, match: {{ boardswarm.instance: attic }} }} ]
    modes:
      - name: off
        sequence: [ {{ match: {{ boardswarm.instance: attic, boardswarm.name: relay }}, parameters: {{ mode: off }} }} ]
"""
        (self._near / "lab.yaml").write_text(text)
        self.near.start()

    def close(self) -> None:
        self.near.stop()
        self.cable.close()
        self.far.stop()
        self.board.unplug()

    @property
    def disk(self) -> Path:
        return self._far / "disk.img"

    @property
    def power(self) -> str:
        path = self._far / "power"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    pair.close()


@pytest.fixture
def client(pair: Pair) -> Iterator[LabClient]:
    with using(pair.near, pair.near_keys.token()) as client:
        yield client


def remote(client: LabClient, kind: ItemType) -> int:
    """The number of the re-exported item of a type, once it is there."""

    def found() -> list[int]:
        return [item.number + 1 for item in client.items(kind) if item.instance == "attic"]

    number: int = eventually(found)[0] - 1
    return number


def test_everything_can_be_used_through(pair: Pair, client: LabClient) -> None:
    device = remote(client, ItemType.DEVICE)
    console, volume = remote(client, ItemType.CONSOLE), remote(client, ItemType.VOLUME)
    properties = client.properties(ItemType.CONSOLE, console)
    assert (properties["boardswarm.instance"], properties["boardswarm.provider"]) == ("attic", "serial")
    assert client.find(ItemType.DEVICE, "board@attic") == device
    with pytest.raises(NotThere):
        client.find(ItemType.DEVICE, "board")

    client.change_mode(device, "off")
    client.change_actuator(remote(client, ItemType.ACTUATOR), {"mode": "on"})
    client.change_mode(client.find(ItemType.DEVICE, "mine"), "off")
    assert pair.power == "off\non\noff\n"
    for state in client.device(device):
        if state.consoles["main"] == console and state.volumes["storage"] == volume:
            break  # numbers of items here, not of those there
    with pytest.raises(Failed, match="no current"):
        client.change_mode(device, "broken")

    data = os.urandom(4 * 1024 * 1024 + 5)
    assert client.write(volume, "emmc", io.BytesIO(data), length_bytes=len(data)) == len(data)
    assert pair.disk.read_bytes()[: len(data)] == data
    out = io.BytesIO()
    assert client.read(volume, "emmc", out, offset_bytes=7, length_bytes=100) == 100
    assert out.getvalue() == data[7:107]
    for error, call in (
        (NotThere, lambda: client.write(volume, "nand", io.BytesIO(b"x"))),
        (OutOfRange, lambda: client.write(volume, "emmc", io.BytesIO(b"xx"), offset_bytes=DISK_BYTES - 1)),
        (NotSupported, lambda: client.erase(volume, "emmc")),
    ):
        with pytest.raises(error):
            call()

    heard = b""
    begun = False

    def say() -> None:
        nonlocal begun
        begun = True
        pair.board.say(b"login: ")

    for piece in client.output(console, begun=say):
        heard += piece
        if b"login" in heard:
            break
    assert begun
    client.type(console, [b"root\n"])
    assert pair.board.typed(5) == b"root\n"


def test_what_has_gone_there_is_gone_here(pair: Pair, client: LabClient) -> None:
    console = remote(client, ItemType.CONSOLE)
    remote(client, ItemType.VOLUME)
    states = client.device(client.find(ItemType.DEVICE, "mine"))
    while next(states).consoles["c"] != console:
        pass
    output = client.output(console)
    pair.far.kill()
    with pytest.raises(LabError):
        list(output)
    eventually(lambda: not any(item.instance for kind in ItemType for item in client.items(kind)))
    while next(states).consoles["c"] is not None:
        pass
    with pytest.raises(LabError):
        client.change_mode(client.find(ItemType.DEVICE, "mine"), "off")
    assert "attic: " in pair.near.log
    pair.far.start()
    again = remote(client, ItemType.CONSOLE)
    assert again > console  # a new item: nobody takes it for the old one
    while next(states).consoles["c"] != again:
        pass


def test_a_board_that_is_unplugged_there(pair: Pair, client: LabClient) -> None:
    console = remote(client, ItemType.CONSOLE)
    pair.board.unplug()
    eventually(lambda: console not in [item.number for item in client.items(ItemType.CONSOLE)])
    assert remote(client, ItemType.VOLUME) == 0  # the others stay


def test_a_write_that_is_cut_there(pair: Pair, client: LabClient) -> None:
    class Cut(io.BytesIO):
        """Kills the other server in the middle."""

        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 4_000_000:
                pair.far.kill()
            return super().read(size)

    volume = remote(client, ItemType.VOLUME)
    with pytest.raises(LabError):
        client.write(volume, "emmc", Cut(bytes(8_000_000)))


@pytest.mark.slow  # a link is looked for each ten seconds
def test_a_network_that_is_cut_without_a_word(pair: Pair, client: LabClient) -> None:
    """No stale item is served, who waits is told, and everything is there again afterwards, as new items."""
    console, volume = remote(client, ItemType.CONSOLE), remote(client, ItemType.VOLUME)
    output = client.output(console, begun=pair.cable.pull)
    with pytest.raises(LabError):
        list(output)
    with pytest.raises(LabError):
        client.write(volume, "emmc", io.BytesIO(b"x"))
    eventually(lambda: not any(item.instance for kind in ItemType for item in client.items(kind)))
    pair.cable.plug_in()
    assert remote(client, ItemType.CONSOLE) > console
    remote(client, ItemType.VOLUME)
    assert client.write(client.find(ItemType.VOLUME, "disk@attic"), "emmc", io.BytesIO(b"x")) == 1


def test_a_client_behind_a_network_that_is_cut(pair: Pair) -> None:
    """It does not wait for ever, and what it was writing is given up by the server."""
    with (
        Cable(pair.far.port) as cable,
        LabClient(f"http://127.0.0.1:{cable.port}", pair.far_keys.token()) as client,
    ):
        states = client.device(0)
        next(states)
        cable.pull()
        with pytest.raises(LabError):
            list(states)


@pytest.mark.slow
def test_a_link_in_a_quiet_lab_stays(pair: Pair, client: LabClient) -> None:
    """gRPC hangs up on clients that look for a quiet server too often, unless it is told otherwise."""
    console = remote(client, ItemType.CONSOLE)
    time.sleep(100)
    assert remote(client, ItemType.CONSOLE) == console
    assert "attic: " not in pair.near.log


def test_slots_follow_what_comes_later_than_the_state_that_names_it(pair: Pair, client: LabClient) -> None:
    """A device's state there may name an item before it is here."""
    device = remote(client, ItemType.DEVICE)
    for state in client.device(device):
        if state.consoles["main"] is not None and state.volumes["storage"] is not None:
            break
