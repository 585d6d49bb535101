"""``swagent director vehicle``, ``ecu``, ``assign``, ``withdraw`` and ``write``: a fleet, and what it shall run."""

import os
from typing import TYPE_CHECKING, Any

from .director import (
    HOME_OPTION,
    JSON_OPTION,
    PASSWORD_OPTION,
    STATIC_OPTION,
    open_desk,
    open_director,
    say,
)
from .options import Args, Command, Option

if TYPE_CHECKING:
    from swagent.uptane_server.inventory_records import Wish

WHAT = "the image"
VEHICLE = Command(
    name="director vehicle",
    summary="show a vehicle, or add or reset it with --add; without VIN list the fleet",
    target="director_orders:vehicle",
    arguments=("[VIN]",),
    options=(
        HOME_OPTION,
        Option("add", help="a new vehicle; one that is there is reset"),
        Option("primary", metavar="SERIAL", help="with --add: the only ECU that may register as its Primary"),
        Option("seen", help="close its alerts"),
        Option("after", metavar="VIN", help="of a long list, the part behind this one"),
        PASSWORD_OPTION,
        JSON_OPTION,
    ),
    examples=("swagent director vehicle WVW1 --add", "swagent director vehicle --json"),
)
ECU = Command(
    name="director ecu",
    summary="make an ECU of a vehicle known, or trust one again that was replaced",
    target="director_orders:ecu",
    arguments=("VIN", "SERIAL"),
    options=(
        HOME_OPTION,
        Option("key", metavar="FILE", help="its public key: PEM, or as the reference writes it"),
        Option("hardware-id", metavar="ID", help="its kind of hardware"),
        Option("primary", help="it is the Primary"),
        Option("image-key", metavar="FILE", help="RSA public key in PEM that its images are encrypted for"),
        Option("forgive", help="take its next good report, whatever its counter and time"),
        PASSWORD_OPTION,
    ),
    examples=("swagent director ecu WVW1 TCU1 --key tcu.pem --hardware-id tcu",),
)
ASSIGN = Command(
    name="director assign",
    summary="what an ECU shall run; signed at once, unless --later",
    target="director_orders:assign",
    arguments=("VIN", "SERIAL", "FILE"),
    options=(
        HOME_OPTION,
        STATIC_OPTION,
        Option("name", metavar="PATH", group=WHAT, help="its name in both repositories; the file's unless said"),
        Option(
            "hardware-id", metavar="ID", repeat=True, group=WHAT, help="what it is for; may be given several times"
        ),
        Option("release-counter", metavar="N", group=WHAT, help="never goes down for one image"),
        Option(
            "requires", metavar="WISH", repeat=True, group=WHAT,
            help="what another ECU must run, such as hardware=bcu,path=bcu.*,least=3",
        ),
        Option("conflicts", metavar="WISH", repeat=True, group=WHAT, help="what no other ECU may run"),
        Option("correlation-id", metavar="ID", group=WHAT, help="what reports about it shall carry"),
        Option("later", help="let `write` sign it"),
        PASSWORD_OPTION,
        JSON_OPTION,
    ),
    examples=("swagent director assign WVW1 TCU1 tcu-2.4.img --hardware-id tcu --release-counter 24",),
)  # fmt: skip
WITHDRAW = Command(
    name="director withdraw",
    summary="an ECU, or with VIN alone all of a vehicle, shall run nothing in particular",
    target="director_orders:withdraw",
    arguments=("VIN", "[SERIAL]"),
    options=(HOME_OPTION, STATIC_OPTION, Option("later", help="let `write` sign it"), PASSWORD_OPTION),
)
WRITE = Command(
    name="director write",
    summary="sign what is assigned, for these vehicles or for all",
    target="director_orders:write",
    arguments=("[VIN]",),
    options=(HOME_OPTION, STATIC_OPTION, PASSWORD_OPTION),
)


def vehicle(args: Args) -> int:
    """List, show or add."""
    from swagent.errors import UsageError
    from swagent.uptane_server.director_api import whole_vehicle_tree

    director = open_director(args)
    if not args.arguments:
        return _list(args)
    vin = args.arguments[0]
    if args.on("add"):
        director.add_vehicle(vin, args.get("primary"))
    elif args.get("primary") is not None:
        raise UsageError("--primary goes with --add")
    if args.on("seen"):
        with director.inventory.change() as fleet:
            fleet.vehicle(vin, lock=True)
            fleet.close_alerts(vin)
    with director.inventory.look() as fleet:
        tree = whole_vehicle_tree(fleet, vin)
    say(args, tree, "\n".join(_lines(tree)))
    return 0


def _list(args: Args) -> int:
    import sys

    from swagent.uptane_server.director_api import vehicle_tree

    from .table import print_table

    director = open_director(args)
    with director.inventory.look() as fleet:
        found = fleet.vehicles(after=args.get("after") or "", limit=500)
    if args.on("json"):
        say(args, {"vehicles": [vehicle_tree(each) for each in found]}, "")
        return 0
    rows = [
        (each.vin, each.primary or "", _time(each.contact_s), str(each.alerts or ""), str(each.version or ""))
        for each in found
    ]
    print_table(sys.stdout, ("VIN", "Primary", "last contact", "alerts", "metadata"), rows)
    return 0


def _lines(tree: dict[str, Any]) -> list[str]:
    primary, contact = tree["primary_ecu_serial"] or "unknown", _time(tree["last_contact"])
    lines = [f"{tree['vin']}  Primary {primary}, last contact {contact}"]
    for ecu in tree["ecus"]:
        runs = ecu["installed"]["path"] if ecu["installed"] else "unknown"
        shall = f" -> {ecu['assigned']}" if ecu["assigned"] else ""
        lines.append(f"  {ecu['ecu_serial']}  {ecu['hardware_id']}  runs {runs}{shall}")
        if ecu["distrust"]:
            lines.append(f"    not trusted: {ecu['distrust']}")
    held_back = (order for order in tree["assignments"] if order["held_back"])
    lines += [f"  {order['ecu_serial']}: held back: {order['held_back']}" for order in held_back]
    alerts = (each for each in tree["alerts"] if each["open"])
    lines += [f"  alert: {each['ecu_serial']} {each['kind']}: {each['text']}" for each in alerts]
    return lines


def _time(time_s: int | None) -> str:
    from swagent.uptane.codecs.base import write_time

    return write_time(time_s) if time_s is not None else "never"


def ecu(args: Args) -> int:
    """Register, or forgive."""
    from swagent.errors import SettingsError, UsageError
    from swagent.uptane_client.provision import read_public_key
    from swagent.uptane_server.director import Newcomer

    director = open_director(args)
    vin, serial = args.arguments
    if args.on("forgive"):
        director.forgive(serial)
        return 0
    path, image_key = args.get("key"), ""
    if path is None:
        raise UsageError("--key is missing")
    if args.get("image-key") is not None:
        try:
            with open(args.get("image-key") or "") as file:
                image_key = file.read(64 * 1024)
        except (OSError, ValueError) as exc:
            raise SettingsError(f"cannot read {args.get('image-key')}: {exc}") from exc
    key = read_public_key(path, director.codec)
    newcomer = Newcomer(serial, key, args.get("hardware-id") or "", args.on("primary"), image_key)
    director.register(vin, [newcomer], again=True)
    return 0


def assign(args: Args) -> int:
    """Assign, and sign unless later."""
    director = open_director(args)
    desk = open_desk(args, director)
    vin, serial, path = args.arguments
    hardware_ids, counter = args.all("hardware-id"), args.get("release-counter")
    image = desk.add_target(
        vin,
        serial,
        path,
        args.get("name") or os.path.basename(path),
        hardware_ids=frozenset(hardware_ids) if hardware_ids else None,
        release_counter=read_number("release-counter", counter) if counter is not None else None,
        requires=tuple(map(_wish, args.all("requires"))),
        conflicts=tuple(map(_wish, args.all("conflicts"))),
        correlation_id=args.get("correlation-id") or "",
    )
    held_back = ""
    if not args.on("later"):
        desk.write([vin])
        _, reasons = director.preview(vin)
        held_back = reasons.get(serial, "")
    tree = {"vin": vin, "ecu_serial": serial, "image": image.number, "held_back": held_back}
    words = f"held back: {held_back}" if held_back else "not signed yet" if args.on("later") else "signed"
    say(args, tree, f"{serial} of {vin}: {image.target.path}, {words}")
    return 0


def withdraw(args: Args) -> int:
    """Withdraw, and sign unless later."""
    director = open_director(args)
    vin, *serials = args.arguments
    if serials:
        director.assign(vin, serials[0], None)
    else:
        director.clear(vin)
    if not args.on("later"):
        open_desk(args, director).write([vin])
    return 0


def write(args: Args) -> int:
    """Sign."""
    open_desk(args, open_director(args)).write(args.arguments or None)
    return 0


def _wish(text: str) -> "Wish":
    """``hardware=bcu,path=bcu.*,least=3,most=9``."""
    from swagent.errors import UsageError
    from swagent.uptane_server.inventory_records import Wish

    words: dict[str, Any] = {}
    for pair in text.split(","):
        name, equals, value = pair.partition("=")
        name = {"hardware": "hardware_id"}.get(name, name)
        if not equals or name not in Wish._fields:
            raise UsageError(f"{text!r} is no requirement", hint="such as hardware=bcu,path=bcu.*,least=3")
        words[name] = read_number(name, value) if name in ("least", "most") else value
    return Wish(**words)


def read_number(name: str, text: str) -> int:
    """A whole number that an option names.

    Raises:
        UsageError: it is none.
    """
    from swagent.errors import UsageError

    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise UsageError(f"{name} is a number, not {text[:40]!r}")
    return int(text)
