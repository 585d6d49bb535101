"""A context to run handlers in, without an update around them."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from swagent.errors import ArchiveError, DescriptionError, DeviceError, PreflightRefused, TransportError
from swagent.handlers import api, registry
from swagent.handlers.options import load, read_options
from swagent.hw import FileSync, uart
from swagent.hw.engine import Engine
from swagent.hw.filesystem import Filesystem
from swagent.hw.readback import read_back
from swagent.installer.lua import SessionLua
from swagent.installer.rig import LuaRules
from swagent.model import Artifact, Data, GpioLine, Kind, Needs, Phase, Reader, Sink, TlsFiles

from .data import FakeData
from .flash import FakeFlash
from .gpio import FakeGpio, FakeGpioLines
from .storage import FakeDisk, FakeEmmc
from .ubi import FakeUbi


class FakeEnv:
    """A boot environment in memory; ``staged`` is what would be committed."""

    def __init__(self, stored: dict[str, str] | None = None) -> None:
        self.stored = dict(stored or {})
        self.staged: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        """The stored value, None if absent."""
        return self.stored.get(name)

    def stage(self, name: str, value: str, *, override: bool = True) -> None:
        """Set at commit; "" removes."""
        if override or name not in self.staged:
            self.staged[name] = value


class FakeTarget:
    """An image target that is a plain file; ``state`` is open, closed or abandoned."""

    def __init__(self, path: str, offset_bytes: int, limit_bytes: int | None) -> None:
        self.path = path
        self.state = "open"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as exc:
            raise DeviceError(f"cannot open {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
        self.sink = Sink(fd, offset_bytes=offset_bytes, limit_bytes=limit_bytes)

    def close(self) -> None:
        """As after a success."""
        self._end("closed")

    def abandon(self) -> None:
        """As after a failure; nothing after ``close``."""
        self._end("abandoned")

    def _end(self, state: str) -> None:
        if self.state == "open":
            self.state = state
            os.close(self.sink.fd)


class FakeHardware:
    """A device made of plain files.

    Attributes:
        capacities: path to size in bytes: files that pretend to be block devices of that size.
        busy: path to the reason why it must not be written.
        read_only: paths that cannot be opened for writing.
        failing: disks on which every write fails.
        volumes: block device to the folder that appears when it is mounted.
        targets: every image target opened, in order.
        flashes: number of an MTD to what it is; ``mtd_names`` has their names.
        ubi: UBI devices; ``mtd_denied`` has MTDs that are left alone.
        before_read_back: called with the descriptor that is going to be read back: a place for a device to go wrong.
        lines: the GPIO lines.
        filesystems: device to the file system on it.
        subvolumes: paths of btrfs subvolumes.
        emmcs: path to eMMC.
        docker_socket: of the container engine, such as a ``FakeEngine``.
        program: what ``run`` does, given argv and stdin; returns the exit status.
        ran: every argv given to ``run``.
    """

    def __init__(
        self,
        *,
        capacities: dict[str, int] | None = None,
        busy: dict[str, str] | None = None,
        volumes: dict[str, str] | None = None,
        program: Callable[[list[str], Reader | None], int] | None = None,
        before_read_back: Callable[[int], None] | None = None,
        lines: FakeGpio | None = None,
        docker_socket: str = "",
        flashes: dict[int, FakeFlash] | None = None,
        mtd_names: dict[str, int] | None = None,
        ubi: FakeUbi | None = None,
    ) -> None:
        self.flashes = flashes or {}
        self.mtd_names = mtd_names or {}
        self.mtd_denied: frozenset[int] = frozenset()
        self.ubi = ubi or FakeUbi(attached=False)
        self.before_read_back = before_read_back
        self.capacities = capacities or {}
        self.busy = busy or {}
        self.read_only: set[str] = set()
        self.failing: set[str] = set()
        self.volumes = volumes or {}
        self.targets: list[FakeTarget] = []
        self.program = program
        self.ran: list[list[str]] = []
        self.lines = lines or FakeGpio()
        self.filesystems: dict[str, Filesystem] = {}
        self.subvolumes: set[str] = set()
        self.emmcs: dict[str, FakeEmmc] = {}
        self.docker_socket = docker_socket

    def image_target(self, path: str, *, offset_bytes: int = 0, allow_mounted: bool = False) -> FakeTarget:
        """Open a file that exists."""
        if path in self.busy and not allow_mounted:
            raise PreflightRefused(self.busy[path])
        if path in self.read_only:
            raise DeviceError(f"cannot open {path}: Read-only file system", path=path, errno=errno.EROFS)
        capacity = self.capacities.get(path)
        target = FakeTarget(path, offset_bytes, None if capacity is None else capacity - offset_bytes)
        self.targets.append(target)
        return target

    def capacity_bytes(self, path: str) -> int | None:
        """What ``capacities`` says."""
        if not os.path.exists(path):
            raise DeviceError(f"cannot find {path}: No such file or directory", path=path, errno=2)
        return self.capacities.get(path)

    def in_use(self, path: str) -> str:
        """What ``busy`` says."""
        return self.busy.get(path, "")

    def overlap(self, path: str, other: str) -> bool:
        """Whether they are the same file."""
        return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)

    def read_back(self, fd: int, n_bytes: int, *, offset_bytes: int = 0, path: str) -> bytes:
        """As the real one does."""
        if self.before_read_back is not None:
            self.before_read_back(fd)
        return read_back(fd, n_bytes, offset_bytes=offset_bytes, path=path)

    def mounted(
        self, device: str, filesystem: str, *, read_only: bool = False
    ) -> AbstractContextManager[str]:
        """The folder that stands for the device."""
        return self._mounted(device, filesystem)

    @contextmanager
    def _mounted(self, device: str, filesystem: str) -> Iterator[str]:
        if device not in self.volumes:
            raise DeviceError(f"cannot mount {device} as {filesystem}: no such device", path=device, errno=2)
        yield self.volumes[device]

    def run(
        self,
        argv: list[str],
        *,
        log: Callable[[str, str], None],
        stdin: Reader | None = None,
        env: dict[str, str] | None = None,
        cwd: str | None = None,
        deadline_s: float | None = None,
    ) -> int:
        """Note the command; the outcome is up to ``program``, 0 without one."""
        self.ran.append(argv)
        return self.program(argv, stdin) if self.program is not None else 0

    def gpio_in_use(self, line: GpioLine) -> str:
        """What ``lines`` says."""
        return self.lines.in_use(line)

    def gpio(self, levels: Mapping[GpioLine, bool]) -> FakeGpioLines:
        """Take some of ``lines``."""
        return self.lines.take(levels)

    def uart_in_use(self, path: str) -> str:
        """What ``busy`` says, else as the real one does."""
        return self.busy.get(path, "") or uart.in_use(path)

    def uart(self, path: str, baudrate: int) -> uart.Uart:
        """A real one: ``Microcontroller`` has a pseudo-terminal."""
        return uart.Uart(path, baudrate)

    def disk(self, path: str, log: api.Log) -> FakeDisk:
        """A disk image with files for its partitions."""
        if path in self.read_only:
            raise DeviceError(f"cannot open {path}: Read-only file system", path=path, errno=errno.EROFS)
        return FakeDisk(path, log, fails=path in self.failing)

    def filesystem(self, path: str, log: api.Log) -> Filesystem:
        """What ``filesystems`` says."""
        self.capacity_bytes(path)
        return self.filesystems.get(path, Filesystem())

    def make_filesystem(self, path: str, kind: str, label: str, log: api.Log) -> None:
        """Note it in ``filesystems``."""
        if path in self.read_only:
            raise DeviceError(
                f"cannot make {kind} on {path}: Read-only file system", path=path, errno=errno.EROFS
            )
        self.filesystems[path] = Filesystem(kind, label)

    def label_filesystem(self, path: str, kind: str, label: str, log: api.Log) -> None:
        """Note it in ``filesystems``."""
        self.filesystems[path] = self.filesystems[path]._replace(label=label)

    def filesystem_uuids(self, log: api.Log) -> dict[str, str]:
        """Of ``filesystems``."""
        return {found.uuid.lower(): path for path, found in self.filesystems.items() if found.uuid}

    def make_subvolume(self, path: str) -> None:
        """Note it in ``subvolumes``; the folder above it must exist."""
        try:
            os.mkdir(path)
        except OSError as exc:
            raise DeviceError(
                f"cannot make the subvolume {path}: {exc.strerror}", path=path, errno=exc.errno
            ) from exc
        self.subvolumes.add(path)

    def delete_subvolume(self, path: str) -> None:
        """Remove it, and all below it."""
        if path not in self.subvolumes:
            raise DeviceError(f"{path} is no btrfs subvolume", path=path, errno=errno.ENOENT)
        shutil.rmtree(path)
        self.subvolumes = {there for there in self.subvolumes if not f"{there}/".startswith(f"{path}/")}

    def is_subvolume(self, path: str) -> bool:
        """Whether it is one of ``subvolumes``."""
        return path in self.subvolumes

    def emmc(self, path: str) -> FakeEmmc:
        """One of ``emmcs``."""
        if path not in self.emmcs:
            raise DeviceError(
                f"cannot read the EXT_CSD of {path}: No such device", path=path, errno=errno.ENODEV
            )
        return self.emmcs[path]

    def container_engine(self, *, waiting: Callable[[], None], timeout_s: float) -> Engine:
        """What ``docker_socket`` leads to."""
        return Engine(self.docker_socket, waiting=waiting, timeout_s=timeout_s)

    def mtd_numbers(self) -> list[int]:
        """The numbers in ``flashes``."""
        return sorted(self.flashes)

    def mtd_number(self, device: str) -> int:
        """``mtdN``, ``/dev/mtdN`` or a name."""
        for number in self.flashes:
            if device in (f"mtd{number}", f"/dev/mtd{number}") or self.mtd_names.get(device) == number:
                return number
        raise DeviceError(f"there is no MTD {device}", path=device, errno=errno.ENODEV)

    def flash(self, number: int, *, writable: bool = False, raw: bool = False) -> FakeFlash:
        """The one in ``flashes``."""
        self.flashes[number].open(writable=writable, raw=raw)
        return self.flashes[number]

    def flash_in_use(self, number: int) -> str:
        """What ``busy`` says of ``/dev/mtdN``, and whether ``ubi`` is attached to it."""
        if number in [device.mtd for device in self.ubi.devices()]:
            return f"/dev/mtd{number} holds the UBI device ubi0"
        return self.busy.get(f"/dev/mtd{number}", "")


class FakeParts:
    """A file on a server that works.

    Attributes:
        spans: all that was fetched.
    """

    def __init__(self, name: str, content: bytes, size_bytes: int) -> None:
        self.name = name
        self.spans: list[tuple[int, int]] = []
        self.closed = False
        self._content = content
        self._size_bytes = size_bytes

    def fetch(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Those bytes."""
        if len(self._content) != self._size_bytes:
            raise TransportError(f"{self.name} has {len(self._content)} bytes, not {self._size_bytes}")
        self.spans += spans
        return [self._content[first : last + 1] for first, last in spans]

    def close(self) -> None:
        """Note it."""
        self.closed = True


@dataclass
class FakeContext:
    """What a handler may use, with everything noted.

    Attributes:
        tmpdir: an existing folder.
        hw: a stand-in, or the real ``swagent.hw.Hardware``.
        partitions: entries that change layouts before.
        scripts: file name to content of script members.
        files: URL to content of files on servers.
        fetched: every such file that was opened, in order.
        logged: ``(level, message)`` of every line.
        progressed_bytes: sum of what was reported.
        before_checkpoint: called at each checkpoint; may raise Cancelled.
    """

    tmpdir: str
    hw: Any = field(default_factory=FakeHardware)
    env: Any = field(default_factory=FakeEnv)
    sync: Any = field(default_factory=FileSync)
    dry_run: bool = False
    verify_write: bool = False
    tls: TlsFiles = field(default_factory=TlsFiles)
    coming: list[api.Coming] = field(default_factory=list)
    partitions: tuple[Artifact, ...] = ()
    scripts: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    fetched: list[FakeParts] = field(default_factory=list)
    logged: list[tuple[str, str]] = field(default_factory=list)
    progressed_bytes: int = 0
    before_checkpoint: Callable[[], None] | None = None

    @cached_property
    def lua(self) -> SessionLua:
        """Real Lua, with the built-in handlers to call; ``lua.close()`` ends what it started."""
        return SessionLua(
            LuaRules(),
            self,
            registry(),
            hardware=None,
            selection=None,
            chain=lambda art, data: install(art, data, self),
        )

    def progress(self, n_bytes: int) -> None:
        """Add up."""
        self.progressed_bytes += n_bytes

    def checkpoint(self) -> None:
        """Cancel if the test wants that."""
        if self.before_checkpoint is not None:
            self.before_checkpoint()

    def log(self, level: str, message: str) -> None:
        """Note a line."""
        self.logged.append((level, message))

    def script_path(self, art: Artifact) -> str:
        """Write the script's member below ``tmpdir``, mode 0600."""
        if art.filename not in self.scripts:
            raise ArchiveError(f"the member {art.filename} is missing", artifact=art.filename)
        folder = os.path.join(self.tmpdir, "scripts")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        path = os.path.join(folder, art.filename)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as script:
            script.write(self.scripts[art.filename])
        return path

    def parts(self, url: str, size_bytes: int, parts_max: int) -> FakeParts:
        """The file that ``files`` has; one that is not there is empty."""
        self.fetched.append(FakeParts(url, self.files.get(url, b""), size_bytes))
        return self.fetched[-1]

    def preflight(self, art: Artifact) -> Needs:
        """Ask the built-in handler that ``art.type`` names."""
        return _prepare(art, self)[2]

    def chain(self, art: Artifact, source: Reader, size_bytes: int | None) -> None:
        """Install with the built-in handler that ``art.type`` names."""
        install(art, FakeData(source, size_bytes=size_bytes), self)


def _handler_for(art: Artifact) -> api.Handler:
    cls = load(registry(), art.type)
    if cls is None:
        raise DescriptionError(f"there is no handler {art.type}", handler=art.type)
    if not art.kind & cls.card.kinds:
        raise DescriptionError(f"handler {art.type} does not serve {art.kind}", handler=art.type)
    return cls


def _prepare(art: Artifact, ctx: FakeContext) -> tuple[Any, Any, Needs]:
    cls = _handler_for(art)
    opt, warnings = read_options(cls.Options, art)
    for warning in warnings:
        ctx.log("warn", warning)
    one = cls()
    needs = one.preflight(art, opt, ctx) if hasattr(one, "preflight") else Needs()
    return one, opt, needs


def install(art: Artifact, data: Data, ctx: FakeContext) -> None:
    """Do with an image, file or partition what an update would: options, preflight, verb."""
    one, opt, _ = _prepare(art, ctx)
    if art.kind is Kind.PARTITION:
        one.apply(art, opt, ctx)
    else:
        one.install(art, opt, data, ctx)


def run_script(art: Artifact, phases: list[Phase], ctx: FakeContext) -> None:
    """Do with a script what an update would, in these phases."""
    one, opt, _ = _prepare(art, ctx)
    for phase in phases:
        one.run(art, opt, phase, ctx)
