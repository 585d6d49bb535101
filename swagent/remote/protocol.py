"""The messages: what they look like, and what is none (handlers §2.15). Knows no sockets."""

import re
from typing import NamedTuple

from swagent.errors import HandlerError, RegistrationError, SettingsError, TransportError

CHUNK_BYTES_MAX = 16384
START_REPLY_MS = 2000
"""How long a reply may take until one says otherwise."""
SIZE_MAX = 2**63 - 1
PATH_BYTES_MAX = 107
"""Of ``sun_path``, without its NUL."""
MESSAGE_BYTES_MAX = 64 * 1024
"""Frames longer than this are not taken in, and end their connection."""

ACK = b"ACK"
NACK = b"NACK"

_ACK = re.compile(rb"ACK(?::([0-9]{1,9}))?\Z")
_INIT = re.compile(rb"INIT:([0-9]{1,19})\Z")


class Init(NamedTuple):
    """An artifact begins; it is announced with so many bytes."""

    size_bytes: int


class Chunk(NamedTuple):
    """The next bytes of it."""

    data: bytes


def init_frames(size_bytes: int) -> list[bytes]:
    """The request that begins an artifact."""
    return [b"INIT:%d" % size_bytes, b""]


def data_frames(chunk: bytes) -> list[bytes]:
    """The request that carries a piece of it."""
    return [b"DATA", chunk]


def ack_frame(reply_ms: int = 0) -> bytes:
    """Consent; all further replies may take ``reply_ms``, if that is not 0."""
    return b"ACK:%d" % reply_ms if reply_ms else ACK


def read_reply(frames: list[bytes], where: str) -> int:
    """What an answer says.

    Args:
        frames: of the answer.
        where: who gave it, and to what, for messages.

    Returns:
        how many milliseconds further replies may take; 0 when that stays as it is.

    Raises:
        HandlerError: it is a refusal.
        TransportError: it is nothing of this protocol; SWUpdate takes ``A``, ``ACx`` and empty frames for consent.
    """
    match = _ACK.match(frames[0]) if len(frames) == 1 else None
    if match is not None:
        return int(match[1] or 0)
    if frames == [NACK]:
        raise HandlerError(f"{where}: the program refuses (NACK)", hint="its own log says why")
    shown = " + ".join(repr(frame[:20]) for frame in frames[:3])
    raise TransportError(f"{where}: the answer is neither ACK nor NACK but {shown}")


def read_request(frames: list[bytes]) -> Init | Chunk:
    """What a request says.

    Raises:
        TransportError: it is nothing of this protocol.
    """
    if len(frames) == 2:
        word, body = frames
        match = _INIT.match(word)
        if match is not None and not body and int(match[1]) <= SIZE_MAX:
            return Init(int(match[1]))
        if word == b"DATA" and len(body) <= CHUNK_BYTES_MAX:
            return Chunk(body)
    shown = " + ".join(repr(frame[:20]) for frame in frames[:3])
    raise TransportError(f"a request of {len(frames)} frames is neither INIT nor DATA: {shown}")


def address(path: str) -> str:
    """Where a socket is, in ZeroMQ's words.

    Raises:
        SettingsError: no socket can be there.
    """
    if not path.startswith("/") or "\0" in path or len(path.encode()) > PATH_BYTES_MAX:
        raise SettingsError(
            f"no socket can be at {path[:120]!r}", hint=f"absolute paths of at most {PATH_BYTES_MAX} bytes"
        )
    return f"ipc://{path}"


def require_library() -> None:
    """Whether ZeroMQ is there.

    Raises:
        RegistrationError: it is not.
    """
    try:
        import zmq  # noqa: F401 - only whether it can be
    except ImportError as exc:
        raise RegistrationError(
            "talking to programs over ZeroMQ needs swagent[remote]", hint="pip install 'swagent[remote]'"
        ) from exc
