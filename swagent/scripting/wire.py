"""What goes over the socket between the session and a process that runs Lua: frames of Lua values.

A frame is a verb, values, and at most one string of raw bytes for bulk data. Values are those that Lua and Python have
both: nil, booleans, numbers, strings and tables of them. Strings are bytes on Lua's side; on ours they are texts, in
which bytes that are no UTF-8 are kept as surrogates, so nothing is lost either way.

Nothing that arrives is trusted: sizes are bounded before anything is allocated, and a frame holds nothing but values.
"""

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

FRAME_BYTES_MAX = 4 * 1024 * 1024
BLOB_BYTES_MAX = 16 * 1024 * 1024
TABLE_DEPTH_MAX = 16
TABLE_ENTRIES_MAX = 65536

_HEAD = struct.Struct("!II")

Value = Any
"""None, bool, int, float, str or a dict of these; a list is accepted where a table of 1..n is meant."""


class WireError(Exception):
    """The other side does not keep to the protocol, or is gone."""


class Frame(NamedTuple):
    """One message.

    Attributes:
        verb: what it is about.
        values: arguments or results.
        blob: raw bytes, b"" if there are none.
    """

    verb: str
    values: tuple[Value, ...] = ()
    blob: bytes = b""


def send(sock: socket.socket, frame: Frame) -> None:
    """Send a frame whole.

    Raises:
        WireError: the other side is gone, or the frame is larger than one may be.
    """
    try:
        text = json.dumps([frame.verb, *(_packed(value, 0) for value in frame.values)]).encode()
    except ValueError as exc:
        raise WireError("a text cannot be handed over") from exc
    if len(text) > FRAME_BYTES_MAX or len(frame.blob) > BLOB_BYTES_MAX:
        raise WireError("what is to be handed over is too large")
    try:
        sock.sendall(_HEAD.pack(len(text), len(frame.blob)) + text)
        if frame.blob:
            sock.sendall(frame.blob)
    except OSError as exc:
        raise WireError("the other side is gone") from exc


def receive(sock: socket.socket) -> Frame:
    """The next frame.

    Raises:
        WireError: the other side is gone, or what it sends is no frame.
    """
    text_bytes, blob_bytes = _HEAD.unpack(_exactly(sock, _HEAD.size))
    if text_bytes > FRAME_BYTES_MAX or blob_bytes > BLOB_BYTES_MAX:
        raise WireError("a frame is too large")
    text = _exactly(sock, text_bytes)
    return parse(text, _exactly(sock, blob_bytes))


def parse(text: bytes, blob: bytes = b"") -> Frame:
    """A frame from its parts.

    Raises:
        WireError: it is none.
    """
    try:
        parts = json.loads(text)
        if isinstance(parts, list) and parts and isinstance(parts[0], str):
            return Frame(parts[0], tuple(_unpacked(part) for part in parts[1:]), blob)
    except (ValueError, RecursionError) as exc:
        raise WireError("a frame is malformed") from exc
    raise WireError("a frame is malformed")


def _packed(value: Value, depth: int) -> Any:
    """For JSON: each byte of a string as one letter, a table as a list of pairs."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("latin-1")
    if depth >= TABLE_DEPTH_MAX:
        raise WireError("a table is nested too deeply")
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value, 1)
    return [[_packed(key, depth + 1), _packed(item, depth + 1)] for key, item in pairs]


def _unpacked(part: Any) -> Value:
    if isinstance(part, str):
        return part.encode("latin-1").decode("utf-8", "surrogateescape")
    if not isinstance(part, list):
        if isinstance(part, dict):
            raise ValueError("an object is no value")
        return part
    table: dict[Value, Value] = {}
    for pair in part:
        if not isinstance(pair, list) or len(pair) != 2 or isinstance(pair[0], list | None):
            raise ValueError("no pair")
        table[_unpacked(pair[0])] = _unpacked(pair[1])
    return table


def _exactly(sock: socket.socket, n_bytes: int) -> bytes:
    data = bytearray(n_bytes)
    view = memoryview(data)
    while view:
        try:
            n = sock.recv_into(view)
        except OSError as exc:
            raise WireError("the other side is gone") from exc
        if n == 0:
            raise WireError("the other side is gone")
        view = view[n:]
    return bytes(data)
