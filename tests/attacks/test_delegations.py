"""Rows 21 to 23: suppliers to whom the Image repository delegates."""

from typing import Any

import pytest

from swagent.errors import UptaneError
from swagent.testing.repositories import DAY_S, RepoSimulator, image_target
from swagent.uptane.codecs import NAMES
from swagent.uptane.errors import (
    DelegationHashMismatch,
    DelegationMissing,
    ExpiredMetadata,
    InvalidMetadata,
    UnmetThreshold,
    VersionMismatch,
    VersionRollback,
)
from swagent.uptane.metadata import IMAGE, TARGETS, TIMESTAMP, Delegations, Targets
from swagent.uptane.signing import Signer
from swagent.uptane_client.refresh import MemoryStore
from tests.uptane_client.test_refresh import entry_for, everything, refresh, store_of

DER = "ref-der"
"""It delegates by paths alone, and of what it delegates to its snapshot lists versions alone."""
HONEST = image_target("lib/x.img", b"honest")


@pytest.fixture(params=NAMES)
def sim(request: pytest.FixtureRequest) -> RepoSimulator:
    sim = RepoSimulator(request.param)
    hardware: Any = {} if request.param == DER else {"hardware_ids": frozenset(("tcu",))}
    sim.delegate("supplier", ("lib/*",), [HONEST], **hardware)
    sim.publish()
    return sim


@pytest.fixture
def store(sim: RepoSimulator) -> MemoryStore:
    """What a device knows that has found the supplier's image once."""
    store = store_of(sim)
    assert refresh(sim, store).find("lib/x.img", "tcu") is not None
    return store


def refused(sim: RepoSimulator, store: MemoryStore, error: type[UptaneError]) -> None:
    """The search ends in this error, and all stored files are what they were before it."""
    run = refresh(sim, store)
    before = everything(store)
    with pytest.raises(error):
        run.find("lib/x.img", "tcu")
    assert everything(store) == before, "kept"


def found_again(sim: RepoSimulator, store: MemoryStore) -> None:
    sim.publish()
    found = refresh(sim, store).find("lib/x.img", "tcu")
    assert found is not None
    assert found.hashes == HONEST.hashes
    assert store.files[IMAGE, "supplier"] == sim.files["supplier"]


class TestOutside:
    """Row 21."""

    @pytest.mark.parametrize(
        ("path", "hardware"), [("other/x.img", "tcu"), ("lib/x.img", "bcu"), ("lib/x.img", "")]
    )
    def test_its_paths_or_hardware(self, sim: RepoSimulator, path: str, hardware: str) -> None:
        if sim.dialect == DER and path == "lib/x.img":
            pytest.skip("this encoding has no words for hardware")
        sim.delegated["supplier"] = Targets({path: image_target(path, b"evil")})
        sim.publish()
        assert refresh(sim, store_of(sim)).find(path, hardware) is None

    def test_a_hash_prefix_that_is_not_its_own(self, sim: RepoSimulator) -> None:
        if sim.dialect == DER:
            pytest.skip("this encoding has no words for hashes of names")
        entry = sim.delegate("bin", ("x",), [image_target("any.img", b"evil")])
        other = entry._replace(paths=None, hash_prefixes=("", "zz"))
        sim.delegations = sim.delegations._replace(entries=(other,))
        sim.publish()
        assert refresh(sim, store_of(sim)).find("any.img") is None


class TestBounds:
    """Row 22."""

    def test_terminating_without_the_image(self, sim: RepoSimulator) -> None:
        sim.delegations = Delegations()
        sim.delegate("first", ("lib/*",), terminating=True)
        sim.delegate("second", ("lib/*",), [HONEST])
        sim.publish()
        assert refresh(sim, store_of(sim)).find("lib/x.img", "tcu") is None

    def test_a_cycle(self, sim: RepoSimulator) -> None:
        sim.delegate("team", ("*",), to="supplier")
        key = sim.signers["supplier"][0]
        sim.delegated["team"] = Targets(
            {}, Delegations({key.key.keyid: key.key}, (entry_for("supplier", key),))
        )
        sim.publish()
        sim.fetched.clear()
        assert refresh(sim, store_of(sim)).find("lib/nowhere.img", "tcu") is None
        assert len(sim.fetched) < 10

    def test_ten_thousand_roles(self, sim: RepoSimulator) -> None:
        signer: Signer = sim.new_key()
        for number in range(60):
            sim.signers[f"r{number}"] = [signer]
            sim.delegated[f"r{number}"] = Targets({})
        entries = tuple(entry_for(f"r{number}", signer) for number in range(10_000))
        sim.delegations = Delegations({signer.key.keyid: signer.key}, entries)
        sim.publish()
        sim.fetched.clear()
        assert refresh(sim, store_of(sim)).find("x.img") is None
        assert len(sim.fetched) < 50

    def test_deeper_than_is_followed(self, sim: RepoSimulator) -> None:
        to = "supplier"
        for number in range(7):
            sim.delegate(f"d{number}", ("lib/*",), [image_target(f"lib/{number}.img", b"x")], to=to)
            to = f"d{number}"
        sim.publish()
        run = refresh(sim, store_of(sim))
        assert run.find("lib/3.img", "tcu") is not None
        assert run.find("lib/4.img", "tcu") is None


class TestTheFile:
    """Row 23, and row 8 for delegated roles."""

    def test_missing(self, sim: RepoSimulator, store: MemoryStore) -> None:
        sim.publish()
        del sim.files["supplier"]
        refused(sim, store, DelegationMissing)
        found_again(sim, store)

    def test_expired(self, sim: RepoSimulator, store: MemoryStore) -> None:
        sim.lifetime_s["supplier"] = 0
        sim.publish()
        refused(sim, store, ExpiredMetadata)
        sim.lifetime_s["supplier"] = DAY_S
        found_again(sim, store)

    def test_no_longer_listed(self, sim: RepoSimulator, store: MemoryStore) -> None:
        sim.publish()
        body = sim.snapshot_body()
        sim.publish_snapshot(body._replace(files={TARGETS: body.files[TARGETS]}))
        sim.publish_timestamp()
        before = everything(store)
        with pytest.raises(VersionRollback):
            refresh(sim, store)
        assert everything(store) == before, "kept"
        found_again(sim, store)

    def test_never_listed(self, sim: RepoSimulator) -> None:
        store = store_of(sim)
        body = sim.snapshot_body()
        sim.publish_snapshot(body._replace(files={TARGETS: body.files[TARGETS]}))
        sim.publish_timestamp()
        refused(sim, store, DelegationMissing)
        found_again(sim, store)

    @pytest.mark.parametrize("by", [-1, 1])
    def test_another_version(self, sim: RepoSimulator, store: MemoryStore, by: int) -> None:
        sim.publish()
        good = sim.files["supplier"]
        sim.files["supplier"] = sim.make("supplier", sim.delegated["supplier"], sim.versions["supplier"] + by)
        refused(sim, store, VersionMismatch)
        sim.files["supplier"] = good
        found_again(sim, store)

    def test_another_hash(self, sim: RepoSimulator, store: MemoryStore) -> None:
        if sim.dialect == DER:
            pytest.skip("this encoding lists versions alone")
        sim.publish()
        body = sim.snapshot_body()
        listed = {**body.files, "supplier": sim.facts("supplier")._replace(hashes={"sha256": "00" * 32})}
        sim.publish_snapshot(body._replace(files=listed))
        sim.publish_timestamp()
        refused(sim, store, DelegationHashMismatch)
        found_again(sim, store)

    @pytest.mark.parametrize("signers", ["nobody", "a stranger", "the delegator"])
    def test_signed_by_others(self, sim: RepoSimulator, store: MemoryStore, signers: str) -> None:
        good = sim.signers["supplier"]
        others: Any = {"nobody": [], "a stranger": [sim.new_key()], "the delegator": sim.signers[TARGETS]}
        sim.signers["supplier"] = others[signers]
        sim.publish()
        refused(sim, store, UnmetThreshold)
        sim.signers["supplier"] = good
        found_again(sim, store)

    def test_of_another_role(self, sim: RepoSimulator, store: MemoryStore) -> None:
        sim.publish()
        body = sim.codec.decode(sim.files[TIMESTAMP]).body
        good = sim.files["supplier"]
        sim.files["supplier"] = sim.make("supplier", body, sim.versions["supplier"], sim.signers["supplier"])
        refused(sim, store, InvalidMetadata)
        sim.files["supplier"] = good
        found_again(sim, store)
