"""What a Primary is put together from, and what whoever runs it decides."""

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from swagent.clock import Clock
from swagent.events import EventBus
from swagent.model import EcuInstaller
from swagent.uptane.codecs.base import Codec
from swagent.uptane.metadata import Key
from swagent.uptane.rules import Rules
from swagent.uptane.signing import Signer

from .desk import HandOver
from .devicedata import DeviceData
from .files import FileStore
from .images import ImageStore
from .outbox import Outbox
from .sources import DirectorService, Source, TimeSource
from .vehicle import Vehicle

if TYPE_CHECKING:
    from swagent.crypto.imagekey import ImageKey


class Identity(NamedTuple):
    """Who the Primary is."""

    vin: str
    serial: str
    hardware_id: str


class Policy(NamedTuple):
    """Decisions of whoever runs the Primary.

    Attributes:
        time_fresh_s: how old an attestation may be.
        system_time: whether the system's clock may stand in for an attested one.
        fetch: whether images are fetched; without, what would be fetched is told.
        install: whether verified images are installed, where an ECU has an installer.
        store: whether images are stored before they are installed; without, those that only ECUs of this process need
            are installed as they are fetched.
        all_or_none: whether nothing is installed when one image of the bundle does not pass.
        fetch_again: whether images are judged and fetched in each cycle, also those that ECUs run already, as the
            reference implementation does: for those who try out what mirrors can do.
        speed_max: how many bytes a second may be fetched from an address that a Director names, 0 for no limit.
    """

    time_fresh_s: float = 24 * 3600.0
    system_time: bool = False
    fetch: bool = True
    install: bool = True
    store: bool = True
    all_or_none: bool = True
    fetch_again: bool = False
    speed_max: int = 0


class Parts(NamedTuple):
    """What a Primary works with; ``app`` puts them together.

    Attributes:
        time_key: the Time server's, None where there is none.
        installers: serial to what puts images onto that ECU.
        boot_id: names the present boot.
        checkpoint: called between steps and pieces; may wait, and may raise to stop.
        judge: the same, where nobody may wait: while a server brings nothing.
        handover: where verified metadata is put for Secondaries, None where there are none.
        outbox: takes events for a back end, None where there is none.
        device_data: tells it of the device itself, None where nobody wants to know.
        image_keys: serial to what opens images that were encrypted for that ECU.
    """

    identity: Identity
    codec: Codec
    rules: Rules
    director: Source
    image: Source
    metadata: FileStore
    vehicle: Vehicle
    images: ImageStore
    signer: Signer
    clock: Clock
    bus: EventBus
    policy: Policy = Policy()
    time: TimeSource | None = None
    time_key: Key | None = None
    service: DirectorService | None = None
    installers: Mapping[str, EcuInstaller] = {}
    boot_id: str = ""
    checkpoint: Callable[[], None] = lambda: None
    judge: Callable[[], None] = lambda: None
    handover: HandOver | None = None
    outbox: Outbox | None = None
    device_data: DeviceData | None = None
    image_keys: "Mapping[str, ImageKey]" = MappingProxyType({})
    random: Callable[[int], bytes] = os.urandom
