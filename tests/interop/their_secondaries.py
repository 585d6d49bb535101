"""The reference's Secondaries, full and partial, with our Primary; its repositories are in memory."""

import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from swagent.uptane.metadata import SNAPSHOT, TARGETS, TIMESTAMP, Key
from swagent.uptane_client.desk import Desk, HandOver
from swagent.uptane_client.images import ImageStore
from swagent.vehicle.rpc import Methods
from swagent.vehicle.server import VehicleServer
from tests.uptane_client.world import TCU, VIN, World

from .ecus import PARTIAL, Draws, alone
from .office import IMAGES
from .reference import HOST, Checkouts, Peer, Place
from .theirs import Again, Live, Party, Theirs
from .wire import Nil, Recorder, Transcript

DEMO = "demo.demo_secondary"


class Served:
    """Our Primary, as it serves."""

    def __init__(self, folder: Path, dialect: str) -> None:
        self.world = World(folder, dialect)
        self.world.memory.add_ecu(PARTIAL, "bcu", self.world.memory.ecus()[TCU].installed)
        below = folder / "files" / "primary"
        self._handover = HandOver(str(below / "metadata"), self.world.codec, self.world.rules.caps)
        images = ImageStore(str(below / "targets"), self.world.clock.monotonic_s)
        desk = Desk(VIN, self.world.codec, self.world.memory, images, self._handover, self.world.clock)
        self._lines: list[str] = []
        self.server = VehicleServer(
            Methods(desk, lambda level, line: self._lines.append(line)),
            HOST,
            (0,),
            lambda level, line: None,
        )
        self._draws = Draws("their secondaries")

    def primary(self) -> None:
        """A cycle."""
        self.world.primary(handover=self._handover, random=self._draws).cycle()

    def reported(self, serial: str) -> tuple[str, str]:
        """What an ECU's last report in the last manifest of the vehicle says."""
        found = self.world.codec.decode_vehicle_report(self.world.service.taken[-1]).content
        content = self.world.codec.decode_ecu_report(found.ecus[serial][-1]).content
        return content.installed.path, content.attacks

    def refusals(self) -> list[str]:
        """What was refused."""
        return self._lines


def play(served: Served, theirs: Theirs, full: Party, partial: Party, port: int) -> None:
    """Nothing; an update of both; nothing new; an update under new keys."""
    world = served.world
    for party in (full, partial):
        theirs.does(functools.partial(party.begin, primary_host=HOST, primary_port=port), [])
    served.primary()
    theirs.does(full.cycle, ["NO_UPDATE"])
    theirs.does(partial.partial_cycle, "no update")
    world.order(TCU, "firmware.img", IMAGES["firmware.img"])
    world.order(PARTIAL, "brakes.img", IMAGES["brakes.img"])
    served.primary()
    theirs.does(full.cycle, ["UPDATED"])
    theirs.does(partial.partial_cycle, "updated")
    served.primary()
    assert served.reported(TCU) == ("firmware.img", "")
    assert served.reported(PARTIAL) == ("brakes.img", "")
    theirs.does(full.cycle, ["NO_UPDATE_NEEDED"])

    for sim in (world.director, world.image):
        sim.rotate(TIMESTAMP, SNAPSHOT, TARGETS)
    world.order(TCU, "newer.img", IMAGES["newer.img"])
    served.primary()
    theirs.does(full.cycle, ["UPDATED"])
    assert not served.refusals()


def replay(transcript: Transcript, folder: Path) -> None:
    """Ask our Primary what the reference's Secondaries asked."""
    with serving(folder, transcript.facts["dialect"]) as served:
        theirs = Again(transcript, {"primary": served.server.port})
        play(served, theirs, Party("secondary", TCU), Party("secondary", PARTIAL), 0)
    assert not theirs.left()


def record(where: Checkouts, folder: Path, dialect: str) -> Transcript:
    """Play it live, and keep all that was said."""
    back, front = folder / "reference", folder / "ours"
    back.mkdir()
    front.mkdir()
    place = Place(where, back, dialect)
    with serving(front, dialect) as served, Nil("director") as nil:
        place.ports["DIRECTOR_SERVER_PORT"] = nil.ports["director"]
        give(served.world, back)
        with (
            Recorder({"primary": served.server.port}) as wire,
            Peer(place, "full", [DEMO]) as full,
            Peer(place, "partial", [DEMO]) as partial,
        ):
            theirs = Live(wire)
            parties = Party("secondary", TCU, full), Party("secondary", PARTIAL, partial)
            play(served, theirs, *parties, wire.ports["primary"])
    return Transcript({"dialect": dialect, "steps": theirs.steps}, wire.exchanges)


def give(world: World, folder: Path) -> None:
    """The roots and keys that the reference's ECUs begin with."""
    extension = world.codec.extension
    for sim, below in ((world.director, f"director/{VIN}"), (world.image, "imagerepo")):
        (folder / below / "metadata").mkdir(parents=True)
        (folder / below / "metadata" / f"root.{extension}").write_bytes(sim.roots[0])
    for name, key in (
        ("timeserver", world.time.signer.key),
        ("targets", world.director.signers[TARGETS][0].key),
    ):
        write_key(folder / "demo" / "keys" / f"{name}.pub", key)


def write_key(path: Path, key: Key) -> None:
    """A public key as the reference reads it."""
    tree = {
        "keytype": key.kind,
        "keyid_hash_algorithms": ["sha256", "sha512"],
        "keyval": {"public": key.public},
    }
    path.write_text(json.dumps(tree))


@contextmanager
def serving(folder: Path, dialect: str) -> Iterator[Served]:
    """Our Primary, as long as it serves."""
    with alone(folder):
        served = Served(folder, dialect)
        try:
            yield served
        finally:
            served.server.close()
