"""Every attack that a vehicle must notice, and the tests that show it; a row without a living test fails.

The rows are those of our notes on Uptane (uptane §7) in which a Primary (P), a full Secondary (S), a partial one (s), a
Director (D) or an Image repository (I) has to do something; row 36 is what somebody carries to a vehicle. Each is also
played on a whole testbed: ``tests/testbed/test_attacks.py``.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ENCRYPTED = "attacks/test_encrypted.py"
REFRESH, VEHICLE = "uptane_client/test_refresh.py", "uptane_client/test_vehicle.py"
MIRRORS, ROLES, DIRECTOR = "attacks/test_mirrors.py", "attacks/test_roles.py", "attacks/test_director.py"
PASSING = "uptane_client/test_passthrough.py"
MANIFESTS = "attacks/test_manifests.py"
OFFLINE = "attacks/test_offline.py"
DELEGATIONS, ARCHIVE, NAMES = (
    "attacks/test_delegations.py",
    "attacks/test_archive.py",
    "attacks/test_names.py",
)

ROWS: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "image bytes changed on a mirror",
        (
            f"{VEHICLE}::TestTheImage::test_changed_on_the_mirror",
            f"{VEHICLE}::TestTheImage::test_changed_by_the_primary",
            f"{PASSING}::TestAnyInstaller::test_changed_on_the_mirror",
            f"{PASSING}::TestAnyInstaller::test_every_hash_counts",
            f"{PASSING}::TestAnArchive::test_one_byte_is_another",
        ),
    ),
    2: (
        "image longer than signed, endless stream",
        (f"{MIRRORS}::TestEndless", f"{PASSING}::TestAnArchive::test_too_short_or_without_an_end"),
    ),
    3: ("image truncated or slow", (f"{MIRRORS}::TestTruncatedAndSlow", "net/test_folder.py::TestSpeed")),
    4: (
        "metadata file over its cap",
        (
            f"{REFRESH}::test_endless_metadata",
            f"{ARCHIVE}::test_a_file_over_its_cap",
            f"{ARCHIVE}::test_a_bomb",
        ),
    ),
    5: (
        "timestamp, snapshot, targets of lower version",
        (
            f"{REFRESH}::test_rollback_of_each_role",
            f"{ROLES}::TestRollback",
            f"{ROLES}::TestRollbackOfDirectorTargets",
        ),
    ),
    6: (
        "snapshot lists a lower version, or drops one",
        (f"{REFRESH}::test_rollback_of_each_role", f"{REFRESH}::test_a_snapshot_that_drops_a_role"),
    ),
    7: ("snapshot not the one in timestamp", (f"{REFRESH}::test_mix_and_match_of_snapshot",)),
    8: (
        "targets or delegation not as in snapshot",
        (
            f"{REFRESH}::test_mix_and_match_of_targets",
            f"{DELEGATIONS}::TestTheFile::test_another_version",
            f"{DELEGATIONS}::TestTheFile::test_another_hash",
        ),
    ),
    9: ("freeze", (f"{REFRESH}::test_freeze", f"{VEHICLE}::TestMetadata::test_expired")),
    10: ("clock set back, wrong nonce, wrong key", (f"{ROLES}::TestTime", f"{VEHICLE}::TestTime")),
    11: (
        "signatures",
        (
            f"{REFRESH}::test_signatures_of_others",
            f"{REFRESH}::test_a_corrupt_signature",
            f"{REFRESH}::test_threshold_of_two",
            f"{REFRESH}::test_one_key_under_two_names_counts_once",
            f"{REFRESH}::test_illegal_thresholds",
            f"{REFRESH}::test_a_key_that_root_lists_but_does_not_hold_counts_as_none",
            f"{ROLES}::TestDirectorTargetsSignatures",
            f"{VEHICLE}::TestMetadata::test_signed_by_somebody_else",
        ),
    ),
    12: ("a file of another role, signed well", (f"{ROLES}::TestFileOfAnotherRole",)),
    13: ("root that does not follow", (f"{REFRESH}::TestRootRotation", f"{ROLES}::TestRoot")),
    14: (
        "fast-forward",
        (
            f"{ROLES}::TestFastForward",
            f"{REFRESH}::test_recovery_from_fast_forward",
            f"{REFRESH}::test_fast_forward_when_the_old_key_stays_among_the_new",
        ),
    ),
    15: ("revoked keys", (f"{ROLES}::TestRevokedKeys", f"{REFRESH}::test_revoked_keys")),
    16: ("Director alone compromised", (f"{DIRECTOR}::TestDirectorAlone",)),
    17: (
        "a real image of other hardware",
        (
            f"{DIRECTOR}::TestDirectorAlone::test_a_real_image_of_other_hardware",
            f"{DIRECTOR}::TestAssignments::test_the_hardware_of_another_ecu",
        ),
    ),
    18: ("an ECU twice, an unknown one, delegations", (f"{DIRECTOR}::TestAssignments",)),
    19: ("targets of another vehicle", (f"{DIRECTOR}::TestAnotherVehicle",)),
    20: (
        "Image repository alone compromised",
        (
            f"{DIRECTOR}::TestTheImageRepositoryAlone",
            "testbed/test_verbs.py::TestWithKeys::test_image_repositorys_alone",
        ),
    ),
    21: ("supplier outside its paths or hardware", (f"{DELEGATIONS}::TestOutside",)),
    22: ("terminating, cycle, 10 000 roles", (f"{DELEGATIONS}::TestBounds",)),
    23: ("delegated file missing, expired, unlisted", (f"{DELEGATIONS}::TestTheFile",)),
    24: ("both repositories compromised", (f"{DIRECTOR}::TestBoth",)),
    25: (
        "Primary compromised",
        (
            f"{VEHICLE}::TestMetadata::test_the_primary_hands_over_old_metadata",
            f"{VEHICLE}::TestMetadata::test_the_primary_hands_over_rubbish",
            f"{VEHICLE}::TestTheImage::test_changed_by_the_primary",
            f"{VEHICLE}::TestTheImage::test_the_primary_has_another_or_none",
            f"{VEHICLE}::TestTime::test_an_old_attestation",
        ),
    ),
    26: (
        "archive: escape, link, bomb, duplicates",
        (
            f"{ARCHIVE}::test_a_name_that_leads_elsewhere",
            f"{ARCHIVE}::test_links_and_devices",
            f"{ARCHIVE}::test_a_bomb",
            f"{ARCHIVE}::test_a_bomb_that_lies_about_its_size",
            f"{ARCHIVE}::test_a_name_twice",
            f"{ARCHIVE}::test_at_a_secondary",
        ),
    ),
    27: ("target path escape", (f"{NAMES}::test_a_name_that_leads_elsewhere",)),
    28: ("ECU manifest altered, by the wrong key, unknown, replayed", (f"{MANIFESTS}::TestEcuReport",)),
    29: ("vehicle manifest: Primary, VIN, signature, replay", (f"{MANIFESTS}::TestVehicleManifest",)),
    30: ("partial bundle", (f"{MIRRORS}::TestPartialBundle",)),
    31: (
        "dropped requests",
        (f"{MIRRORS}::TestDroppedRequests", f"{MANIFESTS}::test_a_stale_manifest_is_seen"),
    ),
    32: (
        "power cut",
        (
            "uptane_client/test_powercut.py::test_a_sample",
            f"{MANIFESTS}::test_a_power_cut_between_any_two_statements",
            "uptane_server/test_publish.py::"
            "test_whoever_is_killed_leaves_the_old_or_the_new_and_readers_never_see_a_mixture",
            "testbed/test_kill.py::test_whoever_reads_finds_one_state",
        ),
    ),
    33: (
        "malformed metadata",
        (
            "uptane/test_mutations.py::test_a_sample",
            "uptane/test_reference_files.py::test_every_cut_and_every_byte_too_many_is_noticed",
            f"{REFRESH}::test_rubbish",
            f"{MANIFESTS}::test_malformed_manifests",
        ),
    ),
    34: ("second registration of a serial or a Primary", (f"{MANIFESTS}::TestRegistration",)),
    35: (
        "eavesdropping of an encrypted image",
        (
            f"{ENCRYPTED}::test_plain_bytes_are_nowhere_but_at_their_ecu",
            f"{ENCRYPTED}::TestLies",
            "attacks/test_director_encrypts.py::test_its_ecu_opens_it",
            "attacks/test_director_encrypts.py::test_plain_bytes_are_nowhere",
        ),
    ),
    36: (
        "updates from a medium (PURE-2)",
        tuple(f"{OFFLINE}::{name}" for name in ("TestNewerAndOlder", "TestTheDirector", "TestTheMedium")),
    ),
}


@cache
def names_in(path: str) -> frozenset[str]:
    """Names of the tests and test classes in a file, as pytest has them behind the file's name."""
    found = set()
    for node in ast.parse((HERE.parent / path).read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            methods = [item.name for item in node.body if isinstance(item, ast.FunctionDef)]
            methods = [name for name in methods if name.startswith("test_")]
            found |= {f"{node.name}::{name}" for name in methods}
            if methods:
                found.add(node.name)
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            found.add(node.name)
    return frozenset(found)


@pytest.mark.parametrize("row", ROWS)
def test_each_row_has_its_tests(row: int) -> None:
    _, tests = ROWS[row]
    assert tests
    for test in tests:
        path, _, name = test.partition("::")
        assert name in names_in(path), test


def test_no_row_is_forgotten() -> None:
    assert set(range(1, 37)) == ROWS.keys()
