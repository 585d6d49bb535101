"""A file on a server as a stream; when the connection breaks, the rest by range, and never of another version."""

from collections.abc import Callable

from swagent.errors import ArchiveError, TransportError

from .patient import PIECE_BYTES
from .wire import Broken, Client, Reply

PROGRESS_BYTES = 64 * 1024
"""So much must have come for earlier failures to be forgotten."""
JUMP_BYTES = 256 * 1024
"""From this many bytes on it is worth a new request to leave them out."""


class HttpStream:
    """Reads a file from a server in order. It connects with the first read.

    Args:
        client: asks for the file.
        reply: the answer to a request for the whole file, if that was made already.

    Attributes:
        name: the address, without what is secret in it.
        size_bytes: None until the server has said it, or if it never does.
    """

    seekable = False

    def __init__(self, client: Client, reply: Reply | None = None) -> None:
        self.name = client.name
        self.size_bytes: int | None = None
        self.position = 0
        self._client = client
        self._known: Reply | None = None
        self._reply: Reply | None = None
        self._ended = False
        self._progress_from = 0
        if reply is not None:
            self._adopt(reply)

    def attend(self, *, waiting: Callable[[], None], tell: Callable[[str, str], None]) -> None:
        """Who is asked while nothing comes, and who hears of broken connections."""
        self._client.waiting = waiting
        self._client.tell = tell

    def readinto(self, buffer: memoryview) -> int:
        """Read on; fills ``buffer`` unless the file ends first.

        Raises:
            TransportError: the file cannot be had, or not the rest of what was begun.
            DeadlineError: the server brings nothing.
        """
        done = 0
        while done < len(buffer) and not self._ended:
            done += self._some(buffer[done:])
        return done

    def seek(self, position: int) -> None:
        """Go on from ``position``; what lies before it is left out by a range, or read and dropped.

        Raises:
            ArchiveError: the file ends before.
            TransportError: the rest cannot be had.
        """
        if position - self.position >= JUMP_BYTES and self._gives_parts(position):
            self._jump(position)
        scrap = memoryview(bytearray(min(PIECE_BYTES, max(position - self.position, 1))))
        while self.position < position:
            if not self.readinto(scrap[: position - self.position]):
                raise ArchiveError(f"{self.name} ends at byte {self.position}, in the middle of a member")

    def close(self) -> None:
        """Close the connection."""
        self._drop()
        self._client.close()

    def _some(self, buffer: memoryview) -> int:
        """At least one byte, or 0 at the end or when the connection broke."""
        if self.size_bytes is not None:
            left = self.size_bytes - self.position
            if left == 0 and self._known is not None:
                self._end()
                return 0
            buffer = buffer[:left] if left < len(buffer) else buffer
        try:
            reply = self._reply or self._connect()
            n = self._client.read(reply, buffer)
            if n == 0 and self.size_bytes is not None:
                raise Broken(
                    TransportError(
                        f"{self.name}: the connection ended at byte {self.position} of {self.size_bytes}"
                    )
                )
        except Broken as broken:
            self._drop()
            self._judge_resumable(broken)
            self._client.failed(broken)
            return 0
        if n == 0:
            self._end()
            return 0
        self.position += n
        if self.position - self._progress_from >= PROGRESS_BYTES:
            self._client.succeeded()
            self._progress_from = self.position
        return n

    def _gives_parts(self, position: int) -> bool:
        known = self._known
        return (
            known is not None
            and bool(known.validator)
            and not known.no_ranges
            and (self.size_bytes is None or position <= self.size_bytes)
        )

    def _jump(self, position: int) -> None:
        known = self._known
        assert known is not None  # noqa: S101 - asked before
        self._drop()
        while self._reply is None:
            try:
                reply = self._client.get(first=position, condition=known.validator, ranged=True)
            except Broken as broken:
                self._client.failed(broken)
                continue
            if reply.status == 200 and (reply.validator, reply.total) == (known.validator, known.total):
                self._adopt(reply._replace(no_ranges=True))  # the same file, whole: it gives no parts
                self.position = 0
            else:
                self._continue(reply, known, position)
                self.position = position

    def _connect(self) -> Reply:
        known = self._known
        if self.position == 0 or known is None:
            reply = self._client.get(ranged=False)
            if reply.status != 200:
                reply.body.close()
                raise TransportError(
                    f"{self.name}: the server answers {reply.status} where nothing was asked for"
                )
            self._adopt(reply)
            return reply
        reply = self._client.get(first=self.position, condition=known.validator, ranged=True)
        self._continue(reply, known, self.position)
        return reply

    def _continue(self, reply: Reply, known: Reply, position: int) -> None:
        """Take an answer as the rest of the file that is known.

        Raises:
            TransportError: it is not.
        """
        try:
            judge_part(known, reply, position, self.size_bytes, self.name)
            if reply.length != (reply.total or 0) - position:
                raise TransportError(f"{self.name}: the server gives less than the rest that was asked for")
        except TransportError:
            reply.body.close()
            raise
        self._progress_from = position
        self.size_bytes = reply.total
        self._reply = reply

    def _adopt(self, reply: Reply) -> None:
        self._known = self._reply = reply
        self.size_bytes = reply.total

    def _judge_resumable(self, broken: Broken) -> None:
        known = self._known
        if self.position == 0 or known is None:
            return
        why = ""
        if known.no_ranges:
            why = "the server gives no parts of files"
        elif not known.validator:
            why = "the server names no version of the file (a strong ETag, or Last-Modified)"
        if why:
            raise type(broken.error)(
                f"{broken.error.message}; it cannot go on from byte {self.position}, as {why}",
                hint="start again; a server with ETag and ranges lets downloads go on",
            ) from broken

    def _drop(self) -> None:
        if self._reply is not None:
            self._reply.body.close()
            self._reply = None
        self._client.close()

    def _end(self) -> None:
        self._ended = True
        self._drop()


def judge_part(known: Reply, reply: Reply, position: int, size_bytes: int | None, name: str) -> None:
    """Whether an answer to a request for a part is one, of the file that is known.

    Raises:
        TransportError: it is not; nothing of it may be used.
    """
    if reply.status != 206:
        why = "the whole file" if reply.status == 200 else f"the answer {reply.status}"
        raise TransportError(
            f"{name}: asked for the rest from byte {position}, the server gives {why}: the file changed, or it "
            "gives no parts of files",
            hint="start again",
        )
    if reply.first != position:
        raise TransportError(
            f"{name}: asked for the rest from byte {position}, the server gives it from byte {reply.first}"
        )
    same = reply.total == size_bytes or size_bytes is None
    if known.validator == known.etag:
        same = same and reply.etag == known.etag  # RFC 9110 §15.3.7: it must be there
    else:
        same = same and reply.modified in ("", known.modified) and not reply.etag
    if not same:
        raise TransportError(f"{name}: the file changed on the server while it was read", hint="start again")
