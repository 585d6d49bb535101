"""A client that never comes to an end: a byte of a request's head now and then."""

import socket
import threading
import time
from contextlib import suppress

HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def hung_up_on_after_s(port: int, *, before: bytes = b"", most_s: float = 60.0) -> float:
    """How many seconds a server bears a client that sends a byte of a header each tenth of a second.

    Args:
        port: of the server, on this machine.
        before: a whole request that it sends first; its answer is read.
        most_s: fail after so many.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=most_s) as sock:
        if before:
            sock.sendall(before)
            assert sock.recv(65536)
        ended = threading.Event()

        def dribble() -> None:
            with suppress(OSError):
                sock.sendall(HEAD)
                while not ended.wait(0.1):
                    sock.sendall(b"x")

        thread = threading.Thread(target=dribble)
        since_s = time.monotonic()
        thread.start()
        try:
            with suppress(ConnectionError):
                while sock.recv(65536):
                    pass
            return time.monotonic() - since_s
        finally:
            ended.set()
            thread.join()
