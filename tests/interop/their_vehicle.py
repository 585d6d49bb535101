"""The reference's Primary and its Secondaries, full and partial, with our servers."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from swagent.clock import SystemClock
from swagent.uptane.metadata import ROOT

from .ecus import PARTIAL, alone
from .office import PORTS
from .our_servers import Servers
from .reference import PRIMARY, TCU, VIN, Checkouts, Peer, Place
from .their_secondaries import write_key
from .theirs import Again, Live, Party, Theirs
from .wire import Recorder, Transcript

STEP_S = 10


PARTIES = (("primary", PRIMARY), ("secondary", TCU), ("secondary", PARTIAL))


def play(servers: Servers, theirs: Theirs, primary: Party, secondary: Party, partial: Party) -> None:
    """Nothing, an update of two, a changed image, new keys."""

    def round_of(*banners: str) -> None:
        servers.clock.passes(STEP_S)
        theirs.does(primary.cycle, [])
        servers.clock.passes(STEP_S)
        theirs.does(secondary.cycle, list(banners))

    for party in (primary, secondary, partial):
        theirs.does(party.begin, [])
    round_of("NO_UPDATE")
    theirs.does(partial.partial_cycle, "no update")

    servers.order(TCU, "firmware.img")
    servers.order(PARTIAL, "brakes.img")
    round_of("UPDATED")
    theirs.does(partial.partial_cycle, "updated")
    round_of("NO_UPDATE_NEEDED")
    assert servers.runs(TCU) == ("firmware.img", "")
    assert servers.runs(PARTIAL) == ("brakes.img", "")

    servers.order(TCU, "newer.img")
    undo = servers.swap("newer.img", b"Another firmware"[:14])
    servers.clock.passes(STEP_S)
    theirs.does(primary.cycle, ["DEFENDED"])
    undo()
    round_of("UPDATED")

    servers.rotate()
    round_of("NO_UPDATE_NEEDED")
    assert servers.runs(TCU) == ("newer.img", "")

    if servers.dialect == "ref-json":  # its DER says nothing of delegations that it could read again
        servers.order_from_supplier(TCU, "lib.img")
        round_of("UPDATED")
    assert not servers.log
    # the first manifest of the reference's Primary holds no reports
    assert servers.alerts() == {(TCU, "missing"), (PARTIAL, "missing")}


def replay(transcript: Transcript, folder: Path) -> None:
    """Ask our servers what the reference's vehicle asked."""
    with serving(folder, transcript.facts["dialect"], transcript.facts["clock_s"]) as servers:
        theirs = Again(transcript, servers.ports)
        play(servers, theirs, *(Party(name, serial) for name, serial in PARTIES))
    assert not theirs.left()


def record(where: Checkouts, folder: Path, dialect: str) -> Transcript:
    """Play it live, and keep all that was said."""
    back, front = folder / "reference", folder / "ours"
    back.mkdir()
    front.mkdir()
    clock_s = int(SystemClock().now_s()) + 3600  # the reference's ECUs begin with the real time
    place = Place(where, back, dialect)
    with serving(front, dialect, clock_s) as servers, Recorder(servers.ports) as wire, ExitStack() as peers:
        for name, port in PORTS.items():
            place.ports[port] = wire.ports[name]
        place.pin()
        _give(servers, back)
        parties = []
        for name, serial in PARTIES:
            modules = [f"demo.demo_{name}", *(["uptane.clients.primary"] if name == "primary" else [])]
            parties.append(Party(name, serial, peers.enter_context(Peer(place, serial, modules))))
        theirs = Live(wire)
        play(servers, theirs, *parties)
    facts = {"dialect": dialect, "clock_s": clock_s, "steps": theirs.steps}
    return Transcript(facts, wire.exchanges)


def _give(servers: Servers, folder: Path) -> None:
    """The roots and the key that the reference's ECUs begin with."""
    extension = servers.codec.extension
    director = servers.director.file(VIN, ROOT)
    assert director is not None
    image = Path("imagerepo/live/metadata", f"root.{extension}").read_bytes()
    for raw, below in ((director.raw, f"director/{VIN}"), (image, "imagerepo")):
        (folder / below / "metadata").mkdir(parents=True)
        (folder / below / "metadata" / f"root.{extension}").write_bytes(raw)
    for name, key in (("timeserver", "time"), ("targets", "director targets")):
        write_key(folder / "demo" / "keys" / f"{name}.pub", servers.signer(key).key)


@contextmanager
def serving(folder: Path, dialect: str, clock_s: int) -> Iterator[Servers]:
    """Our servers, as long as they serve."""
    with alone(folder):
        servers = Servers(dialect, clock_s)
        try:
            yield servers
        finally:
            servers.close()
