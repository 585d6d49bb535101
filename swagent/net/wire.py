"""Requests and their answers, on top of urllib3: redirections, further attempts, judged headers.

Everything that can go wrong becomes an error of ours here: final ones are raised as they are, those that another
attempt may cure as ``Broken``, which the sources catch.
"""

import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from swagent.clock import Clock
from swagent.errors import DeadlineError, RegistrationError, SwagentError, TransportError

from .address import Address, follow, read_address
from .options import HttpOptions
from .patient import PIECE_BYTES, TICK_S, patient_pools
from .tls import client_context

if TYPE_CHECKING:
    import ssl

    from urllib3 import BaseHTTPResponse

REDIRECTS_MAX = 5
BACK_OFF_S_MAX = 300.0
RETRY_AFTER_S_MAX = 300
REASON_MAX_BYTES = 300
SPEED_GRACE_S = 10.0

REDIRECTS = (301, 302, 303, 307, 308)
_DIGITS = re.compile(r"[0-9]{1,18}\Z")
CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})\Z")
_BOUNDARY = re.compile(
    r"multipart/byteranges *; *boundary=(\"?)([0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-])\1\Z",
    re.I,
)
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"\Z')


class NotThere(TransportError):
    """The server says that it has no such file, or none for us."""


class Untrusted(TransportError):
    """The server cannot show who it is."""


class TooSlow(DeadlineError):
    """The server brings something all the time, and too little."""


class Broken(Exception):
    """Another attempt may succeed.

    Args:
        error: what to raise when there is none.
        wait_s: how long the server wants to be left alone.
    """

    def __init__(self, error: SwagentError, wait_s: float = 0.0) -> None:
        super().__init__(error.message)
        self.error = error
        self.wait_s = wait_s


class Reply(NamedTuple):
    """An answer whose headers make sense; its body is still to be read.

    Attributes:
        status: 200, 206 or 416.
        length: bytes of its body, None when it does not say.
        first: of a 206, position of its first byte in the file; else 0.
        total: bytes of the whole file, None when it does not say.
        validator: what ``If-Range`` may hold: a strong ETag or a strong Last-Modified; "" when there is none.
        etag: as it was sent, "" for none.
        no_ranges: whether the server says that it has none.
        boundary: what stands between the parts of a 206 that has several, each with its own position; "" otherwise.
    """

    status: int
    length: int | None
    first: int
    total: int | None
    validator: str
    etag: str
    modified: str
    no_ranges: bool
    body: "BaseHTTPResponse"
    boundary: str = ""


class Client:
    """Asks one server for one file, again and again if need be.

    Args:
        url: of the file; may carry ``user:password@``.
        options: how to ask.
        clock: for timeouts and speed.

    Attributes:
        name: the address, without what is secret in it.
        waiting: called while nothing comes; may raise to stop.
        tell: hears of what went wrong and will be tried again: level and line.

    Raises:
        RegistrationError: urllib3 is not installed.
        UsageError: the URL or the proxy's makes no sense.
        SettingsError: a certificate or key cannot be used.
    """

    def __init__(self, url: str, options: HttpOptions, clock: Clock) -> None:
        try:
            import urllib3
        except ImportError as exc:
            raise RegistrationError(
                "installing from a server needs swagent[http]", hint="pip install 'swagent[http]'"
            ) from exc
        urllib3.disable_warnings()  # its warnings go to stderr; what matters of them is in our errors
        address = read_address(url)
        self.address = address._replace(auth=options.authentication or address.auth)
        self.name = address.shown
        self._home = address.origin
        self.waiting: Callable[[], None] = _go_on
        self.tell: Callable[[str, str], None] = _say_nothing
        self._options = options
        self._clock = clock
        self._failed = 0
        self._proxy = read_address(options.proxy) if options.proxy else None
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._managers: dict[tuple[bool, bool], Any] = {}
        self._budget_from_s = 0.0
        self._budget_bytes = 0
        if address.scheme == "https" or options.certificate_file:
            self._context(own=True)  # a certificate that cannot be used is told at once

    def at(self, name: str) -> "Client":
        """A client for a file below this address, quoted already; it shares the connections."""
        from copy import copy

        other = copy(self)
        other.address = self.address._replace(target=self.address.target + name)
        other.name = other.address.shown
        return other

    def to(self, url: str, *, home: bool = False, authentication: str = "") -> "Client":
        """A client for another address, with connections of its own; certificates and keys are not read again.

        Args:
            url: of the file; may carry ``user:password@``.
            home: whether its server gets what is secret; else only the server of this client does.
            authentication: ``user:password`` instead of that of the options.

        Raises:
            UsageError: the URL makes no sense.
        """
        from copy import copy

        other = copy(self)
        address = read_address(url)
        if home:
            other._home = address.origin
        own = address.origin == other._home
        given = authentication or (self._options.authentication if own else "")
        other.address = address._replace(auth=given or address.auth)
        other.name = other.address.shown
        other._managers = {}
        other._failed = 0
        return other

    def read_keys(self) -> None:
        """Read certificates and keys now, also those that only other servers or a redirect would need.

        Raises:
            SettingsError: one cannot be used.
        """
        for own in (True, False):
            self._context(own=own)

    def close(self) -> None:
        """Close all connections."""
        for manager in self._managers.values():
            for key in manager.pools.keys():  # noqa: SIM118 - the container cannot be iterated itself
                manager.pools[key].close()
        self._managers.clear()

    def get(self, *, first: int = 0, last: int | None = None, condition: str = "", ranged: bool) -> Reply:
        """Ask for the file, or with ``ranged`` for a part of it.

        Args:
            first: position of the first byte wanted.
            last: position of the last one, None for all that follow.
            condition: for ``If-Range``.
            ranged: whether to ask for a range at all.

        Raises:
            Broken: try again.
            TransportError: the server will not give it.
        """
        return self._get(f"bytes={first}-{'' if last is None else last}" if ranged else "", condition)

    def get_spans(self, spans: Sequence[tuple[int, int]], *, condition: str = "") -> Reply:
        """Ask for several parts of the file, each by the positions of its first and last byte.

        Raises:
            Broken, TransportError: as ``get``.
        """
        wanted = ",".join(f"{first}-{last}" for first, last in spans)
        return self._get(f"bytes={wanted}", condition, several=len(spans) > 1)

    def _get(self, wanted: str, condition: str, *, several: bool = False) -> Reply:
        from swagent import __version__

        headers = {"Accept-Encoding": "identity", "User-Agent": f"swagent/{__version__}"}
        if wanted:
            headers["Range"] = wanted
            if condition:
                headers["If-Range"] = condition
        address = self.address
        for _ in range(REDIRECTS_MAX + 1):
            self.waiting()
            body = self.request(address, headers)
            if body.status not in REDIRECTS:
                return self._judged(address, body, several=several)
            location = body.headers.get("location", "")
            body.close()
            if not location:
                raise TransportError(f"{address.shown} redirects without saying where to")
            address = follow(address, location)
        raise TransportError(
            f"{self.name} redirects more than {REDIRECTS_MAX} times",
            hint="is it a loop? name the last address",
        )

    def send(self, method: str, body: bytes, content_type: str, *, max_bytes: int) -> bytes:
        """Send something, once; returns the answer's body.

        Args:
            method: ``POST`` or ``PUT``.
            body: what to send.
            content_type: of the body.
            max_bytes: how long the answer may be.

        Raises:
            TransportError: the server does not take it, or its answer is too long.
            DeadlineError: the server brings nothing.
        """
        from swagent import __version__

        headers = {"User-Agent": f"swagent/{__version__}", "Content-Type": content_type}
        try:
            response = self.request(self.address, headers, method, body)
            if not 200 <= response.status < 300:
                reason = self._reason(response)
                response.close()
                raise _refusal(response.status, "", self.name, reason)
            reply = _reply(response, self.name)
            answer = bytearray()
            piece = memoryview(bytearray(PIECE_BYTES))
            while n := self.read(reply, piece):
                answer += piece[:n]
                if len(answer) > max_bytes:
                    response.close()
                    raise TransportError(f"{self.name}: the answer has more than {max_bytes} bytes")
        except Broken as broken:
            raise broken.error from broken
        return bytes(answer)

    def read(self, reply: Reply, buffer: memoryview) -> int:
        """What has come of a body, at least one byte; 0 at its end.

        Raises:
            Broken: the connection broke, or brought nothing for too long.
        """
        wanted = min(len(buffer), PIECE_BYTES)
        speed = self._options.speed_max
        if speed:
            wanted = min(wanted, max(speed // 8, 1))
        data = self.take(reply.body, wanted)
        n = len(data)
        if n:
            buffer[:n] = data
            if speed:
                self._slow_down(n, speed)
        return n

    def take(self, body: "BaseHTTPResponse", wanted_bytes: int) -> bytes:
        """What has come of a body by now, at least one byte; nothing at its end.

        Raises:
            Broken: as ``read``.
        """
        try:
            return body.read1(wanted_bytes) or b""
        except SwagentError:
            raise
        except Exception as exc:
            raise _translated(exc, self.name) from exc

    def now_s(self) -> float:
        """For ``judge_speed``."""
        return self._clock.monotonic_s()

    def judge_speed(self, begun_s: float, n_bytes: int) -> None:
        """Of a small file that has not come to its end.

        Args:
            begun_s: when its answer came.
            n_bytes: how many have come since.

        Raises:
            TooSlow: they are fewer than the options want.
        """
        passed_s = self._clock.monotonic_s() - begun_s
        if passed_s > SPEED_GRACE_S and n_bytes < self._options.speed_least * passed_s:
            raise TooSlow(f"{self.name}: {n_bytes / passed_s:.0f} bytes a second are too few")

    def pause(self, seconds: float) -> None:
        """Wait, unless somebody stops us."""
        from time import sleep

        until_s = self._clock.monotonic_s() + seconds
        while True:
            self.waiting()
            left_s = until_s - self._clock.monotonic_s()
            if left_s <= 0:
                return
            sleep(min(left_s, TICK_S))

    def succeeded(self) -> None:
        """Something worth mentioning came: earlier failures are forgotten."""
        self._failed = 0

    def failed(self, broken: Broken) -> None:
        """Wait before the next attempt.

        Raises:
            TransportError, DeadlineError: there is none left.
        """
        error, retries, usual_s = broken.error, self._options.retries, self._options.retry_wait_s
        self.close()
        if self._failed >= retries:
            if retries:
                error.hint = error.hint or f"tried {self._failed + 1} times; see --retries and --retry-wait"
            raise error from broken
        wait_s = min(usual_s * 2**self._failed, max(BACK_OFF_S_MAX, usual_s))
        wait_s *= 1 - os.urandom(1)[0] / 1024  # up to a quarter less, so that a fleet does not return at once
        wait_s = max(wait_s, broken.wait_s)
        self._failed += 1
        self.tell("warn", f"{error.message}; attempt {self._failed} of {retries} follows in {wait_s:.1f} s")
        self.pause(wait_s)

    def _slow_down(self, n_bytes: int, speed: int) -> None:
        """Keep to so many bytes a second; what was not used in a pause is not saved up."""
        now_s = self._clock.monotonic_s()
        if now_s - self._budget_from_s > 1.0 + self._budget_bytes / speed:
            self._budget_from_s, self._budget_bytes = now_s, 0
        self._budget_bytes += n_bytes
        ahead_s = self._budget_bytes / speed - (now_s - self._budget_from_s)
        if ahead_s > 0:
            self.pause(ahead_s)

    def request(
        self, address: Address, headers: dict[str, str], method: str = "GET", body: bytes | None = None
    ) -> "BaseHTTPResponse":
        """One request, whose answer nobody has judged yet; secrets go to the server itself alone.

        Raises:
            Broken: there was no answer; try again.
            TransportError: there is none that could be used.
        """
        from urllib3 import Timeout
        from urllib3.util import make_headers

        own = address.origin == self._home
        sent = dict(headers)
        if address.auth:
            sent |= make_headers(basic_auth=address.auth)
        if own:
            sent |= self._options.headers
            if self._options.authorization:
                sent["Authorization"] = self._options.authorization
        timeout_s = self._options.timeout_s
        try:
            manager = self._manager(own=own, tls=address.scheme == "https")
            response: BaseHTTPResponse = manager.request(
                method,
                address.url,
                body=body,
                headers=sent,
                timeout=Timeout(connect=min(timeout_s, self._options.connect_s), read=timeout_s),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except SwagentError:
            raise
        except Exception as exc:
            raise _translated(exc, address.shown) from exc
        return response

    def _judged(self, address: Address, body: "BaseHTTPResponse", *, several: bool) -> Reply:
        status, headers = body.status, body.headers
        if status not in (200, 206, 416):
            reason = self._reason(body)
            body.close()
            raise _refusal(status, headers.get("retry-after", ""), address.shown, reason)
        try:
            reply = _reply(body, address.shown, several=several)
        except TransportError:
            body.close()
            raise
        return reply

    def _reason(self, body: "BaseHTTPResponse") -> str:
        """The first line of what a server says in plain text of its refusal, "" for nothing that people could read."""
        if not body.headers.get("content-type", "").startswith("text/plain"):
            return ""
        try:
            said = self.take(body, REASON_MAX_BYTES).decode(errors="replace")
        except Broken:
            return ""
        line = said.strip().partition("\n")[0].strip()
        return line if line.isprintable() else ""

    def _manager(self, *, own: bool, tls: bool) -> Any:
        if (own, tls) not in self._managers:
            import urllib3

            context = self._context(own=own) if tls else None
            way = _way_out(self._options.interface)
            proxy = self._proxy
            manager: urllib3.PoolManager
            if proxy is None:
                manager = urllib3.PoolManager(ssl_context=context, maxsize=1, **way)
            else:
                from urllib3.util import make_headers

                manager = urllib3.ProxyManager(
                    proxy.url,
                    proxy_headers=make_headers(proxy_basic_auth=proxy.auth) if proxy.auth else None,
                    proxy_ssl_context=self._context(own=False) if proxy.scheme == "https" else None,
                    ssl_context=context,
                    maxsize=1,
                    **way,
                )
            manager.pool_classes_by_scheme = patient_pools(
                self._options.timeout_s, self._clock, lambda: self.waiting()
            )
            self._managers[own, tls] = manager
        return self._managers[own, tls]

    def _context(self, *, own: bool) -> "ssl.SSLContext":
        """TLS for the server itself, or for others, who are not shown our certificate."""
        if own not in self._contexts:
            self._contexts[own] = client_context(self._options, own=own)
        return self._contexts[own]


def _way_out(interface: str) -> dict[str, Any]:
    """urllib3's words for the network device, or address of one, that connections leave by."""
    import socket

    from urllib3.connection import HTTPConnection

    if not interface:
        return {}
    if interface[0].isdigit() or ":" in interface:
        return {"source_address": (interface, 0)}
    bind = (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
    return {"socket_options": [*HTTPConnection.default_socket_options, bind]}


def _reply(body: "BaseHTTPResponse", shown: str, *, several: bool = False) -> Reply:
    status, headers = body.status, body.headers
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise TransportError(
            f"{shown} comes as Content-Encoding {encoding[:40]!r}, which was not asked for",
            hint="let the server give the file as it is",
        )
    transfer = headers.get("transfer-encoding", "").strip().lower()
    if transfer not in ("", "chunked"):
        raise TransportError(f"{shown} comes as Transfer-Encoding {transfer[:40]!r}, which nobody knows here")
    length = _length(headers.getlist("content-length"), shown) if not transfer else None
    etag, modified = headers.get("etag", ""), headers.get("last-modified", "")
    validator = etag if _STRONG_ETAG.match(etag) else ""
    if not etag and modified and _is_strong(modified, headers.get("date", "")):
        validator = modified
    first, total = 0, length
    parts = _BOUNDARY.match(headers.get("content-type", "").strip()) if several and status == 206 else None
    if parts is not None:
        total = None  # each part tells it
    elif status == 206:
        found = CONTENT_RANGE.match(headers.get("content-range", "").strip())
        if found is None:
            raise TransportError(f"{shown}: the server gives a part without saying which (Content-Range)")
        first, last, total = (int(group) for group in found.groups())
        if not first <= last < total or (length is not None and length != last - first + 1):
            raise TransportError(f"{shown}: Content-Range {found[0]!r} contradicts itself or the length")
        length = last - first + 1
    no_ranges = headers.get("accept-ranges", "").strip().lower() == "none"
    boundary = parts[2] if parts else ""
    return Reply(status, length, first, total, validator, etag, modified, no_ranges, body, boundary)


def _length(values: list[str], shown: str) -> int | None:
    told = {part.strip() for value in values for part in value.split(",")}
    if not told:
        return None
    value = told.pop()
    if told or not _DIGITS.match(value):
        raise TransportError(f"{shown}: the server's Content-Length makes no sense")
    return int(value)


def _is_strong(modified: str, date: str) -> bool:
    """Whether the file cannot have changed twice within the second of its date (RFC 9110 §8.8.2.2)."""
    from email.utils import parsedate_to_datetime

    try:
        then, now = parsedate_to_datetime(modified), parsedate_to_datetime(date)
        return (now - then).total_seconds() >= 1
    except (ValueError, TypeError, IndexError, OverflowError):
        return False


def _refusal(status: int, retry_after: str, shown: str, reason: str) -> Exception:
    message = f"{shown}: the server answers {status}" + (f": {reason}" if reason else "")
    if status in (408, 429) or status >= 500:
        wait_s = min(int(retry_after), RETRY_AFTER_S_MAX) if _DIGITS.match(retry_after) else 0
        return Broken(TransportError(message), wait_s)
    hint = {
        401: "it wants a user and a password, or a token: see the groups download and delta of the settings",
        403: "it refuses this user, certificate or address",
        404: "is the name right?",
        407: "the proxy wants a user and a password: put them into the proxy's URL in the settings",
    }.get(status, "")
    kind = NotThere if status in (403, 404, 410) else TransportError
    return kind(message, hint=hint)


def _translated(exc: Exception, shown: str) -> Exception:
    """Our error for a foreign one."""
    import ssl
    from http.client import HTTPException, IncompleteRead

    from urllib3.exceptions import (
        HTTPError,
        InvalidHeader,
        LocationValueError,
        NewConnectionError,
        ProxyError,
    )
    from urllib3.exceptions import TimeoutError as LibraryTimeout

    seen: BaseException | None = exc
    reason: BaseException = exc
    while seen is not None:  # the library wraps what the system said, once or twice
        reason = seen
        inner = seen.args[-1] if seen.args and isinstance(seen.args[-1], BaseException) else None
        seen = inner or seen.__cause__
    if isinstance(reason, ssl.SSLCertVerificationError):
        return Untrusted(
            f"{shown}: the server's certificate is not accepted: {reason.verify_message or reason}",
            hint="name its authority with --cafile; is the clock right?",
        )
    text = str(reason) or type(reason).__name__
    if isinstance(reason, IncompleteRead):
        text = "the connection ended too early"
    late = isinstance(exc, LibraryTimeout) or isinstance(reason, LibraryTimeout | TimeoutError)
    if late and not isinstance(exc, NewConnectionError):  # which calls itself a timeout, whatever happened
        return Broken(DeadlineError(f"{shown}: {text}"))
    if isinstance(reason, ssl.SSLError) and "ALERT" in str(reason.reason or text).upper():
        return TransportError(
            f"{shown}: the server refuses the connection: {text}",
            hint="does it want a certificate? name it with --sslcert and --sslkey",
        )
    if isinstance(exc, ProxyError) and "Tunnel connection failed: 4" in text:
        return TransportError(f"{shown}: the proxy refuses: {text}")
    if isinstance(exc, HTTPError | OSError) and not isinstance(exc, LocationValueError | InvalidHeader):
        return Broken(TransportError(f"{shown}: {text}"))
    if isinstance(exc, HTTPError | HTTPException | ValueError):
        return TransportError(f"{shown}: the server's answer makes no sense: {text}")
    return exc


def _go_on() -> None:
    pass


def _say_nothing(level: str, line: str) -> None:
    pass
