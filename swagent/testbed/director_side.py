"""The Director of a testbed: the object ``dd`` of the exercise (uptane §5.2, §5.3)."""

import os
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from swagent.errors import SettingsError
from swagent.net.rpcserver import Method
from swagent.store.atomic import make_folders, replace
from swagent.uptane.metadata import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Root
from swagent.uptane.paths import judge
from swagent.uptane.signing import Signer
from swagent.uptane_server.director import Director
from swagent.uptane_server.director_desk import DirectorDesk
from swagent.uptane_server.director_folder import IMAGES, METADATA, STAGED, VehicleFolders
from swagent.uptane_server.director_rpc import methods
from swagent.uptane_server.inventory import Inventory
from swagent.uptane_server.repository import RoleFiles
from swagent.uptane_server.service import Door, Service
from swagent.uptane_server.service_files import static_files
from swagent.uptane_server.service_rpc import rpc_application

from .image_side import BACKUP, ImageSide, beside
from .place import DIRECTOR, EVIL, FIRMWARE, FRESH, VIN, VINS, Place

KEYS: Mapping[str, str] = {
    ROOT: "directorroot", TIMESTAMP: "directortimestamp", SNAPSHOT: "directorsnapshot", TARGETS: "director",
}  # fmt: skip
ONLINE = (TARGETS, SNAPSHOT, TIMESTAMP)
SAVED, NEWER = "backup_timestamp", "current_timestamp"
METADATA_BACKUP, INVENTORY = "metadata.backup", ".inventory.sqlite"


class DirectorSide:
    """What somebody at the Director's console can do.

    Args:
        place: the testbed.
        images: the Image repository beside it.

    Attributes:
        folders: where vehicles' repositories lie.
        signers: role to the key that signs it.
        revoked: the same before the last revocation.
    """

    def __init__(self, place: Place, images: ImageSide) -> None:
        self._place = place
        self._images = images
        self.folder = place.path(DIRECTOR)
        self.folders = VehicleFolders(self.folder)
        self.signers: dict[str, Signer] = {}
        self.revoked: dict[str, Signer] = {}
        self._inventory: Inventory | None = None
        self._desk: DirectorDesk | None = None
        self._files: Service | None = None
        self._rpc: Service | None = None

    @property
    def desk(self) -> DirectorDesk:
        """The Director at work."""
        if self._desk is None:
            raise SettingsError("there is no Director yet", hint="dd.clean_slate()")
        return self._desk

    @property
    def director(self) -> Director:
        """The Director itself."""
        return self.desk.director

    # -- honest work

    def clean_slate(self, use_new_keys: bool = False) -> None:
        """Begin anew: keys, vehicles, hosting, listening."""
        if self._inventory is not None:
            self._inventory.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        make_folders(self.folder)
        self.signers = {role: self._place.signer(name, new=use_new_keys) for role, name in KEYS.items()}
        self.revoked = {}
        self._open()
        self.director.issue_root([self.signers[ROOT]])
        for vin in VINS:
            self.add_new_vehicle(vin)
        self.write_to_live()
        self.host()
        self.listen()

    def resume(self) -> None:
        """Go on where another process ended, or was ended: with its inventory and the keys that its root lists."""
        if not os.path.exists(os.path.join(self.folder, INVENTORY)):
            raise SettingsError(f"there is no Director in {self.folder}", hint="dd.clean_slate()")
        self.signers = {role: self._place.signer(name) for role, name in KEYS.items()}
        self._open()
        root = self._place.codec.decode(self.director.files(VIN)[self._place.file(ROOT)]).body
        assert isinstance(root, Root)  # noqa: S101 - the Director keeps no other
        for role, name in KEYS.items():
            newer = f"new_{name}"
            if (
                newer in self._place.keys.names()
                and self._place.public(newer).keyid in root.roles[role].keyids
            ):
                self.signers[role] = self._place.signer(newer)
        self.director.use_signers({role: [self.signers[role]] for role in ONLINE})
        self.host()
        self.listen()

    def _open(self) -> None:
        self._inventory = Inventory(os.path.join(self.folder, INVENTORY))
        self._inventory.upgrade()
        online = {role: [self.signers[role]] for role in ONLINE}
        director = Director(self._inventory, self._place.codec, online, self._place.clock, prompt=False)
        self._desk = DirectorDesk(director, self.folders, static=True)

    def add_new_vehicle(self, vin: str, primary_ecu_serial: str | None = None) -> None:
        """A vehicle without ECUs; one that is there is reset."""
        self.director.add_vehicle(vin, primary_ecu_serial)

    def add_target_to_director(
        self, target_fname: str, filepath_in_repo: str, vin: str, ecu_serial: str
    ) -> None:
        """Assign an image to an ECU; signed and live with ``write_to_live``."""
        path = judge(filepath_in_repo.removeprefix("/"))
        self.desk.add_target(vin, ecu_serial, target_fname, path)
        self._say(f"Target {path} added for ECU {ecu_serial!r} of vehicle {vin!r}.")

    def write_to_live(self, vin_to_update: str | None = None) -> None:
        """Sign what vehicles are assigned and make it what is served: of all of them, or of one."""
        self.desk.write(None if vin_to_update is None else [vin_to_update])
        self._say(f"New metadata of {vin_to_update or 'all vehicles'} is live.")

    def add_target_and_write_to_live(
        self, filename: str, file_content: "str | bytes", vin: str, ecu_serial: str
    ) -> None:
        """An image of this content for an ECU, live at once."""
        data = file_content.encode() if isinstance(file_content, str) else file_content
        source = self._place.path("incoming", filename)
        make_folders(os.path.dirname(source))
        replace(source, data)
        self.add_target_to_director(source, filename, vin, ecu_serial)
        self.write_to_live(vin)

    def delivering_an_update(self, ecu_serial: str) -> None:
        """The image of the exercise, for this ECU."""
        self.add_target_and_write_to_live(FIRMWARE, FRESH, VIN, ecu_serial)

    def revoke_compromised_keys(self) -> None:
        """New keys for all roles but root, for all vehicles; a new root, signed by the same root key, says so."""
        self.revoked = dict(self.signers)
        for role in ONLINE:
            self.signers[role] = self._place.signer(f"new_{KEYS[role]}", new=True)
        self.director.use_signers({role: [self.signers[role]] for role in ONLINE})
        self.director.issue_root([self.signers[ROOT]])
        self.write_to_live()

    # -- what it was told

    def get_last_vehicle_manifest(self, vin: str) -> Any:
        """The vehicle's last manifest as nested values, None before the first."""
        from swagent.uptane_server.director_rpc import vehicle_manifest_value

        raw = self.director.last_vehicle_manifest(vin)
        return None if raw is None else vehicle_manifest_value(raw, self._place.codec)

    def get_last_ecu_manifest(self, ecu_serial: str) -> Any:
        """The ECU's last manifest as nested values, None before the first."""
        from swagent.uptane_server.director_rpc import ecu_manifest_value

        raw = self.director.last_ecu_manifest(ecu_serial)
        return None if raw is None else ecu_manifest_value(raw, self._place.codec)

    def register_vehicle_manifest_wrapper(self, vin: str, primary_ecu_serial: str, manifest: Any) -> None:
        """Take a vehicle's manifest as XML-RPC carries it: base64 in DER, nested values in JSON."""
        from swagent.uptane_client.sources import as_file

        data = getattr(manifest, "data", manifest)  # xmlrpc.client.Binary
        self.director.submit(vin, as_file(data, "submit_vehicle_manifest"), primary_ecu_serial)

    # -- servers

    def host(self) -> None:
        """Serve vehicles' repositories over HTTP; not twice."""
        if self._files is not None:
            self._say(f"Already hosting at port {self._files.ports[0]}.")
            return
        self._files = Service(Door(static_files(self.folder), port=self._place.ports.director_files))
        self._say(f"Director repositories are hosted at {self._place.url(self._files.ports[0])}")

    def listen(self) -> None:
        """Answer XML-RPC; not twice."""
        if self._rpc is not None:
            self._say(f"Already listening at port {self._rpc.ports[0]}.")
            return

        class Desk:
            """Whatever Director there is after another clean slate."""

            director = property(lambda _: self.director)
            add_target = property(lambda _: self.desk.add_target)
            write = property(lambda _: self.desk.write)

        calls = methods(Desk(), lambda _, text: self._say(text), self._attack_methods())  # type: ignore[arg-type]  # as much of one as is asked for
        self._rpc = Service(
            Door(rpc_application(calls, lambda request: True), port=self._place.ports.director_rpc)
        )

    def _attack_methods(self) -> dict[str, Method]:
        return {
            "mitm_arbitrary_package_attack": Method(self.mitm_arbitrary_package_attack, (str, str), 2),
            "undo_mitm_arbitrary_package_attack": Method(
                self.undo_mitm_arbitrary_package_attack, (str, str), 2
            ),
            "keyed_arbitrary_package_attack": Method(self.keyed_arbitrary_package_attack, (str, str, str), 3),
            "undo_keyed_arbitrary_package_attack": Method(
                self.undo_keyed_arbitrary_package_attack, (str, str, str), 3
            ),
            "prepare_replay_attack_nokeys": Method(self.backup_timestamp, (str,), 1),
            "replay_attack_nokeys": Method(self.replay_timestamp, (str,), 1),
            "undo_replay_attack_nokeys": Method(self.restore_timestamp, (str,), 1),
            "sign_with_compromised_keys_attack": Method(self.sign_with_compromised_keys_attack, (str,), 0),
            "undo_sign_with_compromised_keys_attack": Method(
                self.undo_sign_with_compromised_keys_attack, (str,), 0
            ),
        }

    def kill_server(self) -> None:
        """Stop hosting; XML-RPC goes on."""
        if self._files is not None:
            self._files.close()
            self._files = None
            self._say("The Director repositories are no longer hosted.")

    def close(self) -> None:
        """Stop all servers."""
        for each in (self._files, self._rpc):
            if each is not None:
                each.close()
        self._files = self._rpc = None
        if self._inventory is not None:
            self._inventory.close()
            self._inventory = None

    # -- backups

    def backup_repositories(self, vin: str | None = None) -> None:
        """Keep what is staged, of all vehicles or of one; not over a backup, and nothing that was not finished."""
        for each in self._vins(vin):
            top = self.folders.of(each)
            if os.path.exists(os.path.join(top, METADATA_BACKUP)):
                raise SettingsError(f"there is a backup of {each} already", hint="restore it first")
            if _contents(os.path.join(top, STAGED)) != _contents(os.path.join(top, METADATA)):
                raise SettingsError(
                    f"what is staged of {each} is not what is served", hint="dd.write_to_live()"
                )
        for each in self._vins(vin):
            top = self.folders.of(each)
            os.rename(os.path.join(top, STAGED), os.path.join(top, METADATA_BACKUP))

    def restore_repositories(self, vin: str | None = None) -> None:
        """Put a backup back; that uses it up."""
        for each in self._vins(vin):
            if not os.path.exists(os.path.join(self.folders.of(each), METADATA_BACKUP)):
                raise SettingsError(f"there is no backup of {each}")
        for each in self._vins(vin):
            backup = os.path.join(self.folders.of(each), METADATA_BACKUP)
            used = os.path.join(self.folders.of(each), f".{METADATA_BACKUP}")
            shutil.rmtree(used, ignore_errors=True)
            self.folders.write(each, _contents(backup))
            os.rename(backup, used)  # half of a backup, which a kill would leave, must not look like one
            shutil.rmtree(used)

    # -- attacks

    def mitm_arbitrary_package_attack(self, vin: str, target_filepath: str) -> None:
        """Replace an image on the Director's mirror, and hide it on the Image repository's; without any key."""
        place = self._target(vin, target_filepath)
        backup = beside(place, BACKUP)
        if os.path.exists(backup):
            raise SettingsError("this attack is under way: there is a backup", hint="undo it first")
        os.rename(place, backup)
        replace(place, b"a forged image")
        self._images.hide(target_filepath)
        self._say(f"ATTACK: {target_filepath} on the Director repository was replaced, without keys.")

    def undo_mitm_arbitrary_package_attack(self, vin: str, target_filepath: str) -> None:
        """Put the images back."""
        place = self._image(vin, target_filepath)
        backup = beside(place, BACKUP)
        if not os.path.exists(backup):
            raise SettingsError("this attack is not under way: there is no backup")
        os.replace(backup, place)
        self._images.unhide(target_filepath)
        self._say(f"ATTACK UNDONE: {target_filepath} on the Director repository is as it was.")

    def backup_timestamp(self, vin: str) -> None:
        """Keep a vehicle's timestamp, and put a newer one live."""
        self._copy(self._live(vin, TIMESTAMP), self._saved(vin, SAVED))
        self.write_to_live(vin)

    def replay_timestamp(self, vin: str) -> None:
        """Serve the timestamp that was kept; the newer one is kept in its stead."""
        if not os.path.exists(self._saved(vin, SAVED)):
            raise SettingsError("no timestamp was kept", hint="dd.backup_timestamp(vin)")
        self._copy(self._live(vin, TIMESTAMP), self._saved(vin, NEWER))
        self._copy(self._saved(vin, SAVED), self._live(vin, TIMESTAMP))
        self._say("ATTACK: an old timestamp is served.")

    def restore_timestamp(self, vin: str) -> None:
        """Serve the newer one again."""
        newer = self._saved(vin, NEWER)
        if not os.path.exists(newer):
            raise SettingsError("no newer timestamp was kept", hint="dd.replay_timestamp(vin)")
        self._copy(newer, self._live(vin, TIMESTAMP))
        os.unlink(newer)
        os.unlink(self._saved(vin, SAVED))
        self._say("ATTACK UNDONE: the newest timestamp is served.")

    def keyed_arbitrary_package_attack(self, vin: str, ecu_serial: str, target_filepath: str) -> None:
        """Sign a malicious image with the Director's own keys."""
        self._target(vin, target_filepath)
        self.add_target_and_write_to_live(target_filepath, EVIL, vin, ecu_serial)
        self._say(f"ATTACK: {target_filepath} with evil content was signed with the Director's keys.")

    def undo_keyed_arbitrary_package_attack(self, vin: str, ecu_serial: str, target_filepath: str) -> None:
        """Replace the keys that were stolen, and put a clean image in the place of the malicious one."""
        self.revoke_compromised_keys()
        self.add_target_and_write_to_live(target_filepath, FRESH, vin, ecu_serial)
        self._say("ATTACK UNDONE: the Director has new keys and a clean image.")

    def sign_with_compromised_keys_attack(self, vin: str | None = None) -> None:
        """Serve timestamp, snapshot and targets that are signed with the keys that were revoked."""
        if not self.revoked:
            raise SettingsError("no keys have been revoked yet", hint="dd.revoke_compromised_keys()")
        self.backup_repositories(vin)
        for each in self._vins(vin):
            self.folders.write(each, self._signed_by(each, self.revoked))
        self._say("ATTACK: metadata signed with revoked keys is served.")

    def undo_sign_with_compromised_keys_attack(self, vin: str | None = None) -> None:
        """Serve what was served before."""
        self.restore_repositories(vin)
        self._say("ATTACK UNDONE: metadata signed with the present keys is served.")

    # -- inside

    def _signed_by(self, vin: str, signers: Mapping[str, Signer]) -> dict[str, bytes]:
        """The next files of a vehicle as somebody with these keys would make them."""
        place = self._place
        found = {role: self.director.file(vin, role) for role in KEYS}
        files = RoleFiles(place.codec, int(place.clock.now_s()), {role: [signers[role]] for role in ONLINE})
        for role, file in found.items():
            if file is not None:
                files.files[role], files.versions[role] = file.raw, file.version
        files.renew(TARGETS, place.codec.decode(files.files[TARGETS]).body)
        files.renew_lists()
        roots = {
            name: raw for name, raw in self.director.files(vin).items() if name.endswith(place.file(ROOT))
        }
        return files.named() | roots

    def _vins(self, vin: str | None) -> Iterable[str]:
        return [vin] if vin is not None else self.director.vins()

    def _live(self, vin: str, role: str) -> str:
        return os.path.join(self.folders.of(vin), METADATA, self._place.file(role))

    def _saved(self, vin: str, word: str) -> str:
        return os.path.join(self.folders.of(vin), self._place.file(word))

    def _image(self, vin: str, path: str) -> str:
        return os.path.join(self.folders.of(vin), IMAGES, *judge(path).split("/"))

    def _target(self, vin: str, path: str) -> str:
        place = self._image(vin, path)
        if not os.path.exists(place):
            raise SettingsError(f"the Director has no {path} for {vin}", hint="deliver it first")
        return place

    def _copy(self, source: str, place: str) -> None:
        with open(source, "rb") as file:
            replace(place, file.read())

    def _say(self, text: str) -> None:
        self._place.voice.line(DIRECTOR, text)


def _contents(folder: str) -> dict[str, bytes]:
    found = {}
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        with open(os.path.join(folder, name), "rb") as file:
            found[name] = file.read()
    return found
