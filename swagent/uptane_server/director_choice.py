"""Which of the ordered images a vehicle gets now: dependencies and conflicts between its ECUs (Standard §5.3.2.1).

An image may require something of another ECU, or conflict with it; what counts is what the vehicle would run when all
that is assigned has been installed. What cannot stand is held back, and what it leaves behind is judged again.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from swagent.uptane.metadata import Target
from swagent.uptane.reports import InstalledImage

from .inventory_records import Assignment, Ecu, Image, Wish


class Chosen(NamedTuple):
    """What the vehicle's targets shall say.

    Attributes:
        images: by serial.
        held_back: serial to the reason why what was ordered for it is not among them.
    """

    images: Mapping[str, Image]
    held_back: Mapping[str, str]


def choose(
    orders: Sequence[Assignment], ecus: Mapping[str, Ecu], images: Mapping[str, Image], *, shared: bool = True
) -> Chosen:
    """Choose.

    Args:
        orders: the vehicle's assignments.
        ecus: its ECUs, by serial.
        images: of what its ECUs run, as far as that is known here, by serial.
        shared: whether the dialect has words for one image that is for several ECUs.
    """
    held_back: dict[str, str] = {}
    chosen: dict[str, Image] = {}
    for order in orders:
        ecu = ecus.get(order.serial)
        if order.wanted is None:
            continue
        chosen[order.serial] = order.wanted
        if ecu is None:
            continue
        reason = _unfit(order, ecu, images.get(order.serial))
        if reason:
            _hold(order, reason, chosen, held_back)
    while True:
        broken = _broken(orders, chosen, ecus, images, held_back, shared=shared)
        if broken is None:
            return Chosen(chosen, held_back)
        _hold(*broken, chosen, held_back)


def _unfit(order: Assignment, ecu: Ecu, runs: Image | None) -> str:
    """Why one ECU cannot have its image, whatever the others have."""
    target = order.wanted.target if order.wanted is not None else None
    if target is None or order.wanted == order.signed:
        return ""
    if ecu.distrust:
        return f"its last report was not a good one: {ecu.distrust}"
    if target.hardware_ids is not None and ecu.hardware_id and ecu.hardware_id not in target.hardware_ids:
        return f"{target.path} is for {', '.join(sorted(target.hardware_ids))}, the ECU is {ecu.hardware_id}"
    before = runs.target.release_counter if runs is not None else None
    if before is not None and (target.release_counter is None or target.release_counter < before):
        return f"the ECU runs the release counter {before}, {target.path} has {target.release_counter}"
    return ""


def _broken(
    orders: Sequence[Assignment],
    chosen: Mapping[str, Image],
    ecus: Mapping[str, Ecu],
    images: Mapping[str, Image],
    held_back: Mapping[str, str],
    *,
    shared: bool,
) -> tuple[Assignment, str] | None:
    """The first assignment that does not go with the others, and why."""
    for order in orders:
        image = chosen.get(order.serial)
        if image is None or order.serial in held_back:
            continue
        for serial, other in chosen.items():
            if serial != order.serial and other.target.path == image.target.path:
                sealed = any(ecus[each].image_key for each in (serial, order.serial) if each in ecus)
                if sealed or not shared or other.number != image.number:
                    return order, f"{serial} has an image under the name {image.target.path} too"
        others = {
            serial: _runs(ecu, chosen.get(serial), images.get(serial))
            for serial, ecu in ecus.items()
            if serial != order.serial
        }
        for wish in image.requires:
            if not any(_fits(wish, ecus[serial], target) for serial, target in others.items()):
                return order, f"{image.target.path} requires an ECU with {wish}"
        for wish in image.conflicts:
            for serial, target in others.items():
                if _fits(wish, ecus[serial], target):
                    return order, f"{image.target.path} conflicts with {serial}, which runs {target.path}"
    return None


def _hold(order: Assignment, reason: str, chosen: dict[str, Image], held_back: dict[str, str]) -> None:
    """Back to what was signed before, which nobody takes back: the ECU may be installing it."""
    held_back[order.serial] = reason
    if order.signed is not None:
        chosen[order.serial] = order.signed
    else:
        del chosen[order.serial]


def _runs(ecu: Ecu, chosen: Image | None, runs: Image | None) -> Target:
    """What an ECU will run."""
    if chosen is not None:
        return chosen.target
    if runs is not None:
        return runs.target
    return Target(ecu.installed.path, ecu.installed.length_bytes, ecu.installed.hashes)


def _fits(wish: Wish, ecu: Ecu, target: Target) -> bool:
    counter = target.release_counter
    return (
        (not wish.hardware_id or wish.hardware_id == ecu.hardware_id)
        and (not wish.path or fnmatchcase(target.path, wish.path))
        and (wish.least is None or (counter is not None and counter >= wish.least))
        and (wish.most is None or (counter is not None and counter <= wish.most))
    )


def is_installed(installed: InstalledImage, target: Target) -> bool:
    """Whether an ECU runs exactly this."""
    return (
        installed.path == target.path
        and installed.length_bytes == target.length_bytes
        and bool(installed.hashes.keys() & target.hashes.keys())
        and all(
            target.hashes[name] == value for name, value in installed.hashes.items() if name in target.hashes
        )
    )
