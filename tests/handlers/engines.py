"""Real container engines on sockets of their own, without a network; and an image for them, made by hand."""

import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest

TAG = "acme/app:1.0"
_STARTS_S = 30
_UNIFIED = Path("/sys/fs/cgroup/unified")
# x86-64 Linux, static: for (;;) pause();
_PAUSE = (
    bytes.fromhex("7f454c4602010100 0000000000000000 0200 3e00 01000000 7800400000000000 4000000000000000")
    + bytes.fromhex("0000000000000000 00000000 4000 3800 0100 0000 0000 0000")
    + bytes.fromhex("01000000 05000000 0000000000000000 0000400000000000 0000400000000000")
    + bytes.fromhex("8100000000000000 8100000000000000 0010000000000000")
    + bytes.fromhex("b822000000 0f05 ebf7")
)


def container_image(tag: str = TAG, *, ballast: bytes = b"") -> bytes:
    """An image as `docker save` writes it, with one program, which does nothing for ever."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        _add(archive, "pause", _PAUSE, 0o755)
        _add(archive, "ballast", ballast, 0o644)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/pause"], "StopSignal": "SIGKILL"},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"],
            },
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        _add(archive, name, config, 0o644)
        _add(archive, "layer.tar", layer.getvalue(), 0o644)
        manifest = [{"Config": name, "RepoTags": [tag], "Layers": ["layer.tar"]}]
        _add(archive, "manifest.json", json.dumps(manifest).encode(), 0o644)
    return whole.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    archive.addfile(info, io.BytesIO(data))


@contextmanager
def running(program: str) -> Iterator[str]:
    """The socket of an engine that keeps everything in a folder of its own; skips where it cannot be had."""
    package = {"dockerd": "docker.io"}.get(program, program)
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}: apt-get install {package}")
    if os.geteuid() != 0:
        pytest.skip(f"needs root for {program}")
    with _short_folder() as folder:
        path = str(folder / "engine.sock")
        commands: dict[str, list[str | Path]] = {
            "dockerd": [
                "dockerd", "--host", f"unix://{path}", "--data-root", folder / "data", "--exec-root", folder / "exec",
                "--pidfile", folder / "pid", "--storage-driver", "vfs", "--bridge", "none", "--iptables=false",
                "--ip-forward=false", "--ip-masq=false",
            ],
            "podman": [
                "podman", "--root", folder / "data", "--runroot", folder / "exec", "--storage-driver", "vfs",
                "system", "service", "--time=0", f"unix://{path}",
            ],
        }  # fmt: skip
        log = folder / "log"
        command = [*_without_hybrid_cgroups(), *commands[program]]
        with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
            try:
                if not _comes_up(path, process):
                    pytest.skip(f"{program} does not start here: {log.read_text(errors='replace')[-300:]}")
                yield path
            finally:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()


def _without_hybrid_cgroups() -> list[str | Path]:
    """Before a command: where old and new cgroups both have controllers crun refuses to start anything, so none new."""
    controllers = _UNIFIED / "cgroup.controllers"
    if not controllers.exists() or not controllers.read_text().strip():
        return []
    return ["unshare", "--mount", "sh", "-c", 'umount "$0" && exec "$@"', _UNIFIED]


@contextmanager
def _short_folder() -> Iterator[Path]:
    """A folder with a name as short as podman wants it; removed when those who tidy up behind an engine are done."""
    folder = Path(mkdtemp(prefix="ce"))
    try:
        yield folder
    finally:
        until_s = time.monotonic() + _STARTS_S
        while folder.exists() and time.monotonic() < until_s:
            shutil.rmtree(folder, ignore_errors=True)
            time.sleep(0.1)


def _comes_up(path: str, process: subprocess.Popen[bytes]) -> bool:
    until_s = time.monotonic() + _STARTS_S
    while time.monotonic() < until_s and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as caller:
            try:
                caller.settimeout(_STARTS_S)
                caller.connect(path)
                caller.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                if caller.recv(100).startswith(b"HTTP/1"):
                    return True
            except OSError:
                time.sleep(0.1)
    return False
