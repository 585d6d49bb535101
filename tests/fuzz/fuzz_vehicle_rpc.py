"""XML-RPC as a Primary takes it from its Secondaries: every call is answered, by a value or by a fault."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xmlrpc.client import dumps, loads

from swagent.uptane.codecs import codec
from swagent.uptane.codecs.base import NotUnderstood
from swagent.uptane.errors import InvalidMetadata
from swagent.vehicle.rpc import Methods
from swagent.vehicle.server import Request


class _Desk:
    """Answers whoever asks; reports are read as the real one reads them."""

    codec = codec("ref-json")

    def register(self, serial: str) -> None:
        pass

    def attestation(self, serial: str) -> bytes | None:
        return None

    def metadata(self, serial: str, *, partial: bool) -> bytes:
        return b"metadata"

    def update_exists(self, serial: str) -> bool:
        return False

    @contextmanager
    def image(self, serial: str) -> Iterator[Any]:
        yield None

    def submit(self, vin: str, serial: str, nonce: int, raw: bytes) -> None:
        try:
            self.codec.decode_ecu_report(raw)
        except NotUnderstood as exc:
            raise InvalidMetadata(str(exc)) from exc


_METHODS = Methods(_Desk(), lambda level, line: None)  # type: ignore[arg-type]  # as much of a desk as is asked


def one_input(data: bytes) -> None:
    """A body; the answer is always one that a client can read."""
    answer = _METHODS(Request("POST", "/RPC2", data, ""))
    assert answer.status == 200
    assert isinstance(answer.body, bytes)
    if b"<fault>" not in answer.body:
        loads(answer.body)


def seeds() -> list[bytes]:
    """Each method."""
    calls: list[tuple[tuple[Any, ...], str]] = [
        (("VIN", "TCU", 7, {"signatures": [], "signed": {"ecu_serial": "TCU"}}), "submit_ecu_manifest"),
        (("TCU",), "register_new_secondary"),
        (("TCU",), "get_time_attestation_for_ecu"),
        (("TCU", True), "get_metadata"),
        (("TCU",), "get_image"),
        (("TCU",), "update_exists_for_ecu"),
    ]
    return [dumps(params, name, allow_none=True).encode() for params, name in calls]
