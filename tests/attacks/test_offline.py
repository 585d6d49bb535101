"""Updates from a medium (PURE-2): what may be installed, and how a medium, or whoever signs for it, may lie."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swagent.errors import AttestedTimeError, SettingsError, SwagentError
from swagent.model import Outcome
from swagent.testing.media import OfflineSimulator, write_medium
from swagent.testing.powercut import cuts
from swagent.testing.repositories import DAY_S, RepoSimulator, image_target
from swagent.uptane.errors import (
    BadEcuId,
    BadHardwareId,
    BadVehicleId,
    ExpiredMetadata,
    InvalidMetadata,
    InvalidTarget,
    MixAndMatch,
    ReleaseCounterRollback,
    RootRotationError,
    TargetHashMismatch,
    TargetMismatch,
    UnmetThreshold,
    VersionMismatch,
    VersionRollback,
)
from swagent.uptane.metadata import (
    DIRECTOR,
    IMAGE,
    OFFLINE_ROLES,
    OFFLINE_SNAPSHOT,
    OFFLINE_TARGETS,
    ROOT,
    SNAPSHOT,
    TARGETS,
    Delegations,
    FileFacts,
    Snapshot,
    Target,
    Targets,
)
from swagent.uptane_client.carried import CarriedPrimary
from swagent.uptane_client.medium import Medium, MediumSource
from tests.faults.traced import recorded
from tests.uptane_client.test_powercut import CutOff, close, open_again
from tests.uptane_client.world import HARDWARE, PRIMARY, TCU, World

from .scenes import kept, nothing_installed, refuses, running

NAME = "EMEA-standard"
NEW = b"an image that was carried here"


class Carried:
    """A vehicle, and a medium for it that is good until a test makes it lie."""

    def __init__(self, folder: Path, dialect: str) -> None:
        self.world = World(folder, dialect)
        self.director = OfflineSimulator(dialect, seed=1, vin=self.world.director.vin)
        self.world.director = self.director
        self.image = self.world.image
        self.folder = folder / "medium"
        self.images: dict[str, bytes] = {}
        self.world.started()
        self.offer("info.img", NEW, hardware_ids=frozenset((HARDWARE[PRIMARY],)))

    def offer(self, path: str, data: bytes, *ecus: str, name: str = NAME, **facts: Any) -> None:
        """Both repositories sign an image for this hardware, or for these ECUs."""
        hardware = dict(facts, hardware_ids=facts.get("hardware_ids"))
        self.image.targets[path] = image_target(path, data, **hardware)
        body = self.director.offline.get(name, Targets({}))
        target = image_target(path, data, *ecus, **hardware)
        self.director.offline[name] = body._replace(targets={**body.targets, path: target})
        self.images[path] = data
        self.publish(name)

    def publish(self, *names: str) -> None:
        for sim in (self.director, self.image):
            sim.now_s = int(self.world.clock.now_s())
        self.image.publish()
        self.director.publish_offline(*names)

    def write(self, *names: str) -> None:
        write_medium(self.folder, self.director, self.image, self.images, names or None)

    def change(self, body: Targets) -> None:
        """The Director signs this instead."""
        self.director.offline[NAME] = body
        self.director.publish_offline()

    @property
    def body(self) -> Targets:
        return self.director.offline[NAME]

    def primary(self, **changes: Any) -> CarriedPrimary:
        medium = Medium(str(self.folder))
        sources = {"director": MediumSource(medium, DIRECTOR), "image": MediumSource(medium, IMAGE)}
        return CarriedPrimary(self.world.primary_parts(**sources, **changes))

    def cycle(self, **changes: Any) -> str:
        return self.primary(**changes).cycle().result

    def installs(self, **changes: Any) -> None:
        """All is written anew, and taken."""
        self.write()
        assert self.cycle(**changes) == "installed"
        assert self.world.installers[PRIMARY].runs == NEW

    def refused(self, *errors: type[SwagentError], role: str = "", write: bool = True) -> SwagentError:
        """The Director's part of the medium is refused, and nothing of what is stored changes."""
        with kept(self.world):
            return self.not_installed(*errors, role=role, write=write)

    def not_installed(self, *errors: type[SwagentError], role: str = "", write: bool = True) -> SwagentError:
        """The medium is refused; no image is stored, and none installed."""
        if write:
            self.write()
        with nothing_installed(self.world):
            before = self.fetched()
            failure = refuses(self.primary().cycle, *errors, role=role)
            assert self.fetched() == before
        return failure

    def fetched(self) -> list[Path]:
        """Images that are stored."""
        return sorted((self.world.folder / "files" / "primary" / "targets").rglob("*.img"))


@pytest.fixture(params=["tuf1", "ak"])
def carried(request: pytest.FixtureRequest, quick_path: Path) -> Carried:
    return Carried(quick_path, request.param)


class TestHonest:
    def test_by_hardware(self, carried: Carried) -> None:
        reports = len(carried.world.service.taken)
        carried.installs()
        assert carried.world.memory.ecus()[PRIMARY].installed.path == "info.img"
        assert carried.cycle() == "nothing-to-do"
        assert len(carried.world.service.taken) == reports, "nobody is told before the vehicle is online"
        assert carried.world.memory.results(untold=True)[1][0].correlation_id == f"offline:{NAME}:1"
        carried.world.primary().cycle()
        assert not carried.world.memory.results(untold=True)[1]

    def test_by_serial(self, carried: Carried) -> None:
        path, target = next(iter(carried.body.targets.items()))
        named = target._replace(hardware_ids=None, ecus={PRIMARY: HARDWARE[PRIMARY], "of another": ""})
        carried.change(Targets({path: named}))
        carried.installs()

    def test_an_ecu_that_nothing_here_installs_on(self, carried: Carried) -> None:
        carried.director.offline.clear()
        carried.offer("tcu.img", b"for the TCU", hardware_ids=frozenset((HARDWARE[TCU],)))
        carried.write()
        assert carried.cycle() == "downloaded"

    def test_images_for_others_are_passed_over(self, carried: Carried) -> None:
        carried.offer("other.img", b"other", hardware_ids=frozenset(("tractor",)))
        del carried.images["other.img"]
        carried.installs()

    def test_below_a_delegation(self, carried: Carried) -> None:
        target = carried.image.targets.pop("info.img")
        carried.image.delegate("supplier", ("*.img",), [target])
        carried.publish()
        carried.installs()

    def test_consistent_names_in_root(self, carried: Carried) -> None:
        carried.image.consistent_snapshot = True
        carried.image.renew_root()
        carried.publish()
        carried.installs()

    def test_expired_snapshot_of_the_image_repository(self, carried: Carried) -> None:
        carried.write()
        carried.world.clock.passes(60 * DAY_S)
        assert carried.cycle() == "installed"

    def test_names_of_the_paper(self, carried: Carried) -> None:
        carried.write()
        folder = carried.folder / "metadata" / "director"
        os.rename(folder / f"{OFFLINE_SNAPSHOT}.json", folder / "Offline-update-snapshot.json")
        assert carried.cycle() == "installed"

    def test_the_roots_follow(self, carried: Carried) -> None:
        carried.director.rotate(ROOT, *OFFLINE_ROLES)
        carried.image.rotate(ROOT, SNAPSHOT, TARGETS)
        carried.publish()
        carried.installs()
        assert carried.world.metadata.load(DIRECTOR, ROOT) == carried.director.roots[-1]

    def test_the_last_attested_time_counts(self, carried: Carried) -> None:
        carried.write()
        carried.world.clock.passes(30 * DAY_S)
        assert carried.cycle(time=None) == "installed"

    def test_without_any_attested_time(self, carried: Carried) -> None:
        carried.write()
        carried.world.memory.keep_fact("attested", None)
        refuses(carried.primary(time=None).cycle, AttestedTimeError)

    def test_an_installation_that_waits_for_its_reboot(self, carried: Carried) -> None:
        carried.world.order(PRIMARY, "first.img", b"first")
        carried.world.installers[PRIMARY].outcome = Outcome(21)
        assert carried.world.primary().cycle().result == "pending"
        carried.write()
        assert carried.cycle() == "pending"


class TestNewerAndOlder:
    """What is known from online cycles, and what media brought before, counts for every medium."""

    def test_an_older_medium_may_still_be_good(self, carried: Carried) -> None:
        carried.write()
        carried.director.offline["EMEA-premium"] = Targets({})
        carried.director.publish_offline("EMEA-premium")
        carried.world.primary().cycle()
        stored = carried.world.metadata.load(DIRECTOR, OFFLINE_SNAPSHOT)
        assert stored == carried.director.offline_snapshot
        assert carried.cycle() == "installed"
        assert carried.world.metadata.load(DIRECTOR, OFFLINE_SNAPSHOT) == stored

    def test_targets_that_the_director_replaced(self, carried: Carried) -> None:
        carried.write()
        carried.change(carried.body)
        carried.world.primary().cycle()
        carried.refused(VersionMismatch, role=OFFLINE_TARGETS, write=False)

    def test_targets_that_the_director_withdrew(self, carried: Carried) -> None:
        carried.write()
        carried.world.primary().cycle()
        carried.director.publish_offline_snapshot({})
        carried.world.primary().cycle()
        carried.refused(MixAndMatch, role=OFFLINE_TARGETS, write=False)
        carried.director.publish_offline_snapshot({NAME: 0})
        carried.refused(VersionRollback, role=OFFLINE_SNAPSHOT)

    def test_floors_survive_the_file(self, carried: Carried) -> None:
        carried.write()
        carried.change(carried.body)
        carried.world.primary().cycle()
        carried.world.metadata.forget(DIRECTOR, OFFLINE_SNAPSHOT)
        carried.refused(VersionRollback, role=OFFLINE_SNAPSHOT, write=False)

    def test_an_older_snapshot_that_lists_the_same(self, carried: Carried) -> None:
        carried.write()
        carried.director.publish_offline_snapshot({NAME: 1})
        carried.world.primary().cycle()
        carried.world.metadata.forget(DIRECTOR, OFFLINE_SNAPSHOT)
        carried.refused(VersionRollback, role=OFFLINE_SNAPSHOT, write=False)

    def test_a_stored_snapshot_by_somebody_else_is_as_good_as_none(self, carried: Carried) -> None:
        forged = carried.director.make_offline(
            OFFLINE_SNAPSHOT, Snapshot({NAME: FileFacts(9)}), 9, [carried.director.new_key()]
        )
        carried.world.metadata.save(DIRECTOR, OFFLINE_SNAPSHOT, forged)
        carried.installs()

    def test_a_snapshot_that_lists_less(self, carried: Carried) -> None:
        carried.change(carried.body)
        carried.world.primary().cycle()
        carried.director.publish_offline_snapshot({NAME: 1})
        carried.refused(VersionRollback, role=OFFLINE_SNAPSHOT)

    @pytest.mark.parametrize("lie", ["lower", "dropped"])
    def test_image_targets(self, carried: Carried, lie: str) -> None:
        carried.image.delegate("supplier", ("lib/*",))
        carried.world.order(PRIMARY, "first.img", b"first")
        carried.world.primary().cycle()
        files = {TARGETS: FileFacts(carried.image.versions[TARGETS])}
        if lie == "lower":
            files = {TARGETS: FileFacts(1), "supplier": FileFacts(1)}
        carried.image.publish_snapshot(Snapshot(files))
        carried.not_installed(VersionRollback, role=SNAPSHOT)

    def test_an_image_snapshot_that_is_older_than_ours(self, carried: Carried) -> None:
        carried.write()
        carried.image.targets["later.img"] = image_target("later.img", b"later")
        carried.world.order(PRIMARY, "first.img", b"first")
        carried.world.primary().cycle()
        stored = carried.world.metadata.load(IMAGE, SNAPSHOT)
        assert carried.cycle() == "installed"
        assert carried.world.metadata.load(IMAGE, SNAPSHOT) == stored

    def test_an_image_that_the_image_repository_withdrew(self, carried: Carried) -> None:
        carried.write()
        del carried.image.targets["info.img"]
        carried.world.order(PRIMARY, "first.img", b"first")
        carried.world.primary().cycle()
        carried.not_installed(TargetMismatch, write=False)

    def test_what_a_medium_brought_counts_online(self, carried: Carried) -> None:
        carried.publish()
        old = dict(carried.image.files), dict(carried.image.versions)
        carried.publish()
        carried.installs()
        carried.world.order(PRIMARY, "first.img", b"first")
        carried.image.files, carried.image.versions = old
        refuses(carried.world.primary().cycle, VersionRollback)

    def test_fast_forward(self, carried: Carried) -> None:
        carried.director.versions[OFFLINE_SNAPSHOT] = 2**31
        carried.director.versions[NAME] = 2**31
        carried.publish()
        carried.installs()
        carried.director.versions |= {OFFLINE_SNAPSHOT: 1, NAME: 1}
        carried.offer("info.img", NEW + b"er", hardware_ids=frozenset((HARDWARE[PRIMARY],)))
        carried.write()
        with kept(carried.world):
            refuses(carried.primary().cycle, VersionMismatch)
        carried.director.rotate(OFFLINE_SNAPSHOT)
        carried.director.publish_offline_snapshot({NAME: carried.director.versions[NAME]})
        carried.write()
        assert carried.cycle() == "installed"

    def test_a_role_that_goes_and_comes_again_keeps_its_floors(self, carried: Carried) -> None:
        carried.write()
        carried.change(carried.body)
        carried.world.primary().cycle()
        carried.world.metadata.forget(DIRECTOR, OFFLINE_SNAPSHOT)
        carried.director.offline_snapshot = b""
        signers = {role: carried.director.signers.pop(role) for role in OFFLINE_ROLES}
        carried.director.renew_root()
        carried.director.signers |= signers
        carried.director.renew_root()
        carried.world.primary().cycle()
        assert carried.world.metadata.floors(DIRECTOR).offline == ((NAME, 2),)

    def test_release_counters(self, carried: Carried) -> None:
        facts: dict[str, Any] = {"hardware_ids": frozenset((HARDWARE[PRIMARY],))}
        carried.offer("info.img", NEW, release_counter=5, **facts)
        carried.installs()
        carried.offer("info.img", b"older", release_counter=4, **facts)
        carried.write()
        with nothing_installed(carried.world):
            refuses(carried.primary().cycle, ReleaseCounterRollback)


class TestOnline:
    """The additional step of an online cycle."""

    def test_somebody_elses_snapshot_changes_nothing(self, carried: Carried) -> None:
        carried.world.primary().cycle()
        stored = carried.world.metadata.load(DIRECTOR, OFFLINE_SNAPSHOT)
        assert stored
        body = Snapshot({NAME: FileFacts(9)})
        for raw in (
            carried.director.make_offline(OFFLINE_SNAPSHOT, body, 9, [carried.director.new_key()]),
            b"rubbish",
        ):
            carried.director.offline_snapshot = raw
            carried.world.order(PRIMARY, "first.img", raw[:20])
            assert carried.world.primary().cycle().result == "installed"
            assert carried.world.metadata.load(DIRECTOR, OFFLINE_SNAPSHOT) == stored

    def test_an_older_one_ends_the_cycle(self, carried: Carried) -> None:
        old = carried.director.offline_snapshot
        carried.change(carried.body)
        carried.world.primary().cycle()
        carried.director.offline_snapshot = old
        carried.world.order(PRIMARY, "first.img", b"first")
        with nothing_installed(carried.world):
            refuses(carried.world.primary().cycle, VersionRollback, role=OFFLINE_SNAPSHOT)

    def test_targets_for_media_are_no_targets(self, carried: Carried) -> None:
        """The paper lets one key sign both."""
        carried.director.signers[OFFLINE_TARGETS] = carried.director.signers[TARGETS]
        carried.director.renew_root()
        carried.director.versions[NAME] = 10
        carried.change(Targets({"info.img": image_target("info.img", NEW, PRIMARY)}))
        carried.world.order(PRIMARY, "info.img", NEW)
        carried.director.versions[TARGETS] = 11
        carried.director.files[TARGETS] = carried.director.offline_files[NAME]
        carried.director.renew_lists()
        with nothing_installed(carried.world):
            refuses(carried.world.primary().cycle, InvalidMetadata, role=TARGETS)

    def test_nothing_is_asked_where_root_allows_nothing(self, quick_path: Path) -> None:
        world = World(quick_path, "tuf1").started()
        assert not [name for name in world.director.fetched if name.lower().startswith("offline")]


class TestTheDirector:
    """What only its keys can sign."""

    @pytest.mark.parametrize("role", OFFLINE_ROLES)
    def test_signed_by_somebody_else(self, carried: Carried, role: str) -> None:
        carried.director.signers[role] = [carried.director.new_key()]
        carried.publish()
        carried.refused(UnmetThreshold, role=role)

    def test_a_root_that_allows_none(self, quick_path: Path) -> None:
        carried = Carried(quick_path, "tuf1")
        for role in OFFLINE_ROLES:
            del carried.director.signers[role]
        carried.director.renew_root()
        carried.world.primary().cycle()
        assert carried.refused(UnmetThreshold, role=OFFLINE_SNAPSHOT).message.endswith(
            "allows no updates from a medium"
        )

    @pytest.mark.parametrize("role", [OFFLINE_SNAPSHOT, OFFLINE_TARGETS])
    def test_expired(self, carried: Carried, role: str) -> None:
        carried.director.lifetime_s[role] = DAY_S
        carried.publish()
        carried.write()
        carried.world.clock.passes(DAY_S)
        carried.refused(ExpiredMetadata, role=role, write=False)

    def test_an_expired_snapshot_that_we_had(self, carried: Carried) -> None:
        carried.director.lifetime_s[OFFLINE_SNAPSHOT] = DAY_S
        carried.publish()
        carried.world.primary().cycle()
        carried.write()
        carried.world.clock.passes(DAY_S)
        carried.refused(ExpiredMetadata, role=OFFLINE_SNAPSHOT, write=False)

    def test_ordinary_targets_in_their_place(self, carried: Carried) -> None:
        carried.director.signers[TARGETS] = carried.director.signers[OFFLINE_TARGETS]
        carried.director.offline_files[NAME] = carried.director.make(TARGETS, carried.body, 1)
        carried.refused(InvalidMetadata, role=OFFLINE_TARGETS)

    def test_an_ordinary_snapshot_in_its_place(self, carried: Carried) -> None:
        body = Snapshot({TARGETS: FileFacts(1), NAME: FileFacts(1)})
        signers = carried.director.signers[OFFLINE_SNAPSHOT]
        carried.director.offline_snapshot = carried.director.make(SNAPSHOT, body, 1, signers)
        carried.refused(InvalidMetadata, role=OFFLINE_SNAPSHOT)

    @pytest.mark.parametrize("name", ["targets", "root", "offline-updates", "Snapshot"])
    def test_a_snapshot_that_lists_another_role(self, carried: Carried, name: str) -> None:
        carried.director.publish_offline_snapshot({NAME: 1, name: 1})
        carried.refused(InvalidMetadata, role=OFFLINE_SNAPSHOT)

    def test_not_the_version_listed(self, carried: Carried) -> None:
        carried.director.publish_offline_snapshot({NAME: 7})
        carried.refused(VersionMismatch, role=OFFLINE_TARGETS)

    def test_not_the_hash_listed(self, carried: Carried) -> None:
        director = carried.director
        director.versions[OFFLINE_SNAPSHOT] += 1
        body = Snapshot({NAME: FileFacts(1, None, {"sha256": "00" * 32})})
        director.offline_snapshot = director.make_offline(
            OFFLINE_SNAPSHOT, body, director.versions[OFFLINE_SNAPSHOT]
        )
        carried.refused(MixAndMatch, role=OFFLINE_TARGETS)

    def test_delegations(self, carried: Carried) -> None:
        carried.image.delegate("supplier", ("*",))
        carried.change(carried.body._replace(delegations=carried.image.delegations))
        carried.image.delegations = Delegations()
        carried.refused(InvalidMetadata, role=OFFLINE_TARGETS)

    def test_two_images_for_one_ecu(self, carried: Carried) -> None:
        carried.offer("other.img", b"other", hardware_ids=frozenset((HARDWARE[PRIMARY], "tractor")))
        carried.not_installed(BadEcuId)

    def test_two_images_of_which_it_runs_one(self, carried: Carried) -> None:
        carried.installs()
        carried.offer("other.img", b"other", PRIMARY)
        carried.write()
        with nothing_installed(carried.world):
            refuses(carried.primary().cycle, BadEcuId)

    def test_an_image_that_does_not_say_what_it_is_for(self, carried: Carried) -> None:
        carried.offer("other.img", b"other")
        carried.not_installed(BadEcuId)

    def test_another_vehicles(self, carried: Carried) -> None:
        carried.change(carried.body._replace(vin="another"))
        carried.not_installed(BadVehicleId)

    def test_other_hardware_than_the_ecu_it_names(self, carried: Carried) -> None:
        target = carried.body.targets["info.img"]._replace(ecus={PRIMARY: "tractor"}, hardware_ids=None)
        carried.change(Targets({"info.img": target}))
        carried.not_installed(BadHardwareId)

    @pytest.mark.parametrize("path", ["../info.img", "/etc/passwd", "a/../../info.img"])
    @pytest.mark.parametrize("hardware", [HARDWARE[PRIMARY], "tractor"])
    def test_an_image_whose_name_leads_elsewhere(self, carried: Carried, hardware: str, path: str) -> None:
        carried.director.offline.clear()
        carried.offer(path, b"x", hardware_ids=frozenset((hardware,)))
        carried.images.clear()
        carried.not_installed(InvalidTarget)

    @pytest.mark.parametrize("other", [False, True])
    def test_the_director_alone(self, carried: Carried, *, other: bool) -> None:
        """Also where the image is for other vehicles."""
        hardware = "tractor" if other else HARDWARE[PRIMARY]
        forged = image_target("forged.img", b"forged", hardware_ids=frozenset((hardware,)))
        targets = {**carried.body.targets, "forged.img": forged} if other else {"forged.img": forged}
        carried.change(Targets(targets))
        carried.not_installed(TargetMismatch)


class TestTheMedium:
    """What whoever has it in his hands can do."""

    def spoil(self, carried: Carried, change: Callable[[Path], None], *errors: type[SwagentError]) -> None:
        carried.write()
        change(carried.folder)
        carried.not_installed(*errors, write=False)

    def test_two_targets_files(self, carried: Carried) -> None:
        carried.director.offline["EMEA-premium"] = carried.body
        carried.director.publish_offline()
        carried.not_installed(InvalidMetadata, role=OFFLINE_TARGETS)
        (carried.folder / "metadata" / "director" / "EMEA-premium.json").unlink()
        assert carried.cycle() == "installed"

    def test_no_targets_file(self, carried: Carried) -> None:
        self.spoil(carried, lambda folder: (folder / f"metadata/director/{NAME}.json").unlink(), MixAndMatch)

    def test_a_targets_file_that_is_not_listed(self, carried: Carried) -> None:
        def rename(folder: Path) -> None:
            director = folder / "metadata" / "director"
            (director / f"{NAME}.json").rename(director / "other.json")

        self.spoil(carried, rename, MixAndMatch)

    def test_a_targets_file_twice_its_name(self, carried: Carried) -> None:
        """Names in the snapshot never lead off the folder of metadata."""
        carried.director.publish_offline_snapshot({"../../elsewhere": 1})
        carried.write()
        (carried.folder / "elsewhere.json").write_bytes(carried.director.offline_files[NAME])
        carried.not_installed(MixAndMatch, write=False)

    @pytest.mark.parametrize(
        "missing", ["director/3.root.json", "image-repo/snapshot.json", "image-repo/targets.json"]
    )
    def test_a_file_is_missing(self, carried: Carried, missing: str) -> None:
        carried.director.rotate(*OFFLINE_ROLES)
        carried.publish()
        self.spoil(carried, lambda folder: (folder / "metadata" / missing).unlink(), SwagentError)

    def test_a_root_that_does_not_follow(self, carried: Carried) -> None:
        carried.director.signers[ROOT] = [carried.director.new_key()]
        carried.director.renew_root()
        carried.not_installed(RootRotationError)

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            (lambda data: data[:-1] + b"X", TargetHashMismatch),
            (lambda data: data[:-1], TargetHashMismatch),
            (lambda data: data + b"X", SwagentError),
            (lambda data: b"", TargetHashMismatch),
        ],
    )
    def test_another_image(
        self, carried: Carried, change: Callable[[bytes], bytes], error: type[SwagentError]
    ) -> None:
        carried.images["info.img"] = change(NEW)
        carried.not_installed(error)

    def test_images_swapped(self, carried: Carried) -> None:
        carried.offer("tcu.img", b"the other image's", hardware_ids=frozenset((HARDWARE[TCU],)))
        carried.images |= {"info.img": carried.images["tcu.img"], "tcu.img": NEW}
        carried.not_installed(SwagentError)

    def test_no_image(self, carried: Carried) -> None:
        carried.images.clear()
        carried.not_installed(SwagentError)

    @pytest.mark.parametrize(
        "name",
        [
            f"metadata/director/{OFFLINE_SNAPSHOT}.json",
            f"metadata/director/{NAME}.json",
            "metadata/image-repo/targets.json",
            "metadata/image-repo",
            "images",
            "images/info.img",
        ],
    )
    @pytest.mark.parametrize("instead", ["link", "pipe"])
    def test_links_and_pipes(self, carried: Carried, name: str, instead: str) -> None:
        def replace(folder: Path) -> None:
            path, real = folder / name, folder.parent / "outside"
            path.rename(real)
            if instead == "link":
                path.symlink_to(real)
            else:
                os.mkfifo(path)

        carried.write()
        replace(carried.folder)
        if name == "metadata/image-repo" and instead == "pipe":
            with pytest.raises(SettingsError):
                Medium(str(carried.folder))
            return
        carried.not_installed(InvalidMetadata, write=False)

    def test_an_image_snapshot_by_somebody_else(self, carried: Carried) -> None:
        carried.image.signers[SNAPSHOT] = [carried.image.new_key()]
        carried.publish()
        carried.not_installed(UnmetThreshold, role=SNAPSHOT)

    def test_endless_metadata(self, carried: Carried) -> None:
        def lengthen(folder: Path) -> None:
            with (folder / f"metadata/director/{OFFLINE_SNAPSHOT}.json").open("ab") as file:
                file.truncate(3_000_000)

        self.spoil(carried, lengthen, SwagentError)

    def test_no_medium(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="has no folder metadata/director"):
            Medium(str(tmp_path))
        with pytest.raises(SettingsError, match="No such file"):
            Medium(str(tmp_path / "nowhere"))


def test_dialects_without_words_for_it(quick_path: Path) -> None:
    for dialect in ("ref-json", "ref-der"):
        sim = RepoSimulator(dialect)
        with pytest.raises(ValueError, match="no updates from a medium"):
            sim.codec.decode(sim.files[TARGETS], offline=True)
        with pytest.raises(ValueError, match="no updates from a medium"):
            sim.codec.encode(Targets({}), version=1, expires_s=1, signers=(), offline=True)


def test_the_words_of_the_paper(quick_path: Path) -> None:
    """PURE-2's samples: other names of types and of roles in root."""
    carried = Carried(quick_path, "ak")
    codec, director = carried.director.codec, carried.director
    raw = director.make_offline(OFFLINE_TARGETS, Targets({"a": Target("a", 1, {"sha256": "00" * 32})}), 5)
    shown = raw.replace(b'"Offline-Updates"', b'"Offline-Targets"')
    assert shown != raw
    assert codec.decode(shown, offline=True).body == codec.decode(raw, offline=True).body
    root = director.roots[-1]
    shown = root.replace(b'"offline-snapshot"', b'"Offline-update-snapshot"')
    shown = shown.replace(b'"offline-updates"', b'"Offline-update-targets"')
    assert codec.decode(shown).body == codec.decode(root).body
    twice = root.replace(
        b'"snapshot":{', b'"Offline-update-snapshot":{"keyids":[],"threshold":1},"snapshot":{'
    )
    assert twice != root
    with pytest.raises(ValueError, match="twice"):
        codec.decode(twice)


def test_what_runs_is_untouched_by_all_that(quick_path: Path) -> None:
    carried = Carried(quick_path, "tuf1")
    before = running(carried.world)
    carried.images["info.img"] = b"forged"
    carried.not_installed(SwagentError)
    assert running(carried.world) == before


@pytest.mark.parametrize(
    "share", [pytest.param(1.0, marks=[pytest.mark.slow, pytest.mark.timeout(3600)]), 8 / 1000]
)
def test_power_cuts(quick_path: Path, share: float) -> None:
    """Keys rotate, an image is installed; whatever a cut leaves, the medium can be taken again."""
    (quick_path / "vehicle").mkdir()
    carried = Carried(quick_path / "vehicle", "tuf1")
    carried.director.rotate(ROOT, *OFFLINE_ROLES)
    carried.image.rotate(SNAPSHOT, TARGETS)
    carried.publish()
    carried.write()
    world = carried.world
    close(world)

    def work() -> None:
        open_again(world)
        assert carried.cycle() == "installed"

    recording = recorded(carried.world.folder, quick_path / "trace", work)
    dice = random.Random(1)
    found = [cut for cut in cuts(recording, by_chance=2, seed=1) if dice.random() < share]
    assert found
    for cut, tree in recording.crashes(found):
        close(world)
        tree.restore(world.folder)
        open_again(world)
        world.installers = {serial: CutOff(done=bool(cut.point % 2)) for serial in (PRIMARY, TCU)}
        story = recording.story(cut)
        assert carried.cycle() in ("installed", "nothing-to-do"), story
        assert world.memory.ecus()[PRIMARY].installed.path == "info.img", story
        assert world.metadata.load(DIRECTOR, OFFLINE_SNAPSHOT) == carried.director.offline_snapshot, story
        world.primary().cycle()
        assert not world.memory.results(untold=True)[1], story
