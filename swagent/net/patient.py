"""Connections that wait in short steps, so that an update can be stopped while a server is silent; and bounds."""

from collections.abc import Callable
from typing import Any

from swagent.clock import Clock

TICK_S = 0.1
"""How long a silent connection is waited for before somebody is asked whether to go on."""
HEADERS_BYTES_MAX = 256 * 1024
LOW_SPEED_BYTES_PER_S = 8
PIECE_BYTES = 128 * 1024


def patient_pools(timeout_s: float, clock: Clock, waiting: Callable[[], None]) -> dict[str, Any]:
    """urllib3's pools, with connections that read patiently."""
    import io
    from http.client import HTTPResponse

    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.connection import HTTPConnection, HTTPSConnection

    class PatientSocket(io.RawIOBase):
        """Reads in short waits, so that somebody can be asked between them; keeps an eye on time and speed."""

        def __init__(self, sock: Any, held: Any) -> None:
            self._sock = sock
            self._held = held  # its own reader: while that is open, so is the socket
            self._usual_s = sock.gettimeout()
            self._waited_s = 0.0
            self._got_bytes = 0
            self.headers_bytes_left: int | None = HEADERS_BYTES_MAX
            sock.settimeout(min(TICK_S, timeout_s))

        def readable(self) -> bool:
            return True

        def readall(self) -> bytes:
            raise OSError("the server's answer has a length that makes no sense")

        def readinto(self, buffer: Any) -> int:
            silent_from_s = clock.monotonic_s()
            while True:
                try:
                    n = int(self._sock.recv_into(buffer))
                except TimeoutError:
                    waiting()
                    silent_s = clock.monotonic_s() - silent_from_s
                    if silent_s >= timeout_s:
                        raise TimeoutError(f"nothing came for {timeout_s:g} s") from None
                    continue
                self._judge(n, clock.monotonic_s() - silent_from_s)
                return n

        def _judge(self, n: int, waited_s: float) -> None:
            if self.headers_bytes_left is not None:
                self.headers_bytes_left -= n
                if self.headers_bytes_left < 0:
                    raise OSError(f"the server's headers have more than {HEADERS_BYTES_MAX} bytes")
            self._got_bytes += n
            self._waited_s += waited_s  # only time spent here counts: a slow target is no slow server
            if self._waited_s >= timeout_s:
                if self._got_bytes < LOW_SPEED_BYTES_PER_S * self._waited_s:
                    raise TimeoutError(f"less than {LOW_SPEED_BYTES_PER_S} bytes/s came for {timeout_s:g} s")
                self._waited_s, self._got_bytes = 0.0, 0

        def close(self) -> None:
            if not self.closed:
                try:
                    self._sock.settimeout(self._usual_s)
                except OSError:  # it is closed already
                    self._usual_s = None
                self._held.close()
            super().close()

    class PatientResponse(HTTPResponse):
        def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
            super().__init__(sock, *args, **options)
            self._patient = PatientSocket(sock, self.fp)
            self.fp = io.BufferedReader(self._patient, PIECE_BYTES)

        def begin(self) -> None:
            super().begin()
            self._patient.headers_bytes_left = None

    class Plain(HTTPConnection):
        response_class = PatientResponse

    class Secure(HTTPSConnection):
        response_class = PatientResponse

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
