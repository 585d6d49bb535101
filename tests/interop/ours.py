"""Our Primary and its Secondaries, full and partial, against the reference's Director, Image repository, Time server.

One script, played live while everything is recorded, and played again from what was recorded.
"""

import base64
import os
from collections.abc import Callable
from contextlib import ExitStack, chdir
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

from swagent.cli import uptane_provision, uptane_secondary, uptane_serve, uptane_update
from swagent.cli.options import Command, parse
from swagent.cli.uptane_parts import make_parts
from swagent.cli.uptane_service import Log
from swagent.clock import SystemClock
from swagent.crypto.schemes import from_seed
from swagent.errors import EndlessDataError, SwagentError
from swagent.events import EventBus
from swagent.net.rpc import RpcClient
from swagent.store.atomic import replace
from swagent.uptane.codecs import codec
from swagent.uptane.errors import UnmetThreshold, VersionRollback
from swagent.uptane.reports import UNKNOWN_IMAGE
from swagent.uptane.signing import Signer
from swagent.uptane_client.primary import Primary
from swagent.uptane_client.secondary import Secondary
from swagent.uptane_client.sources import OPTIONS, RpcDirectorService
from tests.programs import must, run_swagent
from tests.uptane_client.world import TestClock

from .reference import PRIMARY, TCU, VIN, Checkouts, Desk, Peer
from .wire import Recorder, Replayer, Transcript, Wire

PARTIAL = "BCUdemocar"
HARDWARE = {PRIMARY: "infotainment", TCU: "tcu", PARTIAL: "bcu"}
PORTS = {
    "image": "IMAGE_REPO_PORT",
    "director": "DIRECTOR_REPO_PORT",
    "service": "DIRECTOR_SERVER_PORT",
    "time": "TIMESERVER_PORT",
}
DISK = b"what the .swu puts onto the Primary\n" * 40
IMAGES = {
    "firmware.img": b"Fresh firmware image",
    "brakes.img": b"Fresh brakes",
    "newer.img": b"Newer firmware",
}


class Office(Protocol):
    """What is done at the reference's side."""

    def order(self, **assignments: str) -> None:
        """Both repositories sign these images and nothing else, each for an ECU."""

    def does(self, *functions: str) -> None:
        """One of the demo's attacks, or the end of one."""


class Nobody:
    """What was done already, when it was recorded."""

    def order(self, **assignments: str) -> None:
        pass

    def does(self, *functions: str) -> None:
        pass


class LiveOffice:
    """The reference's servers."""

    def __init__(self, desk: Desk, peer: Peer, images: dict[str, bytes]) -> None:
        self._folder = desk.folder
        self._peer = peer
        self._images = images
        for party, verb in (
            ("image_repo", "clean_slate"),
            ("director", "clean_slate"),
            ("timeserver", "listen"),
        ):
            peer.call(f"demo.demo_{party}.{verb}")

    def order(self, **assignments: str) -> None:
        call = self._peer.call
        call("demo.demo_director.clear_vehicle_targets", VIN)
        for serial, name in assignments.items():
            (self._folder / name).write_bytes(self._images[name])
            call("demo.demo_image_repo.add_target_to_imagerepo", name, name)
            call("demo.demo_director.add_target_to_director", name, name, VIN, serial)
        call("demo.demo_image_repo.write_to_live")
        call("demo.demo_director.write_to_live", VIN)

    def does(self, *functions: str) -> None:
        for line in functions:
            name, *args = line.split()
            self._peer.call(f"demo.demo_{name}", *args)


class Draws:
    """Random bytes that are the same each time."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._n = 0

    def __call__(self, n_bytes: int) -> bytes:
        self._n += 1
        return sha256(f"{self._seed} {self._n}".encode()).digest()[:n_bytes]


class Vehicle:
    """All our ECUs, below one folder, as the commands put them together; but with a clock that stands still."""

    def __init__(self, folder: Path, wire: Wire, facts: dict[str, Any]) -> None:
        self.folder = folder
        self.dialect: str = facts["dialect"]
        self.codec = codec(self.dialect)
        self.clock = TestClock()
        self.clock.time_s = float(facts["clock_s"])
        self.draws = {serial: Draws(f"{facts['seed']} {serial}") for serial in HARDWARE}
        self.wire = wire
        self.bus = EventBus()
        self.log = Log(self.bus)
        self._open = ExitStack()
        for name, text in facts["given"].items():
            (folder / name).write_bytes(base64.b64decode(text))
        for serial in HARDWARE:
            key = from_seed(sha256(f"{facts['seed']} {serial}".encode()).digest())
            (folder / serial).mkdir()
            replace(str(folder / serial / "ecu.key"), key.pem(), mode=0o600)
        (folder / "settings.cfg").write_text('globals: { public-key-file = "swu.pem"; };')
        (folder / "secondary.json").write_text(
            '{"network": ['
            + ", ".join(
                f'{{"ecu_serial": "{it}", "ecu_hardware_id": "{HARDWARE[it]}"}}' for it in (TCU, PARTIAL)
            )
            + "]}"
        )
        for serial in HARDWARE:
            self._run(
                uptane_provision.COMMAND, uptane_provision.run, "--director-root", "director-root",
                "--image-root", "image-root", "--time-key", "time-key", "--state", serial,
            )  # fmt: skip
        self._serve()

    def _words(self, *more: str) -> list[str]:
        return ["--dialect", self.dialect, *more]

    def _run(self, command: Command, run: Callable[[Any], int], *words: str) -> None:
        assert run(parse(command, self._words(*words))) == 0

    def _primary_words(self) -> list[str]:
        url = self.wire.url
        return self._words(
            "--state", PRIMARY, "--ecu-serial", PRIMARY, "--hardware-id", HARDWARE[PRIMARY], "--vin", VIN,
            "--director", url("director", f"/{VIN}"), "--image-repo", url("image"),
            "--director-service", url("service"), "--time-server", url("time"),
            "--installer", "swu", "--file", "settings.cfg",
        )  # fmt: skip

    def _serve(self) -> None:
        args = parse(uptane_update.COMMAND, [*self._primary_words(), "--once"])
        self._parts = make_parts(args, self.bus)._replace(
            clock=self.clock, random=self.draws[PRIMARY], boot_id="boot"
        )
        args.values |= {"secondaries": ["secondary.json"], "serve-rpc": ["127.0.0.1:0"]}
        self._parts, desk, listed = uptane_serve.with_secondaries(args, self._parts)
        served = uptane_serve.serve(args, self._parts, desk, listed, self.log)
        self._open.callback(served.close)
        self._port = served.servers[0].port

    def primary(self) -> str:
        """A cycle of the Primary."""
        return Primary(self._parts).cycle().result

    def secondary(self, serial: str) -> Secondary:
        """A Secondary, which asks our Primary over XML-RPC."""
        words = self._words(
            "--state", serial, "--ecu-serial", serial, "--hardware-id", HARDWARE[serial], "--vin", VIN, "--rpc",
            "--primary", f"http://127.0.0.1:{self._port}",
            "--firmware", f"{serial}.img",
        )  # fmt: skip
        if serial == PARTIAL:
            words += ["--director-targets-key", "targets-key"]
        parts = uptane_secondary.make_parts(parse(uptane_secondary.COMMAND, words), self.bus, self.log)
        return Secondary(
            parts._replace(clock=self.clock, random=self.draws[serial], boot_id="boot"), UNKNOWN_IMAGE
        )

    def register(self, *serials: str) -> None:
        """Tell the Director of Secondaries, as whoever builds the vehicle does."""
        service = RpcDirectorService(self.wire.url("service"), self.codec, SystemClock())
        for serial in serials:
            key = Signer(from_seed(sha256(f"interop {serial}".encode()).digest()), self.codec).key
            service.register(VIN, serial, HARDWARE[serial], key, primary=False)

    def known_to_director(self, serial: str) -> tuple[str, str]:
        """What the Director believes of an ECU, after it checked its report: what it runs, what it noticed."""
        rpc = RpcClient(self.wire.url("service"), OPTIONS, SystemClock())
        signed = rpc.call("get_last_ecu_manifest", serial)["signed"]
        return signed["installed_image"]["filepath"], signed["attacks_detected"]

    def close(self) -> None:
        """No more Secondaries are served."""
        self._open.close()


def refuses(cycle: Callable[[], object], error: type[SwagentError]) -> None:
    """The cycle ends with this error."""
    try:
        cycle()
    except error:
        return
    raise AssertionError(f"no {error.__name__}")


def play(vehicle: Vehicle, office: Office) -> None:
    """The script: nothing, an update of all three, an attack by each of the demo's means, new keys, revoked ones."""
    tcu, partial = vehicle.secondary(TCU), vehicle.secondary(PARTIAL)
    vehicle.register(TCU, PARTIAL)
    tcu.report()
    partial.report()
    assert vehicle.primary() == "nothing-to-do"
    assert vehicle.known_to_director(PRIMARY) == ("/unknown", "")
    assert [tcu.cycle(), partial.cycle()] == ["no-update", "no-update"]

    office.order(**{PRIMARY: "info.swu", TCU: "firmware.img", PARTIAL: "brakes.img"})
    assert vehicle.primary() == "installed"
    assert (vehicle.folder / "disk").read_bytes() == DISK
    assert [tcu.cycle(), partial.cycle()] == ["updated", "updated"]
    assert (vehicle.folder / f"{TCU}.img").read_bytes() == IMAGES["firmware.img"]
    assert (vehicle.folder / f"{PARTIAL}.img").read_bytes() == IMAGES["brakes.img"]
    assert vehicle.primary() == "nothing-to-do"
    assert vehicle.known_to_director(PRIMARY) == ("/info.swu", "")
    assert vehicle.known_to_director(TCU) == ("/firmware.img", "")
    assert vehicle.known_to_director(PARTIAL) == ("/brakes.img", "")
    assert [tcu.cycle(), partial.cycle()] == ["no-update-needed", "no-update-needed"]

    office.order(**{TCU: "newer.img"})
    office.does(f"director.mitm_arbitrary_package_attack {VIN} newer.img")
    refuses(vehicle.primary, EndlessDataError)  # the evil image is longer
    assert vehicle.known_to_director(PRIMARY)[1]
    office.does(f"director.undo_mitm_arbitrary_package_attack {VIN} newer.img")
    assert vehicle.primary() == "downloaded"
    assert tcu.cycle() == "updated"
    assert (vehicle.folder / f"{TCU}.img").read_bytes() == IMAGES["newer.img"]

    office.does(f"director.backup_timestamp {VIN}", f"director.write_to_live {VIN}")
    assert vehicle.primary() == "nothing-to-do"
    office.does(f"director.replay_timestamp {VIN}")
    refuses(vehicle.primary, VersionRollback)
    office.does(f"director.restore_timestamp {VIN}")

    office.does("image_repo.revoke_compromised_keys", "director.revoke_compromised_keys")
    assert vehicle.primary() == "nothing-to-do"
    office.does(f"director.sign_with_compromised_keys_attack {VIN}")
    refuses(vehicle.primary, UnmetThreshold)
    office.does(f"director.undo_sign_with_compromised_keys_attack {VIN}")
    assert vehicle.primary() == "nothing-to-do"
    assert tcu.cycle() == "no-update-needed"


def record(where: Checkouts, folder: Path, dialect: str) -> Transcript:
    """Play it live against the reference's servers, and keep all that was said."""
    back, front = folder / "reference", folder / "ours"
    back.mkdir()
    front.mkdir()
    swu = _swu(front)
    desk = Desk(where, back, dialect)
    with Peer(desk, "servers", ["demo.demo_director", "demo.demo_image_repo"]) as peer:
        office = LiveOffice(desk, peer, IMAGES | {"info.swu": swu})
        roots = {"director-root": f"director/{VIN}/metadata", "image-root": "imagerepo/metadata"}
        given = {name: (back / path / f"root.{desk.format}").read_bytes() for name, path in roots.items()}
        given["time-key"] = (back / "demo" / "keys" / "timeserver.pub").read_bytes()
        given["targets-key"] = (back / "demo" / "keys" / "director.pub").read_bytes()
        given["swu.pem"] = (front / "swu.pem").read_bytes()
        facts = {
            "dialect": dialect,
            "seed": "interop",
            "clock_s": int(SystemClock().now_s()),
            "given": {name: base64.b64encode(raw).decode() for name, raw in given.items()},
        }
        with Recorder({name: desk.ports[port] for name, port in PORTS.items()}) as wire:
            _play(front, wire, facts, office)
    return Transcript(facts, wire.exchanges)


def replay(transcript: Transcript, folder: Path) -> None:
    """Play it from what was recorded; what is asked otherwise, or never, is an AssertionError."""
    with Replayer(transcript.exchanges) as wire:
        try:
            _play(folder, wire, transcript.facts, Nobody())
        except (SwagentError, AssertionError) as exc:
            raise AssertionError(wire.differences or "the client does not accept it") from exc
    assert not wire.differences
    assert not wire.left()


def _play(folder: Path, wire: Wire, facts: dict[str, Any], office: Office) -> None:
    alone = {"TMPDIR": str(folder), "STATE_DIRECTORY": str(folder / "state")}
    with chdir(folder), patch.dict(os.environ, alone):
        (folder / "disk").write_bytes(b"")
        vehicle = Vehicle(folder, wire, facts)
        try:
            play(vehicle, office)
        finally:
            vehicle.close()


def _swu(folder: Path) -> bytes:
    """A signed update for the Primary; its key is ``swu.pem``."""
    must(
        [
            "openssl",
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
            folder / "swu.key",
        ]
    )
    must(["openssl", "pkey", "-in", folder / "swu.key", "-pubout", "-out", folder / "swu.pem"])
    (folder / "content").write_bytes(DISK)
    (folder / "sw-description").write_text(
        'software = { version = "1.0"; images: ( { filename = "content"; type = "raw"; device = "disk"; } ); };'
    )
    made = run_swagent(["make", "-s", "sw-description", "-o", "info.swu", "-k", "swu.key"], folder)
    assert made.ok, made.text
    return (folder / "info.swu").read_bytes()
