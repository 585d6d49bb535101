"""Messages between a handler ``remote`` and its program: what is consent, what is a request."""

from contextlib import suppress

from swagent.errors import SwagentError
from swagent.remote import protocol


def one_input(data: bytes) -> None:
    """Frames are what stands between bytes 0xff."""
    frames = data.split(b"\xff")
    try:
        reply_ms = protocol.read_reply(frames, "a program")
        assert len(frames) == 1
        assert reply_ms == 0 or frames[0].startswith(b"ACK:")
        assert protocol.read_reply([protocol.ack_frame(reply_ms)], "a program") == reply_ms
    except SwagentError as exc:
        assert len(exc.message) < 400
    with suppress(SwagentError):
        request = protocol.read_request(frames)
        if isinstance(request, protocol.Init):
            assert 0 <= request.size_bytes <= protocol.SIZE_MAX
            again = protocol.init_frames(request.size_bytes)
        else:
            assert len(request.data) <= protocol.CHUNK_BYTES_MAX
            again = protocol.data_frames(request.data)
        assert protocol.read_request(again) == request


def seeds() -> list[bytes]:
    """Each message, and what comes close."""
    return [
        *(b"ACK", b"NACK", b"ACK:5000", b"ACK:0", b"ACK:", b"A", b"", b"ACKx:5", b"ACK\xff", b"\xffACK"),
        *(b"INIT:42\xff", b"INIT:9223372036854775807\xff", b"INIT:42", b"INIT:-1\xff", b"INIT:1\xffx"),
        *(b"DATA\xffbytes", b"DATA\xff", b"DATA", b"DATA\xffa\xffb", b"DATA\xff" + b"x" * 16385),
    ]
