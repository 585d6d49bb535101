"""The methods by which the reference's Secondaries ask their Primary, as XML-RPC (uptane §5.1, §5.5)."""

from collections.abc import Callable, Mapping
from typing import Any

from swagent.errors import EndlessDataError, MetadataTrustError, SwagentError, TransportError
from swagent.model import Reader
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
        self._log = log
        self._image_max_bytes = image_max_bytes
        self._methods: Mapping[str, tuple[Callable[..., Any], tuple[type, ...], int]] = {
            "submit_ecu_manifest": (self._submit, (str, str, int, object), 4),
            "register_new_secondary": (self._register, (str,), 1),
            "get_time_attestation_for_ecu": (self._attestation, (str,), 1),
            "get_metadata": (self._metadata, (str, bool), 1),
            "get_image": (self._image, (str,), 1),
            "update_exists_for_ecu": (self._update_exists, (str,), 1),
        }

    def __call__(self, request: Request) -> Answer:
        """One call; whatever goes wrong with it is a fault."""
        if request.method != "POST" or request.path not in ("/", "/RPC2"):
            return Answer(404)
        return Answer(200, self._call(request.body), "text/xml")

    def _call(self, body: bytes) -> bytes:
        from xml.parsers.expat import ExpatError
        from xmlrpc.client import Error, dumps, loads

        try:
            if b"<!" in body or b"\0" in body:  # no entities, in no encoding: nobody needs them
                raise ValueError("a declaration")
            params, name = loads(body, use_builtin_types=True)
        except (Error, ExpatError, ValueError, TypeError, IndexError, KeyError, LookupError) as exc:
            return _fault("xmlrpc.client.ResponseError", f"the call makes no sense ({type(exc).__name__})")
        method, kinds, least = self._methods.get(name or "", (None, (), 0))
        if method is None:
            return _fault("Exception", f'method "{(name or "")[:60]}" is not supported')
        fitting = all(
            isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
            for value, kind in zip(params, kinds, strict=False)
        )
        if not (least <= len(params) <= len(kinds) and fitting):
            return _fault("tuf.FormatError", f"{name} takes other arguments")
        try:
            return dumps((method(*params),), methodresponse=True, allow_none=True).encode()
        except SwagentError as exc:
            self._log("warn", f"{name}: {exc.message}")
            kind = next((word for family, word in _FAULTS if isinstance(exc, family)), "uptane.Error")
            return _fault(kind, exc.message)

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


def _fault(kind: str, text: str) -> bytes:
    """As the reference words it: code 1, the class and what it says."""
    from xmlrpc.client import Fault, dumps

    clean = "".join(char if char.isprintable() else "?" for char in text[:500])
    return dumps(Fault(1, f"<class '{kind}'>:{clean}"), methodresponse=True).encode()
