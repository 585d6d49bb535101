"""The lab as a whole: four registries that providers fill and clients see."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, Protocol

from .actuators import Actuator
from .config import ProviderRule
from .consoles import Console
from .devices import AnyDevice
from .items import NAME, PROVIDER, PROVIDER_NAME, ItemType, Properties, Registry
from .volumes import Volume

SHELF = "swagent.lab_providers"
BUILT_INS: tuple[tuple[str, str], ...] = (
    ("boardswarm", "boardswarm:provide"),
    ("command", "command:provide"),
    ("dfu", "dfu:provide"),
    ("fastboot", "fastboot:provide"),
    ("file", "files:provide"),
    ("gpio", "gpio:provide"),
    ("pdudaemon", "pdudaemon:provide"),
    ("qemu", "qemu:provide"),
    ("rockusb", "rockusb:provide"),
    ("serial", "serial:provide"),
)


class Lab:
    """The registries; all of it lives on the event loop."""

    def __init__(self) -> None:
        self.devices: Registry[AnyDevice] = Registry("device")
        self.consoles: Registry[Console] = Registry("console")
        self.actuators: Registry[Actuator] = Registry("actuator")
        self.volumes: Registry[Volume] = Registry("volume")

    def registry(self, kind: ItemType) -> Registry[Any]:
        """The registry of a type."""
        found: dict[ItemType, Registry[Any]] = {
            ItemType.DEVICE: self.devices,
            ItemType.CONSOLE: self.consoles,
            ItemType.ACTUATOR: self.actuators,
            ItemType.VOLUME: self.volumes,
        }
        return found[kind]


class Provision(NamedTuple):
    """What a provider works with.

    Attributes:
        rule: its part of the configuration.
        lab: where its items go.
        log: takes sentences for people.
    """

    rule: ProviderRule
    lab: Lab
    log: Callable[[str], None]

    def properties(self, name: str, more: Mapping[str, str] | None = None) -> Properties:
        """The properties of one of its items."""
        return {NAME: name, PROVIDER: self.rule.kind, PROVIDER_NAME: self.rule.name, **(more or {})}


class Provide(Protocol):
    """A provider: reads its parameters at once, and returns what runs until it is cancelled."""

    def __call__(self, provision: Provision) -> Coroutine[Any, Any, None]:
        """Begin.

        Raises:
            SettingsError: its parameters make no sense; the server does not start.
        """
        ...
