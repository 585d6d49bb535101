"""An Image repository with its people and one client, for tests."""

from contextlib import closing
from pathlib import Path

from swagent.crypto.schemes import from_seed
from swagent.testing.repositories import NOW_S
from swagent.uptane.codecs import codec
from swagent.uptane.metadata import IMAGE, ROOT, TOP_LEVEL, Target
from swagent.uptane.rules import BY_DIALECT
from swagent.uptane.signing import Signer
from swagent.uptane_client.files import FileStore
from swagent.uptane_client.refresh import Refresh
from swagent.uptane_client.sources import RepositorySource
from swagent.uptane_server.image_repo import ImageRepository, Settings, create

IMAGES = {"firmware.img": b"Fresh firmware image", "tcu/modem.img": b"modem" * 300}


class StandingClock:
    """A clock that is set by hand."""

    def __init__(self, time_s: int = NOW_S) -> None:
        self.time_s = float(time_s)

    def now_s(self) -> float:
        return self.time_s

    def monotonic_s(self) -> float:
        return self.time_s


class Office:
    """A repository of one dialect below ``folder``; each role has its key, ``online`` are two of them."""

    def __init__(self, folder: Path, dialect: str) -> None:
        self.folder = folder
        self.dialect = dialect
        self.clock = StandingClock()
        self.codec = codec(dialect)
        self._made = 0
        self.signers = {role: self.new_key() for role in TOP_LEVEL}
        self.repository = create(
            str(folder / "repo"),
            Settings(dialect),
            {role: [signer.key] for role, signer in self.signers.items()},
            self.clock,
        )

    def new_key(self) -> Signer:
        self._made += 1
        return Signer(from_seed(bytes([self._made]) * 32), self.codec)

    @property
    def everybody(self) -> list[Signer]:
        return list(self.signers.values())

    @property
    def online(self) -> list[Signer]:
        return [self.signers["snapshot"], self.signers["timestamp"]]

    def again(self) -> ImageRepository:
        """Another process opens it."""
        self.repository = ImageRepository(str(self.folder / "repo"), self.clock)
        return self.repository

    def image(self, path: str, data: bytes | None = None) -> str:
        source = self.folder / "incoming" / path
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_bytes(IMAGES[path] if data is None else data)
        return str(source)

    def publish(self) -> None:
        self.repository.sign(self.everybody)
        self.repository.publish(self.online)


class Client:
    """What a vehicle knows of the repository; it begins with the first root."""

    def __init__(self, office: Office, name: str = "client") -> None:
        self.office = office
        self.store = FileStore(str(office.folder / name), office.codec.extension)
        self.source = RepositorySource(f"file://{office.folder}/repo/live", office.clock)
        root = self.source.metadata(f"1.root.{office.codec.extension}", 100_000)
        assert root is not None
        self.store.save(IMAGE, ROOT, root)

    def refresh(self) -> Refresh:
        refresh = Refresh(
            IMAGE,
            self.office.codec,
            BY_DIALECT[self.office.dialect],
            lambda _, name, most: self.source.metadata(name, most),
            self.store,
            now_s=self.office.clock.now_s(),
        )
        refresh.run()
        return refresh

    def find(self, path: str, hardware_id: str = "") -> Target | None:
        return self.refresh().find(path, hardware_id)

    def download(self, path: str, hardware_id: str = "") -> list[bytes]:
        """The image under each of its names."""
        target = self.find(path, hardware_id)
        assert target is not None
        found = []
        for folder, name in self.source.images(target):
            with closing(folder.open(name)) as source:
                buffer = memoryview(bytearray(1 << 16))
                found.append(bytes(buffer[: source.readinto(buffer)]))
        return found
