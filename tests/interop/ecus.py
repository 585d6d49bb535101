"""Our ECUs as the commands put them together, but with a clock that stands still and random bytes that come again."""

import base64
import os
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import patch

from swagent.cli import uptane_provision, uptane_secondary
from swagent.cli.options import parse
from swagent.cli.uptane_service import Log
from swagent.clock import SystemClock
from swagent.crypto.schemes import PrivateKey, from_seed
from swagent.errors import SwagentError
from swagent.events import EventBus
from swagent.net.rpc import RpcClient
from swagent.store.atomic import replace
from swagent.uptane.codecs import codec
from swagent.uptane.reports import UNKNOWN_IMAGE
from swagent.uptane.signing import Signer
from swagent.uptane_client.secondary import Secondary
from swagent.uptane_client.sources import OPTIONS, RpcDirectorService
from tests.uptane_client.world import TestClock

from .office import Nobody, Office
from .reference import PRIMARY, TCU, VIN
from .wire import Replayer, Transcript, Wire

PARTIAL = "BCUdemocar"
HARDWARE = {PRIMARY: "infotainment", TCU: "tcu", PARTIAL: "bcu"}


class Draws:
    """Random bytes that are the same each time."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._n = 0

    def __call__(self, n_bytes: int) -> bytes:
        self._n += 1
        return sha256(f"{self._seed} {self._n}".encode()).digest()[:n_bytes]


class Ecus:
    """Some of our ECUs, below the present folder.

    Args:
        wire: the other side.
        facts: what was given to them when they were built.
        serials: which.
    """

    def __init__(self, wire: Wire, facts: dict[str, Any], *serials: str) -> None:
        self.wire = wire
        self.dialect: str = facts["dialect"]
        self.codec = codec(self.dialect)
        self.clock = TestClock()
        self.clock.time_s = float(facts["clock_s"])
        self.draws = {serial: Draws(f"{facts['seed']} {serial}") for serial in serials}
        self.bus = EventBus()
        self.log = Log(self.bus)
        self._seed: str = facts["seed"]
        for name, text in facts["given"].items():
            Path(name).write_bytes(base64.b64decode(text))
        for serial in serials:
            Path(serial).mkdir()
            replace(f"{serial}/ecu.key", self.key(serial).pem(), mode=0o600)
            words = [
                "--director-root", "director_root", "--image-root", "image_root", "--time-key", "time_key",
                "--state", serial, "--dialect", self.dialect,
            ]  # fmt: skip
            assert uptane_provision.run(parse(uptane_provision.COMMAND, words)) == 0

    def key(self, serial: str) -> PrivateKey:
        """An ECU's key."""
        return from_seed(sha256(f"{self._seed} {serial}".encode()).digest())

    def secondary(self, serial: str, primary: str) -> Secondary:
        """A Secondary that asks its Primary over XML-RPC."""
        words = [
            "--state", serial, "--ecu-serial", serial, "--hardware-id", HARDWARE[serial], "--vin", VIN,
            "--primary", primary, "--rpc", "--dialect", self.dialect, "--firmware", f"{serial}.img",
        ]  # fmt: skip
        if serial == PARTIAL:
            words += ["--director-targets-key", "targets_key"]
        parts = uptane_secondary.make_parts(parse(uptane_secondary.COMMAND, words), self.bus, self.log)
        parts = parts._replace(clock=self.clock, random=self.draws[serial], boot_id="boot")
        return Secondary(parts, UNKNOWN_IMAGE)

    def register(self, *serials: str) -> None:
        """Tell the Director of Secondaries, as whoever builds the vehicle does."""
        service = RpcDirectorService(self.wire.url("service"), self.codec, SystemClock())
        for serial in serials:
            key = Signer(self.key(serial), self.codec).key
            service.register(VIN, serial, HARDWARE[serial], key, primary=False)

    def known_to_director(self, serial: str) -> tuple[str, str]:
        """What the Director believes of an ECU, after it checked its report: what it runs, what it noticed."""
        rpc = RpcClient(self.wire.url("service"), OPTIONS, SystemClock())
        signed = rpc.call("get_last_ecu_manifest", serial)["signed"]
        return signed["installed_image"]["filepath"], signed["attacks_detected"]


def runs(serial: str) -> bytes:
    """What a Secondary of ours has installed."""
    return Path(f"{serial}.img").read_bytes()


def refuses(cycle: Callable[[], object], error: type[SwagentError]) -> None:
    """The cycle ends with this error."""
    try:
        cycle()
    except error:
        return
    raise AssertionError(f"no {error.__name__}")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Work in a folder, with the lock and the journal of installations in it."""
    own = {"TMPDIR": folder, "RUNTIME_DIRECTORY": folder, "STATE_DIRECTORY": folder / "state"}
    with chdir(folder), patch.dict(os.environ, {name: str(path) for name, path in own.items()}):
        yield


def replay(
    transcript: Transcript, folder: Path, play: Callable[[Wire, dict[str, Any], Office], None]
) -> None:
    """Play our side from what was recorded; what it asks otherwise, or never, is an AssertionError."""
    with Replayer(transcript.exchanges) as wire, alone(folder):
        try:
            play(wire, transcript.facts, Nobody())
        except (SwagentError, AssertionError) as exc:
            raise AssertionError(wire.differences or "our side does not accept it") from exc
    assert not wire.differences
    assert not wire.left()
