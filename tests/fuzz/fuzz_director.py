"""Manifests and XML-RPC calls as a Director takes them: refused by our own errors, or answered by a fault."""

from xmlrpc.client import dumps

from swagent.crypto.schemes import from_seed
from swagent.errors import SwagentError
from swagent.uptane.codecs import NAMES, codec
from swagent.uptane.reports import UNKNOWN_IMAGE, EcuReport, VehicleReport
from swagent.uptane.signing import Signer
from swagent.uptane_server import director_rpc
from swagent.uptane_server.director import Director
from swagent.uptane_server.director_desk import DirectorDesk
from swagent.uptane_server.director_folder import VehicleFolders
from swagent.uptane_server.director_intake import Known, judge_manifest
from swagent.uptane_server.inventory_records import Ecu

_NOW_S = 1_800_000_000
_ECUS = {
    name: {
        serial: Ecu(
            serial, "VIN", "", serial == "P", Signer(from_seed(b"%2d" % number * 16), codec(name)).key
        )
        for number, serial in enumerate(("P", "S"))
    }
    for name in NAMES
}


class _Empty:
    """An inventory that is not there."""

    def change(self) -> None:
        raise SwagentError("no inventory")

    look = change


class _Clock:
    def now_s(self) -> float:
        return _NOW_S

    def monotonic_s(self) -> float:
        return 0.0


_DIRECTORS = [Director(_Empty(), codec(name), {}, _Clock()) for name in ("ref-json", "ref-der")]  # type: ignore[arg-type]  # it is asked only that
_METHODS = [
    director_rpc.methods(DirectorDesk(each, VehicleFolders("/nowhere")), lambda level, line: None)
    for each in _DIRECTORS
]


def one_input(data: bytes) -> None:
    """A manifest in each dialect, and the body of a call."""
    for name in NAMES:
        try:
            judge_manifest(data, codec(name), Known("VIN", _ECUS[name]), primary="P", now_s=_NOW_S)
        except SwagentError:
            continue
    for methods in _METHODS:
        answer = methods.answer(data, trusted=True)
        assert b"<methodResponse>" in answer
        assert b"Traceback" not in answer


def seeds() -> list[bytes]:
    """An honest manifest of each dialect, and each method."""
    found = []
    for name in NAMES:
        encoding = codec(name)
        primary, secondary = (Signer(from_seed(b"%2d" % number * 16), encoding) for number in (0, 1))
        counter = 7 if name in ("tuf1", "ak") else None
        reports = {
            serial: (
                encoding.encode_ecu_report(
                    EcuReport(serial, UNKNOWN_IMAGE, _NOW_S, _NOW_S - 9, "", counter), by
                ),
            )
            for serial, by in (("P", primary), ("S", secondary))
        }
        vehicle = VehicleReport("" if name == "ak" else "VIN", "P", reports)
        found.append(encoding.encode_vehicle_report(vehicle, primary))
    key = {"keytype": "ed25519", "keyid": "00", "keyval": {"public": "00" * 32}}
    signed = {
        "signatures": [],
        "signed": {"vin": "VIN", "primary_ecu_serial": "P", "ecu_version_manifests": {}},
    }
    calls = [
        (("S", key, "VIN", False), "register_ecu_serial"),
        (("VIN", "P", signed), "submit_vehicle_manifest"),
        (("VIN", "P", found[-1]), "submit_vehicle_manifest"),
        (("VIN", None), "add_new_vehicle"),
        (("image", "/image", "VIN", "S"), "add_target_to_director"),
        (("VIN",), "write_director_repo"),
        (("VIN",), "get_last_vehicle_manifest"),
        (("S",), "get_last_ecu_manifest"),
        (("VIN",), "clear_vehicle_targets"),
    ]
    return [*found, *(dumps(params, name, allow_none=True).encode() for params, name in calls)]
