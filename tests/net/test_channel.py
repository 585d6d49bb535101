import select
import socket
import time

import pytest

from swagent.errors import TransportError
from swagent.net.channel import Channel


def until(channel: Channel, wanted: bytes) -> None:
    """Let a channel work until it has got ``wanted``."""
    got, end_s = b"", time.monotonic() + 5
    while got != wanted or not channel.is_open:
        poll = select.poll()
        poll.register(channel, channel.wants)
        poll.poll(100)
        got += channel.advance()
        assert time.monotonic() < end_s


def addresses(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_the_next_address_gets_what_was_to_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        addresses(monkeypatch, 1, server.getsockname()[1])
        channel = Channel("device", 1, None)
        channel.send(b"hello")
        until(channel, b"")
        peer, _ = server.accept()
        with peer:
            assert peer.recv(100) == b"hello"
            peer.sendall(b"welcome")
            until(channel, b"welcome")
        channel.close()
        assert channel.fileno() == -1


def test_no_address_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses(monkeypatch, 1, 1)
    with pytest.raises(TransportError, match="cannot connect: Connection refused"):
        until(Channel("device", 1, None), b"never")


def test_the_other_end_goes_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = Channel("127.0.0.1", server.getsockname()[1], None)
        peer, _ = server.accept()
        until(channel, b"")
        peer.close()
        channel.send(b"x" * 100)
        for _ in range(50):
            if channel.ended:
                break
            channel.advance()
            time.sleep(0.01)
        assert channel.ended
        assert channel.is_done
        channel.close()
