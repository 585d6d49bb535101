"""The dialogue with a microcontroller's serial boot loader, without the wire (handlers §2.17).

    we   $PROG;8D              it  $READY;50
    we   a line of the file    it  $READY;50          and so on
    we   the last line         it  $COMPLETED;28      or $READY first

One packet is one line of the firmware file, sent as it is. Nothing can be sent again: after any fault the only way on
is from the start. What arrives comes in pieces of any size and is not to be trusted.
"""

import re
from collections.abc import Iterator

from swagent.errors import HandlerError, SizeError

MAX_PACKET_BYTES = 1024
MAX_ANSWER_BYTES = 64
MAX_FIRMWARE_BYTES = 16 * 1024 * 1024

_MESSAGE = re.compile(rb"\$([^$]*)([0-9A-Fa-f]{2})\Z", re.DOTALL)
_READY = b"READY;"
_COMPLETED = b"COMPLETED;"


def checksum(body: bytes) -> int:
    """The two's complement of the sum of all bytes between ``$`` and the checksum, the ``;`` included."""
    return -sum(body) & 0xFF


def frame(name: str) -> bytes:
    """A message, as ``$PROG;8D`` and a line end."""
    body = name.encode() + b";"
    return b"$%b%02X\r\n" % (body, checksum(body))


def body_of(line: bytes) -> bytes:
    """What a message says, from behind its ``$`` to the ``;`` before its checksum.

    Raises:
        HandlerError: it is no message, or its checksum is wrong.
    """
    found = _MESSAGE.match(line.rstrip(b"\r\n"))
    if found is None:
        raise _broken(f"said {shown(line)}, which is no message")
    body, said = found[1], int(found[2], 16)
    if checksum(body) != said:
        raise _broken(f"said {shown(line)}, whose checksum should be {checksum(body):02X}")
    return body


def shown(data: bytes | bytearray) -> str:
    """Bytes of the dialogue for people: short, on one line."""
    text = data.rstrip(b"\r\n").decode("ascii", "backslashreplace")
    printable = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
    return f"'{printable[:80]}'" if printable else "an empty line"


class Firmware:
    """The bytes of a firmware file, taken apart into packets.

    Args:
        content: the file.

    Raises:
        HandlerError: it has no packets, or one that cannot be sent.
        SizeError: it is larger than any microcontroller's.
    """

    def __init__(self, content: bytes | bytearray) -> None:
        if len(content) > MAX_FIRMWARE_BYTES:
            raise SizeError(f"the firmware has more than {MAX_FIRMWARE_BYTES} bytes")
        self._content = content
        self.packets = content.count(b"\n")
        if not content:
            raise HandlerError("the firmware file is empty")
        if not content.endswith(b"\n"):
            raise HandlerError(
                f"line {self.packets + 1} of the firmware has no end",
                hint="was the file cut? its last byte must be a line feed",
            )
        for number, packet in enumerate(self, 1):
            if len(packet) > MAX_PACKET_BYTES:
                raise HandlerError(
                    f"line {number} of the firmware has {len(packet)} bytes, a packet at most {MAX_PACKET_BYTES}",
                    hint="is it the text form, such as Intel HEX or S-records?",
                )

    def __iter__(self) -> Iterator[bytes]:
        """The packets, without a list of them all."""
        start = 0
        while end := self._content.find(b"\n", start) + 1:
            yield bytes(self._content[start:end])
            start = end


class Dialogue:
    """One attempt: tells what to send, judges what comes.

    Args:
        firmware: what to transfer.

    Attributes:
        sent: how many packets were handed out.
        completed: whether the microcontroller has said that it has everything.
        awaited: what must come next, for messages.
    """

    def __init__(self, firmware: Firmware) -> None:
        self._packets = iter(firmware)
        self._total = firmware.packets
        self._begun = False
        self._arrived = bytearray()
        self._last_acknowledged = False
        self.sent = 0
        self.completed = False
        self.awaited = "the answer to $PROG"

    def send(self) -> bytes:
        """The next bytes for the wire; none when only ``$COMPLETED`` is still to come.

        Raises:
            HandlerError: the microcontroller has spoken out of turn.
        """
        if not self._begun:
            self._begun = True
            return frame("PROG")
        if self.sent == self._total:
            self.awaited = "$COMPLETED after the last packet"
            return b""
        if self._arrived:
            raise _broken(f"said {shown(self._arrived)} unasked")
        self.sent += 1
        self.awaited = f"the answer to packet {self.sent} of {self._total}"
        return next(self._packets)

    def receive(self, piece: bytes) -> bool:
        """Take what has arrived; whether an answer is complete.

        What follows ``$COMPLETED`` is ignored: the new firmware may have started to talk.

        Raises:
            HandlerError: it is no answer, or not the one that must come now.
        """
        self._arrived += piece
        line, end, rest = self._arrived.partition(b"\n")
        if len(line) > MAX_ANSWER_BYTES:
            raise _broken(f"said more than {MAX_ANSWER_BYTES} bytes without an end: {shown(line)}")
        if not end:
            return False
        self._arrived = rest
        body = body_of(bytes(line))
        if body == _COMPLETED and self.sent == self._total:
            self.completed = True
        elif body == _COMPLETED:
            raise _broken(f"said $COMPLETED where {self.awaited} was due")
        elif body != _READY:
            raise _broken(f"said {shown(line)} where {self.awaited} was due")
        elif self.sent == self._total:
            if self._last_acknowledged:
                raise _broken("wanted more packets than the firmware has")
            self._last_acknowledged = True
        return True


def _broken(what: str) -> HandlerError:
    return HandlerError(f"the microcontroller {what}", hint="the property debug shows the whole dialogue")
