"""``swagent uptane manifest``: what this vehicle reports."""

import json
from typing import TYPE_CHECKING, Any

from .options import Args, Command, Option
from .uptane_parts import HOW, IDENTITY_OPTIONS, OUT, SOURCE_OPTIONS, make_parts

if TYPE_CHECKING:
    from swagent.uptane.codecs import Codec

COMMAND = Command(
    name="uptane manifest",
    summary="show the vehicle version manifest as it would be sent now; or send it",
    target="uptane_manifest:run",
    options=(
        *IDENTITY_OPTIONS,
        *SOURCE_OPTIONS,
        Option("send", group=HOW, help="send it to --director-service"),
        Option("output", short="o", metavar="FILE", group=OUT, help="write the signed bytes to this file"),
    ),
    examples=(
        "swagent uptane manifest --state /var/lib/swagent/uptane --director https://d/VIN --image-repo https://i "
        "--ecu-serial GW1 --hardware-id gateway",
    ),
)


def run(args: Args) -> int:
    """Make it, print what it says, and send it if asked to."""
    from swagent.errors import UsageError
    from swagent.events import EventBus
    from swagent.store.atomic import replace
    from swagent.uptane_client.primary import Primary

    if args.on("send") and not args.get("director-service"):
        raise UsageError("--send needs --director-service")
    parts = make_parts(args, EventBus())
    primary = Primary(parts)
    raw = primary.report() if args.on("send") else primary.manifest()
    output = args.get("output")
    if output is not None:
        replace(output, raw)
    print(json.dumps(as_object(raw, parts.codec), indent=2))
    return 0


def as_object(raw: bytes, codec: "Codec") -> dict[str, Any]:
    """What a manifest says, the same in every dialect."""
    report = codec.decode_vehicle_report(raw).content
    ecus: dict[str, Any] = {}
    for serial, reports in report.ecus.items():
        for each in reports:
            said = codec.decode_ecu_report(each).content
            ecus.setdefault(serial, []).append({
                "installed": said.installed.path,
                "length": said.installed.length_bytes,
                "hashes": dict(said.installed.hashes),
                "time_s": said.time_s,
                "attacks": said.attacks.splitlines(),
                "counter": said.counter,
            })  # fmt: skip
    return {
        "vin": report.vin,
        "primary": report.primary,
        "ecus": ecus,
        "installation": report.installation and dict(report.installation),
    }
