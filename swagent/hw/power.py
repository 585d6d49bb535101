"""Batteries and mains, as the kernel's power supplies tell (upstream: Documentation/ABI/testing/sysfs-class-power)."""

import os
from typing import NamedTuple

POWER_SUPPLIES = "/sys/class/power_supply"
_TEXT_BYTES_MAX = 4096
_NOT_DRAINING = frozenset(("Charging", "Full", "Not charging"))


class Power(NamedTuple):
    """What the unit runs on.

    Attributes:
        battery: name of the fullest battery, "" when there is none.
        percent: its level, None when it does not tell.
        discharging: whether the unit lives on batteries now; without a clear word from the kernel it is taken to.
    """

    battery: str = ""
    percent: int | None = None
    discharging: bool = False


def read_power(folder: str = POWER_SUPPLIES) -> Power:
    """Look at all power supplies; a folder that is not there is one without batteries.

    Batteries of attached devices (a mouse, a headset) and empty bays do not count.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return Power()
    fullest, level = "", -1
    draining = unclear = online = False
    for name in names:
        place = os.path.join(folder, name)
        if _read(place, "type") != "Battery":
            online = online or _read(place, "online") not in ("", "0")
            continue
        if _read(place, "scope") == "Device" or _read(place, "present") == "0":
            continue
        status = _read(place, "status")
        draining = draining or status == "Discharging"
        unclear = unclear or status not in _NOT_DRAINING
        percent = _percent(place)
        if not fullest or percent > level:
            fullest, level = name, percent
    return Power(fullest, level if level >= 0 else None, draining or (unclear and not online))


def _percent(place: str) -> int:
    """0 to 100, -1 when the battery does not tell."""
    percent = _number(place, "capacity")
    if percent >= 0:
        return min(percent, 100)
    for what in ("energy", "charge"):
        now, full = _number(place, f"{what}_now"), _number(place, f"{what}_full")
        if now >= 0 and full > 0:
            return min(100 * now // full, 100)
    return -1


def _number(place: str, name: str) -> int:
    text = _read(place, name)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1


def _read(place: str, name: str) -> str:
    try:
        with open(os.path.join(place, name), encoding="ascii", errors="replace") as file:
            return file.read(_TEXT_BYTES_MAX).strip()
    except OSError:
        return ""  # not every supply has every attribute, and one may be unplugged meanwhile
