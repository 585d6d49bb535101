"""The methods by which the reference's Secondaries ask their Primary, as XML-RPC (uptane §5.1, §5.5)."""

from collections.abc import Callable
from typing import Any

from swagent.errors import EndlessDataError, MetadataTrustError, SwagentError, TransportError
from swagent.model import Reader
from swagent.net.rpcserver import Method, RpcMethods
from swagent.uptane.errors import InvalidMetadata, Spoofing, UnknownEcu, UnknownVehicle
from swagent.uptane_client.desk import Desk
from swagent.uptane_client.sources import as_file, as_value

from .server import Answer, Request

PORTS = tuple(range(30701, 30712))
IMAGE_MAX_BYTES = 64 * 1024 * 1024
"""It travels as one value, which both sides hold in memory; larger ones need resources."""
_FAULTS: tuple[tuple[type[SwagentError], str], ...] = (
    (UnknownEcu, "uptane.UnknownECU"),
    (UnknownVehicle, "uptane.UnknownVehicle"),
    (Spoofing, "uptane.Spoofing"),
    (MetadataTrustError, "tuf.BadSignatureError"),
    (InvalidMetadata, "tuf.FormatError"),
)


class Methods:
    """Answers XML-RPC at ``/RPC2`` from a desk.

    Args:
        desk: what the Primary has.
        log: hears of refused calls: level and line.
        image_max_bytes: how long an image may be that travels this way.
    """

    def __init__(
        self, desk: Desk, log: Callable[[str, str], None], *, image_max_bytes: int = IMAGE_MAX_BYTES
    ) -> None:
        self._desk = desk
        self._image_max_bytes = image_max_bytes
        methods = {
            "submit_ecu_manifest": Method(self._submit, (str, str, int, object), 4),
            "register_new_secondary": Method(self._register, (str,), 1),
            "get_time_attestation_for_ecu": Method(self._attestation, (str,), 1),
            "get_metadata": Method(self._metadata, (str, bool), 1),
            "get_image": Method(self._image, (str,), 1),
            "update_exists_for_ecu": Method(self._update_exists, (str,), 1),
        }
        self._methods = RpcMethods(methods, _FAULTS, log)

    def __call__(self, request: Request) -> Answer:
        """One call; whatever goes wrong with it is a fault."""
        if request.method != "POST" or request.path not in ("/", "/RPC2"):
            return Answer(404)
        return Answer(200, self._methods.answer(request.body), "text/xml")

    def _submit(self, vin: str, serial: str, nonce: int, manifest: Any) -> None:
        try:
            raw = as_file(manifest, "submit_ecu_manifest")
        except TransportError as exc:
            raise InvalidMetadata("the report is of no kind that can be read") from exc
        self._desk.submit(vin, serial, nonce, raw)

    def _register(self, serial: str) -> None:
        self._desk.register(serial)

    def _attestation(self, serial: str) -> Any:
        raw = self._desk.attestation(serial)
        if not raw:
            return b"" if self._desk.codec.extension == "der" else None
        return as_value(raw, self._desk.codec)

    def _metadata(self, serial: str, partial: bool = False) -> bytes:
        return self._desk.metadata(serial, partial=partial)

    def _image(self, serial: str) -> list[Any]:
        with self._desk.image(serial) as found:
            if found is None:
                return [None, None]
            target, source = found
            if target.length_bytes > self._image_max_bytes:
                raise EndlessDataError(
                    f"{target.path} is too long for XML-RPC ({target.length_bytes} bytes)",
                    artifact=target.path,
                )
            return [target.path, _whole(source)]

    def _update_exists(self, serial: str) -> bool:
        return self._desk.update_exists(serial)


def _whole(source: Reader) -> bytes:
    data = bytearray()
    buffer = memoryview(bytearray(256 * 1024))
    while n := source.readinto(buffer):
        data += buffer[:n]
    return bytes(data)
