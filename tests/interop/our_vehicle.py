"""Our Primary and its Secondaries, full and partial, against the reference's servers."""

from pathlib import Path
from typing import Any

from swagent.cli import uptane_serve, uptane_update
from swagent.cli.options import parse
from swagent.cli.uptane_parts import make_parts
from swagent.errors import EndlessDataError
from swagent.uptane.errors import TargetMismatch, UnmetThreshold, VersionRollback
from swagent.uptane_client.primary import Primary
from tests.programs import must, run_swagent

from .ecus import HARDWARE, PARTIAL, Ecus, alone, refuses, runs
from .office import IMAGES, PORTS, Office, servers
from .reference import HOST, PRIMARY, TCU, VIN, Checkouts, free_ports
from .wire import Recorder, Transcript, Wire

DISK = b"what the .swu puts onto the Primary\n" * 40


class Vehicle(Ecus):
    """All our ECUs; the Primary serves the others over XML-RPC."""

    def __init__(self, wire: Wire, facts: dict[str, Any]) -> None:
        super().__init__(wire, facts, PRIMARY, TCU, PARTIAL)
        Path("disk").write_bytes(b"")
        Path("settings.cfg").write_text('globals: { public-key-file = "swu_key"; };')
        listed = (f'{{"ecu_serial": "{it}", "ecu_hardware_id": "{HARDWARE[it]}"}}' for it in (TCU, PARTIAL))
        Path("secondary.json").write_text(f'{{"network": [{", ".join(listed)}]}}')
        words = [
            "--once", "--state", PRIMARY, "--ecu-serial", PRIMARY, "--hardware-id", HARDWARE[PRIMARY],
            "--vin", VIN, "--dialect", self.dialect, "--director", wire.url("director", f"/{VIN}"),
            "--image-repo", wire.url("image"), "--director-service", wire.url("service"),
            "--time-server", wire.url("time"), "--installer", "swu", "--file", "settings.cfg",
        ]  # fmt: skip
        args = parse(uptane_update.COMMAND, words)
        parts = make_parts(args, self.bus)
        parts = parts._replace(clock=self.clock, random=self.draws[PRIMARY], boot_id="boot")
        args.values |= {"secondaries": ["secondary.json"], "serve-rpc": [f"{HOST}:{free_ports(1)[0]}"]}
        self._parts, desk, listing = uptane_serve.with_secondaries(args, parts)
        self._served = uptane_serve.serve(args, self._parts, desk, listing, self.log)
        self.url = f"http://{HOST}:{self._served.servers[0].port}"

    def primary(self) -> str:
        """A cycle of the Primary."""
        return Primary(self._parts).cycle().result

    def close(self) -> None:
        """No more Secondaries are served."""
        self._served.close()


def play(wire: Wire, facts: dict[str, Any], office: Office) -> None:
    """Nothing, an update of all three, and the attacks of the demo's script in their order, with their recoveries."""
    vehicle = Vehicle(wire, facts)
    try:
        _play(vehicle, office)
    finally:
        vehicle.close()


def _play(vehicle: Vehicle, office: Office) -> None:
    tcu, partial = (vehicle.secondary(serial, vehicle.url) for serial in (TCU, PARTIAL))
    vehicle.register(TCU, PARTIAL)
    tcu.report()
    partial.report()
    assert vehicle.primary() == "nothing-to-do"
    assert vehicle.known_to_director(PRIMARY) == ("/unknown", "")
    assert [tcu.cycle(), partial.cycle()] == ["no-update", "no-update"]

    office.order(**{PRIMARY: "info.swu", TCU: "firmware.img", PARTIAL: "brakes.img"})
    assert vehicle.primary() == "installed"
    assert Path("disk").read_bytes() == DISK
    assert [tcu.cycle(), partial.cycle()] == ["updated", "updated"]
    assert [runs(TCU), runs(PARTIAL)] == [IMAGES["firmware.img"], IMAGES["brakes.img"]]
    assert vehicle.primary() == "nothing-to-do"
    assert vehicle.known_to_director(PRIMARY) == ("/info.swu", "")
    assert vehicle.known_to_director(TCU) == ("/firmware.img", "")
    assert vehicle.known_to_director(PARTIAL) == ("/brakes.img", "")
    assert [tcu.cycle(), partial.cycle()] == ["no-update-needed", "no-update-needed"]

    if vehicle.dialect == "ref-json":  # its DER says nothing of delegations that it could read again
        office.order_from_supplier(TCU, "lib.img")
        assert vehicle.primary() == "downloaded"
        assert tcu.cycle() == "updated"
        assert runs(TCU) == IMAGES["lib.img"]

    office.order(**{TCU: "newer.img"})
    office.does(f"director.mitm_arbitrary_package_attack {VIN} newer.img")
    refuses(vehicle.primary, EndlessDataError)  # the evil image is longer
    assert "newer.img" in vehicle.known_to_director(PRIMARY)[1]
    office.does(f"director.undo_mitm_arbitrary_package_attack {VIN} newer.img")
    assert vehicle.primary() == "downloaded"
    assert tcu.cycle() == "updated"
    assert runs(TCU) == IMAGES["newer.img"]

    office.does(f"director.backup_timestamp {VIN}", f"director.write_to_live {VIN}")
    assert vehicle.primary() == "nothing-to-do"
    office.does(f"director.replay_timestamp {VIN}")
    refuses(vehicle.primary, VersionRollback)
    office.does(f"director.restore_timestamp {VIN}")

    office.does(f"director.keyed_arbitrary_package_attack {VIN} {TCU} newer.img")
    refuses(vehicle.primary, TargetMismatch)
    office.does("image_repo.keyed_arbitrary_package_attack newer.img")
    assert vehicle.primary() == "downloaded"
    assert tcu.cycle() == "updated"
    assert runs(TCU) == b"evil content"  # who has the keys of both repositories is believed
    office.does("image_repo.undo_keyed_arbitrary_package_attack newer.img")
    office.does(f"director.undo_keyed_arbitrary_package_attack {VIN} {TCU} newer.img")
    assert vehicle.primary() == "downloaded"
    assert tcu.cycle() == "updated"
    assert runs(TCU) == IMAGES["firmware.img"]

    office.does(f"director.sign_with_compromised_keys_attack {VIN}")
    refuses(vehicle.primary, UnmetThreshold)
    office.does(f"director.undo_sign_with_compromised_keys_attack {VIN}")
    assert vehicle.primary() == "nothing-to-do"
    assert tcu.cycle() == "no-update-needed"


def record(where: Checkouts, folder: Path, dialect: str) -> Transcript:
    """Play it live, and keep all that was said."""
    back, front = folder / "reference", folder / "ours"
    back.mkdir()
    front.mkdir()
    swu, key = make_swu(front)
    with servers(where, back, dialect, IMAGES | {"info.swu": swu}, swu_key=key) as begun:
        upstream = {name: begun.place.ports[port] for name, port in PORTS.items()}
        with Recorder(upstream) as wire, alone(front):
            play(wire, begun.facts, begun.office)
    return Transcript(begun.facts, wire.exchanges)


def make_swu(folder: Path) -> tuple[bytes, bytes]:
    """A signed update for the Primary, and its public key."""
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
    return (folder / "info.swu").read_bytes(), (folder / "swu.pem").read_bytes()
