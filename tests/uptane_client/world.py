"""A whole vehicle in one process: repositories, a Time server, a Primary and a Secondary, and one clock for all."""

from collections.abc import Callable
from hashlib import sha256, sha512
from pathlib import Path
from typing import Any

from swagent.crypto.schemes import from_seed
from swagent.errors import TransportError
from swagent.events import EventBus
from swagent.model import EcuInstaller, InstallRequest, Outcome, Reader
from swagent.testing.repositories import DAY_S, NOW_S, RepoSimulator, image_target
from swagent.uptane.metadata import ROOT, TARGETS, RoleKeys
from swagent.uptane.reports import InstalledImage, TimeAttestation
from swagent.uptane.rules import BY_DIALECT
from swagent.uptane.signing import Signer
from swagent.uptane_client.bundle import pack
from swagent.uptane_client.files import FileStore
from swagent.uptane_client.images import ImageStore
from swagent.uptane_client.parts import Identity, Policy
from swagent.uptane_client.parts import Parts as PrimaryParts
from swagent.uptane_client.primary import Primary
from swagent.uptane_client.secondary import Parts as SecondaryParts
from swagent.uptane_client.secondary import Secondary
from swagent.uptane_client.sources import Unregistered
from swagent.uptane_client.vehicle import Vehicle

VIN, PRIMARY, TCU = "democar", "INFOdemocar", "TCUdemocar"
HARDWARE = {PRIMARY: "infotainment", TCU: "tcu"}
FIRMWARE = b"Fresh firmware image"
FACTORY = InstalledImage("secondary_firmware.txt", 3, {"sha256": "6b" * 32})


class TestClock:
    """A clock that stands still until it is set."""

    __test__ = False

    def __init__(self) -> None:
        self.time_s = float(NOW_S)
        self.ran_s = 1000.0

    def now_s(self) -> float:
        return self.time_s

    def monotonic_s(self) -> float:
        return self.ran_s

    def passes(self, seconds: float) -> None:
        self.time_s += seconds
        self.ran_s += seconds


class TimeServer:
    """Attests the clock's time, or what it is told to."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.signer = Signer(from_seed(b"T" * 32), world.codec)
        self.lie: Callable[[bytes], bytes] = lambda raw: raw
        self.last = b""

    def ask(self, nonces: tuple[int, ...]) -> bytes:
        time_s = int(self._world.clock.now_s())
        raw = self._world.codec.encode_time(TimeAttestation(nonces, time_s), self.signer)
        self.last = self.lie(raw)
        return self.last


class Mirror:
    """A ``Folder`` of images in memory; ``lie`` changes what it gives out."""

    name = "mirror"

    def __init__(self) -> None:
        self.images: dict[str, bytes] = {}

    def get(self, name: str, max_bytes: int) -> bytes | None:
        raise AssertionError("images are streamed")

    def open(self, name: str) -> "Bytes":
        if name not in self.images:
            raise TransportError(f"no {name}")
        return Bytes(self.images[name])

    def attend(self, waiting: Callable[[], None]) -> None:
        pass

    def close(self) -> None:
        pass


class Bytes:
    """A ``Reader`` of bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def readinto(self, buffer: memoryview) -> int:
        n = min(len(buffer), len(self._data))
        buffer[:n] = self._data[:n]
        self._data = self._data[n:]
        return n

    def close(self) -> None:
        pass


class Source:
    """A ``RepositorySource`` over a simulator and a mirror."""

    def __init__(self, sim: RepoSimulator, mirror: Mirror) -> None:
        self.sim = sim
        self.mirror = mirror

    def metadata(self, name: str, max_bytes: int) -> bytes | None:
        return self.sim.fetch("", name, max_bytes)

    def images(self, target: Any) -> list[tuple[Mirror, str]]:
        return [(self.mirror, target.path)]

    def attend(self, waiting: Callable[[], None]) -> None:
        pass


class Installs:
    """An ``EcuInstaller`` that keeps what it got; ``outcome`` is what it says."""

    def __init__(self) -> None:
        self.runs = b""
        self.outcome = Outcome(0)
        self.done: bool | None = None
        self.last = self.before = ""
        self.verified = True
        self.asked = 0
        self.checks = False
        self.takes: Callable[[], None] = lambda: None

    def install(self, request: InstallRequest) -> Outcome:
        self.before, self.last = self.last, f"after {self.last}"
        self.verified = request.verified
        self.asked += 1
        got = bytearray()
        buffer = memoryview(bytearray(7))
        while n := request.source.readinto(buffer):
            got += buffer[:n]
            self.takes()
            if self.checks:
                request.checkpoint()
        self.runs = bytes(got)
        return self.outcome

    def mark(self) -> str:
        return self.last

    def completed(self, mark: str) -> bool | None:
        assert mark == self.before
        return self.done


class Service:
    """A ``DirectorService`` that keeps reports."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.refuses = False
        self.knows = True

    def submit(self, vin: str, primary: str, raw: bytes) -> None:
        if self.refuses:
            raise TransportError("the Director does not answer")
        if not self.knows:
            raise Unregistered("it does not know the Primary")
        self.taken.append(raw)

    def register(self, *args: Any, **facts: Any) -> None:
        self.knows = True


class Link:
    """A ``PrimaryLink`` without a network; each lie replaces one of the Primary's answers."""

    def __init__(self, world: "World", serial: str) -> None:
        self._world = world
        self._serial = serial
        self.lies: dict[str, Any] = {}

    def register(self) -> None:
        pass

    def attestation(self) -> bytes | None:
        return self.lies.get("attestation", self._world.time.last or None)

    def metadata(self, *, partial: bool) -> bytes:
        if "metadata" in self.lies:
            return bytes(self.lies["metadata"])
        world = self._world
        if partial:
            return world.director.files[TARGETS]
        extension = world.codec.extension
        files = {}
        for repository, sim in (("director", world.director), ("image", world.image)):
            names = {f"{role}.{extension}": raw for role, raw in sim.files.items()}
            if not world.dialect.startswith("ref"):
                names |= {f"{number}.root.{extension}": raw for number, raw in enumerate(sim.roots, 1)}
            files[repository] = names
        return pack(files)

    def update_exists(self) -> bool:
        return bool(self.lies.get("update_exists", True))

    def image(self) -> tuple[str, Reader] | None:
        if "image" in self.lies:
            lie: tuple[str, Reader] | None = self.lies["image"]
            return lie
        for target in self._world.director.targets.values():
            if self._serial in target.ecus:
                form = target.travelling
                return form.path, Bytes(self._world.mirror.images[form.path])
        return None

    def submit(self, nonce: int, raw: bytes) -> None:
        self._world.memory.queue_nonce(nonce)
        self._world.memory.keep_report(self._serial, raw)
        self._world.reports.append(raw)


class World:
    """All of it, below one folder."""

    def __init__(self, folder: Path, dialect: str) -> None:
        self.folder = folder
        self.dialect = dialect
        self.clock = TestClock()
        self.mirror = Mirror()
        self.reports: list[bytes] = []
        vin = "" if dialect.startswith("ref") else VIN
        self.director = RepoSimulator(dialect, seed=1, vin=vin)
        self.image = RepoSimulator(dialect, seed=2)
        self.codec = self.director.codec
        self.rules = BY_DIALECT[dialect]
        self.time = TimeServer(self)
        self.service = Service()
        self.installers: dict[str, Installs] = {PRIMARY: Installs(), TCU: Installs()}
        self.policy = Policy()
        self.boot_id = "boot-1"
        self.memory = Vehicle(str(folder / "db" / "vehicle.sqlite"))
        self.memory.add_ecu(TCU, HARDWARE[TCU], FACTORY)
        self.metadata = FileStore(str(folder / "files" / "primary" / "metadata"), self.codec.extension)
        for repository, sim in (("director", self.director), ("image", self.image)):
            self.metadata.save(repository, ROOT, sim.roots[0])
        self.bus = EventBus()
        self.link = Link(self, TCU)
        self.tcu_memory = Vehicle(str(folder / "db" / "ecu.sqlite"))
        self.tcu_metadata = FileStore(str(folder / "files" / "tcu" / "metadata"), self.codec.extension)
        for repository, sim in (("director", self.director), ("image", self.image)):
            self.tcu_metadata.save(repository, ROOT, sim.roots[0])
        self.partial = False

    # -- what the back office does

    def order(self, serial: str, name: str = "firmware.img", data: bytes = FIRMWARE, **facts: Any) -> None:
        """Both repositories sign an image for an ECU."""
        self.image.targets[name] = image_target(name, data, **facts)
        self.director.targets = {
            path: target for path, target in self.director.targets.items() if serial not in target.ecus
        }
        self.director.targets[name] = image_target(name, data, serial, **facts)
        self.mirror.images[name] = data
        self.publish()

    def publish(self) -> None:
        for sim in (self.director, self.image):
            sim.now_s = int(self.clock.now_s())
            sim.publish()

    # -- what the vehicle does

    def primary(self, **changes: Any) -> Primary:
        return Primary(self.primary_parts(**changes))

    def primary_parts(self, **changes: Any) -> PrimaryParts:
        installers: dict[str, EcuInstaller] = {PRIMARY: self.installers[PRIMARY]}
        parts = PrimaryParts(
            Identity(VIN, PRIMARY, HARDWARE[PRIMARY]),
            self.codec,
            self.rules,
            Source(self.director, self.mirror),
            Source(self.image, self.mirror),
            self.metadata,
            self.memory,
            ImageStore(str(self.folder / "files" / "primary" / "targets"), self.clock.monotonic_s),
            Signer(from_seed(b"P" * 32), self.codec),
            self.clock,
            self.bus,
            policy=self.policy,
            time=self.time,
            time_key=self.time.signer.key,
            service=self.service,
            installers=installers,
            boot_id=self.boot_id,
        )
        return parts._replace(**changes)

    def secondary(self, **changes: Any) -> Secondary:
        keys = None
        if self.partial:
            signers = self.director.signers[TARGETS]
            keys = (
                {signer.key.keyid: signer.key for signer in signers},
                RoleKeys(tuple(signer.key.keyid for signer in signers), self.director.threshold[TARGETS]),
            )
        parts = SecondaryParts(
            VIN,
            TCU,
            HARDWARE[TCU],
            self.codec,
            self.rules,
            self.link,
            self.tcu_metadata,
            self.tcu_memory,
            Signer(from_seed(b"S" * 32), self.codec),
            self.installers[TCU],
            self.clock,
            self.bus,
            time_key=self.time.signer.key,
            boot_id=self.boot_id,
            director_keys=keys,
        )
        return Secondary(parts._replace(**changes), FACTORY)

    def round(self) -> str:
        """A cycle of the Primary, then one of the Secondary."""
        self.primary().cycle()
        return self.secondary().cycle()

    def started(self) -> "World":
        """The Secondary has sent its first nonce, so that its next attestation answers it."""
        self.secondary().report()
        self.round()
        return self

    def kept(self) -> dict[str, bytes]:
        """Every metadata file of both ECUs."""
        found = {}
        for folder in (self.metadata.folder, self.tcu_metadata.folder):
            for path in Path(folder).rglob("*"):
                if path.is_file():
                    found[str(path.relative_to(self.folder))] = path.read_bytes()
        return found


def hashes(data: bytes) -> dict[str, str]:
    return {"sha256": sha256(data).hexdigest(), "sha512": sha512(data).hexdigest()}


__all__ = ["DAY_S", "FIRMWARE", "PRIMARY", "TCU", "Bytes", "World", "hashes"]
