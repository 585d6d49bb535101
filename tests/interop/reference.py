"""Starts parties of the reference implementation, where its two public repositories are checked out."""

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

HOST = "127.0.0.1"
VARIABLE = "UPTANE_REFERENCE"
VIN, PRIMARY, TCU = "democar", "INFOdemocar", "TCUdemocar"
_PORTS = (
    "IMAGE_REPO_PORT",
    "IMAGE_REPO_SERVICE_PORT",
    "DIRECTOR_REPO_PORT",
    "DIRECTOR_SERVER_PORT",
    "TIMESERVER_PORT",
    "PRIMARY_SERVER_DEFAULT_PORT",
)


class Checkouts(NamedTuple):
    """Where the reference is.

    Attributes:
        uptane: a checkout of ``uptane/obsolete-reference-implementation``.
        tuf: one of ``awwad/tuf``, branch ``develop``.
        python: a Python with the libraries that both need.
    """

    uptane: str
    tuf: str
    python: str


def checkouts() -> Checkouts | None:
    """As the environment says: ``UPTANE_REFERENCE=UPTANE:TUF:PYTHON``; None where it says nothing."""
    words = os.environ.get(VARIABLE, "").split(":")
    return Checkouts(*words) if len(words) == 3 else None


def free_ports(n: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Place:
    """The folder and the ports that the reference's parties share.

    Args:
        where: the reference.
        folder: an empty one.
        dialect: ``ref-der`` or ``ref-json``.

    Attributes:
        ports: the demo's name of a port to its number; may be changed before a party is started.
    """

    def __init__(self, where: Checkouts, folder: Path, dialect: str) -> None:
        self.where = where
        self.folder = folder
        self.format = dialect.removeprefix("ref-")
        self.ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        demo = Path(where.uptane, "demo")
        for name in ("keys", "images", "ascii"):
            shutil.copytree(demo / name, folder / "demo" / name)
        for template in demo.glob("pinned_*_template.json"):
            shutil.copy(template, folder / "demo")

    def pin(self) -> None:
        """Let the reference's Primary find the repositories at our ports."""
        path = self.folder / "demo" / "pinned_primary_template.json"
        tree = json.loads(path.read_text())
        tree["repositories"]["imagerepo"]["mirrors"] = [f"http://{HOST}:{self.ports['IMAGE_REPO_PORT']}"]
        tree["repositories"]["director"]["mirrors"] = [
            f"http://{HOST}:{self.ports['DIRECTOR_REPO_PORT']}/<VIN>"
        ]
        path.write_text(json.dumps(tree))


class Peer:
    """A process in which some of the reference's modules are driven by their public functions."""

    def __init__(self, place: Place, name: str, parties: Sequence[str]) -> None:
        hosts = {word.replace("PORT", "HOST").replace("_DEFAULT", ""): HOST for word in place.ports}
        settings = {
            "paths": [place.where.uptane, place.where.tuf],
            "format": place.format,
            "ports": {
                **place.ports,
                **hosts,
                "PRIMARY_SERVER_AVAILABLE_PORTS": [place.ports["PRIMARY_SERVER_DEFAULT_PORT"]],
            },
            "parties": list(parties),
        }
        self._log = place.folder / f"{name}.log"
        self._process = subprocess.Popen(
            [place.where.python, str(Path(__file__).with_name("peer.py"))],
            cwd=place.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("wb"),
            text=True,
            start_new_session=True,  # its servers are children of its own: all end together
        )
        self._ask(settings)

    def call(self, name: str, *args: Any, **how: Any) -> Any:
        """Call a function by its dotted name."""
        return self._ask({"name": name, "args": args, "how": how})

    def get(self, name: str) -> Any:
        """What a name stands for, as far as JSON can say it."""
        return self._ask({"name": name})

    def banners(self) -> list[str]:
        """What it has shown since it was last asked."""
        shown: list[str] = self._ask({"banners": True})
        return shown

    def _ask(self, order: object) -> Any:
        into, out = self._pipes()
        print(json.dumps(order), file=into, flush=True)
        line = out.readline()
        answer = json.loads(line) if line else {"error": "it ended"}
        if "error" in answer:
            raise RuntimeError(f"{answer['error']}\n{self._log.read_text(errors='replace')[-4000:]}")
        return answer["value"]

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None and self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in self._pipes():
            pipe.close()
