"""Our Director, Image repository and Time server for one vehicle, with fixed keys and a clock that is set by hand."""

import shutil
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from swagent.crypto.schemes import PrivateKey, from_seed
from swagent.net.rpcserver import Method, RpcMethods
from swagent.uptane.codecs import codec
from swagent.uptane.metadata import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, TOP_LEVEL
from swagent.uptane.signing import Signer
from swagent.uptane_server import director_rpc
from swagent.uptane_server.director import Director
from swagent.uptane_server.director_desk import DirectorDesk
from swagent.uptane_server.director_folder import VehicleFolders
from swagent.uptane_server.image_repo import Settings, create
from swagent.uptane_server.inventory import Inventory
from swagent.uptane_server.service import Door, Service
from swagent.uptane_server.service_files import director_files, static_files
from swagent.uptane_server.service_rpc import rpc_application
from swagent.uptane_server.time_server import TimeServer
from tests.uptane_client.world import TestClock

from .office import IMAGES
from .reference import VIN

ONLINE = (TARGETS, SNAPSHOT, TIMESTAMP)


class Servers:
    """All of them, below the present folder.

    Attributes:
        ports: name of a server to its port.
        log: what the Director had to say.
    """

    def __init__(self, dialect: str, clock_s: int) -> None:
        self.dialect = dialect
        self.codec = codec(dialect)
        self.clock = TestClock()
        self.clock.time_s = float(clock_s)
        self.log: list[str] = []
        inventory = Inventory("sqlite:///inventory.sqlite")
        inventory.upgrade()
        self.director = Director(
            inventory,
            self.codec,
            self._online("director"),
            self.clock,
            prompt=False,
        )
        self.director.issue_root([self.signer("director root")])
        self.director.add_vehicle(VIN)
        self.desk = DirectorDesk(self.director, VehicleFolders("director"))
        keys = {role: [self.signer(f"image {role}").key] for role in TOP_LEVEL}
        self.images = create("imagerepo", Settings(dialect, consistent_snapshot=False), keys, self.clock)
        self.publish()
        self.desk.write()
        self._service = Service(
            Door(static_files("imagerepo/live")),
            Door(director_files(self.director, "director", self._hear)),
            Door(rpc_application(director_rpc.methods(self.desk, self._hear), lambda request: True)),
            Door(rpc_application(self._time_methods())),
        )
        self.ports = dict(zip(("image", "director", "service", "time"), self._service.ports, strict=True))

    def signer(self, name: str) -> Signer:
        """The key of that name, always the same."""
        return Signer(self._private(name), self.codec)

    def _private(self, name: str) -> PrivateKey:
        return from_seed(sha256(f"our {name}".encode()).digest())

    def order(self, serial: str, name: str) -> None:
        """Both repositories sign an image for an ECU."""
        Path(name).write_bytes(IMAGES[name])
        self.images.add(name, name)
        self.publish()
        self.desk.add_target(VIN, serial, name, name)
        self.desk.write()

    def order_from_supplier(self, serial: str, name: str) -> None:
        """The Image repository leaves this image to a delegated role."""
        Path(name).write_bytes(IMAGES[name])
        supplier = self.signer("supplier")
        self.images.delegate({"supplier": [supplier.key]}, paths=["lib*"])
        self.images.add(name, name, role="supplier")
        self.images.sign([supplier])
        self.publish(" new")
        self.desk.add_target(VIN, serial, name, name)
        self.desk.write()

    def publish(self, generation: str = "") -> None:
        """Make live what the Image repository has staged."""
        everybody = [
            self.signer(f"image {ROOT}"),
            *(self.signer(f"image {role}{generation}") for role in ONLINE),
        ]
        self.images.sign(everybody)
        self.images.publish(everybody)

    def rotate(self) -> None:
        """New keys for all roles but root, at both repositories."""
        for role in ONLINE:
            self.images.rotate(role, [self.signer(f"image {role} new").key])
        self.publish(" new")
        self.director.use_signers(self._online("director", " new"))
        self.director.issue_root([self.signer("director root")])
        self.desk.write()

    def swap(self, name: str, data: bytes) -> Callable[[], None]:
        """An image is another one at the Director, and nowhere else; returns what undoes it."""
        director, image = (
            Path("director", VIN, "targets", name),
            Path("imagerepo/live/targets", name).resolve(),
        )
        kept = image.with_name("kept")
        image.rename(kept)
        director.write_bytes(data)

        def undo() -> None:
            kept.rename(image)
            shutil.copy(image, director)

        return undo

    def runs(self, serial: str) -> tuple[str, str]:
        """What the Director believes of an ECU: what it runs, what it noticed."""
        raw = self.director.last_ecu_manifest(serial)
        assert raw is not None
        content = self.codec.decode_ecu_report(raw).content
        return content.installed.path, content.attacks

    def alerts(self) -> set[tuple[str, str]]:
        """What the Director has against the vehicle: serial and kind."""
        with self.director.inventory.look() as fleet:
            return {(kept.alert.serial, kept.alert.kind) for kept in fleet.alerts(VIN)}

    def close(self) -> None:
        """Serve no longer."""
        self._service.close()

    def _online(self, owner: str, generation: str = "") -> dict[str, Sequence[Signer]]:
        return {role: [self.signer(f"{owner} {role}{generation}")] for role in ONLINE}

    def _time_methods(self) -> RpcMethods:
        server = TimeServer(self._private("time"), self.clock, self.dialect)
        methods = (server.get_signed_time, server.get_signed_time_der)
        return RpcMethods({each.__name__: Method(each, (list,), 1) for each in methods}, (), self._hear)

    def _hear(self, level: str, line: str) -> None:
        self.log.append(f"{level}: {line}")
