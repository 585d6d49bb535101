"""What can be done to a fleet without any key: lying mirrors, old files, a Primary that was taken over."""

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
from swagent.uptane.errors import Spoofing
from swagent.uptane.metadata import (
    DIRECTOR,
    IMAGE,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
)
from swagent.uptane_client.sources import OPTIONS

from .bench import Bench
from .image_side import OFFICE
from .place import DIRECTOR as DIRECTOR_WINDOW
from .place import EVIL, FIRMWARE, PASSWORD, PRIMARY, PRIMARY_WINDOW, SECONDARY, SECONDARY_WINDOW, VIN

DAY_S = 86_400
MUTATIONS, KILLS = 25, 4
REPOSITORIES = (DIRECTOR, IMAGE)


# -- mirrors, without keys


def image_changed(bench: Bench) -> None:
    """An image on a mirror is replaced."""
    bench.parties.dd.mitm_arbitrary_package_attack(VIN, FIRMWARE)
    bench.primary()
    bench.parties.dd.undo_mitm_arbitrary_package_attack(VIN, FIRMWARE)


def image_longer(bench: Bench) -> None:
    """An image on all mirrors is longer than signed."""
    for path in bench.mirrors(FIRMWARE):
        with open(path, "rb") as file:
            bench.write(path, file.read() + b"and more of it" * 1000)
    bench.primary()


def image_truncated(bench: Bench) -> None:
    """An image on all mirrors ends early."""
    for path in bench.mirrors(FIRMWARE):
        with open(path, "rb") as file:
            bench.write(path, file.read()[:-3])
    bench.primary()


def metadata_too_long(bench: Bench) -> None:
    """A timestamp is longer than any may be."""
    for repository in REPOSITORIES:
        raw = bench.read(repository, TIMESTAMP)
        bench.serve(repository, TIMESTAMP, raw + b" " * bench.place.rules.caps.timestamp)
        bench.primary()
        bench.undo()


def dropped_requests(bench: Bench) -> None:
    """Requests to one repository are dropped."""
    for side in (bench.parties.dd, bench.parties.di):
        side.kill_server()
        bench.primary()
        side.host()


def malformed(bench: Bench) -> None:
    """Damaged files, by chance, always the same."""
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


def rollback(bench: Bench) -> None:
    """An old timestamp is served, of each repository."""
    for repository in REPOSITORIES:
        old = bench.read(repository, TIMESTAMP)
        bench.order()
        bench.both()
        bench.mark()
        bench.serve(repository, TIMESTAMP, old)
        bench.primary()
        bench.undo()


def snapshot_mixed(bench: Bench) -> None:
    """An old snapshot beside a new timestamp."""
    old = bench.read(DIRECTOR, SNAPSHOT)
    bench.parties.dd.write_to_live(VIN)
    bench.serve(DIRECTOR, SNAPSHOT, old, bench.thief(DIRECTOR).versions[TIMESTAMP])
    bench.primary()


def targets_mixed(bench: Bench) -> None:
    """Old targets beside a new snapshot."""
    old = bench.read(DIRECTOR, TARGETS)
    bench.order()
    version = bench.place.codec.decode(bench.read(DIRECTOR, TARGETS)).version
    bench.serve(DIRECTOR, TARGETS, old, version)
    bench.primary()


def freeze(bench: Bench) -> None:
    """Nothing new is served for 40 days."""
    bench.clock.ahead_s += 40 * DAY_S
    bench.primary()


def old_time(bench: Bench) -> None:
    """The Time server's answers are replayed."""
    bench.parties.dt.replay_attestation_attack()
    bench.primary()
    bench.parties.dt.undo_replay_attestation_attack()


def other_vehicle(bench: Bench) -> None:
    """Another vehicle's metadata is served."""
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


# -- whatever else may happen


def one_withheld(bench: Bench) -> None:
    """One of two images is withheld."""
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


def power_cut(bench: Bench) -> None:
    """Whoever publishes is killed in the middle."""
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


def eavesdropping(bench: Bench) -> None:
    """An encrypted image is watched on its way."""
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


# -- against the Director


def ecu_manifest_changed(bench: Bench) -> None:
    """An ECU's manifest is changed after it was signed."""
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


def vehicle_manifest_forged(bench: Bench) -> None:
    """Manifests of another vehicle, Primary or key."""
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


def second_registration(bench: Bench) -> None:
    """A stranger registers a serial, and a Primary."""
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


# -- a Primary that was taken over


def primary_taken_over(bench: Bench) -> None:
    """The Primary hands on a malicious image, another name, old metadata."""
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


def archive_escape(bench: Bench) -> None:
    """The Primary hands on archives that escape, repeat, link, explode."""
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
