"""Reading tar archives from a stream: ustar, GNU long names, pax, old v7; one buffer, nothing is ever seeked.

Written for many small members: a member that fits the buffer is given out as one piece of it. Whatever the archive
says is bounded before anything is allocated. upstream: libarchive's tar(5) describes the formats.
"""

import re
from collections.abc import Iterator
from zlib import adler32

from swagent.errors import ArchiveError
from swagent.model import Reader

from .tree import printable

BLOCK = 512
BUFFER_BYTES = 512 * 1024
EXTENSION_BYTES_MAX = 256 * 1024
"""Length of one pax header or GNU long name."""
EXTENSIONS_MAX = 8
"""How many of them one member may have."""
KEYS_MAX = 1000
NAME_BYTES_MAX = 4095
TRAILING_BYTES_MAX = 64 * 1024 * 1024
SIZE_BYTES_MAX = 2**62
ID_MAX = 2**32 - 2
TIME_S_MAX = 2**40

REGULAR, HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, FOLDER, FIFO = b"0123456"
_PLAIN = {0: REGULAR, ord("7"): REGULAR}
_REFUSED = {
    ord("S"): "is stored as a sparse file",
    ord("M"): "continues another volume",
    ord("D"): "is an incremental GNU dump",
}
_ZEROS = bytes(BLOCK)
_TIME = re.compile(rb"(-?)([0-9]{1,18})(?:\.([0-9]*))?\Z")


class TarReader:
    """Members one after the other; the attributes are those of the present one.

    Args:
        data: the archive, plain.
        label: how messages call it.
        sized_bytes: length of ``data`` if known: no member may be longer.

    Attributes:
        name: as stored (pax and GNU long names resolved), bytes in whatever encoding.
        type: one of REGULAR, HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, FOLDER, FIFO.
        size_bytes: of its data; 0 for all but regular files.
        mode: permission bits, 12 of them.
        link: target of a link, b"" for others.
    """

    def __init__(self, data: Reader, label: str, sized_bytes: int | None = None) -> None:
        self._data = data
        self._label = label
        self._most_bytes = SIZE_BYTES_MAX if sized_bytes is None else sized_bytes
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._pos = 0
        self._end = 0
        self._left = 0  # of the present member's data, with padding, still to be passed
        self._globals: dict[bytes, bytes] = {}
        self._header = b""
        self._ended = False
        self.pax: dict[bytes, bytes] = {}
        self.name = self.link = b""
        self.type = REGULAR
        self.size_bytes = self.mode = self.members = 0

    def peek(self, n_bytes: int) -> bytes:
        """The next bytes, without passing them; fewer at the end."""
        self._ensure(n_bytes)
        return bytes(self._view[self._pos : min(self._end, self._pos + n_bytes)])

    def next(self) -> bool:
        """Go to the next member; False at the end mark.

        Raises:
            ArchiveError: malformed, cut short, or in a form that is not supported.
        """
        if self._ended:
            return False
        long_name = long_link = b""
        pax: dict[bytes, bytes] | None = None
        for _ in range(EXTENSIONS_MAX + 1):
            header = self._next_header()
            if header is None:
                if long_name or long_link or pax is not None:
                    raise self._bad("ends after an extended header")
                self._ended = True
                return False
            size_bytes = self._number(header[124:136], "size")
            kind = header[156]
            if kind in b"LKxgX":
                body = self._extension(size_bytes)
                if kind == 76:  # L
                    long_name = body.split(b"\0", 1)[0]
                elif kind == 75:  # K
                    long_link = body.split(b"\0", 1)[0]
                elif kind == 103:  # g
                    self._globals.update(self._pax(body))
                    if len(self._globals) > KEYS_MAX:
                        raise self._bad("has too many global pax keys")
                else:
                    pax = self._pax(body)
                continue
            if kind == 86:  # V: the name of the volume
                self._left = size_bytes + (-size_bytes % BLOCK)
                continue
            self._take(header, kind, size_bytes, long_name, long_link, pax)
            return True
        raise self._bad(f"has more than {EXTENSIONS_MAX} extended headers in a row")

    def whole(self) -> memoryview | None:
        """All of the member's data as one piece, valid until the next call; None if it is too long for that.

        Raises:
            ArchiveError: the archive is cut short.
        """
        if self._left > BUFFER_BYTES:
            return None
        if self._left > self._end - self._pos and not self._ensure(self._left):
            raise self._bad(f"is cut short in {self.text()}")
        start = self._pos
        self._pos = start + self._left
        self._left = 0
        return self._view[start : start + self.size_bytes]

    def pieces(self) -> Iterator[memoryview]:
        """The member's data piece by piece, each valid until the next.

        Raises:
            ArchiveError: the archive is cut short.
        """
        rest = self.size_bytes
        while rest:
            if self._pos == self._end and not self._ensure(1):
                raise self._bad(f"is cut short in {self.text()}")
            n = min(rest, self._end - self._pos)
            start = self._pos
            self._pos += n
            self._left -= n
            rest -= n
            yield self._view[start : start + n]

    def drain(self) -> None:
        """Read what follows the end mark, for the verdicts' sake.

        Raises:
            ArchiveError: there is unreasonably much of it.
        """
        total = 0
        while n := self._data.readinto(self._view):
            total += n
            if total > TRAILING_BYTES_MAX:
                raise self._bad("goes on long after its end mark")

    def owner(self) -> tuple[int, int]:
        """Numeric user and group; names are not looked up: they belong to the machine that made the archive."""
        return self._id(b"uid", 108), self._id(b"gid", 116)

    def device_number(self) -> tuple[int, int]:
        """Major and minor number."""
        header = self._header
        return self._number(header[329:337], "major number"), self._number(header[337:345], "minor number")

    def mtime_ns(self) -> int:
        """Time of the last change, nanoseconds since the epoch."""
        text = self.pax.get(b"mtime")
        if text is None:
            seconds = self._number(self._header[136:148], "time", signed=True)
            if abs(seconds) > TIME_S_MAX:
                raise self._bad(f"has an impossible time for {self.text()}")
            return seconds * 10**9
        match = _TIME.match(text)
        if match is None or int(match[2]) > TIME_S_MAX:
            raise self._bad(f"has an impossible time for {self.text()}")
        fraction = int((match[3] or b"")[:9].ljust(9, b"0"))
        value = int(match[2]) * 10**9 + fraction
        return -value if match[1] else value

    def text(self) -> str:
        """The member's name for messages, printable whatever it is."""
        return printable(self.name)

    # -- headers

    def _next_header(self) -> bytes | None:
        """The next header with a right checksum, None at the end mark (a block of zeros)."""
        if self._left:
            self._skip()
        pos = self._pos
        if self._end - pos < BLOCK:
            if not self._ensure(BLOCK):
                raise self._bad(
                    "is cut short: it has no end mark" if self.members else "is empty or cut short"
                )
            pos = self._pos
        header = bytes(self._view[pos : pos + BLOCK])
        self._pos = pos + BLOCK
        # sums of 256 bytes stay below adler32's modulus: its low half is 1 + their sum (20 times as fast as sum())
        total = (adler32(header[:256]) & 0xFFFF) + (adler32(header[256:]) & 0xFFFF) - 2
        if total == 0:
            return None
        if total - sum(header[148:156]) + 256 != _checksum(header):
            signed = sum(b - 256 if b > 127 else b for b in header[:148] + header[156:]) + 256
            if signed != _checksum(header):  # some old tars summed signed bytes
                raise self._bad(
                    f"has a damaged header after {self.members} members"
                    if self.members
                    else "is no tar archive"
                )
        return header

    def _take(
        self,
        header: bytes,
        kind: int,
        size_bytes: int,
        long_name: bytes,
        long_link: bytes,
        pax: dict[bytes, bytes] | None,
    ) -> None:
        name = long_name or header[:100].split(b"\0", 1)[0]
        if not long_name and header[345] and header[257:263] == b"ustar\0":
            name = header[345:500].split(b"\0", 1)[0] + b"/" + name
        link = long_link or (header[157:257].split(b"\0", 1)[0] if header[157] else b"")
        if pax is not None or self._globals:
            pax = {**self._globals, **pax} if pax is not None else self._globals
            name = pax.get(b"path") or name
            link = pax.get(b"linkpath") or link
            if b"size" in pax:
                size_bytes = self._decimal(pax[b"size"], SIZE_BYTES_MAX, "size")
            self.pax = pax
        elif self.pax:
            self.pax = {}
        self._header = header
        self.name = name
        self.link = link
        self.members += 1
        if kind != REGULAR or name[-1:] == b"/":
            kind = self._kind(kind, name)
        self.type = kind
        self.mode = self._number(header[100:108], "mode") & 0o7777
        if kind != REGULAR:
            size_bytes = 0
        elif size_bytes > self._most_bytes:
            raise self._bad(f"is cut short: {self.text()} alone would have {size_bytes} bytes")
        if len(name) > NAME_BYTES_MAX or len(link) > NAME_BYTES_MAX or b"\0" in name or b"\0" in link:
            raise self._bad(f"has an impossible name: {self.text()}")
        self.size_bytes = size_bytes
        self._left = size_bytes + (-size_bytes % BLOCK)

    def _kind(self, kind: int, name: bytes) -> int:
        kind = _PLAIN.get(kind, kind)
        why = _REFUSED.get(kind)
        if why is not None:
            raise self._bad(
                f"cannot be used: {self.text()} {why}", hint="make it with plain `tar --format=pax -c`"
            )
        if not REGULAR <= kind <= FIFO:
            raise self._bad(f"has a member of the unknown type {kind:#04x}: {self.text()}")
        if kind == REGULAR and name.endswith(b"/"):
            return FOLDER  # as v7 did
        return kind

    def _extension(self, size_bytes: int) -> bytes:
        if size_bytes > EXTENSION_BYTES_MAX:
            raise self._bad(
                f"has an extended header of {size_bytes} bytes; {EXTENSION_BYTES_MAX} are the most"
            )
        padded = size_bytes + (-size_bytes % BLOCK)
        if not self._ensure(padded):
            raise self._bad("is cut short in an extended header")
        body = bytes(self._view[self._pos : self._pos + size_bytes])
        self._pos += padded
        return body

    def _pax(self, body: bytes) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        pos = 0
        while pos < len(body):
            space = body.find(b" ", pos, pos + 12)
            digits = body[pos:space]
            if space < 0 or not digits.isdigit():
                raise self._bad("has a malformed pax header")
            end = pos + int(digits)
            key, equals, value = body[space + 1 : end - 1].partition(b"=")
            if end > len(body) or end <= space + 1 or body[end - 1 : end] != b"\n" or not equals or not key:
                raise self._bad("has a malformed pax header")
            if key.startswith(b"GNU.sparse"):
                raise self._bad(
                    "cannot be used: it has a sparse file", hint="make it with plain `tar --format=pax -c`"
                )
            found[key] = value
            if len(found) > KEYS_MAX:
                raise self._bad("has too many pax keys")
            pos = end
        return found

    def _id(self, key: bytes, offset: int) -> int:
        text = self.pax.get(key)
        if text is not None:
            return self._decimal(text, ID_MAX, key.decode())
        value = self._number(self._header[offset : offset + 8], key.decode())
        if value > ID_MAX:
            raise self._bad(f"has an impossible {key.decode()} for {self.text()}")
        return value

    def _number(self, field: bytes, what: str, *, signed: bool = False) -> int:
        """Octal digits, or big-endian binary when the top bit is set (GNU)."""
        text = field.rstrip(b"\0 ")
        try:
            if text.isdigit():
                return int(text, 8)
            if field[0] & 0x80:
                value = int.from_bytes(field, "big")
                if field[0] & 0x40:
                    value -= 1 << (8 * len(field))
                else:
                    value -= 0x80 << (8 * (len(field) - 1))
                if (signed or value >= 0) and abs(value) <= SIZE_BYTES_MAX:
                    return value
            else:
                text = field.split(b"\0", 1)[0].strip(b" ")
                if not text:
                    return 0
                if text.isdigit():
                    return int(text, 8)
        except ValueError:
            pass  # a digit 8 or 9
        raise self._bad(f"has an impossible {what} in a header after {self.members} members")

    def _decimal(self, text: bytes, most: int, what: str) -> int:
        if text.isdigit() and len(text) < 20 and int(text) <= most:
            return int(text)
        raise self._bad(f"has an impossible {what} for {self.text()}")

    # -- the buffer

    def _ensure(self, n_bytes: int) -> bool:
        """Have so many bytes in the buffer (at most BUFFER_BYTES), whether there are so many."""
        have = self._end - self._pos
        if have >= n_bytes:
            return True
        if BUFFER_BYTES - self._pos < n_bytes or have == 0:
            self._buffer[:have] = self._buffer[self._pos : self._end]
            self._pos, self._end = 0, have
        while have < n_bytes:
            n = self._data.readinto(self._view[self._end :])
            if n == 0:
                return False
            self._end += n
            have += n
        return True

    def _skip(self) -> None:
        while self._left:
            if self._pos == self._end and not self._ensure(1):
                raise self._bad(f"is cut short in {self.text()}")
            n = min(self._left, self._end - self._pos)
            self._pos += n
            self._left -= n

    def _bad(self, what: str, hint: str = "") -> ArchiveError:
        return ArchiveError(
            f"the archive {self._label} {what}", artifact=self._label, handler="archive", hint=hint
        )


def _checksum(header: bytes) -> int:
    """What a header says the sum of its bytes is; -1 when it says nothing sensible."""
    try:
        return int(header[148:156].split(b"\0", 1)[0].strip(b" ") or b"-1", 8)
    except ValueError:
        return -1
