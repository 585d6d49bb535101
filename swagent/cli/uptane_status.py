"""``swagent uptane status``: what a vehicle remembers."""

import os

from .options import Args, Command
from .uptane_parts import STATE_OPTION, needed

RESULTS = 5
COMMAND = Command(
    name="uptane status",
    summary="the ECUs of this vehicle, what they run, what waits for a reboot, and the last results",
    target="uptane_status:run",
    options=(STATE_OPTION,),
    examples=("swagent uptane status --state /var/lib/swagent/uptane",),
)


def run(args: Args) -> int:
    """Read the vehicle's memory; nothing is asked or changed."""
    from time import sleep

    from swagent.errors import SettingsError
    from swagent.uptane_client.flow import Flow
    from swagent.uptane_client.vehicle import Vehicle

    from .units import clean, utc

    path = os.path.join(needed(args, "state"), "vehicle.sqlite")
    if not os.path.exists(path):
        raise SettingsError(
            f"there is no vehicle in {args.get('state')}", hint="`swagent uptane provision` begins one"
        )
    vehicle = Vehicle(path)
    try:
        if Flow(needed(args, "state"), sleep=sleep).paused():
            print("paused: `swagent uptane resume` lets it go on")
        pending = vehicle.pending()
        for serial, ecu in sorted(vehicle.ecus().items()):
            waits = f", waits for a reboot into {pending[serial].image.path}" if serial in pending else ""
            print(
                clean(
                    f"{serial} ({ecu.hardware_id or 'unknown hardware'}): {ecu.installed.path or 'unknown'}{waits}"
                )
            )
        _, attacks = vehicle.attacks()
        for line in attacks.splitlines():
            print(clean(f"noticed, not yet reported: {line}"))
        for result in vehicle.results()[1][:RESULTS]:
            what = "installed" if result.code == 0 else f"failed ({result.code}): {result.message}"
            print(clean(f"{utc(result.time_s)} {result.serial}: {result.path} {what}"))
    finally:
        vehicle.close()
    return 0
