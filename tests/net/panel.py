"""A device with SWUpdate's web server, as far as a forwarder sees it: plain sockets, no code of ours, no library.

A test says what it does by overriding the steps of ``Panel``.
"""

import base64
import hashlib
import json
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO, Self

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Panel:
    """One device; a context manager.

    Attributes:
        heads: the head of each request, in order.
        part_head: what stood before the archive in the form.
        digest: of the archive as it came, and how many bytes it had.
        stop: set when the test is over.
    """

    def __init__(
        self, tls: ssl.SSLContext | None = None, *, keep: bool = True, host: str = "127.0.0.1"
    ) -> None:
        self.heads: list[bytes] = []
        self.part_head = b""
        self.received = bytearray()
        self.size_bytes = 0
        self.sha256 = hashlib.sha256()
        self.complete = False
        self.stop = threading.Event()
        self.tls = tls
        self._keep = keep
        self._listener = socket.create_server((host, 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}"

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for sock in self._open:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    # -- steps

    def refuse(self, head: bytes) -> bytes:
        """An answer instead of what was asked for; b"" for none."""
        return b""

    def welcome(self, sock: socket.socket) -> None:
        """The WebSocket is there."""

    def take(self, piece: bytes) -> None:
        """The next bytes of the archive have come."""

    def answer(self, sock: socket.socket) -> None:
        """The whole form has come."""
        body = f"Ok, swupdate.swu - {self.size_bytes} bytes.\r\n".encode()
        sock.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )

    def install(self) -> None:
        """Tell how the update goes."""
        self.tell("RUN")
        self.tell("SUCCESS")

    # -- what steps may do

    def tell(self, word: str) -> None:
        """A state."""
        self.broadcast({"type": "status", "status": word})

    def say(self, level: int, text: str) -> None:
        """A line of the log."""
        self.broadcast({"type": "message", "level": str(level), "text": text})

    def broadcast(self, message: dict[str, str]) -> None:
        """As SWUpdate formats it."""
        lines = ",\r\n".join(f"\t{json.dumps(key)}: {json.dumps(value)}" for key, value in message.items())
        self.frame(f"{{\r\n{lines}\r\n}}\r\n".encode())

    def frame(self, data: bytes, *, opcode: int = 1, fin: bool = True) -> None:
        """To every WebSocket there is."""
        size = len(data)
        if size < 126:
            length = bytes([size])
        elif size < 65536:
            length = b"\x7e" + struct.pack(">H", size)
        else:
            length = b"\x7f" + struct.pack(">Q", size)
        for sock in list(self._sockets):
            with suppress(OSError):
                sock.sendall(bytes([(0x80 if fin else 0) | opcode]) + length + data)

    def hang_up(self) -> None:
        """Close all WebSockets."""
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    # -- the rest

    def _begin(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.stop.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.append(sock)
            self._begin(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError):
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
            with self._lock:
                self._open.append(sock)
            self._request(sock)
        sock.close()

    def _request(self, sock: socket.socket) -> None:
        file = sock.makefile("rb")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = file.readline()
            if not line:
                return
            head += line
        self.heads.append(head)
        refusal = self.refuse(head)
        if refusal:
            sock.sendall(refusal)
        elif head.startswith(b"GET "):
            self._websocket(sock, header(head, b"Sec-WebSocket-Key"))
        else:
            self._form(sock, file, head)

    def _websocket(self, sock: socket.socket, key: bytes) -> None:
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        self._sockets.append(sock)  # first: whoever has the answer may upload, and be told how it ends
        sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.welcome(sock)
        while sock.recv(4096):  # client frames are discarded
            pass

    def _form(self, sock: socket.socket, file: BinaryIO, head: bytes) -> None:
        boundary = header(head, b"Content-Type").partition(b"boundary=")[2]
        left = int(header(head, b"Content-Length"))
        while not self.part_head.endswith(b"\r\n\r\n"):
            self.part_head += file.read(1)
            left -= 1
        tail = b"\r\n--" + boundary + b"--\r\n"
        left -= len(tail)
        while left:
            piece = file.read(min(left, 65536))
            if not piece:
                return
            left -= len(piece)
            self.size_bytes += len(piece)
            self.sha256.update(piece)
            if self._keep:
                self.received += piece
            self.take(piece)
        assert file.read(len(tail)) == tail
        self.complete = True
        self.answer(sock)
        self.install()
        sock.shutdown(socket.SHUT_WR)


def header(head: bytes, name: bytes) -> bytes:
    """The value of a header, b"" when it is not there."""
    for line in head.split(b"\r\n"):
        key, colon, value = line.partition(b":")
        if colon and key.lower() == name.lower():
            return value.strip()
    return b""


class Told(Panel):
    """One that does what its command line says."""

    def __init__(self, wish: str) -> None:
        super().__init__()
        self._wish = wish
        self.installed = False

    def install(self) -> None:
        if self._wish == "small":
            self.say(3, "no room")
            self.tell("FAILURE")
        elif self._wish == "fails":
            self.hang_up()
        else:
            self.installed = True
            super().install()


def main(wish: str = "") -> None:
    """In a process of its own: prints its address, and what it got when its standard input ends."""
    with Told(wish) as panel:
        print(panel.url, flush=True)
        sys.stdin.read()
    print("complete" if panel.installed else "partial", panel.size_bytes)


if __name__ == "__main__":
    main(*sys.argv[1:])
