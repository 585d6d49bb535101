"""One repository, honest and lying, in every dialect: what passes is stored, what does not leaves all as it was."""

from collections.abc import Callable
from typing import Any

import pytest

from swagent.errors import EndlessDataError, SwagentError, TransportError
from swagent.testing.repositories import DAY_S, NOW_S, RepoSimulator, image_target
from swagent.uptane.codecs import NAMES
from swagent.uptane.errors import (
    DelegationMissing,
    ExpiredMetadata,
    IllegalThreshold,
    InvalidMetadata,
    MixAndMatch,
    NonUniqueSignatures,
    RootRotationError,
    UnmetThreshold,
    VersionMismatch,
    VersionRollback,
)
from swagent.uptane.metadata import (
    IMAGE,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    FileFacts,
    RoleKeys,
    Root,
    Snapshot,
    Targets,
)
from swagent.uptane.rules import BY_DIALECT, TUF
from swagent.uptane.signing import Signer
from swagent.uptane_client.refresh import MemoryStore, Refresh


@pytest.fixture(params=NAMES)
def sim(request: pytest.FixtureRequest) -> RepoSimulator:
    sim = RepoSimulator(request.param)
    sim.targets["firmware.img"] = image_target("firmware.img", b"one", "TCU")
    sim.publish()
    return sim


def store_of(sim: RepoSimulator) -> MemoryStore:
    return MemoryStore({IMAGE: sim.roots[0]})


def refresh(sim: RepoSimulator, store: MemoryStore, *, now_s: float = NOW_S) -> Refresh:
    run = Refresh(IMAGE, sim.codec, BY_DIALECT[sim.dialect], sim.fetch, store, now_s=now_s)
    run.run()
    return run


def everything(store: MemoryStore) -> Any:
    return dict(store.files), store.floors(IMAGE)


def refused(
    sim: RepoSimulator, store: MemoryStore, error: type[SwagentError], *, role: str = "", now_s: float = NOW_S
) -> SwagentError:
    before = everything(store)
    with pytest.raises(error) as caught:
        refresh(sim, store, now_s=now_s)
    assert everything(store) == before, "kept"
    if role:
        assert getattr(caught.value, "role", role) == role
    assert caught.value.message
    return caught.value


def honest_again(sim: RepoSimulator, store: MemoryStore) -> None:
    sim.publish()
    refresh(sim, store)
    assert store.files[IMAGE, TIMESTAMP] == sim.files[TIMESTAMP]


def test_what_is_published_arrives(sim: RepoSimulator) -> None:
    store = store_of(sim)
    run = refresh(sim, store)
    found = run.find("firmware.img")
    assert found is not None
    assert found.hashes == sim.targets["firmware.img"].hashes
    assert {role: store.files[IMAGE, role] for role in (ROOT, TIMESTAMP, SNAPSHOT, TARGETS)} == sim.files
    assert run.find("other.img") is None


def test_without_news_nothing_but_timestamp_is_fetched(sim: RepoSimulator) -> None:
    store = store_of(sim)
    refresh(sim, store)
    sim.fetched.clear()
    run = Refresh(IMAGE, sim.codec, BY_DIALECT[sim.dialect], sim.fetch, store, now_s=NOW_S)
    assert run.run() is False
    assert [name for name in sim.fetched if "root" not in name] == [f"timestamp.{sim.codec.extension}"]


@pytest.mark.parametrize("role", [TIMESTAMP, SNAPSHOT, TARGETS])
def test_rollback_of_each_role(sim: RepoSimulator, role: str) -> None:
    store = store_of(sim)
    sim.publish()
    refresh(sim, store)
    old = sim.versions[role]
    sim.versions[role] = old - 2
    if role == TARGETS:
        sim.files[TARGETS] = sim.make(TARGETS, Targets(sim.targets), old - 1)
        sim.versions[TARGETS] = old - 1
        sim.renew_lists()
    elif role == SNAPSHOT:
        sim.renew_lists()
    else:
        sim.publish_timestamp()
    refused(sim, store, VersionRollback)
    sim.versions[role] = old
    honest_again(sim, store)


def test_a_snapshot_that_drops_a_role(sim: RepoSimulator) -> None:
    sim.delegated["supplier"] = Targets({})
    sim.signers["supplier"] = [sim.new_key()]
    store = store_of(sim)
    sim.publish()
    refresh(sim, store)
    body = sim.snapshot_body()
    sim.publish_snapshot(body._replace(files={TARGETS: body.files[TARGETS]}))
    sim.publish_timestamp()
    refused(sim, store, VersionRollback, role=SNAPSHOT)
    honest_again(sim, store)


@pytest.mark.parametrize("what", ["hash", "length", "version"])
def test_mix_and_match_of_snapshot(sim: RepoSimulator, what: str) -> None:
    store = store_of(sim)
    refresh(sim, store)
    sim.publish()
    facts = sim.facts(SNAPSHOT)
    lie = {
        "hash": facts._replace(hashes={"sha256": "00" * 32}),
        "length": facts._replace(length_bytes=(facts.length_bytes or 0) + 1),
        "version": facts._replace(version=(facts.version or 0) + 1),
    }[what]
    sim.publish_timestamp(lie)
    refused(sim, store, VersionMismatch if what == "version" else MixAndMatch, role=SNAPSHOT)
    honest_again(sim, store)


def test_mix_and_match_of_targets(sim: RepoSimulator) -> None:
    store = store_of(sim)
    refresh(sim, store)
    body = sim.snapshot_body()
    files = {**body.files, TARGETS: FileFacts(sim.versions[TARGETS] + 1)}
    sim.publish_snapshot(body._replace(files=files))
    sim.publish_timestamp()
    refused(sim, store, VersionMismatch, role=TARGETS)
    honest_again(sim, store)


@pytest.mark.parametrize("role", [ROOT, TIMESTAMP, SNAPSHOT, TARGETS])
def test_freeze(sim: RepoSimulator, role: str) -> None:
    store = store_of(sim)
    for name in (ROOT, TIMESTAMP, SNAPSHOT, TARGETS):
        sim.lifetime_s[name] = 100 * DAY_S
    sim.lifetime_s[role] = DAY_S
    sim.renew_root()
    sim.publish()
    refresh(sim, store)
    refresh(sim, store, now_s=NOW_S + DAY_S - 1)
    refused(sim, store, ExpiredMetadata, role=role, now_s=NOW_S + DAY_S)  # equal is expired


@pytest.mark.parametrize("role", [TIMESTAMP, SNAPSHOT, TARGETS])
def test_an_expired_file_is_not_taken(sim: RepoSimulator, role: str) -> None:
    store = store_of(sim)
    refresh(sim, store)
    sim.lifetime_s[role] = 0
    sim.publish()
    refused(sim, store, ExpiredMetadata, role=role)
    sim.lifetime_s[role] = DAY_S
    honest_again(sim, store)


def test_plain_tuf_does_not_store_an_expired_timestamp() -> None:
    sim = RepoSimulator("tuf1")
    store = store_of(sim)
    sim.lifetime_s[TIMESTAMP] = 0
    sim.publish()
    with pytest.raises(ExpiredMetadata):
        Refresh(IMAGE, sim.codec, TUF, sim.fetch, store, now_s=NOW_S).run()
    assert store.load(IMAGE, TIMESTAMP) is None


def test_a_snapshot_that_lists_a_lower_version(sim: RepoSimulator) -> None:
    store = store_of(sim)
    sim.publish()
    refresh(sim, store)
    sim.publish_snapshot(Snapshot({TARGETS: FileFacts(sim.versions[TARGETS] - 1)}, sim.snapshot_body().root))
    sim.publish_timestamp()
    assert "as snapshot lists it" in refused(sim, store, VersionRollback, role=SNAPSHOT).message
    honest_again(sim, store)


def test_a_key_of_another_role_counts_as_none(sim: RepoSimulator) -> None:
    store = store_of(sim)
    refresh(sim, store)
    honest = sim.signers[TARGETS]
    sim.signers[TARGETS] = sim.signers[TIMESTAMP]
    sim.publish()
    refused(sim, store, UnmetThreshold, role=TARGETS)
    sim.signers[TARGETS] = honest
    honest_again(sim, store)


def wrong_key(sim: RepoSimulator, role: str) -> list[Signer]:
    return [sim.new_key()]


def under_the_right_name(sim: RepoSimulator, role: str) -> list[Signer]:
    liar = sim.new_key()
    liar.key = liar.key._replace(keyid=sim.signers[role][0].key.keyid)
    return [liar]


def nobody(sim: RepoSimulator, role: str) -> list[Signer]:
    return []


@pytest.mark.parametrize("signers", [wrong_key, under_the_right_name, nobody])
@pytest.mark.parametrize("role", [TIMESTAMP, SNAPSHOT, TARGETS])
def test_signatures_of_others(
    sim: RepoSimulator, role: str, signers: Callable[[RepoSimulator, str], list[Signer]]
) -> None:
    store = store_of(sim)
    refresh(sim, store)
    honest = sim.signers[role]
    sim.signers[role] = signers(sim, role)
    sim.publish()
    refused(sim, store, UnmetThreshold, role=role)
    sim.signers[role] = honest
    honest_again(sim, store)


def test_a_corrupt_signature(sim: RepoSimulator) -> None:
    store = store_of(sim)
    refresh(sim, store)
    sim.publish()
    document = sim.codec.decode(sim.files[TIMESTAMP])
    value = document.signatures[0].value
    changed = bytes([value[0] ^ 1]) + value[1:]
    for old, new in ((value, changed), (value.hex().encode(), changed.hex().encode())):
        sim.files[TIMESTAMP] = sim.files[TIMESTAMP].replace(old, new)
    if sim.dialect == "ak":
        from base64 import b64encode

        sim.files[TIMESTAMP] = sim.files[TIMESTAMP].replace(b64encode(value), b64encode(changed))
    assert sim.codec.decode(sim.files[TIMESTAMP]).signatures[0].value == changed
    refused(sim, store, UnmetThreshold, role=TIMESTAMP)


def test_threshold_of_two(sim: RepoSimulator) -> None:
    store = store_of(sim)
    sim.signers[TARGETS] = [sim.new_key(), sim.new_key()]
    sim.threshold[TARGETS] = 2
    sim.renew_root()
    sim.publish()
    refresh(sim, store)
    both = sim.signers[TARGETS]
    sim.signers[TARGETS] = both[:1]
    sim.publish()
    refused(sim, store, UnmetThreshold, role=TARGETS)
    sim.signers[TARGETS] = [both[0], both[0]]
    sim.publish()
    refused(sim, store, NonUniqueSignatures, role=TARGETS)


def test_one_key_under_two_names_counts_once(sim: RepoSimulator) -> None:
    store = store_of(sim)
    one = sim.new_key()
    alias = replace_keyid(one, "ab" * 32)
    sim.signers[TARGETS] = [one, alias]
    sim.threshold[TARGETS] = 2
    sim.renew_root()
    sim.publish()
    refused_but_root(sim, store, UnmetThreshold, role=TARGETS)


def replace_keyid(signer: Signer, keyid: str) -> Signer:
    from copy import copy

    other = copy(signer)
    other.key = signer.key._replace(keyid=keyid)
    return other


def refused_but_root(sim: RepoSimulator, store: MemoryStore, error: type[SwagentError], *, role: str) -> None:
    with pytest.raises(error) as caught:
        refresh(sim, store)
    assert getattr(caught.value, "role", "") == role
    assert store.load(IMAGE, TARGETS) is None


@pytest.mark.parametrize("threshold", [0, -1, 1001])
def test_illegal_thresholds(sim: RepoSimulator, threshold: int) -> None:
    threshold = abs(threshold) if sim.dialect == "ref-der" else threshold  # it writes no negative numbers
    threshold = 2000 if threshold == 1 else threshold
    store = store_of(sim)
    refresh(sim, store)
    sim.threshold[SNAPSHOT] = threshold
    sim.renew_root()
    refused(sim, store, IllegalThreshold)


@pytest.mark.parametrize(("served_as", "is_a"), [(SNAPSHOT, TARGETS), (TARGETS, SNAPSHOT), (TIMESTAMP, ROOT)])
def test_a_file_of_another_role(sim: RepoSimulator, served_as: str, is_a: str) -> None:
    store = store_of(sim)
    refresh(sim, store)
    sim.publish()
    other = sim.signers[served_as]
    body: Any = {TARGETS: Targets({}), SNAPSHOT: sim.snapshot_body(), ROOT: sim.root_body()}[is_a]
    sim.files[served_as] = sim.make(is_a, body, sim.versions[served_as], other)
    if served_as == SNAPSHOT:
        sim.publish_timestamp()
    refused(sim, store, InvalidMetadata, role=served_as)


class TestRootRotation:
    def rotated(self, sim: RepoSimulator, *, by: str, version: int | None = None) -> None:
        old = sim.signers[ROOT]
        sim.signers[ROOT] = [sim.new_key()]
        signers = {"old": old, "new": sim.signers[ROOT], "both": [*old, *sim.signers[ROOT]]}[by]
        number = version or sim.versions[ROOT] + 1
        raw = sim.make(ROOT, sim.root_body(), number, signers)
        sim.roots.append(raw)
        sim.files[ROOT] = raw

    def test_by_both(self, sim: RepoSimulator) -> None:
        store = store_of(sim)
        refresh(sim, store)
        self.rotated(sim, by="both")
        refresh(sim, store)
        assert store.load(IMAGE, ROOT) == sim.roots[-1]

    @pytest.mark.parametrize("by", ["old", "new"])
    def test_by_one_side_only(self, sim: RepoSimulator, by: str) -> None:
        store = store_of(sim)
        refresh(sim, store)
        self.rotated(sim, by=by)
        refused(sim, store, RootRotationError)

    @pytest.mark.parametrize("version", [1, 3])
    def test_version_unchanged_or_skipped(self, sim: RepoSimulator, version: int) -> None:
        store = store_of(sim)
        refresh(sim, store)
        self.rotated(sim, by="both", version=version)
        refused(sim, store, RootRotationError)

    def test_many_at_once(self, sim: RepoSimulator) -> None:
        store = store_of(sim)
        for _ in range(5):
            sim.rotate(ROOT, TARGETS)
        sim.publish()
        refresh(sim, store)
        assert store.load(IMAGE, ROOT) == sim.roots[-1]

    def test_an_intermediate_root_may_have_expired(self, sim: RepoSimulator) -> None:
        store = store_of(sim)
        sim.lifetime_s[ROOT] = -1
        sim.renew_root()
        sim.lifetime_s[ROOT] = DAY_S
        sim.renew_root()
        refresh(sim, store)

    def test_the_reference_takes_an_unversioned_root_by_the_old_keys(self, sim: RepoSimulator) -> None:
        store = store_of(sim)
        refresh(sim, store)
        sim.rotate(TARGETS)
        sim.roots.pop()  # nobody serves it under its version
        sim.publish()
        if sim.dialect.startswith("ref"):
            refresh(sim, store)
            assert store.load(IMAGE, ROOT) == sim.files[ROOT]
        else:
            refused(sim, store, UnmetThreshold, role=TARGETS)


def test_recovery_from_fast_forward(sim: RepoSimulator) -> None:
    store = store_of(sim)
    refresh(sim, store)
    sim.versions[TIMESTAMP] = sim.versions[SNAPSHOT] = 2**31 - 2
    sim.renew_lists()
    refresh(sim, store)
    sim.versions[TIMESTAMP] = sim.versions[SNAPSHOT] = 5
    sim.renew_lists()
    refused(sim, store, VersionRollback)
    sim.rotate(TIMESTAMP, SNAPSHOT)
    sim.publish()
    refresh(sim, store)
    assert store.floors(IMAGE).timestamp == sim.versions[TIMESTAMP] < 100


def test_fast_forward_when_the_old_key_stays_among_the_new(sim: RepoSimulator) -> None:
    store = store_of(sim)
    refresh(sim, store)
    sim.versions[TIMESTAMP] = 2**31 - 2
    sim.publish_timestamp()
    refresh(sim, store)
    sim.versions[TIMESTAMP] = 5
    sim.signers[TIMESTAMP] = [sim.new_key(), *sim.signers[TIMESTAMP]]
    sim.renew_root()
    sim.publish()
    refresh(sim, store)
    assert store.floors(IMAGE).timestamp == 6


def test_revoked_keys(sim: RepoSimulator) -> None:
    store = store_of(sim)
    refresh(sim, store)
    revoked = {role: sim.signers[role] for role in (TIMESTAMP, SNAPSHOT, TARGETS)}
    sim.rotate(TIMESTAMP, SNAPSHOT, TARGETS)
    good = dict(sim.signers)
    sim.publish()
    refresh(sim, store)
    sim.signers.update(revoked)
    sim.publish()
    refused(sim, store, UnmetThreshold, role=TIMESTAMP)
    sim.signers = good
    honest_again(sim, store)


@pytest.mark.parametrize("role", [TIMESTAMP, SNAPSHOT, TARGETS, ROOT])
def test_endless_metadata(sim: RepoSimulator, role: str) -> None:
    store = store_of(sim)
    refresh(sim, store)
    if role == ROOT:
        sim.renew_root()
    sim.publish()
    endless = b"{" * 9_000_000
    sim.files[role] = endless
    sim.roots[-1] = endless if role == ROOT else sim.roots[-1]
    refused(sim, store, EndlessDataError)


@pytest.mark.parametrize("role", [TIMESTAMP, SNAPSHOT, TARGETS])
def test_a_missing_file(sim: RepoSimulator, role: str) -> None:
    store = store_of(sim)
    refresh(sim, store)
    sim.publish()
    raw = sim.files.pop(role)
    refused(sim, store, TransportError)
    sim.files[role] = raw
    refresh(sim, store)


@pytest.mark.parametrize(
    "rubbish", [b"", b"\0", b"{}", b"[]", b'{"signed": {}, "signatures": []}', b"0\x80", b"\xff" * 99]
)
def test_rubbish(sim: RepoSimulator, rubbish: bytes) -> None:
    store = store_of(sim)
    refresh(sim, store)
    sim.publish()
    sim.files[TIMESTAMP] = rubbish
    refused(sim, store, TransportError if not rubbish else InvalidMetadata)


def test_a_lost_file_leaves_its_floor(sim: RepoSimulator) -> None:
    store = store_of(sim)
    sim.publish()
    sim.publish()
    refresh(sim, store)
    for role in (TIMESTAMP, SNAPSHOT, TARGETS):
        del store.files[IMAGE, role]
    sim.versions[TIMESTAMP] -= 2
    sim.publish_timestamp()
    refused(sim, store, VersionRollback, role=TIMESTAMP)


def test_damaged_stored_files_do_not_stop_a_device(sim: RepoSimulator) -> None:
    store = store_of(sim)
    refresh(sim, store)
    for role in (TIMESTAMP, SNAPSHOT, TARGETS):
        store.files[IMAGE, role] = b"damaged"
    refresh(sim, store)
    assert store.files[IMAGE, TARGETS] == sim.files[TARGETS]


class TestDelegations:
    @pytest.fixture(params=NAMES)
    def sim(self, request: pytest.FixtureRequest) -> RepoSimulator:
        return RepoSimulator(request.param)

    def look(self, sim: RepoSimulator, path: str, hardware_id: str = "") -> str | None:
        store = store_of(sim)
        found = refresh(sim, store).find(path, hardware_id)
        return found.hashes["sha256"] if found else None

    def test_found_through_two_levels(self, sim: RepoSimulator) -> None:
        wanted = image_target("lib/x.img", b"deep")
        sim.delegate("supplier", ("lib/*",))
        sim.delegate("team", ("lib/x*",), [wanted], to="supplier")
        sim.publish()
        assert self.look(sim, "lib/x.img") == wanted.hashes["sha256"]

    def test_outside_its_paths_a_supplier_says_nothing(self, sim: RepoSimulator) -> None:
        sim.delegate("supplier", ("lib/*",), [image_target("firmware.img", b"evil")])
        sim.publish()
        assert self.look(sim, "firmware.img") is None

    def test_the_first_one_wins(self, sim: RepoSimulator) -> None:
        first = image_target("x.img", b"first")
        sim.delegate("one", ("*",), [first])
        sim.delegate("two", ("*",), [image_target("x.img", b"second")])
        sim.publish()
        assert self.look(sim, "x.img") == first.hashes["sha256"]

    @pytest.mark.parametrize("terminating", [True, False])
    def test_terminating(self, sim: RepoSimulator, terminating: bool) -> None:
        second = image_target("x.img", b"second")
        sim.delegate("one", ("*",), terminating=terminating)
        sim.delegate("two", ("*",), [second])
        sim.publish()
        assert self.look(sim, "x.img") == (None if terminating else second.hashes["sha256"])

    def test_hardware_ids(self, sim: RepoSimulator) -> None:
        if sim.dialect == "ref-der":
            pytest.skip("this encoding has no words for hardware")
        wanted = image_target("x.img", b"x")
        sim.delegate("one", ("*",), [wanted], hardware_ids=frozenset(("tcu",)))
        sim.publish()
        assert self.look(sim, "x.img", "tcu") == wanted.hashes["sha256"]
        assert self.look(sim, "x.img", "bcu") is None

    def test_a_cycle_ends(self, sim: RepoSimulator) -> None:
        one = sim.delegate("one", ("*",))
        sim.delegate("two", ("*",), to="one")
        two = sim.delegated["two"]
        key = sim.signers["one"][0].key
        back = replace_entry(one)
        sim.delegated["two"] = two._replace(
            delegations=two.delegations._replace(keys={key.keyid: key}, entries=(back,))
        )
        sim.publish()
        assert self.look(sim, "x.img") is None

    def test_a_missing_file(self, sim: RepoSimulator) -> None:
        sim.delegate("one", ("*",))
        sim.publish()
        del sim.files["one"]
        with pytest.raises(DelegationMissing):
            self.look(sim, "x.img")

    def test_a_role_that_snapshot_does_not_list(self, sim: RepoSimulator) -> None:
        sim.delegate("one", ("*",))
        sim.publish()
        body = sim.snapshot_body()
        sim.publish_snapshot(Snapshot({TARGETS: body.files[TARGETS]}, body.root))
        sim.publish_timestamp()
        with pytest.raises(DelegationMissing):
            self.look(sim, "x.img")

    def test_expired(self, sim: RepoSimulator) -> None:
        sim.delegate("one", ("*",))
        sim.lifetime_s["one"] = -1
        sim.publish()
        with pytest.raises(ExpiredMetadata):
            self.look(sim, "x.img")

    def test_another_version_than_listed(self, sim: RepoSimulator) -> None:
        sim.delegate("one", ("*",))
        sim.publish()
        sim.files["one"] = sim.make("one", Targets({}), 7)
        with pytest.raises(VersionMismatch):
            self.look(sim, "x.img")

    def test_signed_by_somebody_else(self, sim: RepoSimulator) -> None:
        sim.delegate("one", ("*",))
        sim.signers["one"] = [sim.new_key()]
        sim.publish()
        with pytest.raises(UnmetThreshold):
            self.look(sim, "x.img")

    def test_found_again_without_fetching(self, sim: RepoSimulator) -> None:
        sim.delegate("one", ("*",), [image_target("x.img", b"x")])
        sim.publish()
        store = store_of(sim)
        assert refresh(sim, store).find("x.img")
        sim.fetched.clear()
        assert refresh(sim, store).find("x.img")
        assert not [name for name in sim.fetched if "one" in name]


@pytest.mark.parametrize("agreeing", [3, 2, 1])
def test_several_roles_must_agree(agreeing: int) -> None:
    sim = RepoSimulator("tuf1")
    good, other = image_target("x.img", b"good"), image_target("x.img", b"other")
    entries = [
        sim.delegate(f"m{number}", ("nothing",), [good if number < agreeing else other])
        for number in range(3)
    ]
    if agreeing == 1:
        sim.delegated["m2"] = Targets({})
    roles = tuple(entry.roles[0] for entry in entries)
    several = entries[0]._replace(roles=roles, agreement=2, paths=("*",))
    sim.delegations = sim.delegations._replace(entries=(several,))
    sim.publish()
    found = refresh(sim, store_of(sim)).find("x.img")
    assert (found.hashes if found else None) == (good.hashes if agreeing >= 2 else None)


def test_ten_thousand_roles_end_within_bounds() -> None:
    sim = RepoSimulator("tuf1")
    signer = sim.new_key()
    for number in range(60):
        sim.signers[f"r{number}"] = [signer]
        sim.delegated[f"r{number}"] = Targets({})
    entries = tuple(entry_for(f"r{number}", signer) for number in range(10_000))
    sim.delegations = sim.delegations._replace(keys={signer.key.keyid: signer.key}, entries=entries)
    sim.publish()
    sim.fetched.clear()
    assert refresh(sim, store_of(sim)).find("x.img") is None
    assert len(sim.fetched) < 50


def replace_entry(entry: Any) -> Any:
    return entry._replace(paths=("*",))


def entry_for(name: str, signer: Signer) -> Any:
    from swagent.uptane.metadata import DelegatedRole, Delegation

    return Delegation((DelegatedRole(name, RoleKeys((signer.key.keyid,), 1)),), paths=("*",))


def test_a_key_that_root_lists_but_does_not_hold_counts_as_none(sim: RepoSimulator) -> None:
    store = store_of(sim)
    signer = sim.signers[TARGETS][0]
    body = sim.root_body()
    keys = {keyid: key for keyid, key in body.keys.items() if keyid != signer.key.keyid}
    sim.versions[ROOT] += 1
    sim.roots.append(sim.make(ROOT, Root(keys, body.roles), sim.versions[ROOT]))
    sim.files[ROOT] = sim.roots[-1]
    sim.publish()
    refused_but_root(sim, store, UnmetThreshold, role=TARGETS)


def test_an_equal_timestamp_with_other_contents() -> None:
    """The Standard takes the newer file, provided that nothing in it goes back; TUF keeps the old one."""
    sim = RepoSimulator("tuf1")
    store = store_of(sim)
    refresh(sim, store)
    version = sim.versions[TIMESTAMP]
    sim.publish()
    sim.versions[TIMESTAMP] = version - 1
    sim.publish_timestamp()
    refresh(sim, store)
    assert store.files[IMAGE, TIMESTAMP] == sim.files[TIMESTAMP]


def test_aktualizr_accepts_hashes_of_the_canonical_form() -> None:
    import json

    sim = RepoSimulator("ak")
    store = store_of(sim)
    facts = sim.facts(SNAPSHOT)
    sim.files[SNAPSHOT] = json.dumps(json.loads(sim.files[SNAPSHOT]), indent=3).encode()
    sim.publish_timestamp(replace_length(facts, len(sim.files[SNAPSHOT])))
    refresh(sim, store)


def replace_length(facts: FileFacts, length: int) -> FileFacts:
    return facts._replace(length_bytes=length)
