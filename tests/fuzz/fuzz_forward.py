"""What a device answers to a forwarder: status messages; and whole conversations on both of its connections."""

from swagent.errors import SwagentError
from swagent.net.address import read_address
from swagent.net.channel import Channel
from swagent.net.device import Device
from swagent.net.digest import Digest
from swagent.net.status import TEXT_CHARS_MAX, Line, State, read_message

_STATUS = b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"


class _Scripted:
    """A channel that was connected, and brings what it is given."""

    is_open = is_done = True

    def __init__(self) -> None:
        self.brings: list[bytes] = []
        self.ended = False

    def fileno(self) -> int:
        return 0

    def send(self, data: bytes | memoryview) -> None:
        pass

    def close(self) -> None:
        pass

    def advance(self) -> bytes:
        data = self.brings.pop(0) if self.brings else b""
        self.ended = not data
        return data


class _Device(Device):
    def __init__(self) -> None:
        super().__init__(read_address("http://ann:x@panel:1"), None, 1, lambda level, text: None)
        self.made: list[_Scripted] = []

    def _channel(self) -> Channel:
        self.made.append(_Scripted())
        return self.made[-1]  # type: ignore[return-value]  # it has all that is used

    def accept(self) -> bytes:
        from websockets.utils import accept_key

        assert self._socket is not None
        return accept_key(self._socket.key).encode()


def one_input(data: bytes) -> None:
    """The first byte says what it is: a message, a challenge, frames, the answer to an upload, or to the handshake."""
    kind, data = data[:1], data[1:]
    if kind == b"m":
        told = read_message(data)
        assert told is None or len(told.word if isinstance(told, State) else told.text) <= TEXT_CHARS_MAX
        assert not isinstance(told, Line) or told.level in ("error", "warn", "info", "debug")
    elif kind == b"c":
        try:
            header = Digest(data.decode("latin-1"), "ann", 'se"cret').header("GET", "/")
        except ValueError:
            return
        assert header.startswith('Digest username="ann"')
        assert "\r" not in header or b"\r" in data
    else:
        _talk(kind, data)


def _talk(kind: bytes, data: bytes) -> None:
    device = _Device()
    device.start()
    status = device.made[0]
    status.brings = [data] if kind == b"h" else [_STATUS % device.accept()]
    _advance(device, status)
    if len(device.made) < 2 or kind == b"h":
        return
    upload = device.made[1]
    device.send(memoryview(b"x"))
    if kind == b"u":
        upload.brings = [data[:7], data[7:]]
        _advance(device, upload)
    else:
        status.brings = [data[:5], data[5:]]
        _advance(device, status)
    for now_s in (0.0, 10.0):
        device.judge(now_s)
    if device.error is not None:
        assert isinstance(device.error, SwagentError)
        assert len(device.error.message) < 1000


def _advance(device: _Device, channel: _Scripted) -> None:
    while not channel.ended and not device.is_over:
        device.advance(channel)  # type: ignore[arg-type]  # as above


def seeds() -> list[bytes]:
    """Good and bad answers of each kind."""

    def text(message: bytes) -> bytes:
        return b"\x81" + bytes([len(message)]) + message

    success = b'{\r\n\t"type": "status",\r\n\t"status": "SUCCESS"\r\n}\r\n'
    return [
        *(b"m" + success, b'm{"type": "message", "level": "3", "text": "no"}', b'm{"type": "info", "source": "cut'),
        *(b'm{"type": "step", "number": "1", "percent": "50"}', b"m[[[[", b"m\xff", b'm{"type": "message", "text": 1}'),
        b'cDigest qop="auth", realm="la\\"b", nonce="65", opaque=x, algorithm=SHA-256',
        *(b"cBasic realm=x", b'cDigest realm="x", nonce="y"', b'cDigest qop="auth,auth-int", nonce=""'),
        *(b"f" + text(success), b"f" + text(b'{"type": "status", "status": "FAILURE"}'), b"f\x88\x02\x03\xe8"),
        *(b"f\x01\x01{\x80\x01}", b"f\x89\x01p" + text(success), b"f\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff"),
        *(b"uHTTP/1.1 200 OK\r\n\r\n", b"uHTTP/1.1 100 C\r\n\r\nHTTP/1.1 500 No\r\n\r\n", b"uwhat\n"),
        b'hHTTP/1.1 401 No\r\nWWW-Authenticate: Digest qop="auth", realm="lab", nonce="65"\r\n\r\n',
        *(b"hHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", b"hSSH-2.0\r\n", b"hHTTP/1.1 101 Yes\r\n\r\n"),
    ]  # fmt: skip
