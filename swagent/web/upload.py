"""An upload on its way: from the browser's form to the installer, piece by piece, nothing kept."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from aiohttp import BodyPartReader, ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from swagent.errors import TransportError

PIECE_BYTES = 256 * 1024
NAME_BYTES_MAX = 255
T = TypeVar("T")


class InstallerLeft(Exception):
    """The installer takes no more: it has failed, and says why elsewhere."""


class Upload:
    """One upload.

    Attributes:
        name: of the file, as the browser says.
        total_bytes: of the whole request, None when it does not say.
        done_bytes: of the file, so far.
    """

    def __init__(self, request: web.Request, part: BodyPartReader, name: str) -> None:
        self._request = request
        self._part = part
        self.name = name
        self.total_bytes = request.content_length
        self.done_bytes = 0

    async def forward(
        self, to: socket.socket, *, silence_s: float, max_bytes: int, tell: Callable[[], None]
    ) -> None:
        """Send all of it to the installer.

        Args:
            to: where it reads.
            silence_s: how long the browser may bring nothing; the installer may take as long as it needs.
            max_bytes: 0 for any.
            tell: called after each piece.

        Raises:
            InstallerLeft: the installer does not read on.
            TransportError: the connection broke.
            HTTPException: the upload is not what it should be.
        """
        loop = asyncio.get_running_loop()
        async for piece in self._pieces(silence_s):
            self.done_bytes += len(piece)
            if max_bytes and self.done_bytes > max_bytes:
                raise too_large(max_bytes)
            try:
                await loop.sock_sendall(to, piece)
            except OSError as exc:
                raise InstallerLeft from exc
            tell()

    async def _pieces(self, silence_s: float) -> AsyncIterator[bytes]:
        while True:
            piece = await _in_time(self._part.read_chunk(PIECE_BYTES), silence_s)
            if piece:
                yield piece
            elif self._part.at_eof():
                return


async def begin(request: web.Request, *, silence_s: float, max_bytes: int) -> Upload:
    """Read the head of a form with one file.

    Raises:
        HTTPException: it is something else.
        TransportError: the connection broke.
    """
    if not re.match(r"multipart/form-data\s*;", request.headers.get("Content-Type", ""), re.IGNORECASE):
        raise web.HTTPUnsupportedMediaType(text="Send the update as multipart/form-data.\n")
    if max_bytes and (request.content_length or 0) > max_bytes + 64 * 1024:
        raise too_large(max_bytes)
    try:
        reader = await request.multipart()
    except (ValueError, AssertionError) as exc:
        raise malformed() from exc
    part = await _in_time(reader.next(), silence_s)
    name = clean_name(part.filename) if isinstance(part, BodyPartReader) and part.filename else ""
    if not isinstance(part, BodyPartReader) or not name:
        raise web.HTTPBadRequest(text="filename not set in form\n")
    if "Content-Encoding" in part.headers or "Content-Transfer-Encoding" in part.headers:
        raise web.HTTPBadRequest(text="the file is encoded: send it as it is\n")
    return Upload(request, part, name)


def clean_name(name: str) -> str:
    """What a browser calls a file, without folders and what cannot be shown."""
    name = re.split(r"[/\\]", name)[-1]
    name = "".join(c for c in name if c.isprintable())
    return name.encode("utf-8", "replace")[:NAME_BYTES_MAX].decode("utf-8", "ignore").strip()


def too_large(max_bytes: int) -> web.HTTPException:
    """The answer to an upload of more bytes than are allowed."""
    return web.HTTPRequestEntityTooLarge(
        max_size=max_bytes, actual_size=0, text=f"An upload may have {max_bytes} bytes (upload-max-size).\n"
    )


def malformed() -> web.HTTPException:
    """The answer to a form that is none."""
    return web.HTTPBadRequest(text="This is no multipart form.\n")


async def _in_time(reading: Awaitable[T], silence_s: float) -> T:
    """What is read, or the answer to a form that is none, has no end, or comes from nobody any more."""
    try:
        async with asyncio.timeout(silence_s):
            return await reading
    except TimeoutError as exc:
        raise web.HTTPRequestTimeout(text="Request Timeout\n") from exc
    except (ConnectionError, ClientError, web.RequestPayloadError) as exc:
        raise TransportError("the upload was cut") from exc
    except (ValueError, AssertionError, HttpProcessingError) as exc:  # as aiohttp's reader says it
        raise malformed() from exc
