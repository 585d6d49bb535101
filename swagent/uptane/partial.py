"""Partial verification: what an ECU with little room can check by itself (Standard §5.4.4.1).

It knows the Director's targets keys and nothing else of any repository. Time comes first, as for everybody.
"""

from collections.abc import Mapping
from typing import NamedTuple

from .assignment import judge_hardware, judge_release_counter, judge_vehicle
from .codecs.base import Codec, NotUnderstood
from .errors import BadEcuId, ExpiredMetadata, InvalidMetadata, VersionRollback
from .metadata import DIRECTOR, TARGETS, Document, Key, RoleKeys, Target, Targets
from .paths import judge
from .rules import Rules
from .trust import judge_signatures


class PartialTrust(NamedTuple):
    """Whom a partial Secondary believes.

    Attributes:
        keys: the Director's targets keys.
        who: which of them must sign, and how many.
        previous: the targets file accepted last, None before the first.
        floor: the lowest version that is accepted.
    """

    keys: Mapping[str, Key]
    who: RoleKeys
    previous: Document | None = None
    floor: int = 0


class Accepted(NamedTuple):
    """A targets file that may be stored, and what it assigns to this ECU (None: nothing)."""

    document: Document
    target: Target | None


def verify(
    raw: bytes,
    trust: PartialTrust,
    codec: Codec,
    rules: Rules,
    *,
    serial: str,
    hardware_id: str,
    vin: str,
    now_s: float,
) -> Accepted:
    """Judge the Director's targets.

    Raises:
        UptaneError: not understood, not signed, older, expired, delegating, naming an ECU twice, for other hardware
            or another vehicle.
    """
    try:
        document = codec.decode(raw)
    except NotUnderstood as exc:
        raise InvalidMetadata(
            f"director targets cannot be understood: {exc}", repository=DIRECTOR, role=TARGETS
        ) from exc
    body = document.body
    if not isinstance(body, Targets):
        raise InvalidMetadata(
            f"director targets are a file of the role {document.kind}",
            repository=DIRECTOR,
            role=TARGETS,
            expected=TARGETS,
            found=document.kind,
        )
    judge_signatures(
        document.message, document.signatures, trust.keys, trust.who, repository=DIRECTOR, role=TARGETS
    )
    floor = max(trust.floor, trust.previous.version if trust.previous is not None else 0)
    if document.version < floor:
        raise VersionRollback(
            f"director targets have version {document.version}, and {floor} was there before",
            repository=DIRECTOR,
            role=TARGETS,
            expected=f"{floor} or more",
            found=str(document.version),
        )
    if not now_s < document.expires_s:
        raise ExpiredMetadata("director targets have expired", repository=DIRECTOR, role=TARGETS)
    if body.delegations:
        raise InvalidMetadata(
            "the Director delegates, which it may not", repository=DIRECTOR, role=TARGETS, found="delegations"
        )
    judge_vehicle(body, vin=vin, rules=rules)
    return Accepted(document, _own(body, trust, serial, hardware_id))


def _own(body: Targets, trust: PartialTrust, serial: str, hardware_id: str) -> Target | None:
    seen: set[str] = set()
    own = None
    for target in body.targets.values():
        for ecu in target.ecus:
            if ecu in seen:
                raise BadEcuId(
                    f"the Director has two targets for the ECU {ecu[:60]}",
                    repository=DIRECTOR,
                    role=TARGETS,
                    expected="one target for each ECU",
                    found=ecu[:60],
                )
            seen.add(ecu)
        if serial in target.ecus:
            own = target
    if own is None:
        return None
    judge(own.path, repository=DIRECTOR)
    judge_hardware(own, own.ecus[serial], hardware_id, repository=DIRECTOR)
    before = trust.previous.body if trust.previous is not None else None
    judge_release_counter(own, before.targets.get(own.path) if isinstance(before, Targets) else None)
    return own
