"""``swagent uptane secondary``: an ECU that gets everything from its Primary, and believes none of it."""

import os
from typing import TYPE_CHECKING

from swagent.errors import SettingsError, UsageError

from .options import Args, Command, Option
from .uptane_parts import (
    DIALECT_OPTION,
    HOW,
    STATE_OPTION,
    WHERE,
    WHO,
    image_keys,
    lock_state,
    make_signer,
    needed,
    seconds,
)
from .uptane_service import INTERVAL_OPTION, JSON_OPTION, Log, make_screen, repeat, stop_by_signal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swagent.events import EventBus
    from swagent.model import EcuInstaller
    from swagent.uptane.codecs import Codec
    from swagent.uptane.metadata import Key, RoleKeys
    from swagent.uptane_client.secondary import Parts, PrimaryLink

COMMAND = Command(
    name="uptane secondary",
    summary="a Secondary: time, metadata and image from its Primary, verified here; then its report",
    target="uptane_secondary:run",
    options=(
        STATE_OPTION,
        Option("ecu-serial", metavar="SERIAL", group=WHO, help="serial of this ECU"),
        Option("hardware-id", metavar="ID", group=WHO, help="its kind of hardware"),
        Option("vin", metavar="VIN", group=WHO, help="the vehicle; none unless said otherwise"),
        Option("ecu-key", metavar="URI", group=WHO, help="its private key; else one is made in --state"),
        Option(
            "image-key",
            metavar="FILE",
            group=WHO,
            help="opens images encrypted for this ECU: AES in hex, or RSA",
        ),
        Option("primary", metavar="URL", group=WHERE, help="the Primary: https:// or http://"),
        Option("rpc", group=WHERE, help="the Primary speaks the reference's XML-RPC"),
        Option(
            "ca", metavar="FILE", group=WHERE, help="whose certificates to believe; may be the Primary's own"
        ),
        Option(
            "cert", metavar="FILE", group=WHERE, help="certificate to show; its common name is the serial"
        ),
        Option("key", metavar="FILE", group=WHERE, help="its private key"),
        DIALECT_OPTION,
        Option(
            "director-targets-key",
            metavar="FILE",
            group=HOW,
            repeat=True,
            help="verify the Director's targets alone, by this key; of several, all must sign",
        ),
        Option("firmware", metavar="FILE", group=HOW, help="write images to this file, replaced whole"),
        Option("swu", group=HOW, help="install images as `swagent -i` does, with its settings"),
        Option("file", short="f", metavar="FILE", group=HOW, help="settings for --swu"),
        Option("time-fresh", metavar="SECONDS", group=HOW, help="how old an attested time may be; 86400"),
        Option("once", group=HOW, help="one cycle, then end"),
        INTERVAL_OPTION,
        JSON_OPTION,
    ),
    examples=(
        "swagent uptane secondary --state /var/lib/swagent/uptane --primary https://gateway:30720 --ca ca.pem "
        "--cert tcu.pem --key tcu.key --ecu-serial TCU1 --hardware-id tcu --firmware /srv/tcu.bin",
    ),
)


def run(args: Args) -> int:
    """One cycle, whose errors are raised; or cycles until SIGTERM or SIGINT."""
    from swagent.events import EventBus
    from swagent.uptane.reports import UNKNOWN_IMAGE
    from swagent.uptane_client.secondary import Secondary

    interval_s = seconds(args, "interval", 3600.0)
    stop = stop_by_signal()
    bus = EventBus()
    log = Log(bus)
    screen = make_screen(args, bus)
    try:
        parts = make_parts(args, bus, log)
        secondary = Secondary(parts, UNKNOWN_IMAGE)

        def step() -> None:
            if parts.memory.fact("nonce_sent") is None:  # a time can answer only what was asked before
                parts.link.register()
            log("info", secondary.cycle())

        if args.on("once"):
            step()
        else:
            repeat(step, stop, log, interval_s=interval_s)
    finally:
        screen.close()
    return 0


def make_parts(args: Args, bus: "EventBus", log: Log) -> "Parts":
    """What a Secondary works with, as the options describe it; its state folder is locked.

    Raises:
        UsageError: an option is missing or makes no sense.
        Busy: another process works with the state folder.
        SettingsError: a key or the settings cannot be used.
    """
    from swagent.clock import SystemClock
    from swagent.state import boot_id
    from swagent.uptane.codecs import codec
    from swagent.uptane.rules import BY_DIALECT
    from swagent.uptane_client.files import FileStore
    from swagent.uptane_client.provision import key_from_fact
    from swagent.uptane_client.secondary import Parts
    from swagent.uptane_client.vehicle import Vehicle

    state = needed(args, "state")
    dialect = args.get("dialect") or "tuf1"
    encoding, clock = codec(dialect), SystemClock()
    serial, hardware_id = needed(args, "ecu-serial"), needed(args, "hardware-id")
    installer = _installer(args, bus)
    link = _link(args, serial, encoding)
    director_keys = _director_keys(args, encoding)
    lock_state(state)
    memory = Vehicle(os.path.join(state, "vehicle.sqlite"))
    return Parts(
        args.get("vin") or "",
        serial,
        hardware_id,
        encoding,
        BY_DIALECT[dialect],
        link,
        FileStore(os.path.join(state, "metadata"), encoding.extension),
        memory,
        make_signer(args, state, encoding),
        installer,
        clock,
        bus,
        time_key=key_from_fact(memory.fact("time_key")),
        time_fresh_s=seconds(args, "time-fresh", 86400.0),
        boot_id=boot_id(),
        director_keys=director_keys,
        log=log,
        image_key=image_keys(args, serial).get(serial),
    )


def _link(args: Args, serial: str, encoding: "Codec") -> "PrimaryLink":
    from swagent.clock import SystemClock
    from swagent.uptane_client import links
    from swagent.uptane_client.sources import OPTIONS

    url, vin, clock = needed(args, "primary"), args.get("vin") or "", SystemClock()
    if args.on("rpc"):
        if any(args.get(name) for name in ("ca", "cert", "key")):
            raise UsageError("--rpc knows no TLS", hint="leave it out, and let the Primary --serve")
        return links.RpcLink(url, vin, serial, encoding, clock)
    options = OPTIONS._replace(
        ca_file=args.get("ca") or "", certificate_file=args.get("cert") or "", key_file=args.get("key") or ""
    )
    return links.HttpLink(url, vin, serial, options, clock)


def _installer(args: Args, bus: "EventBus") -> "EcuInstaller":
    firmware = args.get("firmware")
    if (firmware is None) == (not args.on("swu")):
        raise UsageError("say what installs images: --firmware FILE or --swu")
    if firmware is not None:
        from swagent.uptane_client.firmware import FirmwareFile

        return FirmwareFile(firmware)
    from swagent.app import SwuInstaller, read_settings

    settings, _ = read_settings(args.get("file"), os.environ)
    return SwuInstaller(settings, bus, os.environ)


def _director_keys(args: Args, encoding: "Codec") -> "tuple[Mapping[str, Key], RoleKeys] | None":
    from swagent.uptane.metadata import RoleKeys
    from swagent.uptane_client.provision import read_public_key

    keys = {
        key.keyid: key
        for key in (read_public_key(path, encoding) for path in args.all("director-targets-key"))
    }
    if len(keys) < len(args.all("director-targets-key")):
        raise SettingsError("--director-targets-key names one key twice")
    return (keys, RoleKeys(tuple(keys), len(keys))) if keys else None
