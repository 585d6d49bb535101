"""Where a testbed is: its folder, its addresses, its keys, and who hears what its parties say (uptane §5.1, §5.7)."""

import os
import socket
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import NamedTuple, Protocol

from swagent.clock import Clock, SystemClock
from swagent.uptane.codecs import codec
from swagent.uptane.metadata import Key
from swagent.uptane.rules import BY_DIALECT
from swagent.uptane.signing import Signer
from swagent.uptane_client.provision import read_public_key
from swagent.uptane_server.keys import Keystore, Sealing

from .banners import Banner

VIN, PRIMARY, SECONDARY = "democar", "INFOdemocar", "TCUdemocar"
VINS = ("111", "112", "113", VIN)
FIRMWARE, FRESH, EVIL = "firmware.img", b"Fresh firmware image", b"evil content"
HARDWARE: Mapping[str, str] = {PRIMARY: "infotainment", SECONDARY: "tcu"}
IMAGE_REPO, DIRECTOR, TIME_SERVER = "imagerepo", "director", "timeserver"
PRIMARY_WINDOW, SECONDARY_WINDOW = "primary", "secondary"
PARTIES = (IMAGE_REPO, DIRECTOR, TIME_SERVER, PRIMARY_WINDOW, SECONDARY_WINDOW)
KEY_ROUNDS = 1000
"""The password of these keys is known to everybody; there is nothing to slow down."""
PASSWORD = b"pw"
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class Ports(NamedTuple):
    """Where the parties listen; those of the reference unless said otherwise."""

    image_files: int = 30301
    image_rpc: int = 30309
    director_files: int = 30401
    director_rpc: int = 30501
    time: int = 30601
    primary: tuple[int, ...] = tuple(range(30701, 30712))


def free_ports() -> Ports:
    """Ports that nobody listens at now."""
    sockets = [socket.socket() for _ in range(6)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        numbers = [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
    image_files, image_rpc, director_files, director_rpc, time, primary = numbers
    return Ports(image_files, image_rpc, director_files, director_rpc, time, (primary,))


class Voice(Protocol):
    """Hears what the parties say; from several threads."""

    def line(self, party: str, text: str) -> None:
        """A line in the window of a party."""
        ...

    def banner(self, party: str, banner: Banner) -> None:
        """A word in large letters."""
        ...

    def step(self, number: int) -> None:
        """One of the fifteen steps of the exercise was taken."""
        ...


class Place:
    """One testbed.

    Args:
        folder: everything is below it.
        dialect: the encoding.
        voice: who hears what is said.
        ports: where the parties listen.
        clock: for all parties.
        seed: makes keys, names and nonces repeatable; None for chance.
    """

    def __init__(
        self,
        folder: str,
        dialect: str,
        voice: Voice,
        *,
        ports: Ports = Ports(),  # noqa: B008 - a constant
        clock: Clock | None = None,
        seed: int | None = None,
    ) -> None:
        self.folder = os.path.abspath(folder)
        self.dialect = dialect
        self.codec = codec(dialect)
        self.rules = BY_DIALECT[dialect]
        self.voice = voice
        self.ports = ports
        self.clock = clock or SystemClock()
        self.random: Callable[[int], bytes] = os.urandom if seed is None else _Repeatable(seed)
        self.keys = Keystore(self.path("keys"), Sealing(PASSWORD, KEY_ROUNDS), self.random)

    def path(self, *parts: str) -> str:
        """A path below the folder."""
        return os.path.join(self.folder, *parts)

    def signer(self, name: str, *, new: bool = False) -> Signer:
        """The key of this name; made when it is missing, or when a new one is asked for."""
        if new:
            self.keys.forget(name)
        if name not in self.keys.names():
            self.keys.generate(name)
        return self.keys.signer(name, self.codec)

    def public(self, name: str) -> Key:
        """The public half of the key of this name."""
        return read_public_key(self.keys.public_file(name), self.codec)

    def file(self, role: str) -> str:
        """The plain name of a role's file."""
        return f"{role}.{self.codec.extension}"

    def url(self, port: int) -> str:
        """An address on this host."""
        return f"http://localhost:{port}"

    def random_name(self) -> str:
        """Five letters or digits."""
        return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in self.random(5))


class _Repeatable:
    """Bytes that look like chance, and are the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._asked = 0

    def __call__(self, n_bytes: int) -> bytes:
        self._asked += 1
        found = b""
        while len(found) < n_bytes:
            found += sha256(f"{self._seed} {self._asked} {len(found)}".encode()).digest()
        return found[:n_bytes]
