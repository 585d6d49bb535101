"""Devices of this machine, as udev tells of them through pyudev."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from swagent.errors import DeviceError, RegistrationError

SOCKET = "/run/udev/control"
_SKIPPED = frozenset({"ACTION", "DRIVER", "MAJOR", "MODALIAS", "MINOR", "USEC_INITIALIZED"})


class Found(NamedTuple):
    """A device of the machine.

    Attributes:
        sys_path: its folder below /sys; another device may have it later.
        node: its file in /dev, "" when it has none.
        has_parent: whether it hangs on something; virtual ones do not.
        properties: those of its bus device, overridden down to its own (boardswarm §3, ``udev.rs``).
    """

    sys_path: str
    node: str
    has_parent: bool
    properties: Mapping[str, str]


class Watch:
    """Devices of a subsystem as they come and go; pyudev's own, for those who want to know more of them.

    Without udev's daemon there is only what the kernel says, which has fewer properties.

    Args:
        subsystem: of the kernel, such as ``tty``.
        user: who needs it, for the message.

    Raises:
        RegistrationError: pyudev is not installed.
        DeviceError: the kernel does not tell of devices.
    """

    def __init__(self, subsystem: str, user: str) -> None:
        try:
            import pyudev
        except ImportError as exc:
            raise RegistrationError(f"{user} need pyudev", hint="pip install pyudev") from exc
        self._subsystem = subsystem
        try:
            self._context: Any = pyudev.Context()
            self._monitor: Any = pyudev.Monitor.from_netlink(
                self._context, "udev" if is_running() else "kernel"
            )
            self._monitor.filter_by(subsystem)
            self._monitor.start()
        except (OSError, ImportError) as exc:
            raise DeviceError(f"udev does not tell of devices: {exc}", path="netlink") from exc

    def fileno(self) -> int:
        """For loops: readable when there is news."""
        number: int = self._monitor.fileno()
        return number

    def present(self) -> list[Any]:
        """The devices that are there."""
        return list(self._context.list_devices(subsystem=self._subsystem))

    def news(self, timeout_s: float) -> Any:
        """The next device with its ``action``; None when there is none in this time.

        Raises:
            OSError: news were lost; only ``present`` knows.
        """
        return self._monitor.poll(timeout=timeout_s)


def is_running() -> bool:
    """Whether udev's daemon is."""
    return os.path.exists(SOCKET)


def look(device: Any) -> Found | None:
    """A device of pyudev as rules see it; None when it has gone meanwhile."""
    try:
        chain = [device]
        while not _is_bus_device(chain[-1]) and chain[-1].parent is not None:
            chain.append(chain[-1].parent)
        if not _is_bus_device(chain[-1]):
            del chain[1:]  # it hangs on none: only itself counts
        found: dict[str, str] = {}
        for each in reversed(chain):
            found |= {key: str(value) for key, value in each.properties.items() if key not in _SKIPPED}
        return Found(device.sys_path, device.device_node or "", device.parent is not None, found)
    except (LookupError, OSError):  # pyudev's own errors of this kind are LookupErrors
        return None


def _is_bus_device(device: Any) -> bool:
    return device.subsystem in ("pci", "platform") or device.device_type == "usb_device"
