"""The class for integrators, against our sender and against a client that knows only pyzmq."""

import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swagent.errors import (
    DeadlineError,
    DeviceError,
    HandlerError,
    SettingsError,
    SwagentError,
    TransportError,
)
from swagent.remote import Sender, Server

zmq = pytest.importorskip("zmq")

Request = Callable[..., bytes]


class Notes:
    """A receiver that notes what it is told, and fails where a test wants it."""

    def __init__(self, fails: str = "", error: Exception | None = None) -> None:
        self.calls: list[str] = []
        self.content = b""
        self._fails = fails
        self._error = error or OSError(28, "No space left on device")

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call.startswith(self._fails or "-"):
            raise self._error

    def begin(self, size_bytes: int) -> None:
        self.content = b""
        self._note(f"begin {size_bytes}")

    def write(self, piece: bytes) -> None:
        self._note("write")
        self.content += piece

    def finish(self) -> None:
        self._note("finish")

    def abort(self) -> None:
        self._note("abort")


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("s") / "socket")


@contextmanager
def serving(server: Server, outcomes: list[object], count: int = 1) -> Iterator[None]:
    """``receive`` so often in a thread; what it returns or raises is noted."""

    def work() -> None:
        for _ in range(count):
            try:
                outcomes.append(server.receive(deadline_s=5))
            except SwagentError as exc:
                outcomes.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextmanager
def client(path: str) -> Iterator[Request]:
    """Sends frames, gives the answer."""
    with zmq.Context() as context, context.socket(zmq.REQ) as sock:
        sock.linger, sock.rcvtimeo = 0, 3000
        sock.connect(f"ipc://{path}")

        def request(*frames: bytes) -> bytes:
            sock.send_multipart(frames)
            (answer,) = sock.recv_multipart()
            return bytes(answer)

        yield request


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 300])
def test_an_artifact_arrives(path: str, content: bytes) -> None:
    notes, outcomes = Notes(), list[object]()
    with Server(path, notes) as server, serving(server, outcomes), Sender(path) as sender:
        sender.begin(len(content))
        for at in range(0, len(content), 16384):
            sender.send(content[at : at + 16384])
    assert outcomes == [len(content)]
    assert notes.content == content
    assert notes.calls[0] == f"begin {len(content)}"
    assert notes.calls[-1] == "finish"
    assert not os.path.exists(path)


def test_answers_to_the_byte(path: str) -> None:
    outcomes: list[object] = []
    with Server(path, Notes(), reply_ms=30000) as server, serving(server, outcomes), client(path) as request:
        assert request(b"INIT:4", b"") == b"ACK:30000"
        assert request(b"DATA", b"ab") == b"ACK"
        assert request(b"DATA", b"cd") == b"ACK"
    assert outcomes == [4]


@pytest.mark.parametrize("fails", ["begin", "write", "finish"])
def test_what_the_receiver_refuses(path: str, fails: str) -> None:
    notes, outcomes = Notes(fails), list[object]()
    with (
        Server(path, notes) as server,
        serving(server, outcomes),
        Sender(path) as sender,
        pytest.raises(HandlerError, match="NACK"),
    ):
        sender.begin(3)
        sender.send(b"abc")
    assert notes.calls[-1] == ("begin 3" if fails == "begin" else "abort")
    assert isinstance(outcomes[0], HandlerError)
    assert "No space left" in outcomes[0].message


def test_a_fault_of_the_receiver_is_told_to_both(path: str) -> None:
    notes = Notes("write", ZeroDivisionError("a bug"))
    raised: list[BaseException] = []
    with Server(path, notes) as server:

        def work() -> None:
            try:
                server.receive(deadline_s=5)
            except ZeroDivisionError as exc:
                raised.append(exc)

        thread = threading.Thread(target=work)
        thread.start()
        with client(path) as request:
            request(b"INIT:1", b"")
            assert request(b"DATA", b"x") == b"NACK"
        thread.join()
    assert raised
    assert notes.calls == ["begin 1", "write", "abort"]


def test_more_than_announced(path: str) -> None:
    notes, outcomes = Notes(), list[object]()
    with Server(path, notes) as server, serving(server, outcomes), client(path) as request:
        request(b"INIT:3", b"")
        assert request(b"DATA", b"abcd") == b"NACK"
    assert isinstance(outcomes[0], TransportError)
    assert notes.calls == ["begin 3", "abort"]


@pytest.mark.parametrize(
    "frames",
    [
        [b""], [b"INIT:3"], [b"INIT:3", b"x"], [b"INIT:", b""], [b"INIT:-1", b""], [b"INIT:3", b"", b""],
        [b"INIT: 3", b""], [b"INIT:99999999999999999999", b""], [b"init:3", b""], [b"DATA"], [b"DATA", b"x" * 16385],
        [b"DATA", b"x", b"y"], [b"STOP", b""], [b"x"] * 1000,
    ],
)  # fmt: skip
def test_nonsense_is_refused(path: str, frames: list[bytes]) -> None:
    notes, outcomes = Notes(), list[object]()
    with Server(path, notes) as server, serving(server, outcomes, 2), client(path) as request:
        assert request(*frames) == b"NACK"  # before anything began it ends nothing
        request(b"INIT:3", b"")
        assert request(*frames) == b"NACK"
        assert request(b"INIT:1", b"") == b"ACK"
        assert request(b"DATA", b"x") == b"ACK"
    assert isinstance(outcomes[0], TransportError)
    assert outcomes[1] == 1
    assert notes.calls == ["begin 3", "abort", "begin 1", "write", "finish"]


def test_two_senders_are_not_mixed(path: str) -> None:
    notes, outcomes = Notes(), list[object]()
    with (
        Server(path, notes) as server,
        serving(server, outcomes),
        client(path) as first,
        client(path) as second,
    ):
        assert second(b"DATA", b"?") == b"NACK"
        first(b"INIT:4", b"")
        first(b"DATA", b"ab")
        assert second(b"DATA", b"xx") == b"NACK"
        assert second(b"what", b"") == b"NACK"
        assert second(b"INIT:4", b"") == b"ACK"  # whoever begins comes after one that has gone
        assert first(b"DATA", b"cd") == b"NACK"
        assert second(b"DATA", b"wxyz") == b"ACK"
    assert outcomes == [4]
    assert notes.content == b"wxyz"
    assert notes.calls == ["begin 4", "write", "abort", "begin 4", "write", "finish"]


def test_a_sender_that_falls_silent(path: str) -> None:
    notes, outcomes = Notes(), list[object]()
    with Server(path, notes, idle_s=0.3) as server, serving(server, outcomes), client(path) as request:
        request(b"INIT:4", b"")
        begun_s = time.monotonic()
        while not outcomes and time.monotonic() < begun_s + 3:
            time.sleep(0.01)
    assert isinstance(outcomes[0], DeadlineError)
    assert "after 0 of 4 bytes" in outcomes[0].message
    assert notes.calls == ["begin 4", "abort"]


def test_nobody_begins(path: str) -> None:
    with Server(path, Notes()) as server:
        with pytest.raises(DeadlineError, match="nothing came"):
            server.receive(deadline_s=0.2)

        def stop() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            server.receive(waiting=stop)


def test_who_may_use_the_socket(path: str) -> None:
    with Server(path, Notes()):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with Server(path, Notes(), mode=0o660):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660


def test_where_no_socket_can_be(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    with pytest.raises(DeviceError, match="no socket"):
        Server(str(precious), Notes())
    assert precious.read_text() == "keep me"
    with pytest.raises(DeviceError, match="cannot listen"):
        Server(f"{tmp_path}/no/folder", Notes())
    for wrong in ("relative", "/" + "x" * 107):
        with pytest.raises(SettingsError, match="no socket can be"):
            Server(wrong, Notes())


def test_a_left_over_socket_is_replaced(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(path)
    outcomes: list[object] = []
    with Server(path, Notes()) as server, serving(server, outcomes), Sender(path) as sender:
        sender.begin(0)
    assert outcomes == [0]


def test_a_socket_made_after_ours_stays(path: str) -> None:
    with Server(path, Notes()):
        os.unlink(path)
        with socket.socket(socket.AF_UNIX) as later:
            later.bind(path)
    assert os.path.exists(path)
