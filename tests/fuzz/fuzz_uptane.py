"""Uptane's four encodings: a typed refusal, or the same meaning again when it is written and read once more."""

from contextlib import suppress
from functools import cache

from swagent.crypto.schemes import from_seed
from swagent.testing.media import OfflineSimulator
from swagent.testing.repositories import RepoSimulator, image_target
from swagent.uptane.codecs import NAMES, codec
from swagent.uptane.codecs.base import Codec, NotUnderstood
from swagent.uptane.metadata import NO_MAPPING, Body, Targets
from swagent.uptane.reports import EcuReport, InstalledImage, TimeAttestation, VehicleReport
from swagent.uptane.signing import Signer

OFFLINE = 16
"""As first byte: our own encoding, and the files of updates from a medium."""


def one_input(data: bytes) -> None:
    """The first byte chooses the encoding and what the rest is taken for."""
    if not data:
        return
    encoding, what = codec(NAMES[data[0] % 4]), data[0] // 4 % 4
    signer = _signer(encoding.name)
    raw = data[1:]
    with suppress(NotUnderstood):
        if what == 0 or data[0] == OFFLINE:
            offline = data[0] == OFFLINE
            document = encoding.decode(raw, offline=offline)
            again = encoding.encode(
                document.body,
                version=document.version,
                expires_s=document.expires_s,
                signers=(signer,),
                offline=offline,
            )
            found = encoding.decode(again, offline=offline)
            assert _plain(found.body) == _plain(document.body)
            assert (found.version, found.expires_s) == (document.version, document.expires_s)
        elif what == 1:
            ecu = encoding.decode_ecu_report(raw).content
            again = encoding.encode_ecu_report(ecu, signer)
            assert _at_least_1970(encoding.decode_ecu_report(again).content) == _at_least_1970(ecu)
        elif what == 2:
            vehicle = encoding.decode_vehicle_report(raw).content
            again = encoding.encode_vehicle_report(vehicle, signer)
            assert encoding.decode_vehicle_report(again).content.ecus == vehicle.ecus
        else:
            time = encoding.decode_time(raw).content
            assert encoding.decode_time(encoding.encode_time(time, signer)).content == time


def _plain(body: Body) -> Body:
    """Custom members of a dialect may be spelled in several ways; what they mean stands in other fields."""
    if not isinstance(body, Targets):
        return body
    return body._replace(
        targets={path: target._replace(custom=NO_MAPPING) for path, target in body.targets.items()}
    )


def _at_least_1970(report: EcuReport) -> EcuReport:
    """The reference's DER has no time before the first second, and no counter."""
    return report._replace(
        time_s=max(report.time_s, 1), previous_time_s=max(report.previous_time_s, 1), counter=None
    )


@cache
def _signer(name: str) -> Signer:
    return Signer(from_seed(bytes(32)), codec(name))


def _reports(encoding: Codec, signer: Signer) -> list[bytes]:
    image = InstalledImage("firmware.img", 3, {"sha256": "ab" * 32})
    ecu = encoding.encode_ecu_report(EcuReport("TCU", image, 1_700_000_000, 1, "an attack"), signer)
    vehicle = VehicleReport("democar", "INFO", {"TCU": (ecu,)})
    return [
        ecu,
        encoding.encode_vehicle_report(vehicle, signer),
        encoding.encode_time(TimeAttestation((7, 300), 1_700_000_000), signer),
    ]


def seeds() -> list[bytes]:
    """Every role, report and attestation in every encoding."""
    found = []
    for number, name in enumerate(NAMES):
        sim = OfflineSimulator(name) if name == NAMES[0] else RepoSimulator(name)
        sim.targets["a.img"] = image_target("a.img", b"x", "TCU", release_counter=4)
        if name != "ref-der":
            sim.delegate("supplier", ("lib/*",), [image_target("lib/b.img", b"y")], terminating=True)
        sim.publish()
        found += [bytes([number]) + raw for raw in sim.files.values()]
        if isinstance(sim, OfflineSimulator):
            sim.offline["set"] = Targets(sim.targets)
            sim.publish_offline()
            found += [bytes([OFFLINE]) + raw for raw in (sim.offline_snapshot, *sim.offline_files.values())]
        for what, raw in enumerate(_reports(sim.codec, _signer(name)), 1):
            found.append(bytes([number + 4 * what]) + raw)
    return found
