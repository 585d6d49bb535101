"""Which image is for which ECU, and whether both repositories say the same of it (Standard §5.4.4.2, §5.4.3.4)."""

from collections.abc import Mapping
from typing import NamedTuple

from .errors import BadEcuId, BadHardwareId, BadVehicleId, ReleaseCounterRollback, TargetMismatch
from .metadata import DIRECTOR, IMAGE, TARGETS, Target, Targets
from .paths import judge
from .rules import Rules


class Assigned(NamedTuple):
    """What a Director's targets mean for one vehicle.

    Attributes:
        by_ecu: serial to the target that it shall install.
        skipped: serials that are not in this vehicle, where the rules pass them over.
    """

    by_ecu: Mapping[str, Target]
    skipped: tuple[str, ...] = ()


def assign(body: Targets, ecus: Mapping[str, str], *, vin: str, rules: Rules) -> Assigned:
    """Read a Director's targets.

    Args:
        body: what it signed.
        ecus: the vehicle's ECUs: serial to hardware id, "" where that is not known.
        vin: the vehicle, "" where it has no name.
        rules: the rule set.

    Raises:
        BadVehicleId: they are for another vehicle, or an empty list does not say for which.
        BadEcuId: an ECU has two images, one is for no ECU, or for one that is not in this vehicle.
        BadHardwareId: an image is for other hardware than its ECU's.
        InvalidTarget: an image's name leads elsewhere.
    """
    judge_vehicle(body, vin=vin, rules=rules)
    by_ecu: dict[str, Target] = {}
    skipped = []
    for target in body.targets.values():
        judge(target.path, repository=DIRECTOR)
        if not target.ecus:
            raise BadEcuId(
                f"the Director's target {target.path} is for no ECU",
                repository=DIRECTOR,
                role=TARGETS,
                expected="an ECU identifier",
                found="none",
            )
        for serial, hardware in target.ecus.items():
            if serial in by_ecu:
                raise BadEcuId(
                    f"the Director has two targets for the ECU {serial[:60]}: {by_ecu[serial].path} and {target.path}",
                    repository=DIRECTOR,
                    role=TARGETS,
                    expected="one target for each ECU",
                    found=serial[:60],
                )
            if serial not in ecus:
                if not rules.unknown_ecu_skipped:
                    raise BadEcuId(
                        f"the Director's target {target.path} is for the ECU {serial[:60]}, which is not in this "
                        "vehicle",
                        repository=DIRECTOR,
                        role=TARGETS,
                        expected=", ".join(sorted(ecus)) or "no ECU",
                        found=serial[:60],
                    )
                skipped.append(serial)
                continue
            judge_hardware(target, hardware, ecus[serial], repository=DIRECTOR)
            by_ecu[serial] = target
    return Assigned(by_ecu, tuple(skipped))


def judge_vehicle(body: Targets, *, vin: str, rules: Rules) -> None:
    """Whether a Director's targets are for this vehicle, as far as they say so (§5.2.3.1).

    Raises:
        BadVehicleId: they are not, or an empty list does not say.
    """
    if body.vin and vin and body.vin != vin:
        raise BadVehicleId(
            f"the Director's targets are for the vehicle {body.vin[:60]}",
            repository=DIRECTOR,
            role=TARGETS,
            expected=vin,
            found=body.vin[:60],
        )
    if not body.targets and not body.vin and vin and rules.vin_on_empty:
        raise BadVehicleId(
            "the Director's targets are empty and do not say for which vehicle: another one's could be replayed",
            repository=DIRECTOR,
            role=TARGETS,
            expected=vin,
            found="no vehicle id",
        )


def judge_hardware(target: Target, said: str, hardware_id: str, *, repository: str) -> None:
    """Whether an image is made for this hardware, as far as either is known.

    Raises:
        BadHardwareId: it is for other hardware.
    """
    if not hardware_id:
        return
    fitting = frozenset((said,)) if said else target.hardware_ids
    if (said and said != hardware_id) or (
        target.hardware_ids is not None and hardware_id not in target.hardware_ids
    ):
        raise BadHardwareId(
            f"{target.path} is for other hardware",
            repository=repository,
            role=TARGETS,
            artifact=target.path,
            expected=hardware_id,
            found=", ".join(sorted(fitting or target.hardware_ids or ())),
        )


def judge_agreement(
    director: Target,
    image: Target | None,
    *,
    rules: Rules,
    hardware_id: str = "",
    previous: Target | None = None,
) -> None:
    """Whether the Image repository says the same of an image as the Director.

    Args:
        director: what the Director says.
        image: what the Image repository says, None when it has no such image.
        rules: the rule set.
        hardware_id: of the ECU, "" where it is not known.
        previous: what the previous targets file said of an image of this name, None if nothing.

    Raises:
        TargetMismatch: it does not.
        BadHardwareId: the image is for other hardware.
        ReleaseCounterRollback: its release counter is lower than before.
    """
    if image is None:
        raise _mismatch(director, "an image of that name in the Image repository", "none")
    if director.length_bytes != image.length_bytes:
        raise _mismatch(director, f"length {image.length_bytes}", f"length {director.length_bytes}")
    common = director.hashes.keys() & image.hashes.keys()
    if rules.hash_sets_equal and director.hashes.keys() != image.hashes.keys():
        raise _mismatch(director, "hashes " + _names(image), "hashes " + _names(director))
    if not common:
        raise _mismatch(director, "a hash that both list", "none")
    for algorithm in sorted(common):
        if director.hashes[algorithm] != image.hashes[algorithm]:
            raise _mismatch(
                director,
                f"{algorithm} {image.hashes[algorithm]}",
                f"{algorithm} {director.hashes[algorithm]}",
            )
    judge_hardware(image, "", hardware_id, repository=IMAGE)
    if (
        director.hardware_ids is not None
        and image.hardware_ids is not None
        and director.hardware_ids != image.hardware_ids
    ):
        raise _mismatch(
            director,
            "hardware " + ", ".join(sorted(image.hardware_ids)),
            "hardware " + ", ".join(sorted(director.hardware_ids)),
        )
    if director.release_counter != image.release_counter and None not in (
        director.release_counter,
        image.release_counter,
    ):
        raise _mismatch(
            director,
            f"release counter {image.release_counter}",
            f"release counter {director.release_counter}",
        )
    judge_release_counter(director, previous)
    judge_release_counter(image, previous)


def judge_release_counter(target: Target, previous: Target | None) -> None:
    """Whether an image is not older than the one before it of the same name.

    Raises:
        ReleaseCounterRollback: it is, or no longer has a counter.
    """
    before = previous.release_counter if previous is not None else None
    if before is None or previous is None or previous.path != target.path:
        return
    if target.release_counter is None or target.release_counter < before:
        raise ReleaseCounterRollback(
            f"{target.path} has the release counter {target.release_counter}, and {before} was there before",
            repository=DIRECTOR,
            role=TARGETS,
            artifact=target.path,
            expected=f"{before} or more",
            found=str(target.release_counter),
        )


def _mismatch(director: Target, expected: str, found: str) -> TargetMismatch:
    return TargetMismatch(
        f"the Director's target {director.path} is not what the Image repository says",
        repository=DIRECTOR,
        role=TARGETS,
        artifact=director.path,
        expected=expected,
        found=found,
        hint="the Director's keys may have been stolen" if expected else "",
    )


def _names(target: Target) -> str:
    return ", ".join(sorted(target.hashes))
