"""What goes over SWUpdate's control and progress sockets, to the byte (runtime interfaces §2.2, §2.3, §3).

Structures have the layout that a C compiler gives them here, so that programs built for this machine understand them:
``size_t`` and alignment are the machine's. Texts are cut to their field and always end with a NUL; what is behind it
is zero.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

MAGIC = 0x14052001
API_VERSION = 1
PROGRESS_API = 0x0002_0000
PROGRESS_ACK = struct.pack("<I4s", PROGRESS_API, b"ACK\0")
"""What a progress socket of SWUpdate 2024.12 or newer says first."""
DATA_BYTES = 2048

_HEAD = struct.Struct("@II")
_TEXT = struct.Struct("@128s")
_STATUS = struct.Struct(f"@III{DATA_BYTES}s")
_REQUEST = struct.Struct("@IIIN512s256s256sB0N")
_COMMAND = struct.Struct(f"@IIII{DATA_BYTES}s")
_AES = struct.Struct("@65s33s")
_VERSIONS = struct.Struct("@256s256s256s256s")
_PAIR = struct.Struct("@256s256s")
_TRIPLE = struct.Struct("@256s256s256s")
_URL = struct.Struct("@256s1024s")
_STATE = struct.Struct("@I")
_BODY_BYTES = struct.calcsize(f"@{_REQUEST.size}sI{DATA_BYTES}s0N")
_OURS = struct.Struct(f"@I{_BODY_BYTES - 4}s")
OURS_BYTES_MAX = _BODY_BYTES - 4
MESSAGE_BYTES = _HEAD.size + _BODY_BYTES

# packed since 2025.12; the compiler's own alignment before
_PROGRESS = "IIIQIII256s64sII2048s"
_PROGRESS_PACKED = struct.Struct(f"={_PROGRESS}")
_PROGRESS_2022 = struct.Struct(f"@{_PROGRESS}0Q")
PROGRESS_BYTES, PROGRESS_2022_BYTES = _PROGRESS_PACKED.size, _PROGRESS_2022.size


class Type(IntEnum):
    """What a message on the control socket wants, or is."""

    REQ_INSTALL = 0
    ACK = 1
    NACK = 2
    GET_STATUS = 3
    POST_UPDATE = 4
    SWUPDATE_SUBPROCESS = 5
    SET_AES_KEY = 6
    SET_UPDATE_STATE = 7
    GET_UPDATE_STATE = 8
    REQ_INSTALL_EXT = 9
    SET_VERSIONS_RANGE = 10
    NOTIFY_STREAM = 11
    GET_HW_REVISION = 12
    SET_SWUPDATE_VARS = 13
    GET_SWUPDATE_VARS = 14
    SET_DELTA_URL = 15
    SWAGENT = 0x5341_0001
    """Ours: a JSON object (docs/reference/sockets.md). SWUpdate answers it with a NACK."""


class Status(IntEnum):
    """Of an update, in notifications and on the progress socket."""

    IDLE = 0
    START = 1
    RUN = 2
    SUCCESS = 3
    FAILURE = 4
    DOWNLOAD = 5
    DONE = 6
    SUBPROCESS = 7
    PROGRESS = 8


class Origin(IntEnum):
    """Who hands in an update; SWUpdate's ``sourcetype``."""

    UNKNOWN = 0
    WEBSERVER = 1
    SURICATTA = 2
    DOWNLOADER = 3
    LOCAL = 4
    CHUNKS_DOWNLOADER = 5


class DryRun(IntEnum):
    """Whether an update is only tried."""

    DEFAULT = 0
    ON = 1
    OFF = 2


class Level(IntEnum):
    """How much a line of the log matters, by SWUpdate's numbers."""

    OFF = 0
    ERROR = 1
    WARN = 2
    INFO = 3
    TRACE = 4
    DEBUG = 5


class ChildCommand(IntEnum):
    """What a child process is told, in ``SWUPDATE_SUBPROCESS``."""

    ACTIVATION = 0
    CONFIG = 1
    ENABLE = 2
    GET_STATUS = 3
    SET_DOWNLOAD_URL = 4


class Message(NamedTuple):
    """One message of the control socket.

    Attributes:
        type: a ``Type``, or a number that nobody knows.
        body: the union, as it is on the wire; shorter ones are filled with zeros.
        magic: ``MAGIC`` in messages that are well.
    """

    type: int
    body: bytes = b""
    magic: int = MAGIC

    def pack(self) -> bytes:
        """The bytes on the wire, ``MESSAGE_BYTES`` of them."""
        return _HEAD.pack(self.magic, self.type) + self.body.ljust(_BODY_BYTES, b"\0")

    @property
    def text(self) -> str:
        """The union as ``msg``: what ACK and NACK may say."""
        return _unpack_text(self.body[: _TEXT.size])


def unpack(data: bytes) -> Message:
    """Read a message; ``data`` has ``MESSAGE_BYTES``."""
    magic, number = _HEAD.unpack_from(data)
    return Message(number, data[_HEAD.size :], magic)


def text_body(text: str) -> bytes:
    """The union as ``msg``."""
    return _TEXT.pack(_pack_text(text, _TEXT.size))


class StatusReply(NamedTuple):
    """What GET_STATUS tells, and the ACK of NOTIFY_STREAM.

    Attributes:
        current: of the line in ``text`` if there is one, else of the installer now.
        last_result: of the last update, ``Status.IDLE`` before the first.
        text: the oldest line of the log that nobody has fetched, "" when there is none.
    """

    current: int
    last_result: int
    error: int = 0
    text: str = ""

    def pack(self) -> bytes:
        """The union."""
        return _STATUS.pack(self.current, self.last_result, self.error, _pack_text(self.text, DATA_BYTES))

    @classmethod
    def unpack(cls, body: bytes) -> "StatusReply":
        """Read the union."""
        current, last, error, text = _STATUS.unpack_from(body)
        return cls(current, last, error, _unpack_text(text))


class Notification(NamedTuple):
    """A line of the log, as NOTIFY_STREAM brings it.

    Attributes:
        error: 0, or 1 for the line that says that the update failed.
        level: of ``Level``.
    """

    status: int
    error: int
    level: int
    text: str

    def pack(self) -> bytes:
        """The union."""
        return _STATUS.pack(self.status, self.error, self.level, _pack_text(self.text, DATA_BYTES))

    @classmethod
    def unpack(cls, body: bytes) -> "Notification":
        """Read the union."""
        status, error, level, text = _STATUS.unpack_from(body)
        return cls(status, error, level, _unpack_text(text))


class Request(NamedTuple):
    """The union of REQ_INSTALL.

    Attributes:
        info: free text, told again on the progress socket.
        software_set, running_mode: the selection asked for, both "" for the daemon's own.
        length_bytes: of the update, 0 when not told; nobody relies on it.
    """

    origin: int = Origin.UNKNOWN
    dry_run: int = DryRun.DEFAULT
    info: str = ""
    software_set: str = ""
    running_mode: str = ""
    length_bytes: int = 0
    api_version: int = API_VERSION
    disable_store: bool = False

    def pack(self) -> bytes:
        """The union."""
        return _REQUEST.pack(
            self.api_version,
            self.origin,
            self.dry_run,
            self.length_bytes,
            _pack_text(self.info, 512),
            _pack_text(self.software_set, 256),
            _pack_text(self.running_mode, 256),
            self.disable_store,
        )

    @classmethod
    def unpack(cls, body: bytes) -> "Request":
        """Read the union."""
        api, origin, dry_run, length, info, software_set, mode, disable = _REQUEST.unpack_from(body)
        return cls(
            origin,
            dry_run,
            _unpack_text(info),
            _unpack_text(software_set),
            _unpack_text(mode),
            length,
            api,
            bool(disable),
        )


class Command(NamedTuple):
    """The union of SWUPDATE_SUBPROCESS, and of POST_UPDATE, which only uses ``data``.

    Attributes:
        origin: which child it is for, an ``Origin``.
        number: of ``ChildCommand``.
        timeout_s: how long the child may take, 0 for 60.
        length_bytes: of ``data`` as it was told; the answer to GET_STATUS tells 0, and its data ends with a NUL.
    """

    origin: int
    number: int
    data: bytes = b""
    timeout_s: int = 0
    length_bytes: int | None = None

    def pack(self) -> bytes:
        """The union."""
        length = len(self.data) if self.length_bytes is None else self.length_bytes
        return _COMMAND.pack(self.origin, self.number, self.timeout_s, length, self.data[: DATA_BYTES - 1])

    @classmethod
    def unpack(cls, body: bytes) -> "Command":
        """Read the union; ``data`` ends at its first NUL, as all of it is text."""
        origin, number, timeout_s, length, data = _COMMAND.unpack_from(body)
        return cls(origin, number, data.partition(b"\0")[0], timeout_s, length)


class AesKeyText(NamedTuple):
    """The union of SET_AES_KEY: both in hex; the key may be a ``pkcs11:`` URI."""

    key: str
    iv: str

    def pack(self) -> bytes:
        """The union."""
        return _AES.pack(_pack_text(self.key, 65), _pack_text(self.iv, 33))

    @classmethod
    def unpack(cls, body: bytes) -> "AesKeyText":
        """Read the union."""
        return cls(*(_unpack_text(each) for each in _AES.unpack_from(body)))


class VersionsRange(NamedTuple):
    """The union of SET_VERSIONS_RANGE; "" leaves a bound as it is."""

    minimum: str
    maximum: str
    current: str
    update_type: str = ""

    def pack(self) -> bytes:
        """The union."""
        return _VERSIONS.pack(*(_pack_text(each, 256) for each in self))

    @classmethod
    def unpack(cls, body: bytes) -> "VersionsRange":
        """Read the union."""
        return cls(*(_unpack_text(each) for each in _VERSIONS.unpack_from(body)))


class Revisions(NamedTuple):
    """The union that answers GET_HW_REVISION."""

    board: str
    revision: str

    def pack(self) -> bytes:
        """The union."""
        return _PAIR.pack(*(_pack_text(each, 256) for each in self))

    @classmethod
    def unpack(cls, body: bytes) -> "Revisions":
        """Read the union."""
        return cls(*(_unpack_text(each) for each in _PAIR.unpack_from(body)))


class Variable(NamedTuple):
    """The union of SET_ and GET_SWUPDATE_VARS.

    Attributes:
        namespace: "" for the daemon's own.
        value: "" removes it.
    """

    namespace: str
    name: str
    value: str = ""

    def pack(self) -> bytes:
        """The union."""
        return _TRIPLE.pack(*(_pack_text(each, 256) for each in self))

    @classmethod
    def unpack(cls, body: bytes) -> "Variable":
        """Read the union."""
        return cls(*(_unpack_text(each) for each in _TRIPLE.unpack_from(body)))


class DeltaUrl(NamedTuple):
    """The union of SET_DELTA_URL: where the next update finds a file."""

    filename: str
    url: str

    def pack(self) -> bytes:
        """The union."""
        return _URL.pack(_pack_text(self.filename, 256), _pack_text(self.url, 1024))

    @classmethod
    def unpack(cls, body: bytes) -> "DeltaUrl":
        """Read the union."""
        return cls(*(_unpack_text(each) for each in _URL.unpack_from(body)))


def pack_state(state: str) -> bytes:
    """The union of SET_UPDATE_STATE and of the answer to GET_UPDATE_STATE: one digit."""
    return _STATE.pack(ord(state))


def unpack_state(body: bytes) -> str | None:
    """The digit of SET_UPDATE_STATE; None when it is none of ``0`` to ``7``."""
    (number,) = _STATE.unpack_from(body)
    return chr(number) if ord("0") <= number <= ord("7") else None


def pack_ours(text: bytes) -> bytes:
    """The union of our own messages: a JSON object.

    Raises:
        ValueError: it is longer than ``OURS_BYTES_MAX``.
    """
    if len(text) > OURS_BYTES_MAX:
        raise ValueError(f"more than {OURS_BYTES_MAX} bytes")
    return _OURS.pack(len(text), text)


def unpack_ours(body: bytes) -> bytes | None:
    """The text of such a message; None when its length cannot be."""
    length, text = _OURS.unpack_from(body)
    return text[:length] if length <= OURS_BYTES_MAX else None


class Progress(NamedTuple):
    """One message of the progress socket.

    Attributes:
        download_percent, download_bytes: of what comes over a network; bytes are those of the whole.
        steps, step: the present step, from 1.
        percent: of it.
        image, handler: what it installs.
        info: JSON or free text, "" for none.
    """

    status: int
    download_percent: int = 0
    download_bytes: int = 0
    steps: int = 0
    step: int = 0
    percent: int = 0
    image: str = ""
    handler: str = ""
    origin: int = Origin.UNKNOWN
    info: str = ""

    def pack(self, *, old: bool = False) -> bytes:
        """The bytes on the wire.

        Args:
            old: as SWUpdate 2022.12 laid it out: aligned, and without a version.
        """
        info = _pack_text(self.info, DATA_BYTES)
        layout, version = (_PROGRESS_2022, 0) if old else (_PROGRESS_PACKED, PROGRESS_API)
        return layout.pack(
            version,
            self.status,
            self.download_percent,
            self.download_bytes,
            self.steps,
            self.step,
            self.percent,
            _pack_text(self.image, 256),
            _pack_text(self.handler, 64),
            self.origin,
            len(info),
            info,
        )


def unpack_progress(data: bytes) -> Progress:
    """Read a message of either layout, which its length tells."""
    layout = _PROGRESS_PACKED if len(data) == PROGRESS_BYTES else _PROGRESS_2022
    _, status, percent, total, steps, step, done, image, handler, origin, length, info = layout.unpack(data)
    return Progress(
        status,
        percent,
        total,
        steps,
        step,
        done,
        _unpack_text(image),
        _unpack_text(handler),
        origin,
        _unpack_text(info[: min(length, DATA_BYTES)]),
    )


def _pack_text(text: str, field_bytes: int) -> bytes:
    """As many whole characters as fit before the NUL."""
    raw = text.encode("utf-8", "replace").partition(b"\0")[0]
    return raw if len(raw) < field_bytes else raw[: field_bytes - 1].decode("utf-8", "ignore").encode()


def _unpack_text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")
