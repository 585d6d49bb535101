"""What can be done to a fleet with signatures: bad ones, and those of stolen keys."""

import os

from swagent.store.atomic import replace
from swagent.uptane.metadata import (
    DIRECTOR,
    IMAGE,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    FileFacts,
    Targets,
    Timestamp,
)

from .bench import Bench, describe
from .place import EVIL, FIRMWARE, SECONDARY, VIN

REPOSITORIES = (DIRECTOR, IMAGE)


# -- signatures


def signatures(bench: Bench) -> None:
    """Timestamps unsigned, signed by a stranger, twice by one key, corrupted."""
    for repository in REPOSITORIES:
        files = bench.thief(repository)
        version, key = files.versions[TIMESTAMP] + 1, files.signers[TIMESTAMP][0]
        stranger = bench.place.signer("stranger")
        for signers in ((), (stranger,), (key, key)):
            raw = files.make(TIMESTAMP, Timestamp(files.facts(SNAPSHOT)), version, signers)
            bench.serve(repository, TIMESTAMP, raw)
            bench.primary()
        good = files.make(TIMESTAMP, Timestamp(files.facts(SNAPSHOT)), version)
        signature = bench.place.codec.decode(good).signatures[0].value
        at = good.index(signature if signature in good else signature.hex().encode())
        other = b"1" if good[at : at + 1] == b"0" else b"0"
        bench.serve(repository, TIMESTAMP, good[:at] + other + good[at + 1 :])
        bench.primary()
        bench.undo()


def wrong_type(bench: Bench) -> None:
    """Targets served as snapshot, signed well."""
    for repository in REPOSITORIES:
        bench.forge_snapshot(repository, bench.targets(repository))
        bench.primary()
        bench.undo()


def root_that_does_not_follow(bench: Bench) -> None:
    """A new root that the old root's keys have not signed."""
    for repository in REPOSITORIES:
        files = bench.thief(repository)
        files.signers[ROOT] = [bench.place.signer("stranger")]
        files.renew_root()
        bench.serve_all(repository, files, ROOT)
        bench.primary()
        bench.undo()


def revoked_keys(bench: Bench) -> None:
    """Metadata signed with keys that were revoked."""
    dd = bench.parties.dd
    dd.revoke_compromised_keys()
    bench.both()
    bench.mark()
    dd.sign_with_compromised_keys_attack()
    bench.primary()
    dd.undo_sign_with_compromised_keys_attack()


def fast_forward(bench: Bench) -> None:
    """Versions of 2^31, then new keys."""
    files = bench.thief(DIRECTOR)
    files.versions[TIMESTAMP] = files.versions[SNAPSHOT] = 2**31 - 1
    files.renew_lists()
    bench.serve_all(DIRECTOR, files, SNAPSHOT, TIMESTAMP)
    bench.primary()
    bench.undo()
    bench.parties.dd.revoke_compromised_keys()
    bench.primary()


# -- stolen keys of one repository


def snapshot_drops(bench: Bench) -> None:
    """A snapshot lists lower versions, signed well."""
    for repository in REPOSITORIES:
        body = bench.snapshot(repository)
        lower = FileFacts((body.files[TARGETS].version or 1) - 1)
        bench.forge_snapshot(repository, body._replace(files={**body.files, TARGETS: lower}))
        bench.primary()
        bench.undo()


def director_alone(bench: Bench) -> None:
    """The Director's keys sign a malicious image."""
    bench.parties.dd.keyed_arbitrary_package_attack(VIN, SECONDARY, FIRMWARE)
    bench.primary()


def other_hardware(bench: Bench) -> None:
    """An image for other hardware is assigned."""
    bench.order("for-the-brakes.img", hardware_ids=frozenset({"brakes"}))
    bench.primary()


def ecu_twice(bench: Bench) -> None:
    """The Director assigns two images to one ECU."""
    body = bench.targets(DIRECTOR)
    more = describe("second.img", EVIL, SECONDARY)
    bench.forge(DIRECTOR, body._replace(targets={**body.targets, more.path: more}))
    bench.primary()
    bench.undo()
    bench.order()  # a higher version than the thief's


def image_repository_alone(bench: Bench) -> None:
    """The Image repository's keys sign a malicious image."""
    bench.parties.di.add_target_and_write_to_live("other.img", EVIL)
    bench.both()


def both_repositories(bench: Bench) -> None:
    """The keys of both repositories are stolen."""
    di, dd = bench.parties.di, bench.parties.dd
    dd.keyed_arbitrary_package_attack(VIN, SECONDARY, FIRMWARE)
    di.keyed_arbitrary_package_attack(FIRMWARE)
    bench.both()
    dd.undo_keyed_arbitrary_package_attack(VIN, SECONDARY, FIRMWARE)
    di.undo_keyed_arbitrary_package_attack(FIRMWARE)


def path_escape(bench: Bench) -> None:
    """Both repositories sign a name that leads elsewhere."""
    for name in ("../evil.img", "a/../../evil.img"):
        for repository in REPOSITORIES:
            serials = (SECONDARY,) if repository == DIRECTOR else ()
            body = bench.targets(repository)
            bench.forge(repository, body._replace(targets={name: describe(name, EVIL, *serials)}))
        bench.primary()
        bench.undo()
    bench.order()  # a higher version than the thief's


# -- delegations


def _supplier(bench: Bench, *paths: str) -> None:
    di = bench.parties.di
    di.signers["supplier"] = bench.place.signer("supplier")
    repository = di.repository
    repository.delegate({"supplier": [di.signers["supplier"].key]}, paths=paths)
    di.write_to_live()


def supplier_outside(bench: Bench) -> None:
    """A supplier describes an image that is not its business."""
    _supplier(bench, "tcu/*")
    di = bench.parties.di
    repository = di.repository
    target = describe("gateway.img", EVIL)
    document = repository.staged.documents["supplier"]
    repository.staged.draft(
        "supplier", Targets({target.path: target}), version=document.version + 1, expires_s=document.expires_s
    )
    replace(repository.images.path(target), EVIL)
    di.write_to_live()
    bench.parties.dd.add_target_and_write_to_live("gateway.img", EVIL, VIN, SECONDARY)
    bench.primary()


def delegation_cycle(bench: Bench) -> None:
    """Delegations that lead in a circle."""
    di = bench.parties.di
    for role, by in (("one", TARGETS), ("two", "one"), ("one", "two")):
        di.signers[role] = bench.place.signer(role)
        di.repository.delegate({role: [di.signers[role].key]}, paths=["*"], by=by)
    di.write_to_live()
    bench.parties.dd.add_target_and_write_to_live("ghost.img", EVIL, VIN, SECONDARY)
    bench.primary()


def delegated_file_missing(bench: Bench) -> None:
    """A supplier's file is withheld."""
    _supplier(bench, "tcu*")
    di = bench.parties.di
    source = bench.place.path("incoming", "tcu.img")
    replace(source, bench.fresh())
    di.repository.add(source, "tcu.img", role="supplier")
    di.write_to_live()
    for name in os.listdir(bench.folder(IMAGE)):
        if "supplier" in name:
            bench.write(os.path.join(bench.folder(IMAGE), name), None)
    bench.parties.dd.add_target_to_director(source, "tcu.img", VIN, SECONDARY)
    bench.parties.dd.write_to_live(VIN)
    bench.primary()
