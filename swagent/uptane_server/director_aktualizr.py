"""The interface that aktualizr speaks: manifests, metadata, events and what a device says of itself (uptane §6).

The vehicle is the one that its certificate names, below ``/``; or, in a testbed, that the path names: ``/ak/<vin>/``.
"""

from collections.abc import Callable, Mapping
from typing import Any

from swagent.uptane.codecs import json_fields as fields
from swagent.uptane.codecs.base import NotUnderstood

from .director import Newcomer
from .director_desk import DirectorDesk
from .director_routes import OPERATOR, VEHICLE, Call, Reply, Route
from .director_rpc import read_key
from .service_files import named_file

EVENTS_MAX, EVENT_MAX_BYTES, FACT_MAX_BYTES = 500, 16 * 1024, 512 * 1024
CAMPAIGNS = "campaigns"


class AktualizrApi:
    """Answers aktualizr.

    Args:
        desk: the Director and its folder.
    """

    def __init__(self, desk: DirectorDesk) -> None:
        self._desk = desk
        self._director = desk.director
        self.routes: tuple[Route, ...] = (
            Route("PUT", "/director/manifest", self.manifest, VEHICLE, "Hand in a manifest."),
            Route("POST", "/director/ecus", self.ecus, VEHICLE, "Make the vehicle's ECUs known."),
            Route("GET", "/director/{name}", self.metadata, VEHICLE, "A metadata file."),
            Route("POST", "/events", self.events, VEHICLE, "Tell of doings."),
            Route("PUT", "/system_info", self.fact("system_info"), VEHICLE, "Tell of hardware."),
            Route("PUT", "/system_info/network", self.fact("network"), VEHICLE, "Tell of the network."),
            Route(
                "POST", "/system_info/config", self.fact("config", json=False), VEHICLE, "Tell of settings."
            ),
            Route("PUT", "/core/installed", self.fact("installed"), VEHICLE, "Tell of installed packages."),
            Route("GET", "/campaigner/campaigns", self.campaigns, VEHICLE, "What the driver is asked."),
        )
        self.orders: tuple[Route, ...] = (
            Route(
                "PUT", "/api/v1/vehicles/{vin}/campaigns", self.set_campaigns, OPERATOR,
                "What a vehicle's driver is asked; the answer comes as an event.",
            ),
        )  # fmt: skip

    def manifest(self, call: Call) -> Reply:
        """A manifest; the vehicle is known from the connection."""
        self._director.submit(call.vin, call.body)
        self._desk.export(call.vin)
        return Reply(200, {})

    def ecus(self, call: Call) -> Reply:
        """All ECUs at once; those that are known already, by the same key, are no error."""
        tree = call.tree()
        primary = fields.text(tree, "primary_ecu_serial")
        newcomers = [
            Newcomer(
                fields.text(item, "ecu_serial"),
                read_key(fields.mapping(item, "clientKey")),
                fields.optional_text(item, "hardware_identifier"),
                fields.text(item, "ecu_serial") == primary,
            )
            for item in (fields.as_mapping(each, "an ECU") for each in fields.items(tree, "ecus"))
        ]
        self._director.register(call.vin, newcomers, again=True)
        return Reply(200, {})

    def metadata(self, call: Call) -> Reply:
        """``N.root.json``, ``targets.json`` and the like."""
        raw = named_file(self._director, call.vin, call.path["name"])
        return Reply(200, raw=raw) if raw is not None else Reply(404, {})

    def events(self, call: Call) -> Reply:
        """A batch; one that is too long is to be halved (413)."""
        items = fields.as_list(call.value(), "the body")
        if len(items) > EVENTS_MAX:
            return Reply(413, {})
        found: list[tuple[str, Mapping[str, Any]]] = []
        for item in items:
            event = fields.as_mapping(item, "an event")
            kind = fields.text(fields.mapping(event, "eventType"), "id")
            if len(kind) > 64 or not kind.isprintable() or _has_nul(event):
                raise NotUnderstood("the type of an event makes no sense")
            found.append((kind, event))
        if len(call.body) > EVENT_MAX_BYTES * max(len(items), 1):
            return Reply(413, {})
        with self._director.inventory.change() as fleet:
            fleet.vehicle(call.vin, lock=True)
            fleet.keep_events(call.vin, found, self._director.now_s())
        return Reply(200, {})

    def fact(self, name: str, *, json: bool = True) -> Callable[[Call], Reply]:
        """Keeps what a vehicle says of itself under this name."""

        def keep(call: Call) -> Reply:
            if len(call.body) > FACT_MAX_BYTES:
                return Reply(413, {})
            if json:
                call.value()
            with self._director.inventory.change() as fleet:
                fleet.vehicle(call.vin, lock=True)
                fleet.keep_fact(call.vin, name, call.body, self._director.now_s())
            return Reply(200, {})

        keep.__name__ = name
        return keep

    def campaigns(self, call: Call) -> Reply:
        """What this vehicle's driver is asked."""
        with self._director.inventory.look() as fleet:
            fleet.vehicle(call.vin)
            kept = fleet.facts(call.vin).get(CAMPAIGNS)
        return Reply(200, raw=kept if kept is not None else b'{"campaigns":[]}')

    def set_campaigns(self, call: Call) -> Reply:
        """An operator's list, in aktualizr's form: id, name, size, autoAccept, metadata."""
        for item in fields.items(call.tree(), CAMPAIGNS):
            campaign = fields.as_mapping(item, "a campaign")
            fields.text(campaign, "id")
            fields.text(campaign, "name")
        with self._director.inventory.change() as fleet:
            fleet.vehicle(call.path["vin"], lock=True)
            fleet.keep_fact(call.path["vin"], CAMPAIGNS, call.body, self._director.now_s())
        return Reply(204)


def _has_nul(value: Any) -> bool:
    """Whether a text in it holds what not every database takes."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(each) for pair in value.items() for each in pair)
    return isinstance(value, list) and any(map(_has_nul, value))
