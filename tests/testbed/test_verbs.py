"""The verbs of the consoles, one by one: each attack with its undo, each refusal, and the same over XML-RPC."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from swagent.clock import SystemClock
from swagent.errors import SettingsError, SwagentError, UptaneError
from swagent.net.rpc import RemoteFault, RpcClient
from swagent.testbed.banners import Banner, large
from swagent.testbed.place import FIRMWARE, SECONDARY, VIN, VINS
from swagent.testbed.script import Heard, Parties, started
from swagent.uptane.codecs import codec
from swagent.uptane_client.sources import OPTIONS, as_value

from .test_script import Silent

DIALECTS = ("tuf1", "ref-json", "ref-der")


class Bed:
    """A testbed in which the update of the exercise has been delivered and installed."""

    def __init__(self, parties: Parties, heard: Heard, folder: Path) -> None:
        self.parties = parties
        self.heard = heard
        self.folder = folder

    def primary(self) -> list[Banner]:
        """The banners of a cycle of the Primary."""
        self.heard.banners.clear()
        self.parties.dp.update_cycle()
        return list(self.heard.banners)

    def secondary(self) -> list[Banner]:
        self.heard.banners.clear()
        self.parties.ds.update_cycle()
        return list(self.heard.banners)

    def rpc(self, port: str) -> RpcClient:
        place = self.parties.place
        return RpcClient(place.url(getattr(place.ports, port)), OPTIONS, SystemClock())


@pytest.fixture(scope="module")
def module_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    folder = tmp_path_factory.mktemp("verbs")
    heard = Heard(Silent())
    with started("tuf1", heard, folder=str(folder)) as parties:
        yield Bed(parties, heard, folder)


@pytest.fixture
def bed(module_bed: Bed) -> Bed:
    """The vehicle runs the image of the exercise, and nothing is left to do."""
    module_bed.parties.deliver()
    module_bed.parties.round()
    assert module_bed.primary() == []
    return module_bed


class TestWithoutKeys:
    """Mirrors that lie."""

    def test_directors_mirror(self, bed: Bed) -> None:
        dd = bed.parties.dd
        dd.mitm_arbitrary_package_attack(VIN, FIRMWARE)
        with pytest.raises(SettingsError, match="under way"):
            dd.mitm_arbitrary_package_attack(VIN, FIRMWARE)
        assert bed.primary() == [Banner.DEFENDED]
        dd.undo_mitm_arbitrary_package_attack(VIN, FIRMWARE)
        with pytest.raises(SettingsError, match="not under way"):
            dd.undo_mitm_arbitrary_package_attack(VIN, FIRMWARE)
        assert bed.primary() == []
        assert bed.secondary() == [Banner.NO_UPDATE_NEEDED]

    def test_image_repositorys_mirror(self, bed: Bed) -> None:
        di = bed.parties.di
        di.mitm_arbitrary_package_attack(FIRMWARE)
        assert not (bed.folder / "director" / VIN / "targets" / FIRMWARE).exists(), "deleted for all vehicles"
        with pytest.raises(SettingsError, match="under way"):
            di.mitm_arbitrary_package_attack(FIRMWARE)
        assert bed.primary() == [Banner.DEFENDED]
        di.undo_mitm_arbitrary_package_attack(FIRMWARE)
        with pytest.raises(SettingsError, match="not under way"):
            di.undo_mitm_arbitrary_package_attack(FIRMWARE)
        assert bed.primary() == [], "the Image repository's copy will do"

    def test_old_timestamp(self, bed: Bed) -> None:
        dd = bed.parties.dd
        for call in (dd.replay_timestamp, dd.restore_timestamp):
            with pytest.raises(SettingsError, match="kept"):
                call(VIN)
        dd.backup_timestamp(VIN)
        assert bed.primary() == []
        dd.replay_timestamp(VIN)
        assert bed.primary() == [Banner.REPLAY]
        dd.restore_timestamp(VIN)
        assert bed.primary() == []
        assert not list((bed.folder / "director" / VIN).glob("*timestamp*"))

    @pytest.mark.parametrize(
        "call",
        [
            lambda one: one.dd.mitm_arbitrary_package_attack(VIN, "nothing.img"),
            lambda one: one.dd.keyed_arbitrary_package_attack(VIN, SECONDARY, "nothing.img"),
            lambda one: one.di.mitm_arbitrary_package_attack("nothing.img"),
            lambda one: one.di.keyed_arbitrary_package_attack("nothing.img"),
            lambda one: one.di.mitm_arbitrary_package_attack("../../etc/passwd"),
            lambda one: one.dd.mitm_arbitrary_package_attack("..", "x"),
            lambda one: one.dd.add_target_to_director("/nothing/here", "x.img", VIN, SECONDARY),
            lambda one: one.dd.add_target_to_director("/etc/hostname", "../x", VIN, SECONDARY),
            lambda one: one.dd.add_new_vehicle("../x"),
            lambda one: one.di.add_target_to_imagerepo("/nothing/here", "x.img"),
            lambda one: one.dd.write_to_live("nobody"),
        ],
    )
    def test_what_there_is_not(self, module_bed: Bed, call: Callable[[Parties], Any]) -> None:
        with pytest.raises(SwagentError):
            call(module_bed.parties)


class TestWithKeys:
    """Keys that were stolen."""

    def test_directors_alone_then_both_then_recovery(self, bed: Bed) -> None:
        di, dd = bed.parties.di, bed.parties.dd
        dd.keyed_arbitrary_package_attack(VIN, SECONDARY, FIRMWARE)
        assert bed.primary() == [Banner.DEFENDED]
        di.keyed_arbitrary_package_attack(FIRMWARE)
        assert bed.primary() == []
        assert bed.secondary() == [Banner.COMPROMISED]
        dd.undo_keyed_arbitrary_package_attack(VIN, SECONDARY, FIRMWARE)
        di.undo_keyed_arbitrary_package_attack(FIRMWARE)
        assert bed.primary() == []
        assert bed.secondary() == [Banner.UPDATED]
        assert bed.parties.ds.runs() == b"Fresh firmware image"

    def test_image_repositorys_alone(self, bed: Bed) -> None:
        """Row 20: nothing happens, because no Director ordered it."""
        di = bed.parties.di
        di.add_target_and_write_to_live("other.img", "evil content")
        assert bed.primary() == []
        assert bed.secondary() == [Banner.NO_UPDATE_NEEDED]

    @pytest.mark.parametrize("vin", [None, VIN])
    def test_revoked_keys(self, bed: Bed, vin: str | None) -> None:
        dd = bed.parties.dd
        dd.revoke_compromised_keys()
        assert bed.primary() == []
        dd.sign_with_compromised_keys_attack(vin)
        with pytest.raises(SettingsError, match="backup"):
            dd.sign_with_compromised_keys_attack(vin)
        assert bed.primary() == [Banner.DEFENDED]
        dd.undo_sign_with_compromised_keys_attack(vin)
        with pytest.raises(SettingsError, match="no backup"):
            dd.undo_sign_with_compromised_keys_attack(vin)
        assert bed.primary() == []

    def test_revoking_is_for_all_vehicles_and_under_the_same_root_key(self, bed: Bed) -> None:
        dd = bed.parties.dd

        def root(vin: str) -> Any:
            return codec("tuf1").decode((bed.folder / "director" / vin / "metadata/root.json").read_bytes())

        before = root(VIN)
        dd.revoke_compromised_keys()
        after = {vin: root(vin) for vin in VINS}
        assert {document.version for document in after.values()} == {before.version + 1}
        assert after[VIN].body.roles["root"] == before.body.roles["root"]
        assert after[VIN].body.roles["timestamp"] != before.body.roles["timestamp"]
        assert bed.primary() == []


class TestManifests:
    """What the Director is told."""

    def test_a_manifest_that_was_changed_is_dropped(self, bed: Bed) -> None:
        ds, dd = bed.parties.ds, bed.parties.dd
        assert bed.primary() == []
        good = dd.director.last_ecu_manifest(SECONDARY)
        ds.ATTACK_send_corrupt_manifest_to_primary()
        bed.primary()
        assert dd.director.last_ecu_manifest(SECONDARY) == good, "dropped"
        with dd.director.inventory.look() as fleet:
            assert fleet.ecu(SECONDARY).distrust
        ds.submit_ecu_manifest_to_primary()
        bed.primary()
        assert dd.director.last_ecu_manifest(SECONDARY) != good
        with dd.director.inventory.look() as fleet:
            assert not fleet.ecu(SECONDARY).distrust

    def test_the_wrapper_takes_what_xmlrpc_carries(self, bed: Bed) -> None:
        dp, dd = bed.parties.dp, bed.parties.dd
        raw = dp.generate_signed_vehicle_manifest()
        dd.register_vehicle_manifest_wrapper(VIN, dp.parts.identity.serial, as_value(raw, codec("tuf1")))
        assert dd.get_last_vehicle_manifest(VIN)["signed"]["vin"] == VIN
        with pytest.raises(UptaneError):
            dd.register_vehicle_manifest_wrapper(VIN, "SomebodyElse", as_value(raw, codec("tuf1")))
        with pytest.raises(UptaneError):
            dd.register_vehicle_manifest_wrapper(
                "111", dp.parts.identity.serial, as_value(raw, codec("tuf1"))
            )

    def test_second_registrations_are_fine(self, bed: Bed) -> None:
        bed.parties.dp.register_self_with_director()
        bed.parties.ds.register_self_with_director()
        bed.parties.ds.register_self_with_primary()


class TestServers:
    """Hosting and listening."""

    def test_killed_and_hosted_again(self, bed: Bed) -> None:
        for one in (bed.parties.di, bed.parties.dd):
            one.host()
            assert "Already hosting" in bed.heard.lines[-1][1]
            one.listen()
            assert "Already listening" in bed.heard.lines[-1][1]
            one.kill_server()
            assert bed.primary() == []
            assert "The cycle failed" in bed.heard.lines[-1][1]
            one.host()
            assert bed.primary() == []
            assert "The cycle failed" not in bed.heard.lines[-1][1]
        bed.parties.dt.listen()
        assert "Already listening" in bed.heard.lines[-1][1]

    def test_backup_and_restore(self, bed: Bed) -> None:
        dd = bed.parties.dd
        top = bed.folder / "director" / VIN
        before = {path.name: path.read_bytes() for path in (top / "metadata.staged").iterdir()}
        with pytest.raises(SettingsError, match="no backup"):
            dd.restore_repositories(VIN)
        dd.backup_repositories(VIN)
        with pytest.raises(SettingsError, match="already"):
            dd.backup_repositories(VIN)
        dd.restore_repositories(VIN)
        assert not (top / "metadata.backup").exists()
        for folder in ("metadata.staged", "metadata"):
            assert {path.name: path.read_bytes() for path in (top / folder).iterdir()} == before
        assert bed.primary() == []

    def test_over_xmlrpc(self, bed: Bed) -> None:
        director, images = bed.rpc("director_rpc"), bed.rpc("image_rpc")
        source = bed.folder / "incoming" / "more.img"
        source.write_bytes(b"more")
        images.call("add_target_to_image_repo", str(source), "more.img")
        images.call("write_image_repo")
        director.call("add_target_to_director", str(source), "more.img", VIN, SECONDARY)
        director.call("write_director_repo", VIN)
        assert bed.primary() == []
        assert bed.secondary() == [Banner.UPDATED]
        assert bed.parties.ds.runs() == b"more"
        director.call("mitm_arbitrary_package_attack", VIN, "more.img")
        assert bed.primary() == [Banner.DEFENDED]
        director.call("undo_mitm_arbitrary_package_attack", VIN, "more.img")
        director.call("prepare_replay_attack_nokeys", VIN)
        assert bed.primary() == []
        director.call("replay_attack_nokeys", VIN)
        assert bed.primary() == [Banner.REPLAY]
        director.call("undo_replay_attack_nokeys", VIN)
        images.call("mitm_arbitrary_package_attack", "more.img")
        assert bed.primary() == [Banner.DEFENDED]
        images.call("undo_mitm_arbitrary_package_attack", "more.img")
        for client, method, words in (
            (images, "mitm_arbitrary_package_attack", ("nothing",)),
            (images, "add_target_to_image_repo", ("/nothing", "x")),
            (director, "replay_attack_nokeys", (VIN,)),
            (director, "undo_sign_with_compromised_keys_attack", (VIN,)),
        ):
            with pytest.raises(RemoteFault):
                client.call(method, *words)
        assert bed.primary() == []

    def test_keys_by_name(self, bed: Bed) -> None:
        from swagent.testbed.console import objects

        names, _ = objects("server", bed.parties.place)
        made = names["generate_key"]("another")
        assert names["import_public_key"]("another") == made
        assert names["import_private_key"]("another").public == made.public
        assert os.stat(bed.folder / "keys" / "another").st_mode & 0o777 == 0o600


@pytest.mark.parametrize("dialect", ["ref-json", "ref-der"])
def test_a_corrupt_manifest_in_the_references_encodings(tmp_path: Path, dialect: str) -> None:
    heard = Heard(Silent())
    with started(dialect, heard, folder=str(tmp_path)) as parties:
        parties.deliver()
        parties.round()
        parties.dp.update_cycle()
        good = parties.dd.director.last_ecu_manifest(SECONDARY)
        parties.ds.ATTACK_send_corrupt_manifest_to_primary()
        parties.dp.update_cycle()
        assert parties.dd.director.last_ecu_manifest(SECONDARY) == good


def test_the_same_seed_gives_the_same_keys(tmp_path: Path) -> None:
    found = []
    for name in ("one", "other"):
        with started("ref-der", Heard(Silent()), folder=str(tmp_path / name), seed=3) as parties:
            found.append((parties.place.public("mainroot"), os.path.basename(parties.dp.folder)))
    assert found[0] == found[1]


def test_banners_are_words_in_large_letters() -> None:
    for banner in Banner:
        assert len(large(banner, colour=False).splitlines()) == 5
        assert "\x1b[" in large(banner, colour=True)
