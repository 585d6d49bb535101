"""Files below one address, fetched whole or as streams over kept connections; ``http``, ``https`` and ``file``."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, unquote, urlsplit

from swagent.clock import Clock
from swagent.errors import TransportError
from swagent.model import Reader

from .options import HttpOptions
from .patient import PIECE_BYTES

if TYPE_CHECKING:
    from .wire import Client


class Closing(Reader, Protocol):
    """A stream that is closed when it is no longer wanted."""

    def close(self) -> None:
        """Let go of it."""
        ...


class Folder(Protocol):
    """Where files lie.

    Attributes:
        name: the address, without what is secret in it.
    """

    name: str

    def get(self, name: str, max_bytes: int) -> bytes | None:
        """A small file: at most ``max_bytes`` and one more; None when it is not there.

        Args:
            name: one name, not a path; it is quoted here, slashes too.
            max_bytes: read no more than one byte beyond.

        Raises:
            TransportError: whether it is there cannot be told.
            DeadlineError: the server brings nothing.
        """
        ...

    def open(self, name: str) -> Closing:
        """A file as a stream.

        Args:
            name: its parts separated by slashes; none of them leads upwards.

        Raises:
            TransportError: it is not there.
        """
        ...

    def attend(self, waiting: Callable[[], None]) -> None:
        """Say who is asked, again and again, while a server brings nothing; it may raise to stop."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


def open_folder(url: str, options: HttpOptions, clock: Clock) -> Folder:
    """The folder at an address.

    Args:
        url: ``http://``, ``https://`` or ``file://``.
        options: how to talk to a server.
        clock: for time limits.

    Raises:
        UsageError: no such address.
        RegistrationError: urllib3 is not installed.
        SettingsError: a certificate or key cannot be used.
    """
    if url.startswith("file:"):
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            from swagent.errors import UsageError

            raise UsageError(f"{url} is on another host")
        return LocalFolder(unquote(parts.path))
    return WebFolder(url, options, clock)


class LocalFolder:
    """A folder of the file system."""

    def __init__(self, path: str) -> None:
        self.name = path
        self._path = path

    def get(self, name: str, max_bytes: int) -> bytes | None:
        """A small file, None when it is not there."""
        try:
            with open(os.path.join(self._path, quote(name, safe="")), "rb") as file:
                return file.read(max_bytes + 1)
        except (FileNotFoundError, NotADirectoryError):
            if not os.path.isdir(self._path):
                raise TransportError(f"there is no folder {self._path}") from None
            return None
        except (OSError, ValueError) as exc:
            raise TransportError(f"cannot read {name} in {self._path}: {exc}") from exc

    def open(self, name: str) -> Closing:
        """A file as a stream."""
        try:
            return LocalFile(os.open(os.path.join(self._path, name), os.O_RDONLY | os.O_CLOEXEC), name)
        except (OSError, ValueError) as exc:
            raise TransportError(f"cannot read {name} in {self._path}: {exc}") from exc

    def attend(self, waiting: Callable[[], None]) -> None:
        """Nobody: a file does not wait."""

    def close(self) -> None:
        """Nothing is open."""


class LocalFile:
    """The bytes of an open file, as a server's would come; it is closed with it."""

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name

    def readinto(self, buffer: memoryview) -> int:
        """Some of them; 0 at the end. Raises TransportError."""
        try:
            return os.readv(self._fd, [buffer]) if len(buffer) else 0
        except OSError as exc:
            raise TransportError(f"cannot read {self._name}: {exc.strerror}") from exc

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


class WebFolder:
    """A folder on a server."""

    def __init__(self, url: str, options: HttpOptions, clock: Clock) -> None:
        from .wire import Client

        self._client = Client(url.rstrip("/") + "/", options, clock)
        self.name = self._client.name

    def get(self, name: str, max_bytes: int) -> bytes | None:
        """A small file, None when it is not there; begun anew when the connection breaks."""
        from .wire import Broken, NotThere

        client = self._client.at(quote(name, safe=""))
        while True:
            try:
                return _whole(client, max_bytes)
            except NotThere:
                return None
            except Broken as broken:
                client.failed(broken)

    def open(self, name: str) -> Closing:
        """A file as a stream that resumes."""
        from .stream import HttpStream

        return HttpStream(self._client.at(quote(name)))

    def attend(self, waiting: Callable[[], None]) -> None:
        """Whoever is asked while the server brings nothing."""
        self._client.waiting = waiting

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


def _whole(client: "Client", max_bytes: int) -> bytes:
    """The body of an answer, up to one byte more than it may have."""
    from .wire import Broken, TooSlow

    reply = client.get(ranged=False)
    if reply.status != 200:
        reply.body.close()
        raise TransportError(f"{client.name}: the server answers {reply.status} where nothing was asked for")
    data, begun_s = bytearray(), client.now_s()
    piece = memoryview(bytearray(min(PIECE_BYTES, max_bytes + 1)))
    while len(data) <= max_bytes:
        n = client.read(reply, piece[: max_bytes + 1 - len(data)])
        if n == 0:  # read to its end, the connection can be used again
            if reply.length is not None and len(data) < reply.length:
                raise Broken(
                    TransportError(
                        f"{client.name}: the connection ended at byte {len(data)} of {reply.length}"
                    )
                )
            return bytes(data)
        data += piece[:n]
        try:
            client.judge_speed(begun_s, len(data))
        except TooSlow:
            reply.body.close()
            raise
    reply.body.close()
    return bytes(data)
