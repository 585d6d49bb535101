"""The Image repository of a testbed: the object ``di`` of the exercise (uptane §5.3, §5.4)."""

import os
import shutil
from collections.abc import Mapping

from swagent.errors import SettingsError
from swagent.net.rpcserver import Method, RpcMethods
from swagent.store.atomic import make_folders, replace
from swagent.uptane.errors import InvalidMetadata
from swagent.uptane.metadata import ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from swagent.uptane.paths import judge
from swagent.uptane.signing import Signer
from swagent.uptane_server.image_repo import ImageRepository, Settings, create
from swagent.uptane_server.service import Door, Service
from swagent.uptane_server.service_files import static_files
from swagent.uptane_server.service_rpc import rpc_application

from .place import EVIL, FIRMWARE, FRESH, IMAGE_REPO, VINS, Place

OFFICE = ".office"
"""Where the repository itself is; what the exercise shows are links into it."""
KEYS: Mapping[str, str] = {
    ROOT: "mainroot", TIMESTAMP: "maintimestamp", SNAPSHOT: "mainsnapshot", TARGETS: "maintargets",
}  # fmt: skip
FIRST_IMAGES = (
    "INFO1.0.txt",
    "TCU1.0.txt",
    "TCU1.1.txt",
    "TCU1.2.txt",
    "BCU1.0.txt",
    "BCU1.1.txt",
    "BCU1.2.txt",
)
LYING_ABOUT = ("file1.txt", "infotainment_firmware.txt")
BACKUP, HIDDEN = "backup_", "hidden_"


class ImageSide:
    """What somebody at the Image repository's console can do.

    Args:
        place: the testbed.

    Attributes:
        signers: role to the key that signs it.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self.folder = place.path(IMAGE_REPO)
        self.signers: dict[str, Signer] = {}
        self._files: Service | None = None
        self._rpc: Service | None = None

    @property
    def repository(self) -> ImageRepository:
        """The repository as it is now."""
        return ImageRepository(os.path.join(self.folder, OFFICE), self._place.clock)

    # -- honest work

    def clean_slate(self, use_new_keys: bool = False) -> None:
        """Begin anew: keys, first images, hosting, listening."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.signers = {role: self._place.signer(name, new=use_new_keys) for role, name in KEYS.items()}
        self._place.signer("mainrole1", new=use_new_keys)
        office = os.path.join(self.folder, OFFICE)
        settings = Settings(self._place.dialect, consistent_snapshot=False)
        create(office, settings, {role: [one.key] for role, one in self.signers.items()}, self._place.clock)
        make_folders(self._targets())
        for name in (*LYING_ABOUT, *FIRST_IMAGES):
            replace(os.path.join(self._targets(), name), f"{name}: contents of this image\n".encode())
        repository = self.repository
        for name in FIRST_IMAGES:
            repository.add(os.path.join(self._targets(), name), name)
        for link, target in (("metadata.staged", "metadata.staged"), ("metadata", "live/metadata")):
            os.symlink(os.path.join(OFFICE, target), os.path.join(self.folder, link))
        self.write_to_live()
        self.host()
        self.listen()

    def add_target_to_imagerepo(self, target_fname: str, filepath_in_repo: str) -> None:
        """Take a file in; signed and live with ``write_to_live``."""
        path = judge(filepath_in_repo.removeprefix("/"))
        place = os.path.join(self._targets(), path)
        make_folders(os.path.dirname(place))
        try:
            with open(target_fname, "rb") as file:
                data = file.read()
        except OSError as exc:
            raise SettingsError(f"cannot read {target_fname}: {exc.strerror}") from exc
        replace(place, data)
        self.repository.add(place, path)
        self._say(f"Target {path} added to the Image repository.")

    def write_to_live(self) -> None:
        """Sign what was changed and make it what is served."""
        repository = self.repository
        repository.sign(self.signers.values())
        repository.publish(self.signers.values())
        self._say("New metadata of the Image repository is live.")

    def add_target_and_write_to_live(self, filename: str, file_content: "str | bytes") -> None:
        """An image of this content, live at once."""
        data = file_content.encode() if isinstance(file_content, str) else file_content
        source = self._place.path("incoming", filename)
        make_folders(os.path.dirname(source))
        replace(source, data)
        self.add_target_to_imagerepo(source, filename)
        self.write_to_live()

    def delivering_an_update(self) -> None:
        """The image of the exercise."""
        self.add_target_and_write_to_live(FIRMWARE, FRESH)

    def revoke_compromised_keys(self) -> None:
        """New keys for all roles but root, and everything signed anew."""
        repository = self.repository
        for role in (TARGETS, SNAPSHOT, TIMESTAMP):
            self.signers[role] = self._place.signer(f"new_{KEYS[role]}", new=True)
            repository.rotate(role, [self.signers[role].key])
        self.write_to_live()

    # -- servers

    def host(self) -> None:
        """Serve metadata and images over HTTP; not twice."""
        if self._files is not None:
            self._say(f"Already hosting at port {self._files.ports[0]}.")
            return
        self._files = Service(Door(static_files(self.folder), port=self._place.ports.image_files))
        self._say(f"Image repository is hosted at {self._place.url(self._files.ports[0])}")

    def listen(self) -> None:
        """Answer XML-RPC; not twice."""
        if self._rpc is not None:
            self._say(f"Already listening at port {self._rpc.ports[0]}.")
            return
        names = ("mitm_arbitrary_package_attack", "keyed_arbitrary_package_attack")
        attacks = {
            word: Method(getattr(self, word), (str,), 1) for name in names for word in (name, f"undo_{name}")
        }
        calls = {
            "add_target_to_image_repo": Method(self.add_target_to_imagerepo, (str, str), 2),
            "write_image_repo": Method(self.write_to_live, (), 0),
            **attacks,
        }
        faults = ((InvalidMetadata, "tuf.FormatError"),)
        methods = RpcMethods(calls, faults, lambda _, text: self._say(text))
        self._rpc = Service(Door(rpc_application(methods), port=self._place.ports.image_rpc))

    def kill_server(self) -> None:
        """Stop hosting; XML-RPC goes on."""
        if self._files is not None:
            self._files.close()
            self._files = None
            self._say("The Image repository is no longer hosted.")

    def close(self) -> None:
        """Stop all servers."""
        for each in (self._files, self._rpc):
            if each is not None:
                each.close()
        self._files = self._rpc = None

    # -- attacks

    def mitm_arbitrary_package_attack(self, target_filepath: str, text: str = "a forged image") -> None:
        """Replace an image on this repository's mirror, and take it from those of all vehicles; without any key."""
        place = self._target(target_filepath)
        backup = beside(place, BACKUP)
        if os.path.exists(backup):
            raise SettingsError("this attack is under way: there is a backup", hint="undo it first")
        os.rename(place, backup)
        replace(place, text.encode())
        for vin in VINS:
            image = self._place.path("director", vin, "targets", *judge(target_filepath).split("/"))
            if os.path.exists(image):
                os.unlink(image)
        self._say(f"ATTACK: {target_filepath} on the Image repository was replaced, without keys.")

    def undo_mitm_arbitrary_package_attack(self, target_filepath: str) -> None:
        """Put the image back; on the Director's side it stays gone until it is added again."""
        place = os.path.join(self._targets(), *judge(target_filepath).split("/"))
        backup = beside(place, BACKUP)
        if not os.path.exists(backup):
            raise SettingsError("this attack is not under way: there is no backup")
        os.replace(backup, place)
        self._say(f"ATTACK UNDONE: {target_filepath} on the Image repository is as it was.")

    def keyed_arbitrary_package_attack(self, target_filepath: str) -> None:
        """Sign a malicious image with the repository's own keys."""
        self._target(target_filepath)
        self.add_target_and_write_to_live(target_filepath, EVIL)
        self._say(f"ATTACK: {target_filepath} with evil content was signed with the Image repository's keys.")

    def undo_keyed_arbitrary_package_attack(self, target_filepath: str) -> None:
        """Replace the keys that were stolen, and put a clean image in the place of the malicious one."""
        self.revoke_compromised_keys()
        self.add_target_and_write_to_live(target_filepath, FRESH)
        self._say("ATTACK UNDONE: the Image repository has new keys and a clean image.")

    # -- inside

    def hide(self, path: str) -> None:
        """Take an image off this mirror."""
        place = os.path.join(self._targets(), *judge(path).split("/"))
        if os.path.exists(place):
            os.rename(place, beside(place, HIDDEN))

    def unhide(self, path: str) -> None:
        """Put it back."""
        place = os.path.join(self._targets(), *judge(path).split("/"))
        if os.path.exists(beside(place, HIDDEN)):
            os.replace(beside(place, HIDDEN), place)

    def _target(self, path: str) -> str:
        place = os.path.join(self._targets(), *judge(path).split("/"))
        if not os.path.exists(place):
            raise SettingsError(f"the Image repository has no {path}", hint="deliver it first")
        return place

    def _targets(self) -> str:
        return os.path.join(self.folder, "targets")

    def _say(self, text: str) -> None:
        self._place.voice.line(IMAGE_REPO, text)


def beside(path: str, prefix: str) -> str:
    """A name in the same folder."""
    folder, name = os.path.split(path)
    return os.path.join(folder, prefix + name)
