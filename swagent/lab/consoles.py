"""Consoles: one port, many readers, and a memory of what the board said before anybody listened.

The memory is a ring. A reader holds a place in the endless stream of what was said; one that falls behind further than
the ring reaches is told how much it lost, and goes on with the oldest byte there is. Nobody is waited for.
"""

from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import NamedTuple, Protocol

from .errors import Gone
from .items import Signal

HISTORY_BYTES = 1 << 20
CHUNK_BYTES = 64 * 1024
"""The most that a reader gets in one piece."""


class History:
    """The last bytes of an endless stream.

    Args:
        limit_bytes: how many are kept, at least.
    """

    def __init__(self, limit_bytes: int = HISTORY_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._pieces: deque[bytes] = deque()
        self.begin = 0
        """Where the oldest byte that is kept stands in the stream."""
        self.end = 0
        """Where the next byte will stand."""

    def add(self, data: bytes) -> None:
        """More was said."""
        if not data:
            return
        if self._pieces and len(self._pieces[-1]) + len(data) <= CHUNK_BYTES // 16:
            self._pieces[-1] += data  # a board that talks byte by byte must not cost an object a byte
        else:
            self._pieces.append(data)
        self.end += len(data)
        while self.end - self.begin - len(self._pieces[0]) >= self._limit_bytes:
            self.begin += len(self._pieces.popleft())

    def since(self, place: int, most_bytes: int = CHUNK_BYTES) -> bytes:
        """What stands from ``place`` on, at most ``most_bytes``; ``place`` is not before ``begin``."""
        at, found, wanted = self.end, [], 0
        for piece in reversed(self._pieces):  # readers are near the end, nearly always
            at -= len(piece)
            found.append(piece)
            if at <= place:
                wanted = place - at
                break
        return b"".join(reversed(found))[wanted : wanted + most_bytes] if found else b""


class Heard(NamedTuple):
    """A piece of output.

    Attributes:
        data: the bytes.
        lost_bytes: how many before them this reader was too slow for.
    """

    data: bytes
    lost_bytes: int = 0


class Port(Protocol):
    """What a provider brings: the way to a board. All of it is called on the event loop."""

    async def open(self, console: "Console") -> None:
        """Begin to hand what comes to ``console.heard``; ``console.lost`` when it ends.

        Raises:
            Gone: it cannot be opened.
        """
        ...

    async def write(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            Gone: it has been unplugged.
        """
        ...

    async def configure(self, parameters: Mapping[str, object]) -> None:
        """Change how it works, at once if it is open.

        Raises:
            InvalidRequest: these parameters make no sense here.
        """
        ...

    async def close(self) -> None:
        """End; a closed port may be opened again."""
        ...


class Console:
    """One console of the lab.

    Args:
        port: the way to the board.
        history_bytes: how much is remembered.
    """

    def __init__(self, port: Port, *, history_bytes: int = HISTORY_BYTES) -> None:
        self._port = port
        self._history = History(history_bytes)
        self._said = Signal()
        self._open = False
        self._why_gone = ""

    # -- for its port

    def heard(self, data: bytes) -> None:
        """The board said something."""
        self._history.add(data)
        self._said.tell()

    def lost(self, why: str) -> None:
        """The port has ended by itself."""
        self._open = False
        self._why_gone = why
        self._said.tell()

    # -- for clients

    @property
    def is_open(self) -> bool:
        """Whether the board is listened to."""
        return self._open

    async def open(self) -> None:
        """Listen to the board from now on; nothing happens when that is so already.

        Raises:
            Gone: its port cannot be opened.
        """
        if not self._open:
            self._why_gone = ""
            await self._port.open(self)
            self._open = True

    async def close(self) -> None:
        """It is unplugged, or the server ends."""
        if self._open:
            self._open = False
            await self._port.close()
        self.lost("the console has gone")

    async def configure(self, parameters: Mapping[str, object]) -> None:
        """Set parameters such as ``rate``. Raises InvalidRequest."""
        await self._port.configure(parameters)

    async def write(self, data: bytes) -> None:
        """Type. Raises Gone."""
        await self.open()
        await self._port.write(data)

    async def listen(self, *, replay: bool = False) -> AsyncGenerator[Heard, None]:
        """What the board says, from this moment on or from the oldest byte that is remembered.

        Nothing is lost between this call and the first look at what it returns, which raises Gone when the port ends.

        Raises:
            Gone: its port cannot be opened.
        """
        await self.open()
        return self._output(self._history.begin if replay else self._history.end)

    async def remembered(self) -> AsyncGenerator[Heard, None]:
        """What is remembered now, and no more; a closed port stays closed."""
        place, end = self._history.begin, self._history.end
        while place < end:
            lost_bytes = max(self._history.begin - place, 0)
            place = max(place, self._history.begin)
            data = self._history.since(place, min(CHUNK_BYTES, end - place))
            if not data:
                return
            place += len(data)
            yield Heard(data, lost_bytes)

    async def follow(self) -> AsyncGenerator[Heard, None]:
        """All that will be said, whenever its port is open, until nobody looks any more."""
        place, count = self._history.end, 0
        while True:
            try:
                async with aclosing(self._output(place)) as pieces:
                    async for heard in pieces:
                        place += heard.lost_bytes + len(heard.data)
                        yield heard
            except Gone:
                count = await self._said.after(count)

    async def _output(self, place: int) -> AsyncGenerator[Heard, None]:
        history, count = self._history, 0
        while True:
            lost_bytes = max(history.begin - place, 0)
            place = max(place, history.begin)
            data = history.since(place) if place < history.end else b""
            if data:
                place += len(data)
                yield Heard(data, lost_bytes)
                continue
            if self._why_gone:
                raise Gone(self._why_gone)
            count = await self._said.after(count)
