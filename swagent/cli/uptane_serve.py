"""The Primary's Secondaries, as options describe them: those in its process, and those that it serves."""

import os
from typing import TYPE_CHECKING, NamedTuple

from swagent.errors import SettingsError, UsageError

from .options import Args, Option

if TYPE_CHECKING:
    from collections.abc import Callable

    from swagent.model import EcuInstaller
    from swagent.uptane_client.desk import Desk
    from swagent.uptane_client.parts import Parts
    from swagent.uptane_client.secondary import Secondary
    from swagent.vehicle.listed import Listed, Virtual
    from swagent.vehicle.server import VehicleServer

SERVE = "its Secondaries"
SERVE_OPTIONS = (
    Option("secondaries", metavar="FILE", group=SERVE, help="lists them: aktualizr's secondary.json"),
    Option(
        "serve", metavar="HOST[:PORT]", group=SERVE, help="serve them resources here; port 30720 unless said"
    ),
    Option(
        "tls-cert", metavar="FILE", group=SERVE, help="certificate to serve with; needed beyond this host"
    ),
    Option("tls-key", metavar="FILE", group=SERVE, help="its private key"),
    Option(
        "tls-client-ca",
        metavar="FILE",
        group=SERVE,
        help="ask them for certificates by this authority; the common name is the serial",
    ),
    Option(
        "serve-rpc",
        metavar="HOST[:PORT]",
        group=SERVE,
        help="serve them the reference's XML-RPC here; the first free port of 30701 to 30711",
    ),
    Option("new-secondaries", group=SERVE, help="let ECUs that no file lists make themselves known"),
)
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Served(NamedTuple):
    """What serves: Secondaries in this process, and servers."""

    virtual: "tuple[Secondary, ...]"
    servers: "tuple[VehicleServer, ...]"

    def close(self) -> None:
        """End the servers."""
        for server in self.servers:
            server.close()


def with_secondaries(args: Args, parts: "Parts") -> "tuple[Parts, Desk, Listed]":
    """The Primary's parts, with a place where metadata is handed over, and the ECUs that are listed.

    Raises:
        SettingsError: the list makes no sense, or an ECU is known as something else.
    """
    from swagent.uptane_client.desk import UNKNOWN, Desk, HandOver
    from swagent.uptane_client.provision import read_public_key
    from swagent.vehicle.listed import Listed, read_list

    path = args.get("secondaries")
    listed = read_list(path) if path is not None else Listed((), ())
    for serial, hardware_id in listed.ecus():
        parts.vehicle.add_ecu(serial, hardware_id, UNKNOWN)
    keys = {
        each.serial: read_public_key(each.public_key, parts.codec)
        for each in listed.network
        if each.public_key
    }
    handover = HandOver(parts.metadata.folder, parts.codec, parts.rules.caps)
    desk = Desk(
        parts.identity.vin,
        parts.codec,
        parts.vehicle,
        parts.images,
        handover,
        parts.clock,
        keys=keys,
        newcomers=args.on("new-secondaries"),
        outbox=parts.outbox,
    )
    return parts._replace(handover=handover), desk, listed


def serve(
    args: Args, parts: "Parts", desk: "Desk", listed: "Listed", log: "Callable[[str, str], None]"
) -> Served:
    """Start what the options ask for.

    Raises:
        UsageError: an address makes no sense, or one beyond this host would be served without TLS.
        SettingsError: a certificate or key cannot be used.
        DeviceError: a port is not free.
    """
    from swagent.net.tls import server_context
    from swagent.vehicle import resources, rpc
    from swagent.vehicle.server import VehicleServer

    virtual = tuple(
        _virtual(each, parts, desk, _installer(args, each, parts), log) for each in listed.virtual
    )
    servers: list[VehicleServer] = []
    where = args.get("serve-rpc")
    if where is not None:
        host, port = read_address(where)
        ports = (port,) if port else rpc.PORTS
        servers.append(VehicleServer(rpc.Methods(desk, log), host, ports, log))
        log("info", f"serving XML-RPC at {host}:{servers[-1].port}")
    where = args.get("serve")
    if where is not None:
        host, port = read_address(where, resources.PORT)
        certificate, client_ca = args.get("tls-cert"), args.get("tls-client-ca") or ""
        if certificate is None and (not is_this_host(host) or client_ca):
            raise UsageError(f"--serve {where} needs --tls-cert", hint="only this host is served without TLS")
        tls = server_context(certificate, args.get("tls-key") or "", client_ca) if certificate else None
        answers = resources.Resources(desk, log, certified=bool(client_ca))
        servers.append(VehicleServer(answers, host, (port,), log, tls=tls))
        log("info", f"serving {'https' if tls else 'http'}://{host}:{servers[-1].port}")
    return Served(virtual, tuple(servers))


def is_this_host(host: str) -> bool:
    """Whether only programs on this machine reach that address."""
    return host in _LOOPBACK


def read_address(text: str, usual: int = 0) -> tuple[str, int]:
    """``host``, ``host:port`` or ``[v6]:port``; the usual port where none is said."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(usual)
    if not (port.isascii() and port.isdecimal() and int(port) < 65536 and host.strip("[]")):
        raise UsageError(f"{text!r} is no HOST or HOST:PORT")
    return host.strip("[]"), int(port)


def _installer(args: Args, each: "Virtual", parts: "Parts") -> "EcuInstaller":
    """What puts images onto a Secondary of this process."""
    from swagent.uptane_client.firmware import FirmwareFile

    if each.entry is None:
        return FirmwareFile(each.firmware, each.target_name)
    from swagent.app import image_installer, read_settings

    settings, _ = read_settings(args.get("file"), os.environ)
    return image_installer(each.entry, settings, parts.bus, os.environ)


def _virtual(
    each: "Virtual",
    parts: "Parts",
    desk: "Desk",
    installer: "EcuInstaller",
    log: "Callable[[str, str], None]",
) -> "Secondary":
    from swagent.uptane.metadata import DIRECTOR, IMAGE, ROOT, TARGETS, Root
    from swagent.uptane.reports import UNKNOWN_IMAGE
    from swagent.uptane.signing import Signer
    from swagent.uptane_client.files import FileStore
    from swagent.uptane_client.links import LocalLink
    from swagent.uptane_client.provision import key_at
    from swagent.uptane_client.secondary import Parts as SecondaryParts
    from swagent.uptane_client.secondary import Secondary
    from swagent.uptane_client.vehicle import Vehicle

    metadata = FileStore(each.metadata, parts.codec.extension)
    for repository in (
        DIRECTOR,
        IMAGE,
    ):  # it lives in the Primary's process: it begins with the Primary's roots
        root = parts.metadata.load(repository, ROOT)
        if root is None:
            raise SettingsError(
                f"there is no root of the {repository} repository to begin with",
                hint="`swagent uptane provision` puts one there",
            )
        if metadata.load(repository, ROOT) is None:
            metadata.save(repository, ROOT, root)
    director = parts.metadata.load(DIRECTOR, ROOT)
    body = parts.codec.decode(director or b"").body
    if not isinstance(body, Root):
        raise TypeError("a root is no root")
    return Secondary(
        SecondaryParts(
            parts.identity.vin,
            each.serial,
            each.hardware_id,
            parts.codec,
            parts.rules,
            LocalLink(desk, parts.identity.vin, each.serial),
            metadata,
            Vehicle(os.path.join(each.folder, "ecu.sqlite")),
            Signer(key_at(each.key_file), parts.codec),
            installer,
            parts.clock,
            parts.bus,
            time_key=parts.time_key,
            time_fresh_s=parts.policy.time_fresh_s,
            boot_id=parts.boot_id,
            director_keys=(body.keys, body.roles[TARGETS]) if each.partial else None,
            log=log,
        ),
        UNKNOWN_IMAGE,
    )
