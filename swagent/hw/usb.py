"""USB devices: descriptors, control and bulk transfers, by libusb (pyusb). All of it blocks."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from swagent.errors import DeviceError, RegistrationError

TIMEOUT_S = 5.0
CLASS_SPECIFIC = 0x21
"""The type of descriptors that belong to a class, such as DFU's functional one."""


class Setting(NamedTuple):
    """One alternate setting of an interface.

    Attributes:
        kind: class, subclass and protocol.
        name: its text, "" without one.
        into, out_of: addresses of its bulk endpoints, None without one; ``into`` goes to the device.
        extra: further descriptors that stand behind it.
    """

    interface: int
    alternate: int
    kind: tuple[int, int, int]
    name: str
    into: int | None
    out_of: int | None
    extra: bytes


class UsbDevice:
    """A device that is opened; nobody else's meanwhile as far as interfaces are claimed.

    Args:
        bus: its bus.
        number: its number there.

    Attributes:
        settings: all settings of all interfaces of the configuration that is active.

    Raises:
        DeviceError: it is not there, or may not be used.
        RegistrationError: pyusb or libusb is not installed.
    """

    def __init__(self, bus: int, number: int) -> None:
        self._where = f"USB device {bus:03d}/{number:03d}"
        usb = _usb()
        try:
            with self._errors("open"):
                self._device: Any = usb.core.find(bus=bus, address=number)
                if self._device is None:
                    raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
                self.settings = tuple(self._read_settings())
        except usb.core.NoBackendError as exc:
            raise RegistrationError("USB devices need libusb", hint="apt-get install libusb-1.0-0") from exc

    def claim(self, interface: int) -> None:
        """Have an interface for oneself; a driver of the kernel lets go of it. Raises DeviceError."""
        usb = _usb()
        with self._errors("claim"):
            with suppress(NotImplementedError):
                if self._device.is_kernel_driver_active(interface):
                    self._device.detach_kernel_driver(interface)
            usb.util.claim_interface(self._device, interface)

    def select(self, interface: int, alternate: int) -> None:
        """Have an interface in a setting. Raises DeviceError."""
        with self._errors("select"):
            self._device.set_interface_altsetting(interface, alternate)

    def control_out(
        self, kind: int, request: int, value: int, index: int, data: bytes, timeout_s: float = TIMEOUT_S
    ) -> None:
        """A control transfer to the device. Raises DeviceError."""
        with self._errors("send to"):
            self._device.ctrl_transfer(kind, request, value, index, data, _ms(timeout_s))

    def control_in(
        self, kind: int, request: int, value: int, index: int, n_bytes: int, timeout_s: float = TIMEOUT_S
    ) -> bytes:
        """A control transfer from the device. Raises DeviceError."""
        with self._errors("ask"):
            return bytes(self._device.ctrl_transfer(kind, request, value, index, n_bytes, _ms(timeout_s)))

    def write(self, endpoint: int, data: bytes, timeout_s: float = TIMEOUT_S) -> None:
        """A bulk transfer to the device, all of it. Raises DeviceError."""
        with self._errors("write to"):
            if self._device.write(endpoint, data, _ms(timeout_s)) != len(data):
                raise OSError(errno.EIO, "it took less")

    def read(self, endpoint: int, n_bytes: int, timeout_s: float = TIMEOUT_S) -> bytes:
        """A bulk transfer from the device, at most ``n_bytes``. Raises DeviceError."""
        with self._errors("read from"):
            return bytes(self._device.read(endpoint, n_bytes, _ms(timeout_s)))

    def reset(self) -> None:
        """Have the bus reset it; it may come back as another one. Raises DeviceError."""
        with self._errors("reset"):
            self._device.reset()

    def close(self) -> None:
        """Let go of it; never raises."""
        with suppress(Exception):  # whatever libusb says of a device that has gone
            _usb().util.dispose_resources(self._device)

    def _read_settings(self) -> Iterator[Setting]:
        usb = _usb()
        for setting in self._device.get_active_configuration():
            name = ""
            if setting.iInterface:
                with suppress(usb.core.USBError, ValueError):
                    name = usb.util.get_string(self._device, setting.iInterface) or ""
            into = out_of = None
            for endpoint in setting:
                if usb.util.endpoint_type(endpoint.bmAttributes) != usb.util.ENDPOINT_TYPE_BULK:
                    continue
                address = endpoint.bEndpointAddress
                if usb.util.endpoint_direction(address) == usb.util.ENDPOINT_OUT:
                    into = address if into is None else into
                else:
                    out_of = address if out_of is None else out_of
            kind = (setting.bInterfaceClass, setting.bInterfaceSubClass, setting.bInterfaceProtocol)
            yield Setting(
                setting.bInterfaceNumber, setting.bAlternateSetting, kind, name, into, out_of,
                bytes(setting.extra_descriptors),
            )  # fmt: skip

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        usb = _usb()
        try:
            yield
        except usb.core.NoBackendError:
            raise
        except (
            OSError,
            ValueError,
        ) as exc:  # USBError is an OSError; libusb's errors are ValueErrors elsewhere
            number = getattr(exc, "errno", None)
            reason = os.strerror(number) if number else str(exc)
            raise DeviceError(
                f"cannot {verb} {self._where}: {reason}", path=self._where, errno=number
            ) from exc


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _usb() -> Any:
    try:
        import usb.core
        import usb.util
    except ImportError as exc:
        raise RegistrationError("USB devices need pyusb", hint="pip install 'swagent[lab]'") from exc
    return usb
