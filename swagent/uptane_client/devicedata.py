"""What aktualizr's back end is told of the device itself: each piece again only when it has changed (uptane §6)."""

from collections.abc import Callable, Mapping
from typing import Protocol

from swagent.crypto.digest import sha256
from swagent.errors import DeadlineError, TransportError
from swagent.uptane.canonical import encode_compact

from .vehicle import Vehicle


class DataServer(Protocol):
    """Takes such pieces."""

    def put(self, name: str, body: bytes) -> int:
        """Replace one; returns the status of the answer.

        Raises:
            TransportError, DeadlineError: there is no answer.
        """
        ...


class DeviceData:
    """Tells what has changed.

    Args:
        vehicle: remembers what was told.
        server: where it goes.
        gather: the present pieces, by the name below the server's address.
        log: hears of a server that does not take one: level and line.
    """

    def __init__(
        self,
        vehicle: Vehicle,
        server: DataServer,
        gather: Callable[[], Mapping[str, object]],
        log: Callable[[str, str], None],
    ) -> None:
        self._vehicle = vehicle
        self._server = server
        self._gather = gather
        self._log = log

    def send(self) -> bool:
        """Tell it; what is not taken follows with the next cycle. Returns whether anything was told."""
        told = False
        for name, piece in self._gather().items():
            body = encode_compact(piece)
            digest, fact = sha256(body).hexdigest(), f"told {name}"
            if self._vehicle.fact(fact) == digest:
                continue
            try:
                status = self._server.put(name, body)
            except (TransportError, DeadlineError) as exc:
                self._log("warn", f"{name} was not told: {exc.message}")
                return told
            if 200 <= status < 300:
                self._vehicle.keep_fact(fact, digest)
                told = True
            else:
                self._log("info", f"{name} was not told: the server answers {status}")
        return told
