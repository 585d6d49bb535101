"""Short questions to a server, answered with a status and a body that fits into memory."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from swagent.clock import Clock
from swagent.errors import TransportError

from .address import follow, read_address
from .options import HttpOptions
from .patient import PIECE_BYTES
from .wire import REDIRECTS, REDIRECTS_MAX, Broken, Client


class Answer(NamedTuple):
    """What a server says, whatever it is.

    Attributes:
        headers: by name in small letters.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_good(self) -> bool:
        """Whether it did what was asked."""
        return 200 <= self.status < 300

    @property
    def retry_after_s(self) -> int | None:
        """How long it wants to be left alone, None when it does not say so in seconds."""
        text = self.headers.get("retry-after", "").strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


class HttpExchange:
    """Asks below, or beside, one address; secrets go to its server alone.

    Args:
        url: of the server.
        options: how to ask; nothing is tried twice here.
        clock: for timeouts.

    Raises:
        RegistrationError: urllib3 is not installed.
        UsageError: the URL or the proxy's makes no sense.
        SettingsError: a certificate or key cannot be used.
    """

    def __init__(self, url: str, options: HttpOptions, clock: Clock) -> None:
        self._client = Client(url, options, clock)

    def read_keys(self) -> None:
        """Read certificates and keys now, all of them; later there may be no right to. Raises SettingsError."""
        self._client.read_keys()

    def attend(self, waiting: Callable[[], None]) -> None:
        """Who is asked while nothing comes; it may raise to stop."""
        self._client.waiting = waiting

    def ask(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int,
        follows: bool = True,
    ) -> Answer:
        """Ask once; what came of a redirected GET is the answer of the last server.

        Args:
            method: such as ``GET``.
            url: of what is asked; its user and password count only for the server itself.
            body: to send.
            headers: beside those of the options.
            max_bytes: how long the answer may be.
            follows: whether redirections of a GET are followed.

        Raises:
            TransportError, DeadlineError: there is no answer, or it is too long, or leads nowhere.
            UsageError: the URL makes no sense.
        """
        from swagent import __version__

        sent = {"User-Agent": f"swagent/{__version__}", "Accept-Encoding": "identity", **(headers or {})}
        address = read_address(url)
        own = address.origin == self._client.address.origin
        address = address._replace(auth=(self._client.address.auth or address.auth) if own else "")
        try:
            for _ in range(REDIRECTS_MAX + 1):
                self._client.waiting()
                response = self._client.request(address, sent, method, body)
                told = {name.lower(): value for name, value in response.headers.items()}
                if not (follows and method == "GET" and response.status in REDIRECTS and "location" in told):
                    break
                response.close()
                address = follow(address, told["location"])
            else:
                raise TransportError(f"{self._client.name} redirects more than {REDIRECTS_MAX} times")
            answer = bytearray()
            try:
                while piece := self._client.take(response, PIECE_BYTES):
                    answer += piece
                    if len(answer) > max_bytes:
                        raise TransportError(f"{address.shown}: the answer has more than {max_bytes} bytes")
            finally:
                response.close()
        except Broken as broken:
            raise broken.error from broken
        return Answer(response.status, told, bytes(answer))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
