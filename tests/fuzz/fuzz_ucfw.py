"""The answers of a microcontroller, cut into pieces by the first byte; and firmware files."""

from swagent.errors import SwagentError
from swagent.handlers.ucdialogue import MAX_ANSWER_BYTES, Dialogue, Firmware, frame

_PACKETS = 3


def one_input(data: bytes) -> None:
    """The same bytes are a file, and what a microcontroller says."""
    try:
        firmware = Firmware(data)
        assert b"".join(firmware) == data
        assert len(list(firmware)) == firmware.packets
    except SwagentError:
        firmware = Firmware(b"line\n" * _PACKETS)
    size = data[0] % 16 + 1 if data else 1
    pieces = [data[at : at + size] for at in range(1, len(data), size)]
    if _completes(
        firmware, [data[1:]]
    ):  # what comes at once can only be judged more strictly: as said unasked
        assert _completes(firmware, pieces)


def _completes(firmware: Firmware, pieces: list[bytes]) -> bool:
    dialogue = Dialogue(firmware)
    arriving = iter([b"", *pieces])
    try:
        while not dialogue.completed:
            dialogue.send()
            while not dialogue.receive(next(arriving)):
                pass
    except (SwagentError, StopIteration):
        return False
    assert dialogue.sent == firmware.packets
    return True


def seeds() -> list[bytes]:
    """Good and bad dialogues, and a file."""
    ready, completed = frame("READY"), frame("COMPLETED")
    return [
        b"\x03" + ready * 3 + completed,
        b"\x00" + ready * 4 + completed,
        b"\x10" + ready + frame("ERROR"),
        b"\x07" + ready + completed,
        b"\x07$" + b"x" * MAX_ANSWER_BYTES,
        b":10000000ABABABABABABABABABABABABABABABAB00\r\n:00000001FF\r\n",
    ]
