"""``swagent director serve`` and ``time``: the back office's servers."""

from typing import TYPE_CHECKING

from .director import HOME_OPTION, JSON_OPTION, PASSWORD_OPTION, STATIC_OPTION, home, open_desk, open_director
from .options import Args, Command, Option
from .uptane_serve import is_this_host, read_address

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext

    from swagent.uptane_server.service import Door, Log

DOORS, WHO, HOW, OUT = "what is served where", "who is let in", "how to behave", "output"
TLS_OPTIONS = (
    Option("tls-cert", metavar="FILE", group=WHO, help="certificate to serve with; needed beyond this host"),
    Option("tls-key", metavar="FILE", group=WHO, help="its private key"),
)
SERVE = Command(
    name="director serve",
    summary="answer vehicles, programs and people, until SIGTERM; needs no rights but those to its folder",
    target="director_serve:serve",
    options=(
        HOME_OPTION,
        Option(
            "listen", metavar="HOST[:PORT]", group=DOORS,
            help="the fleet page, the JSON interface and aktualizr's; 127.0.0.1:30443 unless said otherwise",
        ),
        Option("rpc", metavar="HOST[:PORT]", group=DOORS, help="the reference's XML-RPC; port 30501"),
        Option("files", metavar="HOST[:PORT]", group=DOORS, help="vehicles' repositories; port 30401"),
        Option("share-port", group=DOORS, help="let other processes listen there too: one a core"),
        STATIC_OPTION,
        *TLS_OPTIONS,
        Option(
            "tls-client-ca", metavar="FILE", group=WHO,
            help="ask for certificates by this authority; a vehicle's common name is its VIN",
        ),
        Option("testbed", group=WHO, help="ask nobody who they are; on this host only"),
        Option("sources", metavar="DIR", group=HOW, help="images that may be assigned lie below it; DIR of --home"),
        Option("strict-manifests", group=HOW, help="one bad or missing report refuses the whole manifest"),
        Option("silent-hours", metavar="HOURS", group=HOW, help="a vehicle without contact for so long is silent; 24"),
        PASSWORD_OPTION,
        JSON_OPTION,
    ),
    examples=(
        "swagent director serve --home /srv/director",
        "swagent director serve --home /srv/director --listen 0.0.0.0 --files 0.0.0.0 --tls-cert d.pem --tls-key d.key",
    ),
)  # fmt: skip
TIME = Command(
    name="director time",
    summary="a Time server: attest the time to whoever asks, over XML-RPC, until SIGTERM",
    target="director_serve:time",
    options=(
        Option("listen", metavar="HOST[:PORT]", group=DOORS, help="127.0.0.1:30601 unless said otherwise"),
        Option("time-key", metavar="FILE", group=WHO, help="private key, or the URI of one"),
        Option(
            "dialect", metavar="NAME", group=HOW, help="of attestations in JSON; tuf1 unless said otherwise"
        ),
        *TLS_OPTIONS,
        JSON_OPTION,
    ),
    examples=("swagent director time --time-key time.key",),
)


def serve(args: Args) -> int:
    """Open the doors that the options name."""
    from swagent.errors import UsageError
    from swagent.uptane_server import director_rpc, service_files, service_http
    from swagent.uptane_server.director_access import Access
    from swagent.uptane_server.director_intake import LENIENT
    from swagent.uptane_server.service_fleet import fleet_application
    from swagent.uptane_server.service_rpc import rpc_application

    from .director_orders import read_number

    hours = read_number("--silent-hours", args.get("silent-hours") or "24")
    director = open_director(args, LENIENT._replace(strict=args.on("strict-manifests")))
    desk = open_desk(args, director, args.get("sources") or home(args))
    identity = service_http.Identity(
        Access(director, everybody=args.on("testbed")), certified=args.get("tls-client-ca") is not None
    )

    def opened(log: "Log") -> "list[Door]":
        found = [("listen", service_http.PORT, fleet_application(desk, identity, log, silent_s=hours * 3600))]
        if args.get("rpc") is not None:
            app = rpc_application(director_rpc.methods(desk, log), lambda call: bool(identity.operator(call)))
            found.append(("rpc", director_rpc.PORT, app))
        if args.get("files") is not None:
            app = service_files.director_files(director, desk.folders.folder, log)
            found.append(("files", service_files.DIRECTOR_PORT, app))
        doors = [_door(args, name, port, app) for name, port, app in found]
        if args.on("testbed") and not all(is_this_host(door.host) for door in doors):
            raise UsageError("--testbed is for this host only", hint="leave it out, or listen at 127.0.0.1")
        return doors

    return _run(args, opened)


def time(args: Args) -> int:
    """Attest."""
    from swagent.clock import SystemClock
    from swagent.crypto.schemes import open_private
    from swagent.errors import UsageError
    from swagent.uptane_server.service_rpc import rpc_application
    from swagent.uptane_server.time_rpc import PORT, methods
    from swagent.uptane_server.time_server import TimeServer

    from .repo_keys import DIALECTS

    key, dialect = args.get("time-key"), args.get("dialect") or "tuf1"
    if key is None:
        raise UsageError("--time-key is missing")
    if dialect not in DIALECTS:
        raise UsageError(f"--dialect takes {' or '.join(DIALECTS)}, not {dialect!r}")
    server = TimeServer(open_private(key), SystemClock(), dialect)
    return _run(args, lambda log: [_door(args, "listen", PORT, rpc_application(methods(server, log)))])


def _door(args: Args, option: str, port: int, app: "object") -> "Door":
    from swagent.errors import UsageError
    from swagent.uptane_server.service import LOOPBACK, Door

    host, port = read_address(args.get(option) or LOOPBACK, port)
    if not is_this_host(host) and args.get("tls-cert") is None:
        raise UsageError(f"--{option} {host} needs --tls-cert", hint="only this host is served without TLS")
    return Door(app, host, port, _tls(args), args.on("share-port"))  # type: ignore[arg-type]  # an application


def _tls(args: Args) -> "SSLContext | None":
    from swagent.net.tls import server_context

    certificate = args.get("tls-cert")
    if certificate is None:
        return None
    # people have no certificate, they log in: whoever needs one is asked for it by what they ask
    client_ca = args.get("tls-client-ca") or ""
    return server_context(certificate, args.get("tls-key") or "", client_ca, required=False)


def _run(args: Args, opened: "Callable[[Log], list[Door]]") -> int:
    import signal
    import sys
    import threading

    from swagent.events import EventBus
    from swagent.uptane_server.service import Service

    from .uptane_service import Log, make_screen

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    bus = EventBus()
    log = Log(bus)
    screen = make_screen(args, bus)
    try:
        doors = opened(log)
        service = Service(*doors)
        for door, port in zip(doors, service.ports, strict=True):
            log("info", f"serving {'https' if door.tls else 'http'}://{door.host}:{port}")
        sys.stdout.flush()
        ended.wait()
        service.close()
    finally:
        screen.close()
    return 0
