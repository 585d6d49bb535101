"""The Secondary of a testbed: the object ``ds`` of the exercise, a real one in the folders of uptane §5.7."""

import io
import os
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from swagent.errors import SettingsError, SwagentError, TransportError
from swagent.events import EventBus
from swagent.model import InstallRequest, Outcome, Reader
from swagent.store.atomic import make_folders, replace
from swagent.uptane.metadata import DIRECTOR, IMAGE
from swagent.uptane.paths import judge
from swagent.uptane.reports import InstalledImage
from swagent.uptane.signing import Made
from swagent.uptane_client.bundle import FOLDERS, unpack
from swagent.uptane_client.firmware import FirmwareFile
from swagent.uptane_client.links import RpcLink
from swagent.uptane_client.secondary import NO_UPDATE, NOT_NEEDED, UPDATED, Parts, PrimaryLink, Secondary
from swagent.uptane_client.sources import RpcDirectorService
from swagent.uptane_client.vehicle import Vehicle

from .banners import Banner
from .downloads import REFERENCE_ORDER
from .place import EVIL, HARDWARE, SECONDARY, SECONDARY_WINDOW, VIN, Place
from .primary_side import begin_client, loop, tell
from .time_side import KEY as TIME_KEY

if TYPE_CHECKING:
    from swagent.crypto.imagekey import ImageKey

KEY = "secondary"
FACTORY = InstalledImage(
    "secondary_firmware.txt",
    37,
    {
        "sha256": "6b9f987226610bfed08b824c93bf8b2f59521fce9a2adef80c495f363c1c9c44",
        "sha512": "706c283972c5ae69864b199e1cdd9b4b8babc14f5a454d0fd4d3b35396a04ca0"
        "b40af731671b74020a738b5108a78deb032332c36d6ae9f31fae2f8a70f7e1ce",
    },
)
"""What the reference's Secondary says that it runs before its first update."""
_BANNERS = {UPDATED: Banner.UPDATED, NO_UPDATE: Banner.NO_UPDATE, NOT_NEEDED: Banner.NO_UPDATE_NEEDED}
_IMAGE_MAX_BYTES = 64 * 1024 * 1024


class SecondarySide:
    """What somebody at the Secondary's console can do.

    Args:
        place: the testbed.

    Attributes:
        folder: its files.
        error: why the last cycle failed, None when it did not.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self.folder = ""
        self.error: SwagentError | None = None
        self._parts: Parts | None = None

    @property
    def parts(self) -> Parts:
        """What the Secondary works with."""
        if self._parts is None:
            raise SettingsError("there is no Secondary yet", hint="ds.clean_slate()")
        return self._parts

    # -- honest work

    def clean_slate(
        self,
        use_new_keys: bool = False,
        vin: str = VIN,
        ecu_serial: str = SECONDARY,
        primary_host: str = "localhost",
        primary_port: int | None = None,
    ) -> None:
        """Begin anew: a folder, roots, registration with Director and Primary, a first manifest."""
        self.close()
        place = self._place
        self.folder = place.path(f"temp_secondary{place.random_name()}")
        unverified = os.path.join(self.folder, "unverified")
        mirrors = {name: f"file://{os.path.join(unverified, FOLDERS[name])}" for name in (DIRECTOR, IMAGE)}
        metadata = begin_client(place, self.folder, vin, mirrors)
        url = f"http://{primary_host}:{primary_port or place.ports.primary[0]}"
        link = _ToldLink(
            RpcLink(url, vin, ecu_serial, place.codec, place.clock), place, self.folder, self._say
        )
        self._parts = Parts(
            vin,
            ecu_serial,
            HARDWARE.get(ecu_serial, "secondary"),
            place.codec,
            place.rules,
            link,
            metadata,
            Vehicle(os.path.join(self.folder, ".ecu.sqlite")),
            place.signer(KEY, new=use_new_keys),
            _ClientFolder(self.folder),
            place.clock,
            EventBus(),
            time_key=place.public(TIME_KEY),
            boot_id="testbed",
            log=lambda level, text: self._say(text) if level != "debug" else None,
            random=place.random,
        )
        self._secondary = Secondary(self._parts, FACTORY)
        self._say(f"Secondary {ecu_serial} of {vin}; its files: {self.folder}")
        self.register_self_with_director()
        self.register_self_with_primary()
        self.submit_ecu_manifest_to_primary()

    def register_self_with_director(self) -> None:
        """Make the Secondary known; again is fine."""
        parts, place = self.parts, self._place
        service = RpcDirectorService(place.url(place.ports.director_rpc), place.codec, place.clock)
        service.register(parts.vin, parts.serial, parts.hardware_id, parts.signer.key, primary=False)

    def register_self_with_primary(self) -> None:
        """Make the Secondary known to the Primary; again is fine."""
        self.parts.link.register()

    def use_image_key(self, key: "ImageKey") -> None:
        """Open images that were encrypted for this ECU with this key."""
        self._parts = self.parts._replace(image_key=key)
        self._secondary = Secondary(self._parts, FACTORY)

    def update_cycle(self) -> None:
        """Everything once: time, metadata, image, manifest; how it ends is a banner."""
        self._say("Start Update Secondary.")
        self._place.voice.step(9)
        self.error = None
        try:
            result = self._secondary.cycle()
        except SwagentError as exc:
            self.error = exc
            tell(self._place, SECONDARY_WINDOW, exc)
            return
        banner = _BANNERS.get(result)
        if banner is Banner.UPDATED and self.runs() == EVIL:
            banner = Banner.COMPROMISED
        if banner is not None:
            self._place.voice.banner(SECONDARY_WINDOW, banner)

    def runs(self) -> bytes:
        """The image that is installed, empty before the first."""
        path = self.parts.memory.ecus()[self.parts.serial].installed.path
        try:
            with open(os.path.join(self.folder, *judge(path).split("/")), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""

    def generate_signed_ecu_manifest(self) -> bytes:
        """The manifest that would be handed in now."""
        caught: list[bytes] = []
        Secondary(self.parts._replace(link=_Catching(self.parts.link, caught)), FACTORY).report()
        return caught[0]

    def submit_ecu_manifest_to_primary(self, manifest: bytes | None = None) -> None:
        """Hand in a manifest: this one, or a new one."""
        try:
            if manifest is None:
                self._secondary.report()
            else:
                self.parts.link.submit(int.from_bytes(self._place.random(3)), manifest)
        except TransportError as exc:
            self._say(f"The manifest was not taken: {exc.message}")

    def looping_update(self) -> None:
        """A cycle a second, until it is interrupted."""
        loop(self.update_cycle)

    def try_banners(self) -> None:
        """Show all of them."""
        for banner in Banner:
            self._place.voice.banner(SECONDARY_WINDOW, banner)

    def close(self) -> None:
        """Let go of everything."""
        if self._parts is not None:
            self._parts.memory.close()
            self._parts = None
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    # -- attacks

    def ATTACK_send_corrupt_manifest_to_primary(self) -> None:  # noqa: N802 - as the exercise calls it
        """Hand in a manifest that says something else than what was signed."""
        encoding = self._place.codec
        found = encoding.decode_ecu_report(self.generate_signed_ecu_manifest())
        lie = found.content._replace(attacks="Everything is all right, trust me!")
        self.submit_ecu_manifest_to_primary(
            encoding.encode_ecu_report(lie, Made(found.signatures[0], self.parts.signer.key))
        )
        self._say("ATTACK: a manifest was changed after it was signed.")

    def _say(self, text: str) -> None:
        self._place.voice.line(SECONDARY_WINDOW, text)


class _ClientFolder:
    """An ``EcuInstaller``: the image lies under its name at the top of the client's folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def install(self, request: InstallRequest) -> Outcome:
        return FirmwareFile(os.path.join(self._folder, judge(request.name))).install(request)

    def mark(self) -> str:
        return ""

    def completed(self, mark: str) -> bool | None:
        return False


class _ToldLink:
    """A ``PrimaryLink`` that says what it asks and keeps what it gets, where the exercise shows it."""

    def __init__(self, link: RpcLink, place: Place, folder: str, say: Callable[[str], None]) -> None:
        self._link = link
        self._place = place
        self._folder = folder
        self._say = say
        self.register = link.register
        self.update_exists = link.update_exists

    def attestation(self) -> bytes | None:
        self._say("Submitting a request for a signed time to the Primary.")
        self._place.voice.step(10)
        raw = self._link.attestation()
        self._say("Get a signed time from the Primary.")
        self._place.voice.step(11)
        return raw

    def metadata(self, *, partial: bool) -> bytes:
        self._say("Submitting request for a metadata to Primary.")
        self._place.voice.step(12)
        raw = self._link.metadata(partial=partial)
        make_folders(self._folder)
        replace(os.path.join(self._folder, "metadata_archive.zip"), raw)
        files = unpack(raw, self._place.codec.extension, self._place.rules.caps)
        for repository, found in files.items():
            folder = os.path.join(self._folder, "unverified", FOLDERS[repository], "metadata")
            make_folders(folder)
            for name, one in found.items():
                replace(os.path.join(folder, name), one)
            for role in REFERENCE_ORDER:
                self._say(f"Request: 'file:///{os.path.join(folder, self._place.file(role))}'")
        return raw

    def image(self) -> tuple[str, Reader] | None:
        self._say("Submitting a request for a image to the Primary.")
        self._place.voice.step(13)
        found = self._link.image()
        if found is None:
            return None
        name, reader = found
        raw = bytearray()
        buffer = memoryview(bytearray(1 << 16))
        while (n := reader.readinto(buffer)) and len(raw) <= _IMAGE_MAX_BYTES:
            raw += buffer[:n]
        path = os.path.join(self._folder, "unverified_targets", *judge(name).split("/"))
        make_folders(os.path.dirname(path))
        replace(path, bytes(raw))
        return name, io.BytesIO(bytes(raw))

    def submit(self, nonce: int, raw: bytes) -> None:
        self._say("Submitting the Secondary's manifest to the Primary.")
        self._link.submit(nonce, raw)
        self._place.voice.step(14)


class _Catching:
    """A ``PrimaryLink`` that keeps reports to itself."""

    def __init__(self, link: PrimaryLink, caught: list[bytes]) -> None:
        self._caught = caught
        self.register = link.register
        self.attestation = link.attestation
        self.metadata = link.metadata
        self.update_exists = link.update_exists
        self.image = link.image

    def submit(self, nonce: int, raw: bytes) -> None:
        self._caught.append(raw)
