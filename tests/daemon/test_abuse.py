"""Peers that are slow, silent, wrong or malicious: the daemon goes on, and does not grow."""

import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from swagent.ipc import Message, Request, Status, Type
from swagent.ipc.messages import MESSAGE_BYTES, text_body, unpack
from tests.conftest import KeyRing
from tests.fuzz.fuzz_ipc import seeds
from tests.fuzz.test_seeds import mutated

from .running import HARDWARE, Running, daemon, signed_image, until


@pytest.fixture
def running(tmp_path: Path, key_ring: KeyRing) -> Iterator[Running]:
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as started:
        yield started


def connect(running: Running) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(60)
    sock.connect(running.client.path)
    return sock


def answer(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def test_a_request_in_pieces_beside_fifty_that_say_nothing(running: Running) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(connect(running)) for _ in range(50)]
        for sock in silent[:25]:
            sock.sendall(b"\x01\x20")
        since_s = time.monotonic()
        with connect(running) as sock:
            data = Message(Type.GET_UPDATE_STATE).pack()
            for at in range(0, len(data), 500):
                sock.sendall(data[at : at + 500])
                time.sleep(0.01)
                running.client.status()
            assert unpack(answer(sock)).type == Type.ACK
        assert time.monotonic() - since_s < 25, "nobody waited for them"


def test_a_short_request_is_dropped_without_an_answer(running: Running) -> None:
    with connect(running) as sock:
        sock.sendall(Message(Type.GET_STATUS).pack()[:-1])
        sock.shutdown(socket.SHUT_WR)
        assert answer(sock) == b""


@pytest.mark.parametrize(
    ("message", "reply"),
    [
        (
            Message(Type.GET_STATUS, magic=0x11223344),
            Message(Type.NACK, text_body("Wrong request: aborting"), magic=0x11223344),
        ),
        (Message(Type.REQ_INSTALL_EXT, b"as it was"), Message(Type.NACK, b"as it was")),
        (Message(16), Message(Type.NACK)),
        (Message(0xFFFFFFFF), Message(Type.NACK)),
        (Message(Type.REQ_INSTALL, Request(api_version=2).pack()), Message(Type.NACK)),
        (Message(Type.SET_UPDATE_STATE, b"9"), Message(Type.NACK, b"9")),
        (Message(Type.ACK), Message(Type.NACK)),
    ],
)
def test_what_is_no_request(running: Running, message: Message, reply: Message) -> None:
    with connect(running) as sock:
        sock.sendall(message.pack())
        assert answer(sock) == reply.pack()


def test_the_key_is_not_told_again(running: Running) -> None:
    with connect(running) as sock:
        sock.sendall(Message(Type.SET_AES_KEY, ("ab" * 32).encode() + b"\0" + ("cd" * 16).encode()).pack())
        told = answer(sock)
    assert told == Message(Type.ACK).pack()


def test_followers_hear_kept_lines_and_new_ones(running: Running, tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring)
    first = next(running.client.notifications(patience_s=60))
    assert "waiting for updates" in first.text
    with running.client.install(Request()) as upload:
        upload.send(image.read_bytes())
    texts = []
    for each in running.client.notifications(patience_s=60):
        texts.append(each.text)
        if each.status == Status.IDLE and "Waiting" in each.text:
            break
    assert "SWUPDATE successful !" in texts


def _fds(running: Running) -> int:
    return len(os.listdir(f"/proc/{running.process.pid}/fd"))


def _rss_kib(running: Running) -> int:
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.timeout(1200)
def test_malformed_messages(running: Running, tmp_path: Path, key_ring: KeyRing, count: int) -> None:
    dice = random.Random(count)
    valid = seeds()
    before = 0
    fds = _fds(running)
    for number in range(count):
        if number == count // 4:
            before = _rss_kib(running)
        data = dice.choice([mutated(valid, dice), dice.randbytes(MESSAGE_BYTES), dice.choice(valid)])
        with connect(running) as sock:
            sock.settimeout(0.05)
            try:
                sock.sendall(
                    data.ljust(MESSAGE_BYTES, b"\0")[: dice.choice([MESSAGE_BYTES, MESSAGE_BYTES, 100])]
                )
                if dice.random() < 0.3:
                    sock.recv(MESSAGE_BYTES)
                    sock.sendall(dice.randbytes(500))
            except OSError:
                continue
    until(lambda: running.client.status().current == Status.IDLE, "an idle daemon")
    until(lambda: _fds(running) <= fds + 2, "closed connections")
    assert _rss_kib(running) - before < 16 * 1024
    image = signed_image(tmp_path, key_ring)
    until(lambda: _installs(running, image), "an update that is let in")
    assert "fault in swagent" not in running.text()


def _installs(running: Running, image: Path) -> bool:
    with running.client.install(Request()) as upload:
        upload.send(image.read_bytes())
    return list(running.client.lines())[-1].last_result == Status.SUCCESS
