"""A file on a server, read anywhere, a small window at a time: to look into archives without fetching them."""

from collections.abc import Callable

from swagent.clock import Clock
from swagent.errors import TransportError

from .options import HttpOptions
from .stream import HttpStream, judge_part
from .wire import Broken, Client, Reply

WINDOW_BYTES = 32 * 1024
REQUEST_BYTES_MAX = 1024 * 1024


class HttpRanges:
    """Reads parts of a file; all of them of the same version of it.

    Args:
        client: asks for them.
        known: the answer to the request for the first window, with a validator; its body is read here.
    """

    seekable = True

    def __init__(self, client: Client, known: Reply) -> None:
        self.name = client.name
        self.size_bytes: int | None = known.total
        self.position = 0
        self._client = client
        self._known = known
        self._window = memoryview(bytearray(REQUEST_BYTES_MAX))
        self._window_from = 0
        self._window_bytes = self._take(known)

    def attend(self, *, waiting: Callable[[], None], tell: Callable[[str, str], None]) -> None:
        """Who is asked while nothing comes, and who hears of broken connections."""
        self._client.waiting = waiting
        self._client.tell = tell

    def seek(self, position: int) -> None:
        """Go on from ``position``; nothing is fetched for it."""
        self.position = position

    def readinto(self, buffer: memoryview) -> int:
        """Read from ``position`` on; fills ``buffer`` unless the file ends first.

        Raises:
            TransportError: the part cannot be had, or the file changed.
            DeadlineError: the server brings nothing.
        """
        done = 0
        end = self.size_bytes or 0
        while done < len(buffer) and self.position < end:
            at = self.position - self._window_from
            if not 0 <= at < self._window_bytes:
                self._fetch(len(buffer) - done)
                at = 0
            n = min(self._window_bytes - at, len(buffer) - done)
            buffer[done : done + n] = self._window[at : at + n]
            self.position += n
            done += n
        return done

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _fetch(self, wanted_bytes: int) -> None:
        known, start, size = self._known, self.position, self.size_bytes or 0
        last = min(start + min(max(wanted_bytes, WINDOW_BYTES), REQUEST_BYTES_MAX), size) - 1
        while True:
            try:
                reply = self._client.get(first=start, last=last, condition=known.validator, ranged=True)
                try:
                    judge_part(known, reply, start, size, self.name)
                except TransportError:
                    reply.body.close()
                    raise
                self._window_bytes = self._take(reply)
                self._window_from = start
            except Broken as broken:
                self._window_bytes = 0
                self._client.failed(broken)
            else:
                self._client.succeeded()
                return

    def _take(self, reply: Reply) -> int:
        """Read a part into the window.

        Raises:
            Broken: it did not come whole.
        """
        length = reply.length or 0
        if length > REQUEST_BYTES_MAX:
            reply.body.close()
            raise TransportError(f"{self.name}: the server gives more than was asked for")
        done = 0
        while done < length:
            n = self._client.read(reply, self._window[done:length])
            if n == 0:
                raise Broken(TransportError(f"{self.name}: the connection ended in the middle of an answer"))
            done += n
        return done


def open_stream(url: str, options: HttpOptions, clock: Clock) -> HttpStream:
    """A file on a server, to be read in order.

    Args:
        url: of the file; may carry ``user:password@``.
        options: how to ask.
        clock: for timeouts and speed.

    Raises:
        RegistrationError: urllib3 is not installed.
        UsageError: the URL or the proxy's makes no sense.
        SettingsError: a certificate or key cannot be used.
    """
    return HttpStream(Client(url, options, clock))


def open_ranges(url: str, options: HttpOptions, clock: Clock) -> HttpRanges | HttpStream:
    """A file on a server, to be read anywhere if the server can; else in order.

    Args:
        url: of the file; may carry ``user:password@``.
        options: how to ask.
        clock: for timeouts and speed.

    Raises:
        TransportError, DeadlineError: the server does not give it.
        RegistrationError: urllib3 is not installed.
        UsageError: the URL or the proxy's makes no sense.
        SettingsError: a certificate or key cannot be used.
    """
    client = Client(url, options, clock)
    while True:
        try:
            reply = client.get(first=0, last=WINDOW_BYTES - 1, ranged=True)
            if reply.status == 200:
                return HttpStream(client, reply)
            if reply.status == 206 and reply.validator and reply.first == 0:
                return HttpRanges(client, reply)
            reply.body.close()
            return HttpStream(client)
        except Broken as broken:
            client.failed(broken)
