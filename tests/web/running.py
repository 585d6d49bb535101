"""The real thing: a daemon and the web server in front of it, each a process of its own."""

import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.conftest import KeyRing
from tests.daemon.running import HARDWARE, Running, daemon, until
from tests.programs import PROJECT, must, need

ANYBODY = 'allow-anonymous = true; title = "Acme Gateway";'


@dataclass
class Served:
    """What runs.

    Attributes:
        base: address of the page.
        folder: of the device: images write below it.
    """

    base: str
    folder: Path
    daemon: Running
    web: "subprocess.Popen[bytes]"
    web_log: Path

    @property
    def target(self) -> Path:
        return self.folder / "target"

    def idle(self) -> bool:
        """Whether no update is running."""
        return self.daemon.client.status().current == 0

    def memory_bytes(self) -> int:
        """The most that the web server has needed so far."""
        status = Path(f"/proc/{self.web.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024


@contextmanager
def served(folder: Path, keys: KeyRing, settings: str = ANYBODY, *words: str | Path) -> Iterator[Served]:
    """A daemon that trusts ``keys``, and a web server with these settings, at a port of its own."""
    config = folder / "swupdate.cfg"
    config.write_text(f'globals : {{ }};\nwebserver : {{ listening_ports = "127.0.0.1:0"; {settings} }};\n')
    with daemon(folder, "-k", keys.cert, *HARDWARE, *words) as running:
        log = folder / "web.log"
        with log.open("wb") as out:
            web = subprocess.Popen(
                [sys.executable, "-m", "swagent", "web", "-f", str(config), "-v"],
                cwd=folder,
                env={**os.environ, "RUNTIME_DIRECTORY": str(running.folder), "PYTHONPATH": str(PROJECT)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            found: list[str] = []

            def is_up() -> bool:
                found[:] = re.findall(r"the page is at (\S+)/", log.read_text())
                return bool(found) or web.poll() is not None

            until(is_up, "the web server")
            assert found, log.read_text()
            yield Served(found[0], folder, running, web, log)
        finally:
            web.send_signal(signal.SIGTERM)
            assert web.wait(60) == 0
        assert "Traceback" not in log.read_text() and "error:" not in log.read_text(), log.read_text()


def by_a_stranger(keys: KeyRing) -> KeyRing:
    """Keys that nobody trusts, in place of those that are."""
    return replace(keys, key=keys.stranger_key, cert=keys.stranger_cert)


def big_image(folder: Path, keys: KeyRing, size_bytes: int) -> Path:
    """An image with a file of so many zeros, which never lie in memory."""
    need("cpio")
    work = folder / "big"
    work.mkdir()
    with (work / "file").open("w+b") as file:
        file.truncate(size_bytes)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    (work / "sw-description").write_text(
        f"""software = {{ version = "1.0.1"; hardware-compatibility = [ "1.0" ]; files = ( {{ filename = "file";
        path = "{folder}/target"; sha256 = "{digest}"; installed-directly = true; }} ); }}"""
    )
    must(
        ["openssl", "cms", "-sign", "-in", "sw-description", "-out", "sw-description.sig", "-signer", keys.cert,
         "-inkey", keys.key, "-outform", "DER", "-nosmimecap", "-binary"],
        cwd=work,
    )  # fmt: skip
    names = b"sw-description\nsw-description.sig\nfile\n"
    path = folder / "big.swu"
    must(["cpio", "-o", "--quiet", "-H", "crc", "-F", path], cwd=work, stdin=names)
    return path
