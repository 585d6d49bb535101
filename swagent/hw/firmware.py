"""What the firmware tells of this unit: the device tree, the DMI tables of PCs (upstream: sysfs-firmware-ofw, -dmi)."""

import os

from swagent.errors import DeviceError

DEVICE_TREE = "/proc/device-tree"
DMI = "/sys/class/dmi/id"
_BYTES_MAX = 4096


def device_tree_property(name: str, folder: str = DEVICE_TREE) -> str:
    """A text of the device tree, such as ``serial-number`` or ``chosen/acme,unit``.

    Raises:
        DeviceError: there is none of that name.
    """
    return _read(folder, name)


def dmi_field(name: str, folder: str = DMI) -> str:
    """A field of the DMI tables, such as ``product_serial``; some of them only root may read.

    Raises:
        DeviceError: there is none of that name, or it may not be read.
    """
    return _read(folder, name)


def _read(folder: str, name: str) -> str:
    path = os.path.join(folder, name.lstrip("/"))
    try:
        with open(path, "rb") as file:
            return file.read(_BYTES_MAX).decode(errors="replace")
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise DeviceError(f"cannot read {path}: {reason}", path=path) from exc
