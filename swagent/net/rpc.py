"""XML-RPC, as the reference implementation of Uptane speaks it: with nil, binary as base64, errors as faults."""

from typing import Any

from swagent.clock import Clock
from swagent.errors import TransportError

from .options import HttpOptions
from .wire import Client

ANSWER_MAX_BYTES = 64 * 1024 * 1024


class RemoteFault(TransportError):
    """The other side could not do it.

    Attributes:
        text: what it says, such as ``<class 'uptane.UnknownECU'>:...``.
    """

    retryable = False

    def __init__(self, method: str, text: str) -> None:
        super().__init__(f"{method} failed on the other side: {text[:500]}")
        self.text = text


class RpcClient:
    """Calls methods of one server.

    Args:
        url: of the server; ``/RPC2`` is added where it has no path.
        options: how to talk to it.
        clock: for time limits.

    Raises:
        UsageError: no such address.
        RegistrationError: urllib3 is not installed.
        SettingsError: a certificate or key cannot be used.
    """

    def __init__(self, url: str, options: HttpOptions, clock: Clock) -> None:
        self._client = Client(url, options, clock)
        if self._client.address.target in ("", "/"):
            self._client = self._client.at("RPC2")
        self.name = self._client.name

    def call(self, method: str, *params: Any, max_bytes: int = ANSWER_MAX_BYTES) -> Any:
        """Call a method; ``bytes`` travel as base64, None as nil.

        Raises:
            RemoteFault: it failed on the other side.
            TransportError: it cannot be reached, or its answer makes no sense.
            DeadlineError: it does not answer.
        """
        from xml.parsers.expat import ExpatError
        from xmlrpc.client import Error, Fault, loads

        from .rpcwords import call_body

        try:
            body = call_body(method, params)
        except ValueError as exc:
            raise TransportError(f"{method}: XML-RPC has no words for what is to be sent: {exc}") from exc
        answer = self._client.send("POST", body, "text/xml", max_bytes=max_bytes)
        try:
            values, _ = loads(answer, use_builtin_types=True)
        except Fault as fault:
            raise RemoteFault(method, str(fault.faultString)) from fault
        except (Error, ExpatError, ValueError, TypeError, IndexError, KeyError, LookupError) as exc:
            raise TransportError(f"{self.name}: the answer to {method} makes no sense") from exc
        if len(values) != 1:
            raise TransportError(f"{self.name}: the answer to {method} makes no sense")
        return values[0]

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
