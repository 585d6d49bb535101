"""The rows of the table of attacks, each played with the means of its attacker (uptane §7)."""

import io
import os
import random
import signal
import subprocess
import sys
import zipfile
from functools import partial
from hashlib import sha256

from swagent.crypto.imagekey import load_image_key
from swagent.net.rpc import RpcClient
from swagent.store.atomic import replace
from swagent.uptane.codecs.base import NotUnderstood
from swagent.uptane.errors import Spoofing
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
from swagent.uptane_client.sources import OPTIONS

from .attacks import HARMLESS, IMAGES, INSTALLED, NOTHING, Attack
from .bench import Bench, describe
from .image_side import OFFICE
from .place import DIRECTOR as DIRECTOR_WINDOW
from .place import EVIL, FIRMWARE, PASSWORD, PRIMARY, PRIMARY_WINDOW, SECONDARY, SECONDARY_WINDOW, VIN

P, S, D = (PRIMARY_WINDOW,), (SECONDARY_WINDOW,), (DIRECTOR_WINDOW,)
DAY_S = 86_400
MUTATIONS, KILLS = 25, 4
REPOSITORIES = (DIRECTOR, IMAGE)


# -- mirrors, without keys


def _image_changed(bench: Bench) -> None:
    bench.parties.dd.mitm_arbitrary_package_attack(VIN, FIRMWARE)
    bench.primary()
    bench.parties.dd.undo_mitm_arbitrary_package_attack(VIN, FIRMWARE)


def _image_longer(bench: Bench) -> None:
    for path in bench.mirrors(FIRMWARE):
        with open(path, "rb") as file:
            bench.write(path, file.read() + b"and more of it" * 1000)
    bench.primary()


def _image_truncated(bench: Bench) -> None:
    for path in bench.mirrors(FIRMWARE):
        with open(path, "rb") as file:
            bench.write(path, file.read()[:-3])
    bench.primary()


def _metadata_too_long(bench: Bench) -> None:
    for repository in REPOSITORIES:
        raw = bench.read(repository, TIMESTAMP)
        bench.serve(repository, TIMESTAMP, raw + b" " * bench.place.rules.caps.timestamp)
        bench.primary()
        bench.undo()


def _dropped_requests(bench: Bench) -> None:
    for side in (bench.parties.dd, bench.parties.di):
        side.kill_server()
        bench.primary()
        side.host()


def _malformed(bench: Bench) -> None:
    chance = random.Random(7)  # noqa: S311 - nothing to keep secret
    for _ in range(MUTATIONS):
        role = chance.choice((TIMESTAMP, SNAPSHOT, TARGETS))
        raw = bytearray(bench.read(DIRECTOR, role))
        for _ in range(chance.randint(1, 4)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        bench.serve(
            DIRECTOR, role, bytes(raw), bench.thief(DIRECTOR).versions[role] if role != TIMESTAMP else None
        )
        bench.primary()
        bench.undo()


# -- old files, without keys


def _rollback(bench: Bench) -> None:
    for repository in REPOSITORIES:
        old = bench.read(repository, TIMESTAMP)
        bench.order()
        bench.both()
        bench.mark()
        bench.serve(repository, TIMESTAMP, old)
        bench.primary()
        bench.undo()


def _snapshot_mixed(bench: Bench) -> None:
    old = bench.read(DIRECTOR, SNAPSHOT)
    bench.parties.dd.write_to_live(VIN)
    bench.serve(DIRECTOR, SNAPSHOT, old, bench.thief(DIRECTOR).versions[TIMESTAMP])
    bench.primary()


def _targets_mixed(bench: Bench) -> None:
    old = bench.read(DIRECTOR, TARGETS)
    bench.order()
    version = bench.place.codec.decode(bench.read(DIRECTOR, TARGETS)).version
    bench.serve(DIRECTOR, TARGETS, old, version)
    bench.primary()


def _freeze(bench: Bench) -> None:
    bench.clock.ahead_s += 40 * DAY_S
    bench.primary()


def _old_time(bench: Bench) -> None:
    bench.parties.dt.replay_attestation_attack()
    bench.primary()
    bench.parties.dt.undo_replay_attestation_attack()


def _other_vehicle(bench: Bench) -> None:
    dd = bench.parties.dd
    dd.add_target_and_write_to_live(FIRMWARE, EVIL, "111", "TCU111")
    ours = bench.place.codec.decode(bench.read(DIRECTOR, TIMESTAMP)).version
    theirs = bench.place.codec.decode
    while (
        theirs(_of_111(bench, TIMESTAMP)).version <= ours or theirs(_of_111(bench, TARGETS)).version <= ours
    ):
        dd.add_target_and_write_to_live(FIRMWARE, bench.fresh(), "111", "TCU111")
    for role in (TARGETS, SNAPSHOT, TIMESTAMP):
        raw = _of_111(bench, role)
        bench.serve(DIRECTOR, role, raw, bench.place.codec.decode(raw).version)
    bench.both()
    bench.undo()
    while (
        bench.place.codec.decode(bench.read(DIRECTOR, TARGETS)).version
        <= theirs(_of_111(bench, TARGETS)).version
    ):
        bench.order()  # where the list was taken, as there is no name in it, only higher versions count again


def _of_111(bench: Bench, role: str) -> bytes:
    with open(
        os.path.join(bench.parties.dd.folders.of("111"), "metadata", bench.place.file(role)), "rb"
    ) as file:
        return file.read()


# -- signatures


def _signatures(bench: Bench) -> None:
    for repository in REPOSITORIES:
        files = bench.thief(repository)
        version, key = files.versions[TIMESTAMP] + 1, files.signers[TIMESTAMP][0]
        stranger = bench.place.signer("stranger")
        for signers in ((), (stranger,), (key, key)):
            try:
                raw = files.make(TIMESTAMP, Timestamp(files.facts(SNAPSHOT)), version, signers)
            except NotUnderstood:
                continue
            bench.serve(repository, TIMESTAMP, raw)
            bench.primary()
        good = files.make(TIMESTAMP, Timestamp(files.facts(SNAPSHOT)), version)
        signature = bench.place.codec.decode(good).signatures[0].value
        at = good.index(signature if signature in good else signature.hex().encode())
        bench.serve(
            repository, TIMESTAMP, good[:at] + (b"1" if good[at : at + 1] == b"0" else b"0") + good[at + 1 :]
        )
        bench.primary()
        bench.undo()


def _wrong_type(bench: Bench) -> None:
    for repository in REPOSITORIES:
        bench.forge_snapshot(repository, bench.targets(repository))
        bench.primary()
        bench.undo()


def _root_that_does_not_follow(bench: Bench) -> None:
    for repository in REPOSITORIES:
        files = bench.thief(repository)
        files.signers[ROOT] = [bench.place.signer("stranger")]
        files.renew_root()
        bench.serve_all(repository, files, ROOT)
        bench.primary()
        bench.undo()


def _revoked_keys(bench: Bench) -> None:
    dd = bench.parties.dd
    dd.revoke_compromised_keys()
    bench.both()
    bench.mark()
    dd.sign_with_compromised_keys_attack()
    bench.primary()
    dd.undo_sign_with_compromised_keys_attack()


def _fast_forward(bench: Bench) -> None:
    files = bench.thief(DIRECTOR)
    files.versions[TIMESTAMP] = files.versions[SNAPSHOT] = 2**31 - 1
    files.renew_lists()
    bench.serve_all(DIRECTOR, files, SNAPSHOT, TIMESTAMP)
    bench.primary()
    bench.undo()
    bench.parties.dd.revoke_compromised_keys()
    bench.primary()


# -- stolen keys of one repository


def _snapshot_drops(bench: Bench) -> None:
    for repository in REPOSITORIES:
        body = bench.snapshot(repository)
        lower = FileFacts((body.files[TARGETS].version or 1) - 1)
        bench.forge_snapshot(repository, body._replace(files={**body.files, TARGETS: lower}))
        bench.primary()
        bench.undo()


def _director_alone(bench: Bench) -> None:
    bench.parties.dd.keyed_arbitrary_package_attack(VIN, SECONDARY, FIRMWARE)
    bench.primary()


def _other_hardware(bench: Bench) -> None:
    bench.order("for-the-brakes.img", hardware_ids=frozenset({"brakes"}))
    bench.primary()


def _ecu_twice(bench: Bench) -> None:
    body = bench.targets(DIRECTOR)
    more = describe("second.img", EVIL, SECONDARY)
    bench.forge(DIRECTOR, body._replace(targets={**body.targets, more.path: more}))
    bench.primary()
    bench.undo()
    bench.order()  # a higher version than the thief's


def _image_repository_alone(bench: Bench) -> None:
    bench.parties.di.add_target_and_write_to_live("other.img", EVIL)
    bench.both()


def _both_repositories(bench: Bench) -> None:
    di, dd = bench.parties.di, bench.parties.dd
    dd.keyed_arbitrary_package_attack(VIN, SECONDARY, FIRMWARE)
    di.keyed_arbitrary_package_attack(FIRMWARE)
    bench.both()
    dd.undo_keyed_arbitrary_package_attack(VIN, SECONDARY, FIRMWARE)
    di.undo_keyed_arbitrary_package_attack(FIRMWARE)


def _path_escape(bench: Bench) -> None:
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


def _supplier_outside(bench: Bench) -> None:
    _supplier(bench, "tcu/*")
    di = bench.parties.di
    repository = di.repository
    target = describe("gateway.img", EVIL)
    document = repository.staged.documents["supplier"]
    repository.staged.draft(
        "supplier", Targets({target.path: target}), version=document.version + 1, expires_s=document.expires_s
    )
    replace(repository.image(target), EVIL)
    di.write_to_live()
    bench.parties.dd.add_target_and_write_to_live("gateway.img", EVIL, VIN, SECONDARY)
    bench.primary()


def _delegation_cycle(bench: Bench) -> None:
    di = bench.parties.di
    for role, by in (("one", TARGETS), ("two", "one"), ("one", "two")):
        di.signers[role] = bench.place.signer(role)
        di.repository.delegate({role: [di.signers[role].key]}, paths=["*"], by=by)
    di.write_to_live()
    bench.parties.dd.add_target_and_write_to_live("ghost.img", EVIL, VIN, SECONDARY)
    bench.primary()


def _delegated_file_missing(bench: Bench) -> None:
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


# -- a Primary that was taken over


def _primary_taken_over(bench: Bench) -> None:
    dp = bench.parties.dp
    archive = os.path.join(dp.folder, "metadata", "full_metadata_archive.zip")
    with open(archive, "rb") as file:
        old = file.read()
    bench.order()
    bench.both()
    bench.order()
    bench.primary()
    bench.mark()
    for lie, value in (("image", EVIL), ("name", b"other.img"), ("metadata", old)):
        dp.lies[lie] = value
        bench.secondary()
        dp.lies.clear()
    bench.before |= {
        path: raw for path, raw in bench.kept().items() if path != "runs"
    }  # honest metadata came, too


def _archive_escape(bench: Bench) -> None:
    extension = bench.place.codec.extension
    good = (f"director/metadata/timestamp.{extension}", bench.read(DIRECTOR, TIMESTAMP))
    link = zipfile.ZipInfo("director/metadata/root." + extension)
    link.external_attr = 0o120777 << 16
    for entries in (
        [("../../escaped", b"x")],
        [("/escaped", b"x")],
        [good, good],
        [(link, b"/etc/passwd")],
        [(good[0], b"\0" * 50_000_000)],
    ):
        raw = io.BytesIO()
        with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in entries:
                archive.writestr(name, data)
        bench.parties.dp.lies["metadata"] = raw.getvalue()
        bench.secondary()


# -- against the Director


def _ecu_manifest_changed(bench: Bench) -> None:
    director = bench.parties.dd.director
    good = director.last_ecu_manifest(SECONDARY)
    bench.parties.ds.ATTACK_send_corrupt_manifest_to_primary()
    bench.primary()
    with director.inventory.look() as fleet:
        distrust = fleet.ecu(SECONDARY).distrust
    if distrust and director.last_ecu_manifest(SECONDARY) == good:
        bench.note(DIRECTOR_WINDOW, Spoofing(f"the report of {SECONDARY} was dropped: {distrust}"))
    bench.clock.ahead_s += 2  # the same report once more would be a replay: its time must differ
    bench.parties.ds.submit_ecu_manifest_to_primary()
    bench.both()
    bench.primary()


def _vehicle_manifest_forged(bench: Bench) -> None:
    director, dp = bench.parties.dd.director, bench.parties.dp
    before = director.last_vehicle_manifest(VIN)
    raw = dp.generate_signed_vehicle_manifest()
    codec = bench.place.codec
    content = codec.decode_vehicle_report(raw).content
    stranger = bench.place.signer("stranger")
    for vin, primary, manifest in (
        ("111", PRIMARY, raw),
        ("nobody", PRIMARY, raw),
        (VIN, "AnotherPrimary", raw),
        (VIN, PRIMARY, codec.encode_vehicle_report(content, stranger)),
        (VIN, PRIMARY, raw[:-10]),
    ):
        at = len(bench.noticed)
        bench.refused(DIRECTOR_WINDOW, partial(director.submit, vin, manifest, primary))
        if len(bench.noticed) == at or director.last_vehicle_manifest(VIN) != before:
            bench.noticed.clear()  # one got through
            return


def _second_registration(bench: Bench) -> None:
    place = bench.place
    stranger = place.signer("stranger").key
    key = {
        "keytype": stranger.kind, "keyid": stranger.keyid, "keyval": {"public": stranger.public},
        "keyid_hash_algorithms": ["sha256", "sha512"],
    }  # fmt: skip
    client = RpcClient(place.url(place.ports.director_rpc), OPTIONS, place.clock)
    for serial, primary in ((SECONDARY, False), ("AnotherPrimary", True)):
        bench.refused(DIRECTOR_WINDOW, partial(client.call, "register_ecu_serial", serial, key, VIN, primary))
    client.close()


# -- whatever else may happen


def _one_withheld(bench: Bench) -> None:
    di, dd = bench.parties.di, bench.parties.dd
    bench.order()
    source = bench.place.path("incoming", "info.img")
    replace(source, bench.fresh())
    di.add_target_to_imagerepo(source, "info.img")
    di.write_to_live()
    dd.add_target_to_director(source, "info.img", VIN, PRIMARY)
    dd.write_to_live(VIN)
    for path in bench.mirrors("info.img"):
        bench.write(path, None)
    bench.primary()
    bench.secondary()


def _power_cut(bench: Bench) -> None:
    password = bench.place.path("password")
    replace(password, PASSWORD, mode=0o600)
    words = ["repo", "refresh", "--repo", os.path.join(bench.parties.di.folder, OFFICE)]
    words += ["--keys", bench.place.path("keys"), "--password-file", password]
    chance = random.Random(7)  # noqa: S311 - nothing to keep secret
    for _ in range(KILLS):
        with subprocess.Popen(
            [sys.executable, "-m", "swagent", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as writer:
            try:
                writer.wait(chance.uniform(0.1, 0.8))
            except subprocess.TimeoutExpired:
                writer.send_signal(signal.SIGKILL)
        bench.primary()


def _eavesdropping(bench: Bench) -> None:
    from swagent.crypto import schemes

    path = bench.place.path("keys", "image-key")
    key = schemes.generate(schemes.RSA_PSS)
    replace(path, key.pem(), mode=0o600)
    with bench.parties.dd.director.inventory.change() as fleet:
        fleet.update_ecu(SECONDARY, image_key=key.public)
    bench.parties.ds.use_image_key(load_image_key(path))
    secret = bench.order(data=b"a secret image " + bench.fresh())
    bench.both()
    for folder, _, names in os.walk(os.path.join(bench.parties.dp.folder, "targets")):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                if secret in file.read():
                    bench.note(PRIMARY_WINDOW, Spoofing(f"{name} travelled in the clear"))
    if bench.parties.ds.runs() != secret:
        bench.note(SECONDARY_WINDOW, Spoofing(f"{sha256(secret).hexdigest()[:16]} was not installed"))


ROWS: tuple[Attack, ...] = (
    Attack(1, "image-changed", "an image on a mirror is replaced", P, _image_changed),
    Attack(2, "image-longer", "an image on all mirrors is longer than signed", P, _image_longer),
    Attack(3, "image-truncated", "an image on all mirrors ends early", P, _image_truncated),
    Attack(4, "metadata-too-long", "a timestamp is longer than any may be", P, _metadata_too_long),
    Attack(5, "rollback", "an old timestamp is served, of each repository", P, _rollback),
    Attack(6, "snapshot-drops", "a snapshot lists lower versions, signed well", P, _snapshot_drops),
    Attack(7, "snapshot-mixed", "an old snapshot beside a new timestamp", P, _snapshot_mixed),
    Attack(8, "targets-mixed", "old targets beside a new snapshot", P, _targets_mixed),
    Attack(9, "freeze", "nothing new is served for 40 days", P, _freeze),
    Attack(10, "old-time", "the Time server's answers are replayed", P, _old_time),
    Attack(
        11,
        "signatures",
        "timestamps unsigned, signed by a stranger, twice by one key, corrupted",
        P,
        _signatures,
    ),
    Attack(12, "wrong-type", "targets served as snapshot, signed well", P, _wrong_type),
    Attack(13, "root", "a new root that the old root's keys have not signed", P, _root_that_does_not_follow),
    Attack(14, "fast-forward", "versions of 2^31, then new keys", (HARMLESS,), _fast_forward, keeps=NOTHING),
    Attack(15, "revoked-keys", "metadata signed with keys that were revoked", P, _revoked_keys),
    Attack(
        16, "director-alone", "the Director's keys sign a malicious image", P, _director_alone, keeps=IMAGES
    ),
    Attack(17, "other-hardware", "an image for other hardware is assigned", P, _other_hardware, keeps=IMAGES),
    Attack(18, "ecu-twice", "the Director assigns two images to one ECU", P, _ecu_twice, keeps=IMAGES),
    Attack(19, "other-vehicle", "another vehicle's metadata is served", P, _other_vehicle, keeps=IMAGES),
    Attack(
        20,
        "image-repository-alone",
        "the Image repository's keys sign a malicious image",
        (HARMLESS,),
        _image_repository_alone,
        keeps=IMAGES,
    ),
    Attack(
        21,
        "supplier-outside",
        "a supplier describes an image that is not its business",
        P,
        _supplier_outside,
        keeps=IMAGES,
    ),
    Attack(22, "delegation-cycle", "delegations that lead in a circle", P, _delegation_cycle, keeps=IMAGES),
    Attack(
        23,
        "delegated-file-missing",
        "a supplier's file is withheld",
        P,
        _delegated_file_missing,
        keeps=IMAGES,
    ),
    Attack(
        24,
        "both-repositories",
        "the keys of both repositories are stolen",
        (INSTALLED,),
        _both_repositories,
        keeps=NOTHING,
    ),
    Attack(
        25,
        "primary-taken-over",
        "the Primary hands on a malicious image, another name, old metadata",
        S,
        _primary_taken_over,
    ),
    Attack(
        26,
        "archive-escape",
        "the Primary hands on archives that escape, repeat, link, explode",
        S,
        _archive_escape,
    ),
    Attack(
        27, "path-escape", "both repositories sign a name that leads elsewhere", P, _path_escape, keeps=IMAGES
    ),
    Attack(
        28,
        "ecu-manifest-changed",
        "an ECU's manifest is changed after it was signed",
        D,
        _ecu_manifest_changed,
    ),
    Attack(
        29,
        "vehicle-manifest-forged",
        "manifests of another vehicle, Primary or key",
        D,
        _vehicle_manifest_forged,
    ),
    Attack(30, "one-withheld", "one of two images is withheld", P, _one_withheld, keeps=IMAGES),
    Attack(31, "dropped-requests", "requests to one repository are dropped", P, _dropped_requests),
    Attack(
        32, "power-cut", "whoever publishes is killed in the middle", (HARMLESS,), _power_cut, keeps=NOTHING
    ),
    Attack(33, "malformed", f"{MUTATIONS} damaged files", P, _malformed),
    Attack(
        34, "second-registration", "a stranger registers a serial, and a Primary", D, _second_registration
    ),
    Attack(
        35,
        "eavesdropping",
        "an encrypted image is watched on its way",
        (HARMLESS,),
        _eavesdropping,
        keeps=NOTHING,
    ),
)
