"""A file on a server on its way into the installer: verified as it passes, its end held back until that is done."""

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from swagent.clock import Clock
from swagent.errors import HashError, SizeError
from swagent.model import Reader
from swagent.net import HttpOptions, HttpStream
from swagent.net.wire import Client

BLOCK_BYTES = 256 * 1024
ANY_SERVER = "http://localhost/"
HASHES = ("sha256", "sha1", "md5")
"""What servers tell of a file, best first; only the first that is there counts."""


class Source(Reader, Protocol):
    """What comes from a server."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def size_bytes(self) -> int | None:
        """How many bytes there will be, None while the server has not said it."""
        ...


class Vouched:
    """A ``Reader`` that gives the last of its bytes only when all of them are what the server promised.

    So an installer that wants the whole length never has all of a file that is wrong, cut short or cancelled.

    Args:
        source: the bytes.
        length_bytes: exactly how many there must be, None when nobody says.
        hashes: algorithm to hex; of several the strongest is checked.
        go_on: asked before each block whether to go on; raises if not.

    Attributes:
        is_over: whether the last byte was given.
    """

    def __init__(
        self,
        source: Source,
        *,
        length_bytes: int | None,
        hashes: Mapping[str, str],
        go_on: Callable[[], None],
    ) -> None:
        self._source = source
        self._length = length_bytes
        self._go_on = go_on
        self._name = next((name for name in HASHES if hashes.get(name)), "")
        self._expected = hashes.get(self._name, "").lower()
        self._hash = hashlib.new(self._name or "sha256", usedforsecurity=False)
        self._held = memoryview(bytearray(BLOCK_BYTES))
        self._held_bytes = 0
        self._next = memoryview(bytearray(BLOCK_BYTES))
        self._next_bytes: int | None = None
        self._read_bytes = 0
        self._given_bytes = 0
        self._ended = False
        self.is_over = False

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of ``buffer``; 0 at the end.

        Raises:
            HashError, SizeError: the file is not what the server promised.
            SwagentError: it cannot be had, or somebody stopped it.
        """
        if self.is_over:
            return 0
        if self._given_bytes == self._held_bytes:
            self._advance()
        n = min(len(buffer), self._held_bytes - self._given_bytes)
        buffer[:n] = self._held[self._given_bytes : self._given_bytes + n]
        self._given_bytes += n
        self.is_over = self._ended and self._given_bytes == self._held_bytes
        return n

    def _advance(self) -> None:
        """The block that was held back may go, as another one follows it, or the verdict is known."""
        self._go_on()
        if self._next_bytes is None:
            self._next_bytes = self._take()
        self._held, self._next = self._next, self._held
        self._held_bytes, self._given_bytes = self._next_bytes, 0
        self._next_bytes = self._take() if self._held_bytes else 0
        if not self._next_bytes:
            self._judge()
            self._go_on()  # from here on it is too late to stop
            self._ended = True

    def _take(self) -> int:
        n = 0
        while n < BLOCK_BYTES and (more := self._source.readinto(self._next[n:])):
            n += more
        self._read_bytes += n
        self._hash.update(self._next[:n])
        told = self._source.size_bytes
        if self._length is not None and (
            self._read_bytes > self._length or (told is not None and told != self._length)
        ):
            found = told if told is not None else f"more than {self._length}"
            raise SizeError(f"{self._source.name} has {found} bytes, not {self._length} as was promised")
        return n

    def _judge(self) -> None:
        if self._length is not None and self._read_bytes != self._length:
            raise SizeError(
                f"{self._source.name} has {self._read_bytes} bytes, not {self._length} as was promised"
            )
        if self._name and self._hash.hexdigest() != self._expected:
            raise HashError(
                f"{self._source.name} is not what was promised: its {self._name} is {self._hash.hexdigest()}",
                hint="what the server has is damaged, or was replaced",
            )


class Cached:
    """A file of which the front lies here already; the rest comes from the server, by range if it can.

    Args:
        path: of the front.
        stream: the whole file on the server; an ``HttpStream``.
    """

    def __init__(self, path: str, stream: "Seekable") -> None:
        self.name = stream.name
        self._path = path
        self._stream = stream
        self._position = 0
        self._file_bytes: int | None = None

    @property
    def size_bytes(self) -> int | None:
        """Of the whole file, once the server has told it."""
        return self._stream.size_bytes

    def readinto(self, buffer: memoryview) -> int:
        """First the front, then the rest.

        Raises:
            SwagentError: the rest cannot be had.
        """
        if self._file_bytes is None:
            n = self._front(buffer)
            if n:
                self._position += n
                return n
            self._file_bytes = self._position
            if self._position:
                self._stream.readinto(memoryview(bytearray(1)))  # the server says what file it is
                self._stream.seek(self._position)
        return self._stream.readinto(buffer)

    def _front(self, buffer: memoryview) -> int:
        try:
            with open(self._path, "rb", buffering=0) as file:
                file.seek(self._position)
                return file.readinto(buffer) or 0
        except OSError:
            return 0


class Seekable(Source, Protocol):
    """A stream that can leave something out."""

    def seek(self, position: int) -> None:
        """Go on from there."""
        ...


class Fetcher:
    """Opens files of servers, to be read and verified.

    Keys are read when it is made; later there may be no right to.

    Args:
        home: address of the server that is shown what is secret; "" for whatever is fetched.
        options: how to fetch.
        log: hears of broken connections: level and line.
        cache: path of a file that is the front of the first one that is opened; it is used once. "" for none.

    Attributes:
        had_cache: whether the file that was opened last began with it.

    Raises:
        UsageError: the address makes no sense.
        SettingsError: a certificate or key cannot be used.
        RegistrationError: urllib3 is not installed.
    """

    def __init__(
        self, home: str, options: HttpOptions, clock: Clock, log: Callable[[str, str], None], cache: str = ""
    ) -> None:
        self._client = Client(home or ANY_SERVER, options, clock)
        self._client.read_keys()
        self._any = not home
        self._log = log
        self._cache = cache
        self.had_cache = False

    def open(
        self,
        url: str,
        *,
        go_on: Callable[[], None],
        length_bytes: int | None = None,
        hashes: Mapping[str, str] = {},
        authentication: str = "",
    ) -> Vouched:
        """A file, not yet asked for.

        Args:
            url: of the file.
            go_on: asked all the time whether to go on; raises if not.
            length_bytes: as ``Vouched`` wants it.
            hashes: likewise.
            authentication: ``user:password``, instead of that of the options.

        Raises:
            UsageError: the URL makes no sense.
        """
        stream = HttpStream(self._client.to(url, home=self._any, authentication=authentication))
        stream.attend(waiting=go_on, tell=self._log)
        self.had_cache = bool(self._cache) and os.path.exists(self._cache)
        source = Cached(self._cache, stream) if self.had_cache else stream
        return Vouched(source, length_bytes=length_bytes, hashes=hashes, go_on=go_on)

    def drop_cache(self) -> None:
        """What was here already is used once."""
        if self.had_cache:
            with suppress(OSError):
                os.unlink(self._cache)
