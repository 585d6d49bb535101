"""What there is to tell of this device: hardware in the form of ``lshw -json``, and the installed components."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from swagent.settings import InstallSettings

    from .options import Args


def gathering(args: "Args") -> "Callable[[], Mapping[str, object]]":
    """What gathers it, by the names that aktualizr's back end has.

    Raises:
        SettingsError: the settings cannot be used.
    """
    from swagent.app import read_settings

    settings, _ = read_settings(args.get("file"), os.environ)
    return lambda: _gathered(settings)


def _gathered(settings: "InstallSettings") -> "Mapping[str, object]":
    from swagent.app import read_hardware, read_unit

    unit, _ = read_unit(settings, read_hardware(None))
    installed = [
        {"name": name, "version": version}
        for name, versions in sorted(unit.installed.items())
        for version in versions
    ]
    system = os.uname()
    memory = {
        "id": "memory",
        "class": "memory",
        "size": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    }
    cores = {"cores": str(os.cpu_count() or 1)}
    processor = {"id": "cpu", "class": "processor", "product": system.machine, "configuration": cores}
    hardware = {
        "id": system.nodename,
        "class": "system",
        "description": str(unit.hardware or "Computer"),
        "configuration": {"kernel": system.release},
        "children": [{"id": "core", "class": "bus", "children": [memory, processor]}],
    }
    return {"system_info": hardware, "core/installed": installed}
