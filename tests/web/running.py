"""The real thing: a daemon and the web server in front of it, each a process of its own."""

import hashlib
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.conftest import KeyRing
from tests.daemon.running import HARDWARE, Running, daemon, until
from tests.programs import must, need

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

    @property
    def target(self) -> Path:
        return self.folder / "target"

    @property
    def web_pid(self) -> int:
        """The web server's process."""
        children = self.daemon.client.ask_ours({"do": "state"})["children"]
        (web,) = (each for each in children if each["name"] == "web")
        return int(web["pid"] or 0)

    def idle(self) -> bool:
        """Whether no update is running."""
        return self.daemon.client.ask_ours({"do": "state"})["busy"] is False

    def memory_bytes(self) -> int:
        """The most that the web server has needed so far."""
        status = Path(f"/proc/{self.web_pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024


@contextmanager
def served(
    folder: Path, keys: KeyRing, settings: str = ANYBODY, *words: str | Path, more: str = ""
) -> Iterator[Served]:
    """A daemon that trusts ``keys``, and its web server with these settings, at a port of its own.

    Args:
        folder: of the device.
        keys: whom it trusts.
        settings: of the web server.
        words: of the command line.
        more: further groups of settings.
    """
    config = folder / "swupdate.cfg"
    config.write_text(f"globals : {{ }};\nwebserver : {{ {settings} }};\n{more}")
    port = free_port()
    web = ("-w", f"-p 127.0.0.1:{port}")
    with daemon(folder, "-f", config, "-k", keys.cert, *HARDWARE, *web, *words) as running:
        until(lambda: "the page is at" in running.text(), "the web server")
        yield Served(f"http://127.0.0.1:{port}", folder, running)
        assert "web: ended" not in running.text(), running.text()


def free_port() -> int:
    """A port that nobody listens at just now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def by_a_stranger(keys: KeyRing) -> KeyRing:
    """Keys that nobody trusts, in place of those that are."""
    return replace(keys, key=keys.stranger_key, cert=keys.stranger_cert)


def big_image(folder: Path, keys: KeyRing, size_bytes: int, how: str = "installed-directly = true;") -> Path:
    """An image with a file of so many zeros, which never lie in memory."""
    need("cpio")
    work = folder / "big"
    work.mkdir()
    with (work / "file").open("w+b") as file:
        file.truncate(size_bytes)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    (work / "sw-description").write_text(
        f"""software = {{ version = "1.0.1"; hardware-compatibility = [ "1.0" ]; files = ( {{ filename = "file";
        path = "{folder}/target"; sha256 = "{digest}"; {how} }} ); }}"""
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
