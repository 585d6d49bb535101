"""The Time server of a testbed: the object ``dt`` of the exercise (uptane §3)."""

from collections.abc import Sequence
from typing import Any

from swagent.crypto.schemes import Signing
from swagent.net.rpcserver import Method, RpcMethods
from swagent.uptane.canonical import load
from swagent.uptane.errors import InvalidMetadata
from swagent.uptane_server.service import Door, Service
from swagent.uptane_server.service_rpc import rpc_application
from swagent.uptane_server.time_server import TimeServer

from .place import TIME_SERVER, Place

KEY = "timeserver"


class TimeSide:
    """What somebody at the Time server's console can do.

    Args:
        place: the testbed.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._last: tuple[int, ...] = ()
        self._replayed: bytes | None = None
        self._rpc: Service | None = None

    def listen(self, use_new_keys: bool = False) -> None:
        """Answer XML-RPC; not twice."""
        if self._rpc is not None:
            self._say(f"Already listening at port {self._rpc.ports[0]}.")
            return
        self._place.signer(KEY, new=use_new_keys)
        calls = {
            "get_signed_time": Method(self.get_signed_time, (list,), 1),
            "get_signed_time_der": Method(self.get_signed_time_der, (list,), 1),
        }
        faults = ((InvalidMetadata, "tuf.FormatError"),)
        methods = RpcMethods(calls, faults, lambda _, text: self._say(text))
        self._rpc = Service(Door(rpc_application(methods), port=self._place.ports.time))
        self._say(f"Timeserver is listening at {self._place.url(self._rpc.ports[0])}")

    def get_signed_time(self, nonces: Sequence[int]) -> Any:
        """The time, signed, as nested values."""
        return load(self._answer(nonces, "json"))

    def get_signed_time_der(self, nonces: Sequence[int]) -> bytes:
        """The time, signed, in DER."""
        return self._answer(nonces, "der")

    def replay_attestation_attack(self) -> None:
        """Answer whatever is asked with one old attestation."""
        self._replayed = self._server().attest(self._last, self._place.codec.extension)
        self._say("ATTACK: an old attestation is the answer to everything.")

    def undo_replay_attestation_attack(self) -> None:
        """Answer as asked again."""
        self._replayed = None
        self._say("ATTACK UNDONE: each question has its own answer.")

    def close(self) -> None:
        """Stop answering."""
        if self._rpc is not None:
            self._rpc.close()
            self._rpc = None

    def _answer(self, nonces: Sequence[int], extension: str) -> bytes:
        raw = self._replayed or self._server().attest(nonces, extension)
        self._last = tuple(nonces)
        return raw

    def _server(self) -> TimeServer:
        key: Signing = self._place.keys.open(KEY)
        return TimeServer(key, self._place.clock, self._place.dialect)

    def _say(self, text: str) -> None:
        self._place.voice.line(TIME_SERVER, text)
