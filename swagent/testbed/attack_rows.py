"""The table of attacks (uptane §7): what is done, who must notice it, what stays as it was."""

from . import plays_with_keys as using
from . import plays_without_keys as without
from .attacks import HARMLESS, IMAGES, INSTALLED, NOTHING, Attack
from .place import DIRECTOR, PRIMARY_WINDOW, SECONDARY_WINDOW

P, S, D = (PRIMARY_WINDOW,), (SECONDARY_WINDOW,), (DIRECTOR,)

ROWS: tuple[Attack, ...] = (
    Attack(1, "image-changed", "an image on a mirror is replaced", P, without.image_changed),
    Attack(2, "image-longer", "an image on all mirrors is longer than signed", P, without.image_longer),
    Attack(3, "image-truncated", "an image on all mirrors ends early", P, without.image_truncated),
    Attack(4, "metadata-too-long", "a timestamp is longer than any may be", P, without.metadata_too_long),
    Attack(5, "rollback", "an old timestamp is served, of each repository", P, without.rollback),
    Attack(6, "snapshot-drops", "a snapshot lists lower versions, signed well", P, using.snapshot_drops),
    Attack(7, "snapshot-mixed", "an old snapshot beside a new timestamp", P, without.snapshot_mixed),
    Attack(8, "targets-mixed", "old targets beside a new snapshot", P, without.targets_mixed),
    Attack(9, "freeze", "nothing new is served for 40 days", P, without.freeze),
    Attack(10, "old-time", "the Time server's answers are replayed", P, without.old_time),
    Attack(
        11,
        "signatures",
        "timestamps unsigned, signed by a stranger, twice by one key, corrupted",
        P,
        using.signatures,
    ),
    Attack(12, "wrong-type", "targets served as snapshot, signed well", P, using.wrong_type),
    Attack(
        13, "root", "a new root that the old root's keys have not signed", P, using.root_that_does_not_follow
    ),
    Attack(
        14, "fast-forward", "versions of 2^31, then new keys", (HARMLESS,), using.fast_forward, keeps=NOTHING
    ),
    Attack(15, "revoked-keys", "metadata signed with keys that were revoked", P, using.revoked_keys),
    Attack(
        16,
        "director-alone",
        "the Director's keys sign a malicious image",
        P,
        using.director_alone,
        keeps=IMAGES,
    ),
    Attack(
        17, "other-hardware", "an image for other hardware is assigned", P, using.other_hardware, keeps=IMAGES
    ),
    Attack(18, "ecu-twice", "the Director assigns two images to one ECU", P, using.ecu_twice, keeps=IMAGES),
    Attack(
        19, "other-vehicle", "another vehicle's metadata is served", P, without.other_vehicle, keeps=IMAGES
    ),
    Attack(
        20,
        "image-repository-alone",
        "the Image repository's keys sign a malicious image",
        (HARMLESS,),
        using.image_repository_alone,
        keeps=IMAGES,
    ),
    Attack(
        21,
        "supplier-outside",
        "a supplier describes an image that is not its business",
        P,
        using.supplier_outside,
        keeps=IMAGES,
    ),
    Attack(
        22, "delegation-cycle", "delegations that lead in a circle", P, using.delegation_cycle, keeps=IMAGES
    ),
    Attack(
        23,
        "delegated-file-missing",
        "a supplier's file is withheld",
        P,
        using.delegated_file_missing,
        keeps=IMAGES,
    ),
    Attack(
        24,
        "both-repositories",
        "the keys of both repositories are stolen",
        (INSTALLED,),
        using.both_repositories,
        keeps=NOTHING,
    ),
    Attack(
        25,
        "primary-taken-over",
        "the Primary hands on a malicious image, another name, old metadata",
        S,
        without.primary_taken_over,
    ),
    Attack(
        26,
        "archive-escape",
        "the Primary hands on archives that escape, repeat, link, explode",
        S,
        without.archive_escape,
    ),
    Attack(
        27,
        "path-escape",
        "both repositories sign a name that leads elsewhere",
        P,
        using.path_escape,
        keeps=IMAGES,
    ),
    Attack(
        28,
        "ecu-manifest-changed",
        "an ECU's manifest is changed after it was signed",
        D,
        without.ecu_manifest_changed,
    ),
    Attack(
        29,
        "vehicle-manifest-forged",
        "manifests of another vehicle, Primary or key",
        D,
        without.vehicle_manifest_forged,
    ),
    Attack(30, "one-withheld", "one of two images is withheld", P, without.one_withheld, keeps=IMAGES),
    Attack(31, "dropped-requests", "requests to one repository are dropped", P, without.dropped_requests),
    Attack(
        32,
        "power-cut",
        "whoever publishes is killed in the middle",
        (HARMLESS,),
        without.power_cut,
        keeps=NOTHING,
    ),
    Attack(33, "malformed", f"{without.MUTATIONS} damaged files", P, without.malformed),
    Attack(
        34,
        "second-registration",
        "a stranger registers a serial, and a Primary",
        D,
        without.second_registration,
    ),
    Attack(
        35,
        "eavesdropping",
        "an encrypted image is watched on its way",
        (HARMLESS,),
        without.eavesdropping,
        keeps=NOTHING,
    ),
)
