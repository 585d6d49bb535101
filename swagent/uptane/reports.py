"""What vehicles report and what clocks say: version manifests of ECUs and vehicles, attestations of the time."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

from .metadata import NO_MAPPING, Signature

T = TypeVar("T")


class InstalledImage(NamedTuple):
    """What an ECU runs."""

    path: str
    length_bytes: int
    hashes: Mapping[str, str] = NO_MAPPING


UNKNOWN_IMAGE = InstalledImage("unknown", 0, {"sha256": "0" * 64})
"""What an ECU reports that has not installed anything yet."""


class EcuReport(NamedTuple):
    """An ECU version manifest.

    Attributes:
        time_s: the latest time that the ECU could verify.
        previous_time_s: the one before.
        attacks: what it noticed, lines of text; "" for nothing.
        counter: goes up with each report, None where the encoding has none.
    """

    serial: str
    installed: InstalledImage
    time_s: int
    previous_time_s: int
    attacks: str = ""
    counter: int | None = None


class VehicleReport(NamedTuple):
    """A vehicle version manifest.

    Attributes:
        vin: "" where the encoding leaves it to the connection.
        ecus: serial to that ECU's signed reports, each as encoded.
        installation: the result of the last installation, in aktualizr's form; None where there is none.
    """

    vin: str
    primary: str
    ecus: Mapping[str, tuple[bytes, ...]] = MappingProxyType({})
    attacks: str = ""
    installation: Mapping[str, Any] | None = None


class TimeAttestation(NamedTuple):
    """A signed time, and whose questions it answers."""

    nonces: tuple[int, ...]
    time_s: int


class Report(NamedTuple, Generic[T]):
    """One of these, with its signatures, not yet believed.

    Attributes:
        message: what the signatures cover.
    """

    content: T
    signatures: tuple[Signature, ...]
    message: bytes
    raw: bytes
