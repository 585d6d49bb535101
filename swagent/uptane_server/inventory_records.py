"""What the inventory holds, as frozen facts: vehicles, ECUs, images, assignments, alerts."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from swagent.uptane.metadata import Key, Target
from swagent.uptane.reports import UNKNOWN_IMAGE, InstalledImage


class Vehicle(NamedTuple):
    """One vehicle.

    Attributes:
        primary: serial of its Primary, None until it is known.
        contact_s: when its last manifest was taken, None before the first.
        manifests: how many were taken.
        alerts: how many are open.
        version: of its timestamp and snapshot.
        root_version: of the root that its files were signed under.
        expires_s: when the first of its files expires, None before there are any.
    """

    vin: str
    primary: str | None
    created_s: int
    contact_s: int | None = None
    manifests: int = 0
    alerts: int = 0
    version: int = 0
    targets_version: int = 0
    root_version: int = 0
    expires_s: int | None = None


class Ecu(NamedTuple):
    """One ECU.

    Attributes:
        image_key: RSA public key in PEM that its images' keys are wrapped with, "" where they are not encrypted.
        counter: of its last good report, None where reports have none.
        time_s: the latest time that it could verify, as that report says.
        report: that report as it came, None before the first.
        report_digest: of what was signed in it.
        report_s: when it was taken.
        distrust: why it is assigned nothing new until a good report comes, "" when it is.
    """

    serial: str
    vin: str
    hardware_id: str
    primary: bool
    key: Key
    image_key: str = ""
    counter: int | None = None
    time_s: int | None = None
    report: bytes | None = None
    report_digest: str = ""
    report_s: int | None = None
    installed: InstalledImage = UNKNOWN_IMAGE
    distrust: str = ""


class Wish(NamedTuple):
    """What an image asks of the vehicle's other ECUs, or cannot stand there; what is None or "" fits all.

    Attributes:
        hardware_id: of the ECU.
        path: of what it runs, a shell pattern.
        least: lowest release counter of what it runs.
        most: highest.
    """

    hardware_id: str = ""
    path: str = ""
    least: int | None = None
    most: int | None = None

    def __str__(self) -> str:
        words = [f"hardware {self.hardware_id}"] if self.hardware_id else []
        words += [f"image {self.path}"] if self.path else []
        words += [f"release counter {self.least} or more"] if self.least is not None else []
        words += [f"release counter {self.most} or less"] if self.most is not None else []
        return ", ".join(words) or "any ECU"


class Image(NamedTuple):
    """An image that can be assigned.

    Attributes:
        number: in the inventory, 0 before it is there.
        target: what both repositories say of it.
        requires: each must fit another ECU of the vehicle once the update is done.
        conflicts: none may.
    """

    number: int
    target: Target
    requires: tuple[Wish, ...] = ()
    conflicts: tuple[Wish, ...] = ()
    added_s: int = 0


class Assignment(NamedTuple):
    """What an ECU shall run.

    Attributes:
        wanted: what somebody ordered, None to withdraw what was.
        signed: what the vehicle's targets say, None for nothing.
        held_back: why the two differ, "" when they need not.
    """

    vin: str
    serial: str
    wanted: Image | None
    wanted_s: int
    signed: Image | None
    held_back: str = ""
    correlation_id: str = ""


class Alert(NamedTuple):
    """Something that somebody should look at.

    Attributes:
        serial: of the ECU, "" where none is concerned.
        kind: a word: ``signature``, ``replay``, ``time``, ``stranger``, ``format``, ``missing``, ``attack``.
        text: for people.
    """

    serial: str
    kind: str
    text: str


class KeptAlert(NamedTuple):
    """An alert, and since when."""

    vin: str
    alert: Alert
    first_s: int
    last_s: int
    times: int
    is_open: bool


class SignedFile(NamedTuple):
    """One file of a vehicle's repository."""

    role: str
    version: int
    expires_s: int
    raw: bytes


class VehicleEvent(NamedTuple):
    """What a vehicle told of its doings (aktualizr's ``/events``)."""

    number: int
    taken_s: int
    kind: str
    body: Mapping[str, Any]
