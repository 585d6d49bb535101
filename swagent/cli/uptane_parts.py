"""Puts a Primary together from options: what ``update`` and its sisters share."""

import os
from typing import TYPE_CHECKING

from swagent.errors import SettingsError, UsageError

from .options import Args, Option

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swagent.clock import Clock
    from swagent.crypto.imagekey import ImageKey
    from swagent.events import EventBus
    from swagent.model import EcuInstaller
    from swagent.uptane.codecs import Codec
    from swagent.uptane.signing import Signer
    from swagent.uptane_client.medium import Medium
    from swagent.uptane_client.parts import Parts
    from swagent.uptane_client.sources import DirectorService, Source, TimeSource

DIALECTS = ("tuf1", "ak", "ref-json", "ref-der")
WHO, WHERE, HOW, OUT = "who this is", "where things come from", "how to behave", "output"

STATE_OPTION = Option("state", metavar="DIR", group=WHO, help="where everything about this vehicle is kept")
DIALECT_OPTION = Option(
    "dialect",
    metavar="NAME",
    group=WHERE,
    choices=DIALECTS,
    help="encoding and rules; tuf1 unless said otherwise",
)
IDENTITY_OPTIONS = (
    STATE_OPTION,
    Option("ecu-serial", metavar="SERIAL", group=WHO, help="serial of the Primary"),
    Option("hardware-id", metavar="ID", group=WHO, help="its kind of hardware"),
    Option("vin", metavar="VIN", group=WHO, help="the vehicle; none unless said otherwise"),
    Option(
        "ecu-key", metavar="URI", group=WHO, help="the Primary's private key; else one is made in --state"
    ),
    Option(
        "image-key",
        metavar="FILE",
        group=WHO,
        help="opens images encrypted for the Primary: AES in hex, or RSA",
    ),
)
SOURCE_OPTIONS = (
    Option("director", metavar="URL", group=WHERE, help="this vehicle's Director repository"),
    Option("image-repo", metavar="URL", group=WHERE, help="the Image repository"),
    DIALECT_OPTION,
    Option("director-service", metavar="URL", group=WHERE, help="where reports go; else they stay here"),
    Option(
        "server", metavar="URL", group=WHERE, help="a back end as aktualizr's: takes events at URL/events"
    ),
    Option("time-server", metavar="URL", group=WHERE, help="who attests the time (XML-RPC)"),
)
POLICY_OPTIONS = (
    Option("trust-on-first-use", group=HOW, help="take the repositories' first roots as they come"),
    Option("system-time", group=HOW, help="believe the system's clock when no time is attested"),
    Option("time-fresh", metavar="SECONDS", group=HOW, help="how old an attested time may be; 86400"),
    Option(
        "installer",
        metavar="NAME",
        group=HOW,
        choices=("none", "swu"),
        help="what puts images onto the Primary itself; swu: as `swagent -i` with its settings; none",
    ),
    Option(
        "file",
        short="f",
        metavar="FILE",
        group=HOW,
        help="settings for --installer swu and for handlers of --secondaries",
    ),
    Option(
        "no-store",
        group=HOW,
        help="install the Primary's image as it is fetched, onto the copy that does not run",
    ),
    Option(
        "max-download-speed",
        metavar="SPEED",
        group=HOW,
        help="bytes per second from each server, such as 500k",
    ),
    Option("each-alone", group=HOW, help="install what passed although another image of the bundle did not"),
)


def needed(args: Args, name: str) -> str:
    """An option that must be given.

    Raises:
        UsageError: it is not.
    """
    value = args.get(name)
    if not value:
        raise UsageError(f"--{name} is missing")
    return value


def make_parts(args: Args, bus: "EventBus", medium: "Medium | None" = None) -> "Parts":
    """What a Primary works with, as the options describe it; its state folder is locked.

    Args:
        args: the options.
        bus: hears of events.
        medium: the repositories, in the place of those that options name.

    Raises:
        UsageError: an option is missing or makes no sense.
        Busy: another process works with the state folder.
        SettingsError: the state folder belongs to another unit, there is no root, or a key cannot be used.
    """
    from swagent.clock import SystemClock
    from swagent.state import boot_id
    from swagent.uptane.codecs import codec
    from swagent.uptane.rules import BY_DIALECT
    from swagent.uptane_client.files import FileStore
    from swagent.uptane_client.images import ImageStore
    from swagent.uptane_client.parts import Identity, Parts, Policy
    from swagent.uptane_client.provision import key_from_fact
    from swagent.uptane_client.vehicle import Vehicle

    state = needed(args, "state")
    dialect = args.get("dialect") or "tuf1"
    clock = SystemClock()
    encoding, rules = codec(dialect), BY_DIALECT[dialect]
    identity = Identity(args.get("vin") or "", needed(args, "ecu-serial"), needed(args, "hardware-id"))
    director, image = _sources(args, clock, medium)
    lock_state(state)
    metadata = FileStore(os.path.join(state, "metadata"), encoding.extension)
    vehicle = Vehicle(os.path.join(state, "vehicle.sqlite"))
    time_key = key_from_fact(vehicle.fact("time_key"))
    parts = Parts(
        identity,
        encoding,
        rules,
        director,
        image,
        metadata,
        vehicle,
        ImageStore(os.path.join(state, "targets"), clock.monotonic_s),
        make_signer(args, state, encoding),
        clock,
        bus,
        policy=Policy(
            time_fresh_s=seconds(args, "time-fresh", 86400.0),
            system_time=args.on("system-time"),
            store=not args.on("no-store"),
            all_or_none=not args.on("each-alone"),
            speed_max=speed_max(args),
        ),
        time_key=time_key,
        boot_id=boot_id(),
        image_keys=image_keys(args, identity.serial),
    )
    if args.on("trust-on-first-use"):
        from swagent.uptane_client.provision import trust_on_first_use

        trust_on_first_use(parts)
    return _with_back_end(args, parts)._replace(
        time=_time_source(args, parts), service=_service(args, parts), installers=_installers(args, bus)
    )


def _sources(args: Args, clock: "Clock", medium: "Medium | None") -> "tuple[Source, Source]":
    """The Director's repository and the Image repository."""
    from swagent.uptane.metadata import DIRECTOR, IMAGE
    from swagent.uptane_client.sources import OPTIONS, RepositorySource

    if medium is None:
        director, image = needed(args, "director"), needed(args, "image-repo")
        options = OPTIONS._replace(speed_max=speed_max(args))
        return RepositorySource(director, clock, options), RepositorySource(image, clock, options)
    from swagent.uptane_client.medium import MediumSource

    return MediumSource(medium, DIRECTOR), MediumSource(medium, IMAGE)


def make_signer(args: Args, state: str, encoding: "Codec") -> "Signer":
    """An ECU's key; one of its own is made where none is named."""
    from swagent.crypto import schemes
    from swagent.uptane.signing import Signer
    from swagent.uptane_client.provision import own_key

    name = args.get("ecu-key")
    return Signer(schemes.open_private(name) if name else own_key(state), encoding)


def image_keys(args: Args, serial: str) -> "Mapping[str, ImageKey]":
    """What opens images that were encrypted for an ECU, as ``--image-key`` says."""
    name = args.get("image-key")
    if not name:
        return {}
    from swagent.crypto.imagekey import load_image_key

    return {serial: load_image_key(name)}


def _time_source(args: Args, parts: "Parts") -> "TimeSource | None":
    url = args.get("time-server")
    if url is None:
        return None
    if parts.time_key is None:
        raise SettingsError(
            "--time-server: its key is not known here", hint="`swagent uptane provision --time-key FILE`"
        )
    from swagent.uptane_client.sources import RpcTimeSource

    return RpcTimeSource(url, parts.codec, parts.clock)


def _service(args: Args, parts: "Parts") -> "DirectorService | None":
    url = args.get("director-service")
    if url is None:
        return None
    from swagent.uptane_client import sources

    if url.startswith("file:"):
        from urllib.parse import unquote, urlsplit

        return sources.FolderDirectorService(unquote(urlsplit(url).path), parts.codec)
    if parts.codec.name == "ak":
        return sources.HttpDirectorService(url, parts.clock)
    return sources.RpcDirectorService(url, parts.codec, parts.clock)


def _with_back_end(args: Args, parts: "Parts") -> "Parts":
    url = args.get("server")
    if url is None:
        return parts
    from swagent.uptane_client.devicedata import DeviceData
    from swagent.uptane_client.gateway import Gateway
    from swagent.uptane_client.outbox import Outbox

    from .uptane_device import gathering
    from .uptane_service import Log

    gateway, log = Gateway(url, parts.clock), Log(parts.bus)
    data = None
    if parts.codec.name == "ak":
        data = DeviceData(parts.vehicle, gateway, gathering(args), log)
    outbox = Outbox(parts.vehicle, gateway, parts.clock, os.urandom, log)
    return parts._replace(outbox=outbox, device_data=data)


def _installers(args: Args, bus: "EventBus") -> "Mapping[str, EcuInstaller]":
    if args.get("installer") != "swu":
        return {}
    from swagent.app import SwuInstaller, read_settings

    settings, _ = read_settings(args.get("file"), os.environ)
    return {needed(args, "ecu-serial"): SwuInstaller(settings, bus, os.environ)}


def speed_max(args: Args) -> int:
    """How many bytes a second may be fetched, 0 for as many as come.

    Raises:
        SettingsError: it is no speed.
        UsageError: so little would be taken for an attack.
    """
    from swagent.settings import read_speed
    from swagent.uptane.images import SLOW_BYTES_PER_S

    speed = read_speed(args.get("max-download-speed") or "0", "--max-download-speed")
    if 0 < speed < 2 * SLOW_BYTES_PER_S:
        raise UsageError(
            f"--max-download-speed {speed}: less than {2 * SLOW_BYTES_PER_S:.0f} bytes a second look like an attack"
        )
    return speed


def seconds(args: Args, name: str, usual_s: float) -> float:
    """An option that takes seconds.

    Raises:
        UsageError: it is no number of them.
    """
    text = args.get(name)
    if text is None:
        return usual_s
    if not text.isascii() or not text.isdecimal() or not 1 <= len(text) <= 9 or not int(text):
        raise UsageError(f"--{name} takes seconds, not {text[:20]!r}")
    return float(text)


def lock_state(state: str, hint: str = "is swagent-uptane.service running?") -> int:
    """Take a state folder for this process.

    Returns:
        A descriptor; the folder is let go when it is closed, or the process ends.

    Raises:
        Busy: another process works with it.
        DeviceError: it cannot be made.
    """
    import fcntl

    from swagent.errors import Busy, DeviceError
    from swagent.store.atomic import make_folders

    path = os.path.join(state, ".lock")
    try:
        make_folders(state)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise DeviceError(f"cannot lock {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of the process: it may take the folder again
    except OSError as exc:
        os.close(fd)
        if isinstance(exc, BlockingIOError):
            raise Busy(f"another process works with {state}", hint=hint) from exc
        raise DeviceError(f"cannot lock {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
    return fd
