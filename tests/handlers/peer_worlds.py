"""Programs and devices that install for us in the table of faults (test_failures.py); each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

from swagent.errors import HandlerError, HashError, PreflightRefused, SizeError
from swagent.model import Artifact, Kind
from swagent.testing import FakeHardware
from tests.programs import PROJECT

from .failures import DATA, Expected, World

SAME = "the other end tells as when it has no room"


class PeerWorld(World):
    """Around a handler that talks to somebody."""

    module: ClassVar[str]
    wish: str
    """What the peer shall do wrong, "" for nothing."""

    def begin(self, *words: str) -> str:
        """Start the peer; returns the line that it prints when it is there."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.module, *words],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> str:
        """What it prints when it is asked to end: what it got."""
        told, _ = self.process.communicate("", timeout=20)
        return told.strip()

    def check(self, *, installed: bool, untouched: bool) -> None:
        got = self.end()
        if installed:
            assert got == f"complete {len(DATA)}"
        else:
            assert not got.startswith("complete")
        if untouched:
            assert got in ("", "partial 0")


class RemoteWorld(PeerWorld):
    handler = "remote"
    module = "tests.remote.peer"
    expects: ClassVar = {
        "missing": Expected(PreflightRefused, "nobody listens", untouched=True),
        "small": Expected(HandlerError, "INIT:10240: the program refuses", untouched=True),
        "read-only": SAME,
        "fails": Expected(HandlerError, "DATA from byte 0: the program refuses"),
        "short": Expected(SizeError, untouched=True),
        "hash": Expected(HashError, untouched=True),
    }

    def __init__(self, folder: Path) -> None:
        # what is below /tmp is looked for there too, wherever TMPDIR is
        self.name = f"swagent-peer-{os.getpid()}"
        self.hw = FakeHardware()
        self.art = Artifact(Kind.IMAGE, self.handler, "fw.bin", data=self.name, installed_directly=True)
        self.begin(f"/tmp/{self.name}", "ACK", "ACK")

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.art = self.art._replace(data="nobody-is-here")
        elif fault in ("small", "fails"):
            self.end()
            self.begin(f"/tmp/{self.name}", *(["NACK"] if fault == "small" else ["ACK", "NACK"]))


class SwuForwardWorld(PeerWorld):
    handler = "swuforward"
    module = "tests.net.panel"
    expects: ClassVar = {
        "missing": Expected(HandlerError, "cannot connect: Connection refused", untouched=True),
        "small": Expected(HandlerError, "reports FAILURE: no room"),
        "read-only": SAME,
        "fails": Expected(HandlerError, "closed its status connection"),
        "short": Expected(SizeError, untouched=True),
        "hash": Expected(HashError, untouched=True),
    }

    def __init__(self, folder: Path) -> None:
        self.hw = FakeHardware()
        self.art = Artifact(Kind.IMAGE, self.handler, "panel.swu", installed_directly=True)
        self.point_at(self.begin())

    def point_at(self, url: str) -> None:
        self.art = self.art._replace(properties={"url": (url,), "deadline": ("20",)})

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.point_at("http://127.0.0.1:1")
        elif fault in ("small", "fails"):
            self.end()
            self.point_at(self.begin(fault))


WORLDS: tuple[type[World], ...] = (RemoteWorld, SwuForwardWorld)
