"""The fleet page's contents, rendered on the server: what operators see of vehicles, and what they may order."""

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from swagent.uptane.codecs.base import write_time
from swagent.uptane.errors import UnknownVehicle
from swagent.uptane.metadata import Targets
from swagent.uptane.reports import UNKNOWN_IMAGE

from .director_access import Session
from .director_choice import is_installed
from .director_desk import DirectorDesk
from .inventory_records import Assignment, Ecu, Image

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE = 50
ROOT_WARNING_S = 30 * 86400
_ASSETS = {"style.css": "text/css", "page.js": "text/javascript"}


class Pages:
    """Renders pages.

    Args:
        desk: the Director and its folder.
        silent_s: after how long without a manifest a vehicle counts as silent.
    """

    def __init__(self, desk: DirectorDesk, *, silent_s: int) -> None:
        self._desk = desk
        self._director = desk.director
        self._silent_s = silent_s

    def login(self, form_key: str, wrong: str = "") -> str:
        """Where one logs in."""
        return _render("login.html", form_key=form_key, wrong=wrong)

    def refusal(self, session: Session | None, wrong: str) -> str:
        """Something could not be done."""
        return _render("refusal.html", session=session, reason=wrong)

    def fleet(self, session: Session, base: str, query: Mapping[str, str]) -> str:
        """The list of vehicles."""
        show = query.get("show", "all")
        show = show if show in ("all", "alerts", "silent") else "all"
        prefix, after = (_printable(query.get(name, "")) for name in ("prefix", "after"))
        now_s = self._director.now_s()
        silent_s = now_s - self._silent_s
        with self._director.inventory.look() as fleet:
            found = fleet.vehicles(after=after, prefix=prefix, show=show, before_s=silent_s, limit=PAGE + 1)
            vins = [vehicle.vin for vehicle in found[:PAGE]]
            ecus, orders = fleet.ecus(*vins), fleet.assignments(*vins)
            root = fleet.root()
            warnings = []
            if root is None:
                warnings.append("The Director has no root: nothing can be signed.")
            elif root.expires_s - now_s < ROOT_WARNING_S:
                warnings.append(
                    f"Root version {root.version} expires {_time(root.expires_s)}: sign the next one."
                )
            if fleet.vehicles(show="alerts", limit=1):
                warnings.append("There are vehicles with alerts.")
            if fleet.vehicles(show="silent", before_s=silent_s, limit=1):
                warnings.append(f"There are vehicles without contact for {self._silent_s // 3600} hours.")
        rows = []
        for vehicle in found[:PAGE]:
            mine = [order for order in orders if order.vin == vehicle.vin]
            signed = [order for order in mine if order.signed is not None]
            rows.append(
                {
                    "vin": vehicle.vin,
                    "contact": _time(vehicle.contact_s),
                    "silent": (vehicle.contact_s or 0) < silent_s,
                    "alerts": vehicle.alerts,
                    "assigned": len(signed),
                    "installed": sum(_is_done(ecus.get(order.serial), order) for order in signed),
                    "waiting": sum(bool(order.held_back) for order in mine),
                }
            )
        more = urlencode({"after": vins[-1], "prefix": prefix, "show": show}) if len(found) > PAGE else ""
        return _render(
            "fleet.html", session=session, base=base, vehicles=rows, warnings=warnings, prefix=prefix, show=show,
            more=more, said=query.get("said", "") if query.get("said") in SAID else "",
        )  # fmt: skip

    def vehicle(self, session: Session, base: str, vin: str, query: Mapping[str, str]) -> str:
        """One vehicle.

        Raises:
            UnknownVehicle: there is none.
        """
        said = query.get("said", "")
        with self._director.inventory.look() as fleet:
            facts = self._facts(fleet, vin)
            images = fleet.images(limit=100)
            alerts = [kept for kept in fleet.alerts(vin) if kept.is_open]
            manifests, events = fleet.manifests(vin), fleet.events(vin)[:20]
        vehicle = facts["vehicle"]
        return _render(
            "vehicle.html",
            session=session,
            base=base,
            said=said if said in SAID else "",
            contact=_time(vehicle.contact_s),
            silent=(vehicle.contact_s or 0) < self._director.now_s() - self._silent_s,
            expires=_time(vehicle.expires_s) if vehicle.expires_s is not None else "",
            images=[{"number": image.number, "text": _image_text(image)} for image in images],
            alerts=[
                {**kept.alert._asdict(), "times": kept.times, "last": _time(kept.last_s)} for kept in alerts
            ],
            manifests=[f"{row.number}, {_time(row.taken_s)}, {len(row.raw)} bytes" for row in manifests],
            events=[f"{_time(event.taken_s)} {event.kind}" for event in events],
            **facts,
        )

    def ecus(self, vin: str) -> str:
        """The rows of a vehicle's ECUs alone, for who watches.

        Raises:
            UnknownVehicle: there is none.
        """
        with self._director.inventory.look() as fleet:
            return _render("ecus.html", **self._facts(fleet, vin))

    def preview(self, session: Session, vin: str, serial: str, number: int) -> str:
        """What would be signed if an ECU got an image.

        Raises:
            UnknownVehicle: there is no such vehicle.
        """
        body, held_back = self._director.preview(vin, {serial: self.image(number)})
        return _render(
            "preview.html", session=session, vin=vin, serial=serial, image=number, held_back=held_back,
            text=_targets_text(body),
        )  # fmt: skip

    def image(self, number: int) -> Image | None:
        """An image by its number; None for 0.

        Raises:
            UnknownVehicle: there is none of that number.
        """
        if not number:
            return None
        with self._director.inventory.look() as fleet:
            image = fleet.image(number)
        if image is None:
            raise UnknownVehicle(f"there is no image {number}")
        return image

    def _facts(self, fleet: Any, vin: str) -> dict[str, Any]:
        vehicle = fleet.vehicle(vin)
        orders = {order.serial: order for order in fleet.assignments(vin)}
        silent_s = self._director.now_s() - self._silent_s
        rows = [_ecu_row(ecu, orders.get(serial), silent_s) for serial, ecu in fleet.ecus(vin).items()]
        done, assigned = sum(row["done"] for row in rows), sum(bool(row["assigned"]) for row in rows)
        state = f"{done} of {assigned} updates are installed, last contact {_time(vehicle.contact_s)}"
        return {"vehicle": vehicle, "ecus": rows, "state": state}


SAID = {
    "Signed.", "Added.", "The alerts are closed.", "Its next good report will be taken.",
}  # fmt: skip
"""What a page may say of the action before it; nothing else that stands in an address is shown."""


def asset(name: str) -> tuple[bytes, str] | None:
    """A file that pages refer to and its type, None when there is none."""
    if name not in _ASSETS:
        return None
    from importlib.resources import files

    return (files(__package__) / "pages" / name).read_bytes(), _ASSETS[name]


def _ecu_row(ecu: Ecu, order: Assignment | None, silent_s: int) -> dict[str, Any]:
    signed = order.signed if order is not None else None
    wanted = order.wanted if order is not None else None
    return {
        "serial": ecu.serial,
        "primary": ecu.primary,
        "hardware_id": ecu.hardware_id,
        "installed": ecu.installed.path if ecu.installed != UNKNOWN_IMAGE else "unknown",
        "assigned": signed.target.path if signed is not None else "",
        "done": order is not None and _is_done(ecu, order),
        "waiting": wanted != signed,
        "held_back": order.held_back if order is not None else "",
        "distrust": ecu.distrust,
        "report": _time(ecu.report_s),
        "silent": (ecu.report_s or 0) < silent_s,
        "key": f"{ecu.key.scheme} {ecu.key.keyid[:16]}",
        "encrypted": bool(ecu.image_key),
    }


def _is_done(ecu: Ecu | None, order: Assignment) -> bool:
    return ecu is not None and order.signed is not None and is_installed(ecu.installed, order.signed.target)


def _image_text(image: Image) -> str:
    target = image.target
    words = [target.path]
    words += [f"release {target.release_counter}"] if target.release_counter is not None else []
    words += [f"for {', '.join(sorted(target.hardware_ids))}"] if target.hardware_ids is not None else []
    digest = next(iter(target.hashes.values()), "")[:8]
    return f"{image.number}: {', '.join(words)} ({target.length_bytes} bytes, {digest}…)"


def _targets_text(body: Targets) -> str:
    tree = {
        path: {"length": target.length_bytes, "hashes": dict(target.hashes), "ecus": dict(target.ecus)}
        for path, target in body.targets.items()
    }
    return json.dumps({"targets": tree}, indent=1, ensure_ascii=False)


def _printable(word: str) -> str:
    return word if word.isprintable() else ""


def _time(time_s: int | None) -> str:
    return write_time(time_s) if time_s is not None else "never"


def _render(name: str, **facts: Any) -> str:
    return _environment().get_template(name).render(**facts)


@cache
def _environment() -> "Environment":
    from swagent.errors import RegistrationError

    try:
        from jinja2 import Environment, PackageLoader
    except ImportError as exc:
        raise RegistrationError("the fleet page needs swagent[server]") from exc
    pages = PackageLoader("swagent.uptane_server", "pages")
    return Environment(loader=pages, autoescape=True, trim_blocks=True, lstrip_blocks=True)
