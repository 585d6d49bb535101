"""A folder that plays a device, and swagent run on it in this process."""

import fcntl
import hashlib
import io
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

from swagent.bootloader import ubootenv
from swagent.bootloader.uboot import UBoot
from swagent.cli.main import main

from .images import KEY_FILE, Image, signing_key

ENV_BYTES = 0x2000
OLD_ENV = {"slot": "a", "bootcount": "0"}
F_SETPIPE_SZ = 1031
"""fcntl.F_SETPIPE_SZ, without asking which Python knows it."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    code: int
    stdout: str
    stderr: str


class Device:
    """Two slot files, a folder for files, U-Boot's environment twice; keys beside it. All else must stay as it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "device"
        self.tmp = folder / "tmp"
        self.run = folder / "run"
        for path in (self.root / "files", self.tmp, self.run):
            path.mkdir(parents=True)
        (self.root / "aes.key").write_text(KEY_FILE)
        (folder / "public.pem").write_bytes(signing_key()[1])
        (folder / "swupdate.cfg").write_text("globals : { };\n")
        places = [f"{self.root}/env.bin {at:#x} {ENV_BYTES:#x}\n" for at in (0, ENV_BYTES)]
        (self.root / "fw_env.config").write_text("".join(places))
        self.reset()

    def reset(self) -> None:
        """The state before any update."""
        copies = [ubootenv.build_copy(OLD_ENV, ENV_BYTES, flags=flags) for flags in (1, 0)]
        (self.root / "env.bin").write_bytes(b"".join(copies))
        (self.root / "slot-a.img").write_bytes(b"running system\n" * 100)
        (self.root / "slot-b.img").write_bytes(b"old second copy\n" * 100)
        for path in (self.root / "files").iterdir():
            path.unlink()
        (self.root / "files" / "app.conf").write_bytes(b"colour = red\n")

    def env(self) -> dict[str, str]:
        """The boot environment in force."""
        return UBoot(
            {
                "fwenv-config-location": str(self.root / "fw_env.config"),
                "fwenv-lockfile": str(self.run / "env.lock"),
            }
        ).all()

    def snapshot(self) -> dict[str, str]:
        """Every path below the folder with its mode and digest; the run folder (locks) apart."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            if self.run in (path, *path.parents):
                continue
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
            found[str(path.relative_to(self.folder))] = f"{path.lstat().st_mode:o} {digest}"
        return found

    def options(self, image: Image | None = None) -> list[str]:
        """What every install is given."""
        return [
            "-k", str(self.folder / "public.pem"), "-H", "board:1.0", "-B", "uboot",
            "--fwenv-config", str(self.root / "fw_env.config"), "-f", str(self.folder / "swupdate.cfg"),
            *(image.options if image else ()),
        ]  # fmt: skip

    def install(
        self, raw: bytes, image: Image | None = None, *, pipe: bool, more: tuple[str, ...] = ()
    ) -> Outcome:
        """Install an archive from a file or through a pipe, in this process."""
        words = [*self.options(image), *more]
        if pipe:
            with _standard_input(raw):
                return self.swagent(["install", "-", *words])
        path = self.folder / "update.swu"
        path.write_bytes(raw)
        try:
            return self.swagent(["-i", str(path), *words])
        finally:
            path.unlink()

    def swagent(self, argv: list[str]) -> Outcome:
        """Run the command in this process, and give back what it holds until a process ends."""
        out, err = io.StringIO(), io.StringIO()
        before = _descriptors()
        handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        threads = set(threading.enumerate())
        saved = {name: os.environ.get(name) for name in ("TMPDIR", "RUNTIME_DIRECTORY")}
        os.environ |= {"TMPDIR": str(self.tmp), "RUNTIME_DIRECTORY": str(self.run)}
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = main(argv)
        finally:
            for name, value in saved.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
            for number, handler in handlers.items():
                signal.signal(number, handler)
            left = _descriptors() - before
            kept = {fd: _target(fd) for fd in left}
            for fd in left:
                os.close(fd)
        # the lock and the image are held until the process ends; nothing else may be
        assert all(name.endswith(("swagent.lock", ".swu", ".swu (deleted)")) for name in kept.values()), kept
        assert threads >= set(threading.enumerate()), "a thread was left behind"
        return Outcome(code, out.getvalue(), err.getvalue())


def _descriptors() -> set[int]:
    fds = set()
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            os.fstat(fd)
        except OSError:
            continue  # that of the listing itself
        fds.add(fd)
    return fds


def _target(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


@contextmanager
def _standard_input(raw: bytes) -> Iterator[None]:
    """Standard input is a pipe that holds ``raw``, and then ends."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, F_SETPIPE_SZ, 1 << 20)

    def feed() -> None:
        with suppress(BrokenPipeError), open(writing, "wb", buffering=0) as pipe:
            for start in range(0, len(raw), 1 << 20):
                pipe.write(raw[start : start + (1 << 20)])

    feeder = threading.Thread(target=feed)
    if len(raw) <= 1 << 20:
        feed()
    else:
        feeder.start()
    saved = os.dup(0)
    os.dup2(reading, 0)
    os.close(reading)
    try:
        yield
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        if feeder.ident is not None:
            feeder.join()
