"""The Image repository in four dialects, and what a vehicle makes of what it publishes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swagent.errors import SettingsError, SwagentError
from swagent.uptane.codecs import NAMES
from swagent.uptane.errors import InvalidTarget, UnmetThreshold, VersionRollback
from swagent.uptane.metadata import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, TOP_LEVEL
from swagent.uptane_server.image_repo import ImageRepository, Settings, create
from swagent.uptane_server.publish import Site

from .office import IMAGES, Client, Office

DAY_S = 86_400


@pytest.fixture(params=NAMES)
def office(request: pytest.FixtureRequest, quick_path: Path) -> Office:
    return Office(quick_path, request.param)


@pytest.fixture
def ours(quick_path: Path) -> Office:
    return Office(quick_path, "tuf1")


def versions(office: Office) -> dict[str, int | None]:
    return {state.role: state.live for state in office.repository.states()}


class TestLife:
    """From nothing to rotated keys, in every dialect."""

    def test_first_publication_is_version_one_under_all_names(self, office: Office) -> None:
        for path in IMAGES:
            office.repository.add(office.image(path), path)
        office.publish()
        assert versions(office) == dict.fromkeys(TOP_LEVEL, 1)
        live = office.folder / "repo" / "live"
        ending = office.codec.extension
        assert {path.name for path in (live / "metadata").iterdir()} == {
            f"{name}.{ending}" for name in (*TOP_LEVEL, "1.root", "1.targets", "1.snapshot")
        }
        for path, data in IMAGES.items():
            assert Client(office, path.replace("/", "-")).download(path) == [data] * 3

    def test_every_publication_raises_lists_and_only_what_changed(self, office: Office) -> None:
        office.publish()
        client = Client(office)
        assert client.find("firmware.img") is None
        office.again().add(office.image("firmware.img"), "firmware.img")
        office.again()  # a change needs no key, and waits
        assert versions(office) == dict.fromkeys(TOP_LEVEL, 1)
        assert client.find("firmware.img") is None
        office.publish()
        assert versions(office) == {ROOT: 1, TARGETS: 2, SNAPSHOT: 2, TIMESTAMP: 2}
        office.publish()
        assert versions(office) == {ROOT: 1, TARGETS: 2, SNAPSHOT: 3, TIMESTAMP: 3}
        assert client.find("firmware.img") is not None
        office.repository.remove("firmware.img")
        office.publish()
        assert client.find("firmware.img") is None
        live = office.folder / "repo" / "live" / "targets"
        assert not list(live.rglob("*.img"))

    @pytest.mark.parametrize("role", TOP_LEVEL)
    def test_rotation_of_any_role(self, office: Office, role: str) -> None:
        office.repository.add(office.image("firmware.img"), "firmware.img")
        office.publish()
        client = Client(office)
        client.refresh()
        old, new = office.signers[role], office.new_key()
        office.repository.rotate(role, [new.key])
        if role == ROOT:  # the new key alone is not enough
            office.repository.sign([new])
            with pytest.raises(SwagentError, match="good signatures"):
                office.repository.publish(office.online)
            office.repository.sign([old])
        office.signers[role] = new
        office.publish()
        assert versions(office)[ROOT] == 2
        assert client.download("firmware.img")[0] == IMAGES["firmware.img"]
        assert Client(office, "newcomer").download("firmware.img")[0] == IMAGES["firmware.img"]
        office.repository.add(office.image("firmware.img", b"newer"), "firmware.img")
        office.repository.sign([old])
        if role == TARGETS:
            with pytest.raises(UnmetThreshold):
                office.repository.publish(office.online)
        office.publish()
        assert client.download("firmware.img")[0] == b"newer"

    def test_what_expires_is_written_anew(self, office: Office) -> None:
        office.repository.add(office.image("firmware.img"), "firmware.img")
        office.publish()
        client = Client(office)
        for _ in range(9):
            office.clock.time_s += 0.9 * DAY_S
            assert office.repository.refresh(office.online, within_s=2 * DAY_S) == ()
            assert client.find("firmware.img") is not None
        assert versions(office) == {ROOT: 1, TARGETS: 1, SNAPSHOT: 10, TIMESTAMP: 10}
        office.clock.time_s += 83 * DAY_S
        assert office.repository.refresh(office.everybody, within_s=2 * DAY_S) == ()
        assert versions(office) == {ROOT: 1, TARGETS: 2, SNAPSHOT: 11, TIMESTAMP: 11}
        assert client.find("firmware.img") is not None


class TestDelegations:
    """Who may describe what."""

    def test_a_supplier(self, office: Office) -> None:
        supplier = office.new_key()
        office.repository.delegate({"supplier": [supplier.key]}, paths=["tcu/*"], terminating=True)
        office.repository.add(office.image("firmware.img"), "firmware.img")
        with pytest.raises(SettingsError, match="not been delegated"):
            office.repository.add(office.image("firmware.img"), "firmware.img", role="supplier")
        office.repository.add(office.image("tcu/modem.img"), "tcu/modem.img", role="supplier")
        office.repository.sign(office.everybody)
        with pytest.raises(UnmetThreshold, match="supplier"):
            office.repository.publish(office.online)
        assert office.repository.sign([supplier]) == {"supplier": (supplier.key.keyid,)}
        office.repository.publish(office.online)
        client = Client(office)
        assert client.download("tcu/modem.img")[0] == IMAGES["tcu/modem.img"]
        if office.dialect == "ak":
            assert (office.folder / "repo/live/metadata/delegations/supplier.json").is_file()
        again = office.new_key()
        office.repository.rotate("supplier", [again.key])
        office.repository.sign([*office.everybody, again])
        office.repository.publish(office.online)
        assert client.find("tcu/modem.img") is not None
        office.repository.withdraw("supplier")
        office.publish()
        assert client.find("tcu/modem.img") is None
        assert client.find("firmware.img") is not None

    def test_priority_and_replacement(self, ours: Office) -> None:
        one, two = ours.new_key(), ours.new_key()
        ours.repository.delegate({"one": [one.key]}, paths=["*.img"])
        ours.repository.delegate({"two": [two.key]}, paths=["firm*"], first=True)
        for role, data in (("one", b"1"), ("two", b"2")):
            ours.repository.add(ours.image("firmware.img", data), "firmware.img", role=role)
        ours.signers |= {"one": one, "two": two}
        ours.publish()
        client = Client(ours)
        assert client.download("firmware.img") == [b"1", b"2", b"2"], (
            "the plain name is the first role's by name"
        )
        ours.repository.delegate({"two": [two.key]}, paths=["other*"])
        ours.publish()
        found = client.find("firmware.img")
        assert found is not None
        assert found.length_bytes == 1
        assert client.download("firmware.img")[1] == b"1"

    def test_hardware_ids_and_several_roles(self, ours: Office) -> None:
        keys = {name: ours.new_key() for name in ("build", "audit", "only-tcu")}
        ours.signers |= keys
        ours.repository.delegate(
            {"build": [keys["build"].key], "audit": [keys["audit"].key]}, paths=["firm*"], agreement=2
        )
        ours.repository.delegate({"only-tcu": [keys["only-tcu"].key]}, paths=["tcu/*"], hardware_ids=["tcu"])
        ours.repository.add(ours.image("firmware.img"), "firmware.img", role="build")
        with pytest.raises(SettingsError, match="not been delegated"):
            ours.repository.add(ours.image("tcu/modem.img"), "tcu/modem.img", role="only-tcu")
        ours.repository.add(
            ours.image("tcu/modem.img"), "tcu/modem.img", role="only-tcu", hardware_ids=["tcu"]
        )
        ours.publish()
        client = Client(ours)
        assert client.find("firmware.img") is None, "the audit does not say so yet"
        ours.repository.add(ours.image("firmware.img"), "firmware.img", role="audit")
        ours.publish()
        assert client.find("firmware.img") is not None
        assert client.find("tcu/modem.img", "tcu") is not None
        assert client.find("tcu/modem.img", "radio") is None

    @pytest.mark.parametrize("name", ["root", "targets", "", "../x", "a/b", "a.b", "x" * 80])
    def test_names_of_roles(self, ours: Office, name: str) -> None:
        with pytest.raises(SettingsError, match="cannot be called"):
            ours.repository.delegate({name: [ours.new_key().key]}, paths=["*"])

    def test_what_a_dialect_has_no_words_for_is_refused_before_it_is_written(self, quick_path: Path) -> None:
        office = Office(quick_path, "ref-der")
        office.publish()
        before = {path: path.read_bytes() for path in quick_path.rglob("*.der")}
        with pytest.raises(SettingsError, match=r"no words|delegates by paths"):
            office.repository.delegate({"x": [office.new_key().key]}, hash_prefixes=["ab"])
        assert {path: path.read_bytes() for path in quick_path.rglob("*.der")} == before


class TestSigning:
    """Keys that are not all in one place."""

    def test_two_people_one_after_the_other(self, quick_path: Path) -> None:
        office = Office(quick_path / "a", "tuf1")
        people = [office.new_key() for _ in range(3)]
        repository = create(
            str(quick_path / "two"),
            Settings(),
            {role: [signer.key] for role, signer in office.signers.items()}
            | {TARGETS: [each.key for each in people]},
            office.clock,
            {TARGETS: 2},
        )
        repository.sign([office.signers[ROOT], people[0]])
        with pytest.raises(UnmetThreshold, match="targets has 1 good"):
            repository.publish(office.online)
        assert not os.path.exists(repository.site.live)
        again = ImageRepository(repository.folder, office.clock)
        assert again.sign([people[0]]) == {}
        assert again.sign([office.new_key()]) == {}
        assert again.sign([people[2]]) == {TARGETS: (people[2].key.keyid,)}
        again.publish(office.online)
        state = again.state(TARGETS)
        assert (state.live, state.signatures, state.needed) == (1, 2, 2)

    def test_a_change_voids_signatures(self, ours: Office) -> None:
        ours.repository.sign(ours.everybody)
        ours.repository.add(ours.image("firmware.img"), "firmware.img")
        assert ours.repository.state(TARGETS).signatures == 0
        with pytest.raises(UnmetThreshold):
            ours.repository.publish(ours.online)

    def test_online_keys_that_are_missing(self, ours: Office) -> None:
        ours.repository.sign(ours.everybody)
        with pytest.raises(SettingsError, match="timestamp are at hand"):
            ours.repository.publish(ours.online[:1])

    def test_a_change_that_waits_stops_no_refresh(self, ours: Office) -> None:
        ours.publish()
        client = Client(ours)
        ours.repository.add(ours.image("firmware.img"), "firmware.img")
        ours.clock.time_s += 90 * DAY_S
        assert ours.again().refresh(ours.online, within_s=5 * DAY_S) == (TARGETS,)
        assert client.find("firmware.img") is None
        ours.publish()
        assert client.find("firmware.img") is not None

    def test_what_cannot_be_refreshed_is_told_and_stays(self, ours: Office) -> None:
        ours.publish()
        staged = ours.repository.staged.documents[TARGETS].raw
        ours.clock.time_s += 90 * DAY_S
        assert ours.repository.refresh(ours.online, within_s=5 * DAY_S) == (TARGETS,)
        assert ours.again().staged.documents[TARGETS].raw == staged

    def test_nobody_is_offered_what_a_client_would_refuse(self, ours: Office) -> None:
        ours.publish()
        before = ours.repository.site.metadata()
        ours.clock.time_s += 100 * DAY_S
        with pytest.raises(SwagentError, match="expired"):
            ours.repository.publish(ours.online)
        ours.clock.time_s -= 100 * DAY_S
        ours.repository._live[SNAPSHOT] = ours.repository._live[SNAPSHOT]._replace(version=0)
        ours.repository._live[TIMESTAMP] = ours.repository._live[TIMESTAMP]._replace(version=0)
        ours.publish()  # the same versions again are no rollback
        ours.repository._live[SNAPSHOT] = ours.repository._live[SNAPSHOT]._replace(version=-1)
        ours.repository._live[TIMESTAMP] = ours.repository._live[TIMESTAMP]._replace(version=-1)
        with pytest.raises(SwagentError):
            ours.publish()
        assert set(ours.repository.site.metadata()) == set(before)


class TestRefusals:
    """Nothing is written."""

    @pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../b", "a\\b", "a\0b", "a//b"])
    def test_names_of_images(self, ours: Office, name: str) -> None:
        with pytest.raises(InvalidTarget):
            ours.repository.add(ours.image("firmware.img"), name)
        assert not (ours.folder / "repo" / "images").exists()

    def test_release_counters_do_not_go_down(self, ours: Office) -> None:
        ours.repository.add(ours.image("firmware.img"), "firmware.img", release_counter=3)
        for lower in (2, None):
            with pytest.raises(SettingsError, match="counter"):
                ours.repository.add(ours.image("firmware.img"), "firmware.img", release_counter=lower)
        ours.repository.add(ours.image("firmware.img"), "firmware.img", release_counter=3)

    def test_an_image_that_is_gone(self, ours: Office) -> None:
        target = ours.repository.add(ours.image("firmware.img"), "firmware.img")
        os.unlink(ours.repository.images.path(target))
        with pytest.raises(SettingsError, match=r"firmware\.img is not in"):
            ours.publish()

    @pytest.mark.parametrize(
        "call",
        [
            lambda repo, key: repo.remove("nothing"),
            lambda repo, key: repo.withdraw("nobody"),
            lambda repo, key: repo.rotate("nobody", [key]),
            lambda repo, key: repo.rotate("root", [key], 2),
            lambda repo, key: repo.rotate("root", []),
            lambda repo, key: repo.delegate({"a": [key]}, paths=["*"], threshold=2),
            lambda repo, key: repo.add("/etc/hostname", "x", role="nobody"),
            lambda repo, key: repo.add("/nothing/here", "x"),
            lambda repo, key: repo.refresh([], within_s=1),
            lambda repo, key: create(repo.folder, Settings(), {}, repo._clock),
        ],
    )
    def test_without_a_trace(self, ours: Office, call: Callable[..., Any]) -> None:
        before = {path: path.read_bytes() for path in ours.folder.rglob("*") if path.is_file()}
        with pytest.raises(SwagentError):
            call(ours.repository, ours.new_key().key)
        assert {path: path.read_bytes() for path in ours.folder.rglob("*") if path.is_file()} == before

    @pytest.mark.parametrize(
        "text", ["", "[]", "{}", '{"dialect": "x", "lifetime_s": {}, "consistent_snapshot": 1}']
    )
    def test_settings_that_make_no_sense(self, ours: Office, text: str) -> None:
        (ours.folder / "repo" / "repository.json").write_text(text)
        with pytest.raises(SettingsError):
            ours.again()

    def test_a_damaged_staged_file(self, ours: Office) -> None:
        (ours.folder / "repo" / "metadata.staged" / "targets.json").write_text("{")
        with pytest.raises(SettingsError, match=r"targets\.json"):
            ours.again()


def test_a_client_of_the_state_before_goes_on(ours: Office) -> None:
    """It has a timestamp of the old state, and asks for that snapshot after the new one went live."""
    ours.publish()
    before = dict(Site(ours.repository.folder).metadata())
    ours.publish()
    now = Site(ours.repository.folder).metadata()
    for name in ("1.snapshot.json", "1.targets.json", "1.root.json"):
        assert now[name] == before[name]


def test_a_rollback_by_hand_is_noticed_by_clients(ours: Office) -> None:
    ours.publish()
    ours.publish()
    client = Client(ours)
    client.refresh()
    trees = sorted(os.listdir(ours.folder / "repo" / "trees"))
    link = ours.folder / "repo" / "live"
    link.unlink()
    link.symlink_to(f"trees/{trees[-2]}")
    with pytest.raises(VersionRollback):
        client.refresh()
