"""One device with SWUpdate's web server: an upload, and the status of what becomes of it (handlers §2.16)."""

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from swagent.errors import HandlerError, RegistrationError, SwagentError, TransportError, UsageError

from .address import Address
from .channel import Channel
from .digest import Digest
from .status import FAILURE, MESSAGE_BYTES_MAX, SUCCESS, Line, State, read_message

if TYPE_CHECKING:
    import ssl

    from websockets.client import ClientProtocol
    from websockets.frames import Frame
    from websockets.http11 import Response

SUBPROTOCOL = "swupdate-status-protocol"
REPLY_BYTES_MAX = 16 * 1024
LINES_MAX = 2000
"""Lines of a device's log that are passed on."""
GRACE_S = 3.0
"""How long the other connection may take to tell more, once one has told something final."""

_INTERIM = re.compile(rb"HTTP/1\.[01] 1[0-9]{2}[ \r]")
"""What a server may say before it answers, such as 100 Continue."""
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r\n]")


def require_libraries() -> None:
    """Whether what a device needs is there.

    Raises:
        RegistrationError: it is not.
    """
    try:
        import urllib3  # noqa: F401 - only whether it can be
        import websockets  # noqa: F401
    except ImportError as exc:
        raise RegistrationError(
            "forwarding updates needs swagent[forward]", hint="pip install 'swagent[forward]'"
        ) from exc


class Device:
    """Uploads one archive and hears how it is installed; a loop moves it on, see ``fanout``.

    Args:
        address: of its web server; a slash at the end makes no difference.
        tls: for https and wss.
        size_bytes: of the archive.
        log: hears the device's own log.
        read: what a message of its status says.

    Attributes:
        name: the address, without what is secret in it.
        error: why it is given up, None while it is not.
        installed: whether it has everything and said SUCCESS.
        waited_s: how long others had to wait for it.

    Raises:
        UsageError: the address has a query.
    """

    def __init__(
        self,
        address: Address,
        tls: "ssl.SSLContext | None",
        size_bytes: int,
        log: Callable[[str, str], None],
        read: Callable[[bytes], State | Line | None] = read_message,
    ) -> None:
        if "?" in address.target:
            raise UsageError(f"{address.shown}: what follows the ? has no place in the address of a device")
        self.name = address.shown.rstrip("/")
        self.error: SwagentError | None = None
        self.installed = False
        self.waited_s = 0.0
        self._address = address
        self._tls = tls
        self._log = log
        self._read = read
        self._left_bytes = size_bytes
        self._boundary = "-" * 24 + os.urandom(8).hex()
        self._size_bytes = size_bytes
        self._digest: Digest | None = None
        self._status: Channel | None = None
        self._socket: ClientProtocol | None = None
        self._message = b""
        self._upload: Channel | None = None
        self._reply = b""
        self._accepted = False
        self._succeeded = False
        self._ended: SwagentError | None = None
        self._rejected = False
        self._final_from_s: float | None = None
        self._lines = 0
        self._last_error = ""

    # -- what the loop asks and does

    def start(self) -> None:
        """Open the status connection; the upload follows when it is there."""
        try:
            self._open_status()
        except SwagentError as exc:
            self.fail(exc)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be done."""
        return self.installed or self.error is not None

    @property
    def is_ready(self) -> bool:
        """Whether it takes the archive."""
        return self.is_over or self._ended is not None or (self._upload is not None and self._upload.is_open)

    @property
    def is_idle(self) -> bool:
        """Whether it has taken all that it was given."""
        return self.is_over or self._ended is not None or (self._upload is not None and self._upload.is_done)

    @property
    def channels(self) -> list[Channel]:
        """The connections that are to be watched."""
        found = [channel for channel in (self._status, self._upload) if channel is not None]
        return [channel for channel in found if channel.fileno() >= 0 and not channel.ended]

    def send(self, piece: memoryview) -> None:
        """The next bytes of the archive; they must stay as they are until it is idle."""
        if self._upload is None or self._ended is not None:
            return
        self._upload.send(piece)
        self._left_bytes -= len(piece)
        if self._left_bytes == 0:
            self._upload.send(f"\r\n--{self._boundary}--\r\n".encode())

    def advance(self, channel: Channel) -> None:
        """Do what can be done on a connection."""
        try:
            if channel is self._status:
                self._hear_status(channel.advance(), ended=channel.ended)
            else:
                self._hear_reply(channel.advance(), ended=channel.ended)
        except SwagentError as exc:
            if channel is not self._status:
                self._upload_ended(exc)
            elif self._succeeded:
                channel.close()
            else:
                self.fail(self._ended or exc)

    def judge(self, now_s: float) -> None:
        """Decide, when both connections have told, or one of them has not in time."""
        if self.is_over or (self._ended is None and not self._succeeded):
            return
        if self._final_from_s is None:
            self._final_from_s = now_s
        late = now_s - self._final_from_s >= GRACE_S
        if self._ended is not None and (self._rejected or not self._succeeded):
            if late or self._succeeded:
                self.fail(self._ended)
        elif self._accepted or self._ended is not None or late:
            if not self._accepted:
                self._log("warn", f"{self.name}: it has installed the update, but never answered the upload")
            self.installed = True
            self.close()

    def fail(self, error: SwagentError) -> None:
        """Give it up."""
        if not self.is_over:
            self.error = error
            self.close()

    def close(self) -> None:
        """Close its connections."""
        for channel in (self._status, self._upload):
            if channel is not None:
                channel.close()

    # -- status

    def _open_status(self) -> None:
        import logging

        from websockets.client import ClientProtocol
        from websockets.typing import Subprotocol
        from websockets.uri import parse_uri

        _, host, port = self._address.origin
        scheme = "wss" if self._address.scheme == "https" else "ws"
        self._socket = ClientProtocol(
            parse_uri(f"{scheme}://{host}:{port}/"),
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            max_size=MESSAGE_BYTES_MAX,
            logger=logging.Logger(self.name, logging.CRITICAL + 1),  # what matters of it is in our errors
        )
        request = self._socket.connect()
        if self._digest is not None:
            request.headers["Authorization"] = self._digest.header("GET", "/")
        self._socket.send_request(request)
        self._status = self._channel()
        self._flush_status()

    def _channel(self) -> Channel:
        _, host, port = self._address.origin
        return Channel(host.strip("[]"), port, self._tls)

    def _flush_status(self) -> None:
        if self._status is not None and self._socket is not None:
            for data in self._socket.data_to_send():
                self._status.send(data)

    def _hear_status(self, data: bytes, *, ended: bool) -> None:
        from websockets.exceptions import InvalidStatus
        from websockets.frames import Frame

        protocol = self._socket
        if protocol is None:
            return
        if data:
            protocol.receive_data(data)
        if ended:
            protocol.receive_eof()
        self._flush_status()
        for event in protocol.events_received():
            if isinstance(event, Frame):
                self._hear_frame(event)
            elif protocol.handshake_exc is None:
                self._open_upload()
        refused = protocol.handshake_exc
        if isinstance(refused, InvalidStatus):
            self._refused(refused.response)
        elif refused is not None:
            raise TransportError(f"no WebSocket with it: {refused}")
        elif protocol.parser_exc is not None and not ended:
            raise TransportError(f"its status makes no sense: {protocol.parser_exc}")
        elif (ended or protocol.close_expected()) and not self._succeeded:
            raise TransportError("it closed its status connection before it told how the update ended")

    def _hear_frame(self, frame: "Frame") -> None:
        from websockets.frames import Opcode

        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        self._message += bytes(frame.data)
        if not frame.fin:
            return
        message, self._message = self._message, b""
        told = self._read(message)
        if told is None or self.is_over:
            return
        if isinstance(told, State):
            self._hear_state(told.word)
            return
        if told.level == "error":
            self._last_error = told.text
        self._lines += 1
        if self._lines <= LINES_MAX:
            self._log(told.level, f"{self.name}: {told.text}")

    def _hear_state(self, word: str) -> None:
        if word == FAILURE:
            why = f": {self._last_error}" if self._last_error else ""
            self.fail(HandlerError(f"it reports FAILURE{why}"))
        elif word == SUCCESS and self._left_bytes == 0:  # before, it speaks of another update
            self._succeeded = True

    def _refused(self, response: "Response") -> None:
        challenge = response.headers.get_all("WWW-Authenticate")
        if response.status_code == 401 and challenge and self._address.auth and self._digest is None:
            user, _, password = self._address.auth.partition(":")
            try:
                self._digest = Digest(challenge[0], user, password)
            except ValueError as exc:
                raise TransportError(f"it wants a password: {exc}") from exc
            if self._status is not None:
                self._status.close()
            self._open_status()
            return
        raise TransportError(
            f"it refuses the WebSocket with {response.status_code}",
            hint="it wants a user and a password in its url" if response.status_code == 401 else "",
        )

    # -- upload

    def _open_upload(self) -> None:
        from swagent import __version__

        self._upload = self._channel()
        target = self._address.target.rstrip("/") + "/upload"
        _, host, port = self._address.origin
        part = (
            f"--{self._boundary}\r\n"
            'Content-Disposition: form-data; name="swupdate-package"; filename="swupdate.swu"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        length = len(part) + self._size_bytes + len(f"\r\n--{self._boundary}--\r\n")
        lines = [
            f"POST {target} HTTP/1.1",
            f"Host: {host}:{port}",
            f"User-Agent: swagent/{__version__}",
            "Accept: */*",
            *([f"Authorization: {self._digest.header('POST', target)}"] if self._digest is not None else []),
            f"Content-Length: {length}",
            f"Content-Type: multipart/form-data; boundary={self._boundary}",
        ]
        self._upload.send(("\r\n".join(lines) + "\r\n\r\n" + part).encode())

    def _hear_reply(self, data: bytes, *, ended: bool) -> None:
        if not self._accepted and data:
            self._reply += data
            while _INTERIM.match(self._reply) and b"\r\n\r\n" in self._reply:
                self._reply = self._reply.partition(b"\r\n\r\n")[2]
            self._reply = self._reply[:REPLY_BYTES_MAX]
            self._judge_reply()
        if ended and not self._rejected and (not self._accepted or self._left_bytes):
            self._upload_ended(
                TransportError("it closed the upload without an answer, or before all had come")
            )

    def _judge_reply(self) -> None:
        if b"\n" not in self._reply:
            return
        match = _STATUS_LINE.match(self._reply)
        status = int(match[1]) if match is not None else 0
        if 200 <= status < 300:
            self._accepted = True
        elif not 100 <= status < 200:
            self._rejected = True
            told = f"with {status}" if status else f"with something that is no HTTP: {self._reply[:40]!r}"
            self._upload_ended(TransportError(f"it answers the upload {told}"))

    def _upload_ended(self, error: SwagentError) -> None:
        """Its status may tell why in a moment."""
        if self._upload is not None:
            self._upload.close()
        self._ended = self._ended or error
