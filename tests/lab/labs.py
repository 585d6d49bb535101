"""A lab in a thread of its own, its keys and tokens, and boards made of pseudo-terminals and files."""

import asyncio
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swagent.errors import SettingsError
from swagent.lab.client import LabClient
from swagent.lab.config import parse_config
from swagent.lab.server import LabServer
from tests.programs import PROJECT

PATIENCE_S = 60.0
IN_FAR_FUTURE = 1 << 33
SERVER = """
server:
  listen: 127.0.0.1:0
  authentication:
    - type: jwks
      path: keys.json
"""


class Keys:
    """Whom a lab believes.

    Args:
        folder: gets ``keys.json``.
    """

    def __init__(self, folder: Path, kid: str = "one") -> None:
        self.kid = kid
        self.private = Ed25519PrivateKey.generate()
        jwk = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(self.private.public_key()))
        self.public = {**jwk, "kid": kid, "use": "sig", "alg": "EdDSA"}
        (folder / "keys.json").write_text(json.dumps({"keys": [self.public]}))

    def token(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        found: dict[str, Any] = {"sub": "tester", "exp": IN_FAR_FUTURE, **claims}
        found = {name: value for name, value in found.items() if value is not None}
        return jwt.encode(found, self.private, "EdDSA", {"kid": self.kid, **(header or {})})


def certificate(folder: Path) -> bytes:
    """A server's ``chain.pem`` and ``key.pem``, made by openssl; what its clients must believe."""
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=lab"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "chain.pem"]
    subprocess.run(["openssl", *words.split(), *files], cwd=folder, check=True, capture_output=True)
    (folder / "key.pem").chmod(0o600)
    return (folder / "chain.pem").read_bytes()


@contextmanager
def serving(folder: Path, text: str, **options: Any) -> Iterator[tuple[LabServer, list[str]]]:
    """A server of this configuration, and the lines of its log."""
    log: list[str] = []
    server = LabServer(parse_config(text.encode(), str(folder / "lab.yaml")), log=log.append, **options)
    started, loop = threading.Event(), asyncio.new_event_loop()
    task: list[asyncio.Task[None]] = []

    async def main() -> None:
        task.append(asyncio.ensure_future(server.run(started.set)))
        try:
            await task[0]
        except asyncio.CancelledError:
            pass
        finally:
            started.set()

    failed: list[SettingsError] = []

    def work() -> None:
        try:
            loop.run_until_complete(main())
        except SettingsError as exc:
            failed.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert started.wait(PATIENCE_S)
        thread.join(0 if server.port else PATIENCE_S)
        if failed:
            raise failed[0]
        yield server, log
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(task[0].cancel)
        thread.join(PATIENCE_S)
        loop.close()


class Served:
    """``swagent lab serve``, a process; its loop is its own, which gRPC wants when there are several servers.

    Args:
        folder: it works there, and reads ``lab.yaml`` there.
        options: of ``serve``.

    Attributes:
        address: what clients are told.
        port: where it listens.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self.address = ""
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Listen where it listened before."""
        words = ["lab", "serve", "lab.yaml", "--listen", f"127.0.0.1:{self.port}", *self._options]
        with open(self._folder / "log", "ab") as log:
            log.truncate(0)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "swagent", *words],
                cwd=self._folder,
                env={**os.environ, "PYTHONPATH": str(PROJECT)},
                stderr=log,
            )
        process = self._process
        eventually(lambda: "serving on" in self.log or process.poll() is not None)
        assert process.poll() is None, self.log
        said = eventually(lambda: re.search(r"serving on (https?://127\.0\.0\.1:(\d+))\n", self.log))
        self.address, self.port = said[1], int(said[2])

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """As a service manager does; it must end well."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            assert self._process.wait(PATIENCE_S) == 0


@contextmanager
def using(server: LabServer | Served, token: str) -> Iterator[LabClient]:
    with LabClient(f"http://127.0.0.1:{server.port}", token) as client:
        yield client


def eventually(true: Callable[[], Any]) -> Any:
    """Wait for it."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        found = true()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it never happened")


class Board:
    """A board that is a pseudo-terminal: it says what ``say`` is given, and keeps what is typed.

    Attributes:
        path: of the terminal that a lab opens.
    """

    def __init__(self) -> None:
        self._fd, self._theirs = pty.openpty()
        self.path = os.ttyname(self._theirs)

    def say(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._fd, data) :]

    def typed(self, n_bytes: int) -> bytes:
        found = b""
        while len(found) < n_bytes:
            found += os.read(self._fd, n_bytes - len(found))
        return found

    def unplug(self) -> None:
        for fd in (self._fd, self._theirs):
            if fd >= 0:
                os.close(fd)
        self._fd = self._theirs = -1
