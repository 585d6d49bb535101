"""What is done at the reference's side: its servers, or nobody when it was done already."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from swagent.clock import SystemClock

from .reference import VIN, Checkouts, Peer, Place

SEED = "interop"
PORTS = {
    "image": "IMAGE_REPO_PORT",
    "director": "DIRECTOR_REPO_PORT",
    "service": "DIRECTOR_SERVER_PORT",
    "time": "TIMESERVER_PORT",
}
IMAGES = {
    "firmware.img": b"Fresh firmware image",
    "brakes.img": b"Fresh brakes",
    "newer.img": b"Newer firmware",
    "lib.img": b"A supplier's firmware",
}


class Office(Protocol):
    """Who runs the servers."""

    def order(self, **assignments: str) -> None:
        """Both repositories sign these images and nothing else, each for an ECU."""

    def order_from_supplier(self, serial: str, name: str) -> None:
        """The Image repository leaves this image to a delegated role."""

    def does(self, *functions: str) -> None:
        """The demo's attacks, or the ends of them."""

    def primary_cycle(self) -> None:
        """The reference's Primary has a cycle, where there is one."""


class Nobody:
    """For a replay."""

    def order(self, **assignments: str) -> None:
        pass

    def order_from_supplier(self, serial: str, name: str) -> None:
        pass

    def does(self, *functions: str) -> None:
        pass

    def primary_cycle(self) -> None:
        pass


class LiveOffice:
    """The reference's servers, and its Primary where ``primary`` is one."""

    def __init__(self, place: Place, servers: Peer, images: Mapping[str, bytes]) -> None:
        self._folder = place.folder
        self._servers = servers
        self._images = images
        self.primary: Peer | None = None
        for party, verb in (
            ("image_repo", "clean_slate"),
            ("director", "clean_slate"),
            ("timeserver", "listen"),
        ):
            servers.call(f"demo.demo_{party}.{verb}")

    def order(self, **assignments: str) -> None:
        for name in assignments.values():
            (self._folder / name).write_bytes(self._images[name])
            self._servers.call("demo.demo_image_repo.add_target_to_imagerepo", name, name)
        self._assign(assignments)

    def order_from_supplier(self, serial: str, name: str) -> None:
        (self._folder / name).write_bytes(self._images[name])
        self._servers.call("__main__.delegate", "supplier", "lib*", name)
        self._assign({serial: name})

    def _assign(self, assignments: Mapping[str, str]) -> None:
        call = self._servers.call
        call("demo.demo_director.clear_vehicle_targets", VIN)
        for serial, name in assignments.items():
            call("demo.demo_director.add_target_to_director", name, name, VIN, serial)
        call("demo.demo_image_repo.write_to_live")
        call("demo.demo_director.write_to_live", VIN)

    def does(self, *functions: str) -> None:
        for line in functions:
            name, *args = line.split()
            self._servers.call(f"demo.demo_{name}", *args)

    def primary_cycle(self) -> None:
        assert self.primary is not None
        self.primary.call("demo.demo_primary.update_cycle")


class Begun(NamedTuple):
    """The reference's servers as they run.

    Attributes:
        facts: what a replay must begin with.
    """

    place: Place
    office: LiveOffice
    facts: dict[str, Any]


@contextmanager
def servers(
    where: Checkouts, folder: Path, dialect: str, images: Mapping[str, bytes] = IMAGES, **given: bytes
) -> Iterator[Begun]:
    """The reference's Image repository, Director and Time server.

    Args:
        where: the reference.
        folder: an empty one, for it.
        dialect: the encoding.
        images: what may be ordered, by name.
        given: further files that our side gets, by name.
    """
    place = Place(where, folder, dialect)
    with Peer(place, "servers", ["demo.demo_director", "demo.demo_image_repo"]) as peer:
        office = LiveOffice(place, peer, images)
        keys = folder / "demo" / "keys"
        files = {
            "director_root": folder / "director" / VIN / "metadata" / f"root.{place.format}",
            "image_root": folder / "imagerepo" / "metadata" / f"root.{place.format}",
            "time_key": keys / "timeserver.pub",
            "targets_key": keys / "director.pub",
        }
        given |= {name: path.read_bytes() for name, path in files.items()}
        facts = {
            "dialect": dialect,
            "seed": SEED,
            "clock_s": int(SystemClock().now_s()),
            "given": {name: base64.b64encode(raw).decode() for name, raw in given.items()},
        }
        yield Begun(place, office, facts)
