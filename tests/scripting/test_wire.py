"""Frames of values, from a side that is not trusted."""

import json
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swagent.scripting import wire
from swagent.scripting.wire import Frame, WireError

texts = st.binary(max_size=20).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts
keys = st.integers(0, 99) | texts
values = st.recursive(scalars, lambda inner: st.dictionaries(keys, inner, max_size=4), max_leaves=20)


@given(st.lists(values, max_size=4), st.binary(max_size=100))
def test_what_is_sent_arrives(sent: list[object], blob: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        frame = Frame("call", tuple(sent), blob)
        wire.send(ours, frame)
        assert wire.receive(theirs) == frame


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[]", b"[1]", b'["x", {}]', b'["x", [1]]', b'["x", [[1]]]', b'["x", [[null, 1]]]',
     b'["x", [[[], 1]]]', '["x", "ሴ"]'.encode(), b'["x", "\\u1234"]', b"[" * 100_000, b'["x", 1' + b"0" * 5000 + b"]",
     b"\xff"],
)  # fmt: skip
def test_what_is_no_frame(text: bytes) -> None:
    with pytest.raises(WireError):
        wire.parse(text)


@pytest.mark.parametrize("head", [(2**32 - 1, 0), (10, 2**32 - 1), (wire.FRAME_BYTES_MAX + 1, 0)])
def test_a_large_frame_is_not_allocated(head: tuple[int, int]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(struct.pack("!II", *head))
        with pytest.raises(WireError):
            wire.receive(theirs)


def test_a_frame_that_ends_early() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(struct.pack("!II", 10, 0) + b"[")
        with pytest.raises(WireError, match="gone"):
            wire.receive(theirs)


def test_what_cannot_be_sent() -> None:
    ours, theirs = socket.socketpair()
    deep: dict[str, object] = {}
    for _ in range(40):
        deep = {"x": deep}
    with ours, theirs:
        for value in (deep, "x" * (wire.FRAME_BYTES_MAX + 1), "\ud800"):
            with pytest.raises(WireError):
                wire.send(ours, Frame("call", (value,)))
    assert json.loads("1") == 1
