"""Parts of a file on a server, asked for several at a time; every byte lands where it belongs, or nowhere."""

from collections.abc import Callable, Sequence

from swagent.clock import Clock
from swagent.errors import TransportError

from .multipart import Multipart, Part
from .options import HttpOptions
from .stream import PROGRESS_BYTES
from .wire import Broken, Client, Reply

GAP_BYTES_MAX = 8 * 1024
"""Servers may give what lies between two close parts too (RFC 9110 §15.3.7.2)."""


class _Wanted:
    """A part that is still to come, or the rest of it.

    Args:
        room: where its bytes go.
        first: position of the first of them in the file.
    """

    def __init__(self, room: bytearray, first: int) -> None:
        self.room = memoryview(room)
        self.first = first

    @property
    def last(self) -> int:
        return self.first + len(self.room) - 1

    def advance(self, n_bytes: int) -> None:
        self.room = self.room[n_bytes:]
        self.first += n_bytes


class HttpParts:
    """Fetches parts of one file, all of the same version of it.

    Args:
        client: asks for them.
        size_bytes: what the whole file must have.
        parts_max: how many to ask for at a time.
    """

    def __init__(self, client: Client, size_bytes: int, parts_max: int) -> None:
        self.name = client.name
        self._client = client
        self._size_bytes = size_bytes
        self._parts_max = parts_max
        self._condition = ""
        self._progress_bytes = 0
        self._scrap = memoryview(bytearray(GAP_BYTES_MAX))

    def attend(self, *, waiting: Callable[[], None], tell: Callable[[str, str], None]) -> None:
        """Who is asked while nothing comes, and who hears of broken connections."""
        self._client.waiting = waiting
        self._client.tell = tell

    def fetch(self, spans: Sequence[tuple[int, int]]) -> list[bytearray]:
        """The bytes from ``first`` on to ``last`` of each span.

        Args:
            spans: in order and apart; what they hold is in memory at once.

        Raises:
            TransportError: the server does not give them, gives others, or the file is another.
            DeadlineError: the server brings nothing.
        """
        rooms = [bytearray(last - first + 1) for first, last in spans]
        wanted = [_Wanted(room, first) for room, (first, _) in zip(rooms, spans, strict=True)]
        while wanted:
            asked = wanted[: self._parts_max]
            before_bytes = _left(asked)
            try:
                self._ask(asked)
            except Broken as broken:
                self._progress_bytes += before_bytes - _left(asked)
                if self._progress_bytes >= PROGRESS_BYTES:
                    self._client.succeeded()
                    self._progress_bytes = 0
                self._client.failed(broken)
            else:
                self._client.succeeded()
            wanted = [want for want in wanted if want.room]
        return rooms

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _ask(self, asked: list[_Wanted]) -> None:
        """One request; what comes is taken away from ``asked``."""
        reply = self._client.get_spans([(want.first, want.last) for want in asked], condition=self._condition)
        before_bytes = _left(asked)
        try:
            if reply.status == 200 and len(asked) > 1:
                self._client.tell("info", f"{self.name}: the server is asked for one part at a time")
                self._parts_max = 1
                reply.body.close()
                return
            self._judge(reply)
            if reply.boundary:
                parts = Multipart(lambda view: self._client.read(reply, view), reply.boundary, self.name)
                while (part := parts.next_part()) is not None:
                    self._take(part, parts.readinto, asked)
            else:
                part = Part(reply.first, reply.first + (reply.length or 0) - 1, reply.total or 0)
                self._take(part, lambda view: self._client.read(reply, view), asked)
            if _left(asked) == before_bytes:
                raise TransportError(f"{self.name}: the server gives nothing of what was asked for")
            if not self._client.read(reply, self._scrap):
                return  # at the end of its answer the connection can be used again
        except TransportError:
            reply.body.close()
            raise
        reply.body.close()

    def _judge(self, reply: Reply) -> None:
        if reply.status == 200:
            why = "the file changed, or the server gives no parts of files"
            raise TransportError(
                f"{self.name}: the server gives the whole file where parts were asked for: {why}"
            )
        if reply.status == 416:
            raise self._another("fewer")
        self._condition = self._condition or reply.validator

    def _take(self, part: Part, read: Callable[[memoryview], int], asked: list[_Wanted]) -> None:
        """Put the bytes of a part where they are wanted."""
        if part.total != self._size_bytes:
            raise self._another(str(part.total))
        at = part.first
        for want in asked:
            if not want.room or want.last < at:
                continue
            gap = want.first - at
            if want.first > part.last or gap < 0 or gap > (0 if at == part.first else GAP_BYTES_MAX):
                break
            while gap:
                gap -= _some(read(self._scrap[:gap]), self.name)
            while want.room and want.first <= part.last:
                want.advance(_some(read(want.room[: part.last + 1 - want.first]), self.name))
            at = want.first
        if at != part.last + 1:
            raise TransportError(
                f"{self.name}: the server gives bytes {part.first} to {part.last}, which were not asked for"
            )

    def _another(self, size: str) -> TransportError:
        return TransportError(
            f"{self.name} has {size} bytes, not {self._size_bytes}: it is another file than the one described",
            hint="has it been replaced on the server?",
        )


def _left(wanted: list[_Wanted]) -> int:
    return sum(len(want.room) for want in wanted)


def _some(n: int, name: str) -> int:
    if n == 0:
        raise Broken(TransportError(f"{name}: the connection ended in the middle of a part"))
    return n


def open_parts(url: str, options: HttpOptions, clock: Clock, *, size_bytes: int, parts_max: int) -> HttpParts:
    """A file on a server, of which parts are wanted. Connects when the first are fetched.

    Args:
        url: of the file; may carry ``user:password@``.
        options: how to ask.
        clock: for timeouts and speed.
        size_bytes: what the whole file must have.
        parts_max: how many to ask for at a time.

    Raises:
        RegistrationError: urllib3 is not installed.
        UsageError: the URL or the proxy's makes no sense.
        SettingsError: a certificate or key cannot be used.
    """
    return HttpParts(Client(url, options, clock), size_bytes, parts_max)
