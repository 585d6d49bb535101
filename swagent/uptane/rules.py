"""Rule sets: what the dialects in the field allow otherwise than the Standard, each exception by name.

Encoding and rules are two settings; no rule set is weaker than the Standard but by what its fields say.
"""

from typing import NamedTuple

KIB, MIB = 1024, 1024 * 1024


class Caps(NamedTuple):
    """How long files may be where no other file says so, in bytes."""

    root: int = 512_000
    timestamp: int = 16_384
    snapshot: int = 2_000_000
    targets: int = 5_000_000


class Rules(NamedTuple):
    """One rule set.

    Attributes:
        name: as ``--dialect`` has it.
        director_lists: whether a Director has timestamp and snapshot; aktualizr's have not.
        versioned_root_only: whether a new root is only looked for under its version, and must be signed by the old
            one's keys and its own; the reference serves one unversioned root, checked by the old keys.
        unknown_ecu_skipped: whether a Director's target for an ECU that is not in this vehicle is passed over; else
            all of its targets are refused.
        vin_on_empty: whether an empty list of targets must name the vehicle (Standard §5.2.3.1).
        wildcards_cross_slash: whether ``*`` and ``?`` match slashes.
        equal_timestamp_kept: whether a timestamp of the same version leaves the old one in place (TUF 1.0).
        hash_sets_equal: whether Director and Image repository must list the same algorithms; else all common ones
            must agree, and there must be one.
        depth_max: how deep delegations may go.
        visits_max: how many roles are looked at for one image.
        stored_as_one: whether a repository's files are stored only when all have passed; TUF 1.0 stores each.
        root_rotations_max: how many roots are followed in one cycle.
    """

    name: str
    director_lists: bool = True
    versioned_root_only: bool = True
    unknown_ecu_skipped: bool = False
    vin_on_empty: bool = True
    wildcards_cross_slash: bool = False
    equal_timestamp_kept: bool = False
    hash_sets_equal: bool = True
    depth_max: int = 5
    visits_max: int = 32
    stored_as_one: bool = True
    root_rotations_max: int = 256
    caps: Caps = Caps()


STANDARD = Rules("tuf1")
AKTUALIZR = Rules(
    "ak",
    director_lists=False,
    vin_on_empty=False,
    wildcards_cross_slash=True,
    hash_sets_equal=False,
    caps=Caps(64 * KIB, 64 * KIB, 64 * KIB, 8 * MIB),
)
REFERENCE = Rules(
    "ref",
    versioned_root_only=False,
    unknown_ecu_skipped=True,
    vin_on_empty=False,
    wildcards_cross_slash=True,
)
TUF = Rules("tuf", vin_on_empty=False, equal_timestamp_kept=True, stored_as_one=False, depth_max=32)
"""A plain TUF 1.0 repository, without a vehicle around it."""
BY_DIALECT = {"tuf1": STANDARD, "ak": AKTUALIZR, "ref-json": REFERENCE, "ref-der": REFERENCE}
