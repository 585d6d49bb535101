"""What a server answers: status line, headers, chunks, ranges; as a stream and as parts."""

import socket
import threading
from contextlib import suppress

from swagent.clock import SystemClock
from swagent.errors import SwagentError
from swagent.net import HttpOptions, open_ranges, open_stream

_OPTIONS = HttpOptions(retries=0, timeout_s=0.5)


def one_input(data: bytes) -> None:
    """The first byte says how to read; the rest is what the server sends to the one connection it takes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker = threading.Thread(target=_answer, args=(listener, data[1:]))
        worker.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/update.swu"
        total = 0
        try:
            source = (open_ranges if data[:1] == b"r" else open_stream)(url, _OPTIONS, SystemClock())
            buffer = memoryview(bytearray(1000))
            while n := source.readinto(buffer):
                total += n
            source.close()
        except SwagentError:
            pass
        finally:
            with suppress(OSError):
                socket.create_connection(listener.getsockname()).close()  # nobody came: let it go
            worker.join()
        assert total <= len(data)


def _answer(listener: socket.socket, data: bytes) -> None:
    connection, _ = listener.accept()
    with connection, suppress(OSError):
        connection.settimeout(1)
        connection.recv(4096)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)


def seeds() -> list[bytes]:
    """Answers as good and bad servers give them."""
    body = bytes(range(256)) * 2
    told = b'ETag: "v1"\r\nDate: Sun, 22 Nov 2026 10:00:00 GMT\r\nLast-Modified: Sun, 22 Nov 2026 09:00:00 GMT\r\n'
    return [
        b"sHTTP/1.1 200 OK\r\n" + told + b"Content-Length: 512\r\n\r\n" + body,
        b"sHTTP/1.0 200 OK\r\n\r\n" + body,
        b"sHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n"
        + body[:256]
        + b"\r\n0\r\nX: y\r\n\r\n",
        b"sHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\n\r\nbody",
        b"sHTTP/1.1 503 later\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n",
        b"rHTTP/1.1 206 part\r\n"
        + told
        + b"Content-Range: bytes 0-511/512\r\nContent-Length: 512\r\n\r\n"
        + body,
        b"rHTTP/1.1 206 part\r\n" + told + b"Content-Range: bytes 0-511/5120\r\n\r\n" + body,
        b"rHTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 512\r\n\r\n" + body,
    ]
