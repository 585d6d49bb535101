"""Our Secondaries, full and partial, with the reference's Primary (and its servers behind that)."""

from pathlib import Path
from typing import Any

from swagent.clock import SystemClock
from swagent.uptane.errors import UnmetThreshold
from swagent.uptane_client.links import RpcLink

from .ecus import PARTIAL, Ecus, alone, refuses, runs
from .office import IMAGES, PORTS, Office, servers
from .reference import TCU, VIN, Checkouts, Peer
from .wire import Recorder, Transcript, Wire


def play(wire: Wire, facts: dict[str, Any], office: Office) -> None:
    """Nothing; an update of both; nothing new; new keys."""
    ecus = Ecus(wire, facts, TCU, PARTIAL)
    tcu, partial = (ecus.secondary(serial, wire.url("primary")) for serial in (TCU, PARTIAL))
    ecus.register(TCU, PARTIAL)
    for serial, secondary in ((TCU, tcu), (PARTIAL, partial)):
        RpcLink(wire.url("primary"), VIN, serial, ecus.codec, SystemClock()).register()
        secondary.report()
    office.primary_cycle()
    assert [tcu.cycle(), partial.cycle()] == ["no-update", "no-update"]

    office.order(**{TCU: "firmware.img", PARTIAL: "brakes.img"})
    office.primary_cycle()
    assert [tcu.cycle(), partial.cycle()] == ["updated", "updated"]
    assert [runs(TCU), runs(PARTIAL)] == [IMAGES["firmware.img"], IMAGES["brakes.img"]]
    office.primary_cycle()
    assert ecus.known_to_director(TCU) == ("/firmware.img", "")
    assert ecus.known_to_director(PARTIAL) == ("/brakes.img", "")
    assert [tcu.cycle(), partial.cycle()] == ["no-update-needed", "no-update-needed"]

    office.does("image_repo.revoke_compromised_keys", "director.revoke_compromised_keys")
    office.primary_cycle()
    assert tcu.cycle() == "no-update-needed"
    refuses(partial.cycle, UnmetThreshold)  # of new keys it was not told


def record(where: Checkouts, folder: Path, dialect: str) -> Transcript:
    """Play it live, and keep all that was said."""
    back, front = folder / "reference", folder / "ours"
    back.mkdir()
    front.mkdir()
    with servers(where, back, dialect) as begun:
        place = begun.place
        place.pin()
        with Peer(place, "primary", ["demo.demo_primary", "uptane.clients.primary"]) as primary:
            primary.call("demo.demo_primary.clean_slate")
            begun.office.primary = primary
            upstream = {
                "service": place.ports[PORTS["service"]],
                "primary": place.ports["PRIMARY_SERVER_DEFAULT_PORT"],
            }
            with Recorder(upstream) as wire, alone(front):
                play(wire, begun.facts, begun.office)
    return Transcript(begun.facts, wire.exchanges)
