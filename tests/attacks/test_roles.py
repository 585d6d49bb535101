"""Rows 5, 6, 10 to 15: lies about who signed what, and when."""

from typing import Any

import pytest

from swagent.testing.repositories import RepoSimulator
from swagent.uptane.errors import (
    InvalidMetadata,
    NonUniqueSignatures,
    RootRotationError,
    UnmetThreshold,
    VersionRollback,
)
from swagent.uptane.metadata import (
    DIRECTOR,
    IMAGE,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TOP_LEVEL,
    RoleKeys,
    Targets,
)
from swagent.uptane.signing import Signer
from tests.uptane_client.test_refresh import replace_keyid
from tests.uptane_client.world import FIRMWARE, PRIMARY, TCU, World

from .scenes import attacks_told, honest_again, kept, nothing_installed, refuses, running

REPOSITORIES = (DIRECTOR, IMAGE)


def repository_of(world: World, name: str) -> RepoSimulator:
    return world.director if name == DIRECTOR else world.image


def has_role(world: World, repository: str, role: str) -> bool:
    """aktualizr's Director has neither timestamp nor snapshot."""
    return world.dialect != "ak" or repository == IMAGE or role in (ROOT, TARGETS)


@pytest.mark.parametrize("repository", REPOSITORIES)
@pytest.mark.parametrize("role", [TIMESTAMP, SNAPSHOT, TARGETS])
class TestRollback:
    """Row 5, of each repository, at both ECUs."""

    def test_of_a_vehicle(self, world: World, repository: str, role: str) -> None:
        if not has_role(world, repository, role):
            pytest.skip("this Director has no such role")
        world.order(TCU)
        world.order(PRIMARY, "info.img")
        world.round()
        sim = repository_of(world, repository)
        good = dict(sim.versions)
        sim.versions[role] -= 2
        if role == TARGETS:
            sim.renew(TARGETS, Targets(sim.targets, vin=sim.vin))
        if role != TIMESTAMP:
            sim.publish_snapshot(sim.snapshot_body())
        sim.publish_timestamp()
        for ecu in (world.primary(), world.secondary()):
            with kept(world):
                refuses(ecu.cycle, VersionRollback)
        sim.versions = good
        honest_again(world)


class TestRollbackOfDirectorTargets:
    """Row 5 at an ECU that sees nothing else."""

    def test_partial(self, partial: World) -> None:
        partial.order(TCU)
        partial.round()
        old = partial.director.versions[TARGETS]
        partial.director.versions[TARGETS] = old - 2
        partial.publish()
        with kept(partial):
            refuses(partial.secondary().cycle, VersionRollback, role=TARGETS)
        partial.director.versions[TARGETS] = old
        honest_again(partial)


class TestDirectorTargetsSignatures:
    """Row 11 at a partial Secondary, which knows the targets keys and nothing else."""

    def two_of_two(self, world: World) -> tuple[list[Signer], Any]:
        both = [world.director.new_key(), world.director.new_key()]
        keys = {signer.key.keyid: signer.key for signer in both}
        return both, (keys, RoleKeys(tuple(keys), 2))

    def signed_by(self, world: World, signers: list[Signer]) -> None:
        world.order(TCU)
        body = world.codec.decode(world.director.files[TARGETS]).body
        world.director.files[TARGETS] = world.director.make(
            TARGETS, body, world.director.versions[TARGETS], signers
        )

    def test_threshold(self, partial: World) -> None:
        both, trust = self.two_of_two(partial)
        for signers, error in (
            ([], UnmetThreshold),
            (both[:1], UnmetThreshold),
            ([both[0], partial.director.new_key()], UnmetThreshold),
            ([both[0], replace_keyid(partial.director.new_key(), both[1].key.keyid)], UnmetThreshold),
            ([both[0], both[0]], NonUniqueSignatures),
        ):
            self.signed_by(partial, signers)
            with kept(partial):
                refuses(partial.secondary(director_keys=trust).cycle, error, role=TARGETS)
        self.signed_by(partial, both)
        assert partial.secondary(director_keys=trust).cycle() == "updated"

    def test_one_key_under_two_names(self, partial: World) -> None:
        one = partial.director.new_key()
        alias = replace_keyid(one, "ab" * 32)
        trust = (
            {one.key.keyid: one.key, alias.key.keyid: alias.key},
            RoleKeys((one.key.keyid, alias.key.keyid), 2),
        )
        self.signed_by(partial, [one, alias])
        with kept(partial):
            refuses(partial.secondary(director_keys=trust).cycle, UnmetThreshold, role=TARGETS)


def a_body(sim: RepoSimulator, role: str) -> Any:
    return sim.codec.decode(sim.files[role]).body


PAIRS = [(served_as, is_a) for served_as in TOP_LEVEL for is_a in TOP_LEVEL if served_as != is_a]


class TestFileOfAnotherRole:
    """Row 12: signed well, by the keys of the role that it is served as."""

    @pytest.mark.parametrize("repository", REPOSITORIES)
    @pytest.mark.parametrize(("served_as", "is_a"), PAIRS)
    def test_every_pair(self, world: World, repository: str, served_as: str, is_a: str) -> None:
        if not has_role(world, repository, served_as):
            pytest.skip("this Director has no such role")
        sim = repository_of(world, repository)
        world.order(TCU)
        version = sim.versions[served_as] + (served_as == ROOT)
        raw = sim.make(is_a, a_body(sim, is_a), version, sim.signers[served_as])
        if served_as == ROOT:
            sim.roots.append(raw)
        good, sim.files[served_as] = sim.files[served_as], raw
        if served_as == SNAPSHOT:
            sim.publish_timestamp()
        for ecu in (world.primary(), world.secondary()):
            with kept(world, repository):
                refuses(ecu.cycle, InvalidMetadata, role=served_as)
        sim.files[served_as] = good
        if served_as == ROOT:
            sim.roots.pop()
        honest_again(world)

    @pytest.mark.parametrize("is_a", [ROOT, TIMESTAMP, SNAPSHOT])
    def test_at_a_partial_secondary(self, partial: World, is_a: str) -> None:
        sim = partial.director
        partial.order(TCU)
        sim.files[TARGETS] = sim.make(is_a, a_body(sim, is_a), sim.versions[TARGETS], sim.signers[TARGETS])
        with kept(partial):
            refuses(partial.secondary().cycle, InvalidMetadata, role=TARGETS)
        honest_again(partial)


class TestRoot:
    """Row 13, at both ECUs and of both repositories."""

    @pytest.mark.parametrize("repository", REPOSITORIES)
    @pytest.mark.parametrize("how", ["old keys", "new keys", "unchanged version", "skipped version"])
    def test_that_does_not_follow(self, world: World, repository: str, how: str) -> None:
        sim = repository_of(world, repository)
        world.order(TCU)
        good = (list(sim.roots), sim.files[ROOT], sim.signers[ROOT])
        old, new = sim.signers[ROOT], [sim.new_key()]
        sim.signers[ROOT] = new
        signers = {"old keys": old, "new keys": new}.get(how, [*old, *new])
        version = sim.versions[ROOT] + {"unchanged version": 0, "skipped version": 2}.get(how, 1)
        sim.files[ROOT] = sim.make(ROOT, sim.root_body(), version, signers)
        sim.roots.append(sim.files[ROOT])
        with kept(world, repository):
            refuses(world.primary().cycle, RootRotationError, role=ROOT)
        # handed no chain, a Secondary follows an unversioned root by the old keys, as the reference does
        if not world.dialect.startswith("ref") or how in ("new keys", "unchanged version"):
            with kept(world, repository):
                refuses(world.secondary().cycle, RootRotationError, role=ROOT)
        sim.roots, sim.files[ROOT], sim.signers[ROOT] = good
        honest_again(world)


class TestFastForward:
    """Row 14: stolen keys push versions to the end; new keys in root bring the floor back."""

    @pytest.mark.parametrize("repository", REPOSITORIES)
    def test_recovery(self, world: World, repository: str) -> None:
        sim = repository_of(world, repository)
        roles = [role for role in (TIMESTAMP, SNAPSHOT, TARGETS) if has_role(world, repository, role)]
        for role in roles:
            sim.versions[role] = 2**31 - 3
        world.order(TCU)
        assert world.round() == "updated"
        for role in roles:
            sim.versions[role] = 10
        world.order(TCU, data=b"newer")
        for ecu in (world.primary(), world.secondary()):
            with nothing_installed(world):
                refuses(ecu.cycle, VersionRollback)
        sim.rotate(*(roles if roles == [TARGETS] else (TIMESTAMP, SNAPSHOT)))
        honest_again(world)


class TestRevokedKeys:
    """Row 15, at both ECUs and of both repositories."""

    @pytest.mark.parametrize("repository", REPOSITORIES)
    def test_used_again(self, world: World, repository: str) -> None:
        sim = repository_of(world, repository)
        roles = (TIMESTAMP, SNAPSHOT, TARGETS)
        revoked = {role: sim.signers[role] for role in roles}
        sim.rotate(*roles)
        world.order(TCU)
        world.round()
        good = {role: sim.signers[role] for role in roles}
        sim.signers.update(revoked)
        sim.publish()
        for ecu in (world.primary(), world.secondary()):
            with kept(world):
                refuses(ecu.cycle, UnmetThreshold)
        world.primary().report()
        assert "good signatures" in attacks_told(world), "the Director is told"
        sim.signers.update(good)
        honest_again(world)


class TestTime:
    """Row 10, at the Primary."""

    @pytest.mark.parametrize("what", ["wrong key", "other nonce", "set back"])
    def test_an_attestation_that_lies(self, world: World, what: str) -> None:
        signer = world.image.new_key() if what == "wrong key" else world.time.signer

        def lie(raw: bytes) -> bytes:
            content = world.codec.decode_time(raw).content
            if what == "other nonce":
                content = content._replace(nonces=(1,))
            if what == "set back":
                content = content._replace(time_s=content.time_s - 3600)
            return world.codec.encode_time(content, signer)

        world.time.lie = lie
        before = world.memory.fact("attested")
        world.clock.passes(60)
        world.primary().cycle()
        assert world.memory.fact("attested") == before, "the old time goes on"
        assert ("bad signature" in attacks_told(world)) == (what == "wrong key")
        world.time.lie = lambda raw: raw
        world.primary().cycle()
        assert world.memory.fact("attested") != before


def test_no_text_about_an_attack_stops_a_report(world: World) -> None:
    for _ in range(16):
        world.memory.note_attack("f\xfcr\t\x00 " + "\N{SNOWMAN}" * 600)
        world.tcu_memory.note_attack("f\xfcr\t\x00 " + "\N{SNOWMAN}" * 600)
    world.secondary().report()
    world.primary().cycle()
    assert "r" in attacks_told(world)
    assert world.memory.attacks() == (0, "")


def test_firmware_is_what_it_should_be(world: World) -> None:
    """The scenes above are not refused for some other reason: without a lie the image arrives."""
    world.order(TCU)
    assert world.round() == "updated"
    assert running(world)[TCU] == FIRMWARE
