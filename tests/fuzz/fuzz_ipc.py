"""Messages of the control and progress sockets, and our own orders in them: read, or refused with a reason."""

import json

from swagent.errors import NotAcknowledged, SelectionRefused
from swagent.ipc import messages as m
from swagent.sockets.orders import read_order

_UNIONS = (
    m.StatusReply,
    m.Notification,
    m.Request,
    m.Command,
    m.AesKeyText,
    m.VersionsRange,
    m.Revisions,
    m.Variable,
    m.DeltaUrl,
)


def one_input(data: bytes) -> None:
    """A message; whatever it holds can be read as any union, and an order is one or is refused."""
    message = m.unpack(data[: m.MESSAGE_BYTES].ljust(m.MESSAGE_BYTES, b"\0"))
    for union in _UNIONS:
        found = union.unpack(message.body)
        assert union.unpack(found.pack().ljust(len(message.body), b"\0")) is not None
    m.unpack_state(message.body)
    for size in (m.PROGRESS_BYTES, m.PROGRESS_2022_BYTES):
        m.unpack_progress(data[:size].ljust(size, b"\0"))
    for text in (m.unpack_ours(message.body), data):
        try:
            read_order(text).request().pack()
        except (NotAcknowledged, SelectionRefused):
            continue


def seeds() -> list[bytes]:
    """A message of each kind, and orders."""
    orders = [
        {
            "do": "install",
            "length": 5,
            "hashes": {"sha256": "00" * 32},
            "ask": ["consent"],
            "selection": "a,b",
        },
        {"do": "answer", "question": "x", "answer": "yes"},
        {"do": "inspect", "name": "x"},
    ]
    bodies = [
        m.Request(1, 1, "info", "a", "b", 5).pack(),
        m.Command(2, 3, b"{}", 5).pack(),
        m.AesKeyText("00" * 32, "00" * 16).pack(),
        m.VersionsRange("1", "2", "3").pack(),
        m.Variable("ns", "name", "value").pack(),
        m.pack_state("1"),
        *(m.pack_ours(json.dumps(order).encode()) for order in orders),
    ]
    messages = [m.Message(number, body).pack() for number, body in enumerate(bodies)]
    return [*messages, m.Progress(2, 1, 2, 3, 4, 5, "image", "raw", 1, "info").pack()]
