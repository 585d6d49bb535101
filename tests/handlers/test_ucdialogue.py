import pytest
from hypothesis import given
from hypothesis import strategies as st

from swagent.errors import HandlerError, SizeError
from swagent.handlers.ucdialogue import (
    MAX_ANSWER_BYTES,
    MAX_FIRMWARE_BYTES,
    MAX_PACKET_BYTES,
    Dialogue,
    Firmware,
    body_of,
    checksum,
    frame,
    shown,
)

READY, COMPLETED = frame("READY"), frame("COMPLETED")
NAMES = st.text(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789;,."), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("name", "line"), [("PROG", "$PROG;8D"), ("READY", "$READY;50"), ("COMPLETED", "$COMPLETED;28")]
)
def test_worked_values(name: str, line: str) -> None:
    assert frame(name) == line.encode() + b"\r\n"
    assert body_of(line.encode()) == name.encode() + b";"


@given(NAMES)
def test_a_frame_is_read_as_it_was_made(name: str) -> None:
    line = frame(name)
    assert body_of(line) == name.encode() + b";"
    assert (sum(line[1:-4]) + int(line[-4:-2], 16)) % 256 == 0


@given(NAMES, st.integers(0, 41), st.integers(1, 255))
def test_one_wrong_byte_is_seen(name: str, at: int, change: int) -> None:
    line = bytearray(frame(name)[:-2])
    at %= len(line)
    line[at] ^= change
    try:
        body = body_of(bytes(line))
    except HandlerError:
        return
    assert body == name.encode() + b";"  # a digit of the checksum in lower case


@pytest.mark.parametrize(
    "line",
    [b"", b"\r\n", b"READY;50", b"$READY;5", b"$READY;", b"$READY;51", b"$READY;+5", b"$$READY;50", b" $READY;50",
     b"$READY;50 ", b"\0$READY;50", b"$PROG;8D$READY;50"],
)  # fmt: skip
def test_what_is_no_message(line: bytes) -> None:
    with pytest.raises(HandlerError, match="microcontroller said"):
        body_of(line)


def test_firmware_is_taken_apart_at_line_ends() -> None:
    content = b"one\r\n\ntwo\n" + b"x" * (MAX_PACKET_BYTES - 1) + b"\n"
    firmware = Firmware(content)
    assert firmware.packets == 4
    assert list(firmware) == content.splitlines(keepends=True)
    assert list(firmware) == list(firmware)


@pytest.mark.parametrize(
    ("content", "error", "text"),
    [
        (b"", HandlerError, "empty"),
        (b"one\ntwo", HandlerError, "line 2 of the firmware has no end"),
        (b"one\n" + b"x" * MAX_PACKET_BYTES + b"\n", HandlerError, "line 2 of the firmware has 1025 bytes"),
        (b"\n" * (MAX_FIRMWARE_BYTES + 1), SizeError, "more than 16777216 bytes"),
    ],
)
def test_what_is_no_firmware(content: bytes, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Firmware(content)


def played(answers: list[bytes], packets: int = 3) -> Dialogue:
    """A dialogue in which each message gets one of these answers."""
    dialogue = Dialogue(Firmware(b"line\r\n" * packets))
    for answer in answers:
        dialogue.send()
        assert dialogue.receive(answer)
    return dialogue


def test_the_whole_dialogue() -> None:
    dialogue = Dialogue(Firmware(b"one\r\ntwo\n"))
    assert dialogue.send() == b"$PROG;8D\r\n"
    assert dialogue.receive(READY)
    assert dialogue.send() == b"one\r\n"
    assert dialogue.receive(READY)
    assert dialogue.send() == b"two\n"
    assert dialogue.receive(COMPLETED)
    assert dialogue.completed
    assert dialogue.sent == 2


@pytest.mark.parametrize("together", [True, False])
def test_the_last_packet_may_be_acknowledged_first(together: bool) -> None:
    dialogue = played([READY, READY])
    dialogue.send()
    dialogue.send()
    assert dialogue.receive(READY + COMPLETED if together else READY)
    assert dialogue.send() == b""
    assert dialogue.receive(b"" if together else COMPLETED)
    assert dialogue.completed


@given(st.lists(st.integers(1, 10), min_size=1, max_size=9))
def test_answers_come_in_pieces(cuts: list[int]) -> None:
    dialogue = played([])
    dialogue.send()
    rest, complete = READY, False
    for cut in [*cuts, len(READY)]:
        piece, rest = rest[:cut], rest[cut:]
        assert not complete or not piece
        if piece:
            complete = dialogue.receive(piece)
            assert complete == (not rest)


def test_what_follows_the_end_is_the_new_firmware_talking() -> None:
    assert played([READY, READY, READY, COMPLETED + b"$READY;50\r\nHello\n"]).completed


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ([COMPLETED], r"said \$COMPLETED where the answer to \$PROG was due"),
        ([READY, COMPLETED], r"said \$COMPLETED where the answer to packet 1 of 3 was due"),
        ([READY, frame("ERROR")], r"said '\$ERROR;3B' where the answer to packet 1 of 3 was due"),
        ([frame("PROG")], r"said '\$PROG;8D' where"),
        ([READY + READY, READY], r"said '\$READY;50' unasked"),
        ([READY + b"\n", READY], "said an empty line unasked"),
        ([READY] * 5, "wanted more packets"),
        ([b"\xff\x00\n"], r"said '\\xff\\x00', which is no message"),
        ([b"$" * (MAX_ANSWER_BYTES + 1)], "more than 64 bytes without an end"),
        ([b"$" * (MAX_ANSWER_BYTES + 1) + b"\n"], "more than 64 bytes"),
    ],
)
def test_what_must_not_be_said(answers: list[bytes], text: str) -> None:
    with pytest.raises(HandlerError, match=text):
        played(answers)


def test_what_is_shown_is_short_and_harmless() -> None:
    assert shown(b"\x1b[2J\xe2\x80\xae\r\n") == r"'\x1b[2J\xe2\x80\xae'"
    assert len(shown(b"x" * 1000)) == 82
    assert checksum(b"") == 0
