"""Forwarding to the real SWUpdate and beside the real SWUpdate: one update, several devices, what each of them sees."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import pytest

from tests.conftest import KeyRing
from tests.net.authority import Authority
from tests.net.panel import Panel, header
from tests.programs import PROJECT, need, own_network, run, run_swagent

pytest.importorskip("websockets")

MIB = 1024 * 1024
MEMORY_MAX_KIB = 60 * 1024
PORT = 8080


@pytest.fixture
def network() -> Iterator[None]:
    with own_network():
        yield


def build(folder: Path, name: str, entry: str, key_ring: KeyRing) -> Path:
    (folder / "sw-description").write_text(
        f'software = {{ version = "1.0"; hardware-compatibility: [ "1.0" ]; {entry} }};\n'
    )
    words: list[str | Path] = [
        "make",
        "-s",
        "sw-description",
        "-o",
        name,
        "-k",
        key_ring.key,
        "--certificate",
        key_ring.cert,
    ]
    done = run_swagent(words, folder)
    assert done.ok, done.text
    return folder / name


def inner(folder: Path, size_bytes: int, key_ring: KeyRing) -> Path:
    """The devices' own update: a file, which goes elsewhere on each of them."""
    block = os.urandom(MIB)
    with (folder / "rootfs").open("wb") as rootfs:
        for _ in range(size_bytes // MIB):
            rootfs.write(block)
    modes = "".join(
        f'{name}: {{ files: ( {{ filename = "rootfs"; path = "{folder}/{name}"; installed-directly = true; }} ); }}; '
        for name in ("theirs", "ours")
    )
    return build(folder, "panel.swu", f"stable: {{ {modes} }};", key_ring)


def outer(folder: Path, urls: list[str], key_ring: KeyRing, more: str = "") -> Path:
    """The update that carries it."""
    listed = ", ".join(f'"{url}"' for url in urls)
    entry = (
        'images: ( { filename = "panel.swu"; type = "swuforward"; installed-directly = true; '
        f'properties: {{ url: [ {listed} ]; deadline = "60"; {more} }}; }} );'
    )
    return build(folder, "update.swu", entry, key_ring)


@contextmanager
def swupdate_server(folder: Path, key_ring: KeyRing, *words: str) -> Iterator[Path]:
    """Debian's swupdate with its web server on ``PORT``; gives its log."""
    need("swupdate")
    (folder / "www").mkdir(exist_ok=True)
    log = folder / "swupdate.log"
    with TemporaryDirectory(prefix="sw") as private, log.open("wb") as out:
        process = subprocess.Popen(
            ["swupdate", "-l", "5", "-k", str(key_ring.cert), "-H", "board:1.0", "-e", "stable,theirs",
             "-w", f"-r {folder}/www -p {PORT} {' '.join(words)}"],
            env={**os.environ, "TMPDIR": private}, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
        try:
            until_s = time.monotonic() + 20
            while not listens(PORT):
                assert time.monotonic() < until_s, log.read_text()
                time.sleep(0.05)
            yield log
        finally:
            os.killpg(process.pid, 9)
            process.wait()


def listens(port: int) -> bool:
    wanted = f":{port:04X} "
    return any(
        wanted in line and " 0A " in line
        for line in Path("/proc/thread-self/net/tcp").read_text().splitlines()
    )


class InstallingPanel(Panel):
    """A device that installs what comes with a swagent of its own."""

    def __init__(self, folder: Path, key_ring: KeyRing) -> None:
        super().__init__(keep=False)
        self._folder = folder
        self._words = ["-i", "-", "-k", str(key_ring.cert), "-H", "board:1.0", "-e", "stable,ours"]
        self._process: subprocess.Popen[bytes] | None = None

    def take(self, piece: bytes) -> None:
        if self._process is None:
            self.tell("START")
            self._process = subprocess.Popen(
                [sys.executable, "-m", "swagent", *self._words],
                env={
                    **os.environ,
                    "PYTHONPATH": str(PROJECT),
                    "RUNTIME_DIRECTORY": str(self._folder),
                    "STATE_DIRECTORY": str(self._folder),
                },
                stdin=subprocess.PIPE,
            )
        stdin: IO[bytes] | None = self._process.stdin
        assert stdin is not None
        stdin.write(piece)

    def install(self) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.close()
        self.tell("SUCCESS" if self._process.wait() == 0 else "FAILURE")


class StallingPanel(Panel):
    def take(self, piece: bytes) -> None:
        self.stop.wait()


MEASURED = """
import resource, subprocess, sys
status = subprocess.call([sys.executable, "-m", "swagent", *sys.argv[1:]])
print(f"PEAK {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss} KiB")
sys.exit(status)
"""
"""A program that begins small: what it starts inherits its peak."""


@pytest.mark.parametrize("mib", [16, pytest.param(200, marks=pytest.mark.slow)])
def test_four_devices_of_which_two_are_good(
    mib: int, tmp_path: Path, key_ring: KeyRing, network: None
) -> None:
    update = inner(tmp_path, mib * MIB, key_ring)
    (tmp_path / "panel").mkdir()
    gone, real = "http://127.0.0.1:9", f"http://127.0.0.1:{PORT}"
    with (
        swupdate_server(tmp_path, key_ring) as server_log,
        InstallingPanel(tmp_path / "panel", key_ring) as good,
        StallingPanel(keep=False) as stalling,
    ):
        urls = [f"{real}/", good.url, stalling.url, gone]
        image = outer(tmp_path, urls, key_ring, 'timeout = "5";')
        done = run(
            [sys.executable, "-c", MEASURED, "-i", image, "-k", key_ring.cert, "-H", "board:1.0", "--json"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(PROJECT), "RUNTIME_DIRECTORY": str(tmp_path), "TMPDIR": str(tmp_path)},
            timeout_s=90,
        )
    told = done.text
    assert done.code == 40, told
    assert f"2 of 4 devices did not install it: {stalling.url}: it took no data within 5 s; {gone}" in told
    assert f"{real} has installed it" in told, server_log.read_text(errors="replace")
    assert f"{good.url} has installed it" in told
    content = (tmp_path / "rootfs").read_bytes()
    assert (tmp_path / "theirs").read_bytes() == (tmp_path / "ours").read_bytes() == content
    assert good.sha256.hexdigest() == hashlib.sha256(update.read_bytes()).hexdigest()
    assert int(told.rpartition("PEAK ")[2].split()[0]) < MEMORY_MAX_KIB, told


def install(folder: Path, url: str, key_ring: KeyRing, more: str = "") -> tuple[int, str]:
    image = outer(folder, [url], key_ring, more)
    done = run_swagent(["-i", image, "-k", key_ring.cert, "-H", "board:1.0", "--json"], folder)
    assert "Traceback" not in done.text
    return done.code, done.text


def test_what_the_real_one_refuses_is_told(tmp_path: Path, key_ring: KeyRing, network: None) -> None:
    inner(tmp_path, MIB, key_ring)
    damaged = bytearray((tmp_path / "panel.swu").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "panel.swu").write_bytes(damaged)
    with swupdate_server(tmp_path, key_ring):
        code, told = install(tmp_path, f"http://127.0.0.1:{PORT}", key_ring)
        assert code == 40, told
        assert f"http://127.0.0.1:{PORT}: it reports FAILURE: " in told
        (tmp_path / "panel.swu").write_bytes(b"this is no archive" * 10_000)
        code, told = install(tmp_path, f"http://127.0.0.1:{PORT}", key_ring)
        assert code == 40, told
        assert "1 of 1 devices did not install it" in told


def test_the_real_one_with_a_password(tmp_path: Path, key_ring: KeyRing, network: None) -> None:
    inner(tmp_path, MIB, key_ring)
    secret = hashlib.md5(b"ann:lab:s3cret").hexdigest()
    (tmp_path / "users").write_text(f"ann:lab:{secret}\n")
    words = ("--auth-domain", "lab", "--global-auth-file", str(tmp_path / "users"))
    with swupdate_server(tmp_path, key_ring, *words):
        code, told = install(tmp_path, f"http://ann:wrong@127.0.0.1:{PORT}", key_ring)
        assert code == 40, told
        assert "401" in told
        assert not (tmp_path / "theirs").exists()
        code, told = install(tmp_path, f"http://ann:s3cret@127.0.0.1:{PORT}", key_ring)
        assert code == 0, told
    assert "s3cret" not in told
    assert (tmp_path / "theirs").read_bytes() == (tmp_path / "rootfs").read_bytes()


def test_the_real_one_with_tls(tmp_path: Path, key_ring: KeyRing, network: None) -> None:
    authority = Authority(tmp_path / "authority")
    inner(tmp_path, 3 * MIB, key_ring)
    words = ("-s", "-C", authority.path("server.pem"), "-K", authority.path("server.key"))
    with swupdate_server(tmp_path, key_ring, *words):
        trusting = f'cafile = "{authority.path("ca.pem")}";'
        code, told = install(tmp_path, f"https://localhost:{PORT}", key_ring, trusting)
        assert code == 0, told
    assert (tmp_path / "theirs").read_bytes() == (tmp_path / "rootfs").read_bytes()
    (tmp_path / "theirs").unlink()
    (tmp_path / "swupdate.cfg").write_text(
        f'globals : {{ }}; swagent : {{ forward-cafile = "{authority.path("ca.pem")}"; }};'
    )
    with swupdate_server(tmp_path, key_ring, *words):
        update = outer(tmp_path, [f"https://localhost:{PORT}"], key_ring)
        done = run_swagent(
            ["-i", update, "-f", "swupdate.cfg", "-k", key_ring.cert, "-H", "board:1.0"], tmp_path
        )
        assert done.code == 0, done.text
    assert (tmp_path / "theirs").read_bytes() == (tmp_path / "rootfs").read_bytes()


def test_a_device_cannot_tell_who_forwards(tmp_path: Path, key_ring: KeyRing, network: None) -> None:
    """The same requests from SWUpdate and from swagent, but for names of programs and what is drawn by lot."""
    need("swupdate")
    inner(tmp_path, MIB, key_ring)
    seen = []
    with Panel() as theirs, Panel() as ours:
        for panel in (theirs, ours):
            image = outer(tmp_path, [f"http://127.0.0.1:{panel.port}"], key_ring)
            words = ["-i", str(image), "-k", str(key_ring.cert), "-H", "board:1.0"]
            if panel is ours:
                done = run_swagent(words, tmp_path)
            else:
                with TemporaryDirectory(prefix="sw") as private:
                    done = run(["swupdate", "-l", "5", *words], cwd=tmp_path, env={"TMPDIR": private})
            assert panel.complete, done.text
            seen.append(plain(panel))
    assert seen[0] == seen[1]
    assert theirs.received == ours.received == (tmp_path / "panel.swu").read_bytes()


def plain(panel: Panel) -> dict[str, object]:
    """What a device is told: of the upload every byte that cannot differ, of the WebSocket what it has to have."""
    (upload,) = (head for head in panel.heads if head.startswith(b"POST "))
    (websocket,) = (head for head in panel.heads if head.startswith(b"GET "))
    boundary = header(upload, b"Content-Type").partition(b"boundary=")[2]
    for varies, word in (
        (boundary, b"BOUNDARY"),
        (header(upload, b"User-Agent"), b"PROGRAM"),
        (str(panel.port).encode(), b"PORT"),
    ):
        upload = upload.replace(varies, word)
    needed = (b"Upgrade", b"Connection", b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Version")
    return {
        "upload": upload,
        "boundary": len(boundary),
        "part": panel.part_head.replace(boundary, b"BOUNDARY"),
        "websocket": [websocket.split(b"\r\n")[0], *(header(websocket, name) for name in needed)],
    }
