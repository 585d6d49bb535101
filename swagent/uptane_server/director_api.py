"""The Director's own interface, as JSON over HTTPS: the whole of what its XML-RPC can, and more."""

from collections.abc import Mapping
from typing import Any

from swagent.errors import SettingsError
from swagent.uptane.codecs import json_fields as fields
from swagent.uptane.codecs.base import NotUnderstood, judge_hashes
from swagent.uptane.metadata import Target
from swagent.uptane.reports import UNKNOWN_IMAGE, InstalledImage

from .director import Newcomer
from .director_desk import DirectorDesk
from .director_routes import ANYBODY, OPERATOR, VEHICLE, Call, Reply, Route, openapi
from .director_rpc import ecu_manifest_value, read_key, vehicle_manifest_value
from .inventory_fleet import Fleet
from .inventory_records import Assignment, Ecu, Image, KeptAlert, Vehicle, Wish

BASE = "/api/v1"
PAGE_MAX = 500
DONE = Reply(204)
_TEXT, _NUMBER = {"type": "string"}, {"type": "integer"}
_WISH = {
    "type": "object",
    "properties": {"hardware_id": _TEXT, "path": _TEXT, "least": _NUMBER, "most": _NUMBER},
}


class DirectorApi:
    """Answers operators' programs, and vehicles.

    Args:
        desk: the Director and its folder.
        version: of this program, for the description.
        silent_s: after how long without a manifest a vehicle counts as silent.
    """

    def __init__(self, desk: DirectorDesk, version: str, *, silent_s: int) -> None:
        self._desk = desk
        self._director = desk.director
        self._version = version
        self._silent_s = silent_s
        self.routes: tuple[Route, ...] = (
            Route(
                "GET", f"{BASE}/vehicles", self.list_vehicles, OPERATOR, "A page of vehicles, by VIN.",
                query={
                    "after": "the last VIN of the page before", "prefix": "how their VINs begin",
                    "show": "all, alerts or silent", "limit": f"how many at most, up to {PAGE_MAX}",
                },
            ),
            Route(
                "PUT", f"{BASE}/vehicles/{{vin}}", self.add_vehicle, OPERATOR,
                "A new vehicle; one that is there is reset.",
                {"type": "object", "properties": {"primary_ecu_serial": _TEXT}},
            ),
            Route("GET", f"{BASE}/vehicles/{{vin}}", self.show_vehicle, OPERATOR, "A vehicle and its ECUs."),
            Route(
                "POST", f"{BASE}/vehicles/{{vin}}/ecus", self.register_ecus, VEHICLE,
                "Make ECUs known, all or none; the first key of each stays.",
                {
                    "type": "object",
                    "required": ["ecus"],
                    "properties": {
                        "ecus": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["ecu_serial", "key"],
                                "properties": {
                                    "ecu_serial": _TEXT, "hardware_id": _TEXT,
                                    "primary": {"type": "boolean"}, "key": {"type": "object"},
                                    "image_key": _TEXT,
                                },
                            },
                        }
                    },
                },
            ),
            Route(
                "PUT", f"{BASE}/vehicles/{{vin}}/manifest", self.submit_manifest, VEHICLE,
                "Hand in a vehicle version manifest, in the Director's dialect.", {},
            ),
            Route(
                "GET", f"{BASE}/vehicles/{{vin}}/manifest", self.last_manifest, OPERATOR,
                "The last manifest of a vehicle.",
            ),
            Route(
                "GET", f"{BASE}/ecus/{{serial}}/manifest", self.last_ecu_manifest, OPERATOR,
                "The last report of an ECU.",
            ),
            Route(
                "POST", f"{BASE}/ecus/{{serial}}/forgive", self.forgive, OPERATOR,
                "Take the next good report of an ECU, whatever its counter: it was replaced.",
            ),
            Route("GET", f"{BASE}/images", self.list_images, OPERATOR, "The newest images."),
            Route(
                "POST", f"{BASE}/images", self.add_image, OPERATOR,
                "Describe an image, as the Image repository does.",
                {
                    "type": "object",
                    "required": ["path", "length", "hashes"],
                    "properties": {
                        "path": _TEXT, "length": _NUMBER, "hashes": {"type": "object"},
                        "hardware_ids": {"type": "array", "items": _TEXT}, "release_counter": _NUMBER,
                        "uri": _TEXT, "requires": {"type": "array", "items": _WISH},
                        "conflicts": {"type": "array", "items": _WISH},
                    },
                },
            ),
            Route(
                "PUT", f"{BASE}/vehicles/{{vin}}/assignments/{{serial}}", self.assign, OPERATOR,
                "What an ECU shall run, once it is signed.",
                {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": _NUMBER, "correlation_id": _TEXT},
                },
            ),
            Route(
                "DELETE", f"{BASE}/vehicles/{{vin}}/assignments/{{serial}}", self.withdraw, OPERATOR,
                "An ECU shall run nothing in particular, once that is signed.",
            ),
            Route(
                "DELETE", f"{BASE}/vehicles/{{vin}}/assignments", self.clear, OPERATOR,
                "Nor shall any ECU of a vehicle.",
            ),
            Route(
                "GET", f"{BASE}/vehicles/{{vin}}/preview", self.preview, OPERATOR,
                "What would be signed now, and what would be held back.",
            ),
            Route(
                "POST", f"{BASE}/vehicles/{{vin}}/metadata", self.write, OPERATOR,
                "Sign what a vehicle's ECUs shall run.",
            ),
            Route(
                "DELETE", f"{BASE}/vehicles/{{vin}}/alerts", self.close_alerts, OPERATOR,
                "Somebody has seen a vehicle's alerts.",
            ),
            Route("GET", "/api/openapi.json", self.describe, ANYBODY, "This description."),
        )  # fmt: skip

    def describe(self, call: Call) -> Reply:
        """This interface."""
        return Reply(200, openapi(self.routes, self._version))

    # -- vehicles

    def list_vehicles(self, call: Call) -> Reply:
        """See the route."""
        limit = call.query.get("limit", "50")
        show = call.query.get("show", "all")
        if not (limit.isascii() and limit.isdecimal() and 0 < int(limit[:6]) <= PAGE_MAX):
            raise NotUnderstood(f"limit is not within 1 and {PAGE_MAX}")
        if show not in ("all", "alerts", "silent"):
            raise NotUnderstood("show is none of all, alerts, silent")
        with self._director.inventory.look() as fleet:
            found = fleet.vehicles(
                after=_printable(call.query.get("after", "")),
                prefix=_printable(call.query.get("prefix", "")),
                show=show,
                before_s=self._director.now_s() - self._silent_s,
                limit=int(limit),
            )
        return Reply(200, {"vehicles": [vehicle_tree(each) for each in found]})

    def add_vehicle(self, call: Call) -> Reply:
        """See the route."""
        primary = fields.optional_text(call.tree(), "primary_ecu_serial")
        self._director.add_vehicle(call.path["vin"], primary or None)
        return DONE

    def show_vehicle(self, call: Call) -> Reply:
        """See the route."""
        vin = call.path["vin"]
        with self._director.inventory.look() as fleet:
            return Reply(200, whole_vehicle_tree(fleet, vin))

    def register_ecus(self, call: Call) -> Reply:
        """See the route."""
        newcomers = [
            Newcomer(
                fields.text(item, "ecu_serial"),
                read_key(fields.mapping(item, "key")),
                fields.optional_text(item, "hardware_id"),
                fields.boolean(item, "primary", default=False),
                fields.optional_text(item, "image_key"),
            )
            for item in (fields.as_mapping(each, "an ECU") for each in fields.items(call.tree(), "ecus"))
        ]
        self._director.register(call.path["vin"], newcomers, again=True)
        return DONE

    def submit_manifest(self, call: Call) -> Reply:
        """See the route."""
        judged = self._director.submit(call.path["vin"], call.body)
        self._desk.export(call.path["vin"])
        return Reply(200, {"new": judged.is_news, "alerts": len(judged.alerts)})

    def last_manifest(self, call: Call) -> Reply:
        """See the route."""
        raw = self._director.last_vehicle_manifest(call.path["vin"])
        return Reply(200, None if raw is None else vehicle_manifest_value(raw, self._director.codec))

    def last_ecu_manifest(self, call: Call) -> Reply:
        """See the route."""
        raw = self._director.last_ecu_manifest(call.path["serial"])
        return Reply(200, None if raw is None else ecu_manifest_value(raw, self._director.codec))

    def forgive(self, call: Call) -> Reply:
        """See the route."""
        self._director.forgive(call.path["serial"])
        return DONE

    def close_alerts(self, call: Call) -> Reply:
        """See the route."""
        with self._director.inventory.change() as fleet:
            fleet.vehicle(call.path["vin"], lock=True)
            fleet.close_alerts(call.path["vin"])
        return DONE

    # -- images and assignments

    def list_images(self, call: Call) -> Reply:
        """See the route."""
        with self._director.inventory.look() as fleet:
            return Reply(200, {"images": [image_tree(each) for each in fleet.images()]})

    def add_image(self, call: Call) -> Reply:
        """See the route."""
        image = self._director.add_image(read_image(call.tree()))
        return Reply(201, {"image": image.number})

    def assign(self, call: Call) -> Reply:
        """See the route."""
        tree = call.tree()
        number = fields.integer(tree, "image", least=1, most=2**31 - 1)
        with self._director.inventory.look() as fleet:
            image = fleet.image(number)
        if image is None:
            raise SettingsError(f"there is no image {number}", hint=f"GET {BASE}/images lists them")
        correlation_id = fields.optional_text(tree, "correlation_id")
        if len(correlation_id) > 256 or not correlation_id.isprintable():
            raise NotUnderstood("correlation_id is too long, or holds what cannot be shown")
        self._desk.assign(
            call.path["vin"],
            call.path["serial"],
            image,
            self._desk.find(image),
            correlation_id=correlation_id,
        )
        return DONE

    def withdraw(self, call: Call) -> Reply:
        """See the route."""
        self._director.assign(call.path["vin"], call.path["serial"], None)
        return DONE

    def clear(self, call: Call) -> Reply:
        """See the route."""
        self._director.clear(call.path["vin"])
        return DONE

    def preview(self, call: Call) -> Reply:
        """See the route."""
        body, held_back = self._director.preview(call.path["vin"])
        targets = {
            path: {"length": target.length_bytes, "hashes": dict(target.hashes), "ecus": dict(target.ecus)}
            for path, target in body.targets.items()
        }
        return Reply(200, {"targets": targets, "held_back": dict(held_back)})

    def write(self, call: Call) -> Reply:
        """See the route."""
        self._desk.write([call.path["vin"]])
        return DONE


# -- facts as JSON


def vehicle_tree(vehicle: Vehicle) -> dict[str, Any]:
    """A vehicle without its ECUs."""
    return {
        "vin": vehicle.vin,
        "primary_ecu_serial": vehicle.primary,
        "last_contact": vehicle.contact_s,
        "alerts": vehicle.alerts,
        "metadata_version": vehicle.version,
        "metadata_expires": vehicle.expires_s,
    }


def whole_vehicle_tree(fleet: Fleet, vin: str) -> dict[str, Any]:
    """A vehicle with all that is known of it."""
    vehicle = fleet.vehicle(vin)
    orders = {order.serial: order for order in fleet.assignments(vin)}
    return {
        **vehicle_tree(vehicle),
        "ecus": [ecu_tree(ecu, orders.get(serial)) for serial, ecu in fleet.ecus(vin).items()],
        "assignments": [assignment_tree(order) for order in orders.values()],
        "alerts": [alert_tree(kept) for kept in fleet.alerts(vin)],
    }


def ecu_tree(ecu: Ecu, order: Assignment | None) -> dict[str, Any]:
    """An ECU, and what it shall run."""
    signed = order.signed.target if order is not None and order.signed is not None else None
    return {
        "ecu_serial": ecu.serial,
        "hardware_id": ecu.hardware_id,
        "primary": ecu.primary,
        "keyid": ecu.key.keyid,
        "encrypted": bool(ecu.image_key),
        "installed": installed_tree(ecu.installed),
        "assigned": signed.path if signed is not None else None,
        "last_report": ecu.report_s,
        "distrust": ecu.distrust,
    }


def installed_tree(image: InstalledImage) -> dict[str, Any] | None:
    """What an ECU runs, None where nobody knows."""
    if image == UNKNOWN_IMAGE:
        return None
    return {"path": image.path, "length": image.length_bytes, "hashes": dict(image.hashes)}


def assignment_tree(order: Assignment) -> dict[str, Any]:
    """An order and what became of it."""
    return {
        "ecu_serial": order.serial,
        "wanted": order.wanted.number if order.wanted is not None else None,
        "signed": order.signed.number if order.signed is not None else None,
        "held_back": order.held_back,
        "since": order.wanted_s,
        "correlation_id": order.correlation_id,
    }


def alert_tree(kept: KeptAlert) -> dict[str, Any]:
    """An alert, and since when."""
    return {
        "ecu_serial": kept.alert.serial,
        "kind": kept.alert.kind,
        "text": kept.alert.text,
        "first": kept.first_s,
        "last": kept.last_s,
        "times": kept.times,
        "open": kept.is_open,
    }


def image_tree(image: Image) -> dict[str, Any]:
    """An image that can be assigned."""
    target = image.target
    return {
        "image": image.number,
        "path": target.path,
        "length": target.length_bytes,
        "hashes": dict(target.hashes),
        "hardware_ids": sorted(target.hardware_ids) if target.hardware_ids is not None else None,
        "release_counter": target.release_counter,
        "requires": [wish._asdict() for wish in image.requires],
        "conflicts": [wish._asdict() for wish in image.conflicts],
    }


def read_image(tree: Mapping[str, Any]) -> Image:
    """An image from JSON.

    Raises:
        NotUnderstood: it is none.
    """
    path = fields.text(tree, "path")
    hardware_ids = (
        frozenset(fields.texts(tree, "hardware_ids")) if tree.get("hardware_ids") is not None else None
    )
    counter = None
    if tree.get("release_counter") is not None:
        counter = fields.integer(tree, "release_counter", least=0)
    hashes = judge_hashes(fields.text_mapping(tree, "hashes"), path[:60])
    for word in (path, fields.optional_text(tree, "uri"), *(hardware_ids or ()), *hashes):
        _printable(word)
    target = Target(
        path,
        fields.integer(tree, "length", least=0),
        hashes,
        hardware_ids=hardware_ids,
        release_counter=counter,
        uri=fields.optional_text(tree, "uri"),
    )
    return Image(0, target, _wishes(tree, "requires"), _wishes(tree, "conflicts"))


def _wishes(tree: Mapping[str, Any], name: str) -> tuple[Wish, ...]:
    return tuple(_wish(fields.as_mapping(item, name)) for item in fields.items(tree, name, default=[]))


def _wish(item: Mapping[str, Any]) -> Wish:
    unknown = item.keys() - set(Wish._fields)
    if unknown:
        raise NotUnderstood(f"a requirement has no {sorted(unknown)[0][:40]!r}")
    least, most = (
        fields.integer(item, name, least=0) if item.get(name) is not None else None
        for name in ("least", "most")
    )
    hardware_id, path = (_printable(fields.optional_text(item, name)) for name in ("hardware_id", "path"))
    return Wish(hardware_id, path, least, most)


def _printable(word: str) -> str:
    if not word.isprintable() or len(word) > 1024:
        raise NotUnderstood(f"{word[:40]!r} is too long, or holds what cannot be shown")
    return word
