"""A back end beside the repositories, aktualizr's ``tls.server``: events, campaigns, the device's data (uptane §6)."""

from collections.abc import Callable, Sequence

from swagent.clock import Clock
from swagent.errors import TransportError
from swagent.net import HttpExchange, HttpOptions

from .campaigns import LIST_MAX_BYTES, Campaign, read_campaigns
from .sources import OPTIONS

ANSWER_MAX_BYTES = 64 * 1024


class Gateway:
    """Talks to it.

    Args:
        url: ``http`` or ``https``.
        clock: for time limits.
        options: how to talk to it.

    Raises:
        UsageError: no such address.
        RegistrationError: urllib3 is not installed.
    """

    def __init__(self, url: str, clock: Clock, options: HttpOptions = OPTIONS) -> None:
        self._url = url.rstrip("/")
        self._http = HttpExchange(f"{self._url}/", options, clock)

    def attend(self, waiting: Callable[[], None]) -> None:
        """Say who is asked while the server brings nothing; it may raise to stop."""
        self._http.attend(waiting)

    def post_events(self, bodies: Sequence[str]) -> int:
        """Hand in a batch of events; returns the status of the answer.

        Raises:
            TransportError, DeadlineError: there is no answer.
        """
        return self._ask("POST", "events", f"[{','.join(bodies)}]".encode())

    def put(self, name: str, body: bytes) -> int:
        """Replace a piece of the device's data; returns the status of the answer.

        Raises:
            TransportError, DeadlineError: there is no answer.
        """
        return self._ask("PUT", name, body)

    def campaigns(self) -> tuple[tuple[Campaign, ...], int]:
        """What the server offers, and how much else that makes no sense.

        Raises:
            TransportError, DeadlineError: there is no answer, or none with a list.
            MetadataError: the list makes no sense.
        """
        answer = self._http.ask("GET", f"{self._url}/campaigner/campaigns", max_bytes=LIST_MAX_BYTES)
        if not answer.is_good:
            raise TransportError(f"{self._url}/campaigner/campaigns: the server answers {answer.status}")
        return read_campaigns(answer.body)

    def _ask(self, method: str, name: str, body: bytes) -> int:
        answer = self._http.ask(
            method,
            f"{self._url}/{name}",
            body=body,
            headers={"Content-Type": "application/json"},
            max_bytes=ANSWER_MAX_BYTES,
        )
        return answer.status

    def close(self) -> None:
        """Close the connection."""
        self._http.close()
