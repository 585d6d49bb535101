"""The Director's methods over XML-RPC, as the reference's ECUs and web front end call them (uptane §5.2)."""

from collections.abc import Callable, Mapping
from typing import Any

from swagent.errors import MetadataTrustError, TransportError
from swagent.net.rpcserver import Method, RpcMethods
from swagent.uptane.canonical import load
from swagent.uptane.codecs import codec
from swagent.uptane.codecs.base import Codec
from swagent.uptane.errors import InvalidMetadata, Spoofing, UnknownEcu, UnknownVehicle
from swagent.uptane.metadata import Key
from swagent.uptane.signing import Made
from swagent.uptane_client.sources import as_file

from .director import Newcomer
from .director_desk import DirectorDesk

PORT = 30501
_SCHEMES = {"ed25519": "ed25519", "rsa": "rsassa-pss-sha256", "ecdsa": "ecdsa-sha2-nistp256"}


class NotDer(InvalidMetadata):
    """A manifest that is no DER."""


class NoSuchKey(UnknownVehicle):
    """The reference looks a VIN up in a dictionary."""


_FAULTS = (
    (NotDer, "uptane.FailedToDecodeASN1DER"),
    (NoSuchKey, "KeyError"),
    (UnknownEcu, "uptane.UnknownECU"),
    (UnknownVehicle, "uptane.UnknownVehicle"),
    (Spoofing, "uptane.Spoofing"),
    (MetadataTrustError, "tuf.BadSignatureError"),
    (InvalidMetadata, "tuf.FormatError"),
)


def methods(
    desk: DirectorDesk, log: Callable[[str, str], None], more: Mapping[str, Method] | None = None
) -> RpcMethods:
    """What can be called; ``more`` are methods besides, such as a testbed's attacks."""
    calls = _Calls(desk)
    found = {
        "register_ecu_serial": Method(calls.register, (str, dict, str, bool), 3),
        "submit_vehicle_manifest": Method(calls.submit, (str, str, object), 3),
        "add_new_vehicle": Method(calls.add_vehicle, (str, object), 1, guarded=True),
        "add_target_to_director": Method(calls.add_target, (str, str, str, str), 4, guarded=True),
        "write_director_repo": Method(calls.write, (object,), 0, guarded=True),
        "get_last_vehicle_manifest": Method(calls.last_vehicle_manifest, (str,), 1, guarded=True),
        "get_last_ecu_manifest": Method(calls.last_ecu_manifest, (str,), 1, guarded=True),
        "clear_vehicle_targets": Method(calls.clear, (str,), 1, guarded=True),
    }
    return RpcMethods({**found, **(more or {})}, _FAULTS, log)


class _Calls:
    def __init__(self, desk: DirectorDesk) -> None:
        self._desk = desk
        self._director = desk.director

    def register(self, serial: str, key: Mapping[str, Any], vin: str, primary: bool = False) -> None:
        newcomer = Newcomer(serial, read_key(key), primary=primary)
        self._director.register(vin, [newcomer])

    def submit(self, vin: str, primary: str, manifest: Any) -> None:
        try:
            raw = as_file(manifest, "submit_vehicle_manifest")
        except TransportError as exc:
            raise InvalidMetadata("the manifest is of no kind that can be read") from exc
        try:
            self._director.submit(vin, raw, primary)
        except InvalidMetadata as exc:
            raise NotDer(exc.message) if self._director.codec.extension == "der" else exc from exc

    def add_vehicle(self, vin: str, primary: Any = None) -> None:
        self._director.add_vehicle(vin, _text_or_none(primary))

    def add_target(self, source: str, path: str, vin: str, serial: str) -> None:
        self._desk.add_target(vin, serial, source, path.removeprefix("/"))

    def write(self, vin: Any = None) -> None:
        name = _text_or_none(vin)
        self._desk.write(None if name is None else [name])

    def last_vehicle_manifest(self, vin: str) -> Any:
        raw = self._director.last_vehicle_manifest(vin)
        return None if raw is None else vehicle_manifest_value(raw, self._director.codec)

    def last_ecu_manifest(self, serial: str) -> Any:
        raw = self._director.last_ecu_manifest(serial)
        return None if raw is None else ecu_manifest_value(raw, self._director.codec)

    def clear(self, vin: str) -> None:
        try:
            self._director.clear(vin)
        except UnknownVehicle as exc:
            raise NoSuchKey(repr(vin)) from exc


def read_key(tree: Mapping[str, Any]) -> Key:
    """A public key as registrations carry it; with the reference's JSON it names itself.

    Raises:
        InvalidMetadata: it is none.
    """
    value = tree.get("keyval")
    public = value.get("public") if isinstance(value, dict) else None
    kind, keyid = tree.get("keytype"), tree.get("keyid", "")
    if not (isinstance(kind, str) and isinstance(public, str) and isinstance(keyid, str)):
        raise InvalidMetadata("the key is none: it needs keytype and keyval.public")
    scheme = tree.get("scheme", _SCHEMES.get(kind.lower(), kind.lower()))
    if not isinstance(scheme, str):
        raise InvalidMetadata("the scheme of a key is no text")
    return Key(keyid, kind.lower(), scheme, public)


def ecu_manifest_value(raw: bytes, encoding: Codec) -> Any:
    """An ECU's manifest as nested values; the signature of one in DER stays that over DER."""
    if encoding.extension != "der":
        return load(raw)
    found = encoding.decode_ecu_report(raw)
    return load(codec("ref-json").encode_ecu_report(found.content, Made(found.signatures[0])))


def vehicle_manifest_value(raw: bytes, encoding: Codec) -> Any:
    """A vehicle's manifest as nested values. See ``ecu_manifest_value``."""
    if encoding.extension != "der":
        return load(raw)
    found = encoding.decode_vehicle_report(raw)
    reports = {
        serial: tuple(_rewritten(each, encoding) for each in raws)
        for serial, raws in found.content.ecus.items()
    }
    return load(
        codec("ref-json").encode_vehicle_report(
            found.content._replace(ecus=reports), Made(found.signatures[0])
        )
    )


def _rewritten(raw: bytes, encoding: Codec) -> bytes:
    found = encoding.decode_ecu_report(raw)
    return codec("ref-json").encode_ecu_report(found.content, Made(found.signatures[0]))


def _text_or_none(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidMetadata("this argument is a text or nil")
    return value
