"""What a handler is: a card and one of three small protocols (docs/adr/0003-handlers.md).

Contract: read ``data`` to its end; no seeking; on return everything is durable or handed to ``ctx.sync``; raise only
our errors; devices through ``ctx.hw``, the boot environment through ``ctx.env`` (staged there, written once, last); no
module state and no work at import.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar

from swagent.model import Artifact, Data, GpioLine, Kind, Needs, Phase, Reader, Sink, TlsFiles

if TYPE_CHECKING:
    from swagent.hw.filesystem import Filesystem
    from swagent.hw.mtd import Flash
    from swagent.hw.partitions import Disk
    from swagent.hw.ubi import Ubi

C = TypeVar("C", bound=type)
Log = Callable[[str, str], None]
"""Level and line."""


class Card(NamedTuple):
    """What is known of a handler without running it.

    Attributes:
        name: the ``type`` in sw-description.
        kinds: sections it may stand in.
        streams: whether an entry may be ``installed-directly``.
        data: whether it consumes a member; False means a member is neither needed nor looked at.
        attributes: attributes that must be given, such as ``device``.
        reads_back: whether it compares what it wrote when ``verify-write`` asks for it.
        overwrites: whether a ``device`` without a ``path`` is written as a whole, and so must not be in use.
        switches: whether it changes what boots, in POSTINSTALL: it then runs behind all other scripts, when everything
            else is durable.
        reads_back_unasked: whether it compares unless ``verify-write`` is false.
    """

    name: str
    kinds: Kind
    streams: bool = True
    data: bool = True
    attributes: tuple[str, ...] = ()
    reads_back: bool = False
    overwrites: bool = True
    switches: bool = False
    reads_back_unasked: bool = False


def handler(
    name: str,
    *,
    kinds: Kind,
    streams: bool = True,
    data: bool = True,
    attributes: tuple[str, ...] = (),
    reads_back: bool = False,
    overwrites: bool = True,
    switches: bool = False,
    reads_back_unasked: bool = False,
) -> Callable[[C], C]:
    """Stamp a card on a handler class. Registers nothing: ``handlers/__init__`` lists the built-ins."""

    def stamp(cls: C) -> C:
        card = Card(
            name,
            kinds,
            streams,
            data,
            attributes,
            reads_back or reads_back_unasked,
            overwrites,
            switches,
            reads_back_unasked,
        )
        cls.card = card  # type: ignore[attr-defined]  # the stamp itself
        return cls

    return stamp


class ImageTarget(Protocol):
    """An open destination of an image; closing it makes what was written durable."""

    sink: Sink

    def close(self) -> None:
        """fsync, restore what opening changed (``force_ro``), close."""
        ...

    def abandon(self) -> None:
        """Close without a promise; never raises."""
        ...


class GpioLines(Protocol):
    """GPIO lines that are ours, as outputs, until they are closed."""

    def set(self, levels: Mapping[GpioLine, bool], *, settle_s: float = 0.0) -> None:
        """Show other levels, then wait a little. Raises DeviceError."""
        ...

    def close(self) -> None:
        """Give them back."""
        ...


class Uart(Protocol):
    """An open serial port: raw, 8N1, without flow control."""

    def read(self, timeout_s: float) -> bytes:
        """What has come, nothing if nothing came in this time. Raises DeviceError."""
        ...

    def write(self, data: bytes, timeout_s: float) -> None:
        """Hand over all of it. Raises DeviceError, or DeadlineError when it is not taken in time."""
        ...

    def discard(self) -> None:
        """Forget what has come and what has not gone yet. Raises DeviceError."""
        ...

    def close(self) -> None:
        """Close it; never raises."""
        ...


class BootSelector(Protocol):
    """Which boot partition an eMMC boots from."""

    def boot_partition(self) -> int | None:
        """0 or 1, 7 for the user area, None when it boots from nowhere. Raises DeviceError."""
        ...

    def boot_from(self, number: int) -> None:
        """Boot from this boot partition from now on. Raises DeviceError."""
        ...


class Coming(NamedTuple):
    """A partition that an entry of this update is going to make.

    Attributes:
        disk: path of its disk, links resolved.
        name: GPT only.
        node: path that its device will have.
    """

    disk: str
    name: str
    node: str
    size_bytes: int


class Engine(Protocol):
    """The unit's container engine."""

    def ask(
        self,
        method: str,
        target: str,
        *,
        body: Iterable[bytes | memoryview] | None = None,
        size_bytes: int | None = None,
        content_type: str = "",
    ) -> tuple[int, bytes]:
        """One request; the status and body of its answer. What ``body`` raises leaves the request unfinished.

        Raises:
            TransportError: it is not there, breaks off, or answers what makes no sense.
            DeadlineError: it takes too long.
        """
        ...


class Parts(Protocol):
    """A file on a server, of which parts are wanted."""

    name: str
    """Its address, without what is secret in it."""

    def fetch(self, spans: Sequence[tuple[int, int]]) -> Sequence[bytes | bytearray]:
        """The bytes from the first position to the last of each span, all of one version of the file.

        Raises:
            TransportError, DeadlineError: the server does not give them.
        """
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Hardware(Protocol):
    """The device, as handlers may touch it; ``swagent.hw`` has the real one, ``swagent.testing`` fakes."""

    def image_target(self, path: str, *, offset_bytes: int = 0, allow_mounted: bool = False) -> ImageTarget:
        """Open an existing block device or file for an image (never creates one).

        Raises:
            DeviceError: it is not there or cannot be written.
            PreflightRefused: it is mounted or otherwise in use, and that is not allowed.
        """
        ...

    def capacity_bytes(self, path: str) -> int | None:
        """Size of a block device; None for regular files.

        Raises:
            DeviceError: it is not there.
        """
        ...

    def in_use(self, path: str) -> str:
        """Why a block device or file must not be written to now: it holds the running system, or something mounted.

        "" if nothing holds it.

        Raises:
            DeviceError: it is not there.
        """
        ...

    def overlap(self, path: str, other: str) -> bool:
        """Whether writing one of two block devices or files changes the other; not if one is not there."""
        ...

    def read_back(self, fd: int, n_bytes: int, *, offset_bytes: int = 0, path: str) -> bytes:
        """SHA-256 of what a file or device holds now, past the page cache; makes it durable first.

        Args:
            fd: open on it.
            n_bytes: how many bytes.
            offset_bytes: from where on.
            path: what to call it.

        Raises:
            DeviceError: it cannot be synced or read, or is shorter.
        """
        ...

    def mounted(
        self, device: str, filesystem: str, *, read_only: bool = False
    ) -> AbstractContextManager[str]:
        """Mount a device on a fresh folder; gives its path; unmounted and removed at the end.

        Raises:
            DeviceError: it cannot be mounted.
        """
        ...

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
        """Run a program; returns its exit status, -1 when a signal ended it.

        Its stdout goes to ``log("trace", line)``, stderr to ``error``, fd 3 to ``info``, fd 4 to ``warn``
        (swu format §6.6). ``stdin`` is fed as it is read; an error while reading it kills the program and is raised.

        Raises:
            DeadlineError: it did not end in time; it is killed.
            SwagentError: whatever reading ``stdin`` raised.
        """
        ...

    def gpio_in_use(self, line: GpioLine) -> str:
        """Who holds a GPIO line, "" if nobody does. Changes nothing.

        Raises:
            DeviceError: there is no such chip or line.
            RegistrationError: a library is missing.
        """
        ...

    def gpio(self, levels: Mapping[GpioLine, bool]) -> GpioLines:
        """Take GPIO lines as outputs that show these levels.

        Raises:
            DeviceError: one is not there or somebody else's; none is held then.
            RegistrationError: a library is missing.
        """
        ...

    def uart_in_use(self, path: str) -> str:
        """Who uses a serial port, "" if nobody does. Does not open it.

        Raises:
            DeviceError: it is not there, or no serial port.
            RegistrationError: a library is missing.
        """
        ...

    def uart(self, path: str, baudrate: int) -> Uart:
        """Open a serial port for ourselves alone.

        Raises:
            DeviceError: it cannot be opened, is locked, or does not know this rate.
            RegistrationError: a library is missing.
        """
        ...

    def disk(self, path: str, log: Log) -> "Disk":
        """A disk whose partitions are looked at or changed; ``log`` gets what sfdisk says.

        Raises:
            DeviceError: it is not there, or is neither a block device nor a disk image.
        """
        ...

    def filesystem(self, path: str, log: Log) -> "Filesystem":
        """What file system a device holds; all "" for none.

        Raises:
            DeviceError: it cannot be read.
            PreflightRefused: blkid is not there.
        """
        ...

    def make_filesystem(self, path: str, kind: str, label: str, log: Log) -> None:
        """Make an empty file system on a device.

        Raises:
            DeviceError: it cannot be made.
            PreflightRefused: its program is not there.
        """
        ...

    def label_filesystem(self, path: str, kind: str, label: str, log: Log) -> None:
        """Give the file system on a device another label. Raises as ``make_filesystem``."""
        ...

    def filesystem_uuids(self, log: Log) -> dict[str, str]:
        """UUIDs, in small letters, of all file systems on this unit, and the device of each.

        Raises:
            DeviceError: they cannot be asked for.
            PreflightRefused: blkid is not there.
        """
        ...

    def make_subvolume(self, path: str) -> None:
        """Make a btrfs subvolume. Raises DeviceError."""
        ...

    def delete_subvolume(self, path: str) -> None:
        """Delete a btrfs subvolume and all that are nested in it. Raises DeviceError."""
        ...

    def is_subvolume(self, path: str) -> bool:
        """Whether there is a btrfs subvolume of this name."""
        ...

    def emmc(self, path: str) -> BootSelector:
        """The boot configuration of an eMMC, ``/dev/mmcblkN``."""
        ...

    def container_engine(self, *, waiting: Callable[[], None], timeout_s: float) -> Engine:
        """The container engine; ``waiting`` is called while nothing moves, and may raise to stop."""
        ...

    mtd_denied: frozenset[int]
    """Numbers of MTDs on which no UBI is looked for."""

    @property
    def ubi(self) -> "Ubi":
        """UBI devices and volumes."""
        ...

    def mtd_numbers(self) -> list[int]:
        """The numbers of all MTDs."""
        ...

    def mtd_number(self, device: str) -> int:
        """The number of an MTD: of ``mtd4``, ``/dev/mtd4``, a link to that, or the name of a partition.

        Raises:
            DeviceError: there is no such MTD, or several have this name.
        """
        ...

    def flash(self, number: int, *, writable: bool = False, raw: bool = False) -> "Flash":
        """Open an MTD; ``raw`` goes past the error correction of NAND.

        Raises:
            DeviceError: it cannot be opened.
        """
        ...

    def flash_in_use(self, number: int) -> str:
        """Why an MTD must not be written to now, "" if nothing holds it.

        Raises:
            DeviceError: that cannot be found out.
        """
        ...


class BootEnv(Protocol):
    """The boot environment during one session: what is set here is written in one step, last."""

    def get(self, name: str) -> str | None:
        """The stored value (what is staged is not seen), None if absent."""
        ...

    def stage(self, name: str, value: str, *, override: bool = True) -> None:
        """Set a variable at commit; "" removes it. Without ``override`` an earlier value of this session stays."""
        ...


class Sync(Protocol):
    """Durability of many small files at the price of one (performance: one syncfs, not an fsync per file)."""

    def later(self, fd: int) -> None:
        """Promise that the file open as ``fd`` is durable before the next phase; takes a duplicate of it.

        A folder stands for everything on its filesystem.
        """
        ...

    def rename_later(self, temporary: str, final: str) -> None:
        """Rename once everything registered so far is durable; on failure ``temporary`` is removed instead."""
        ...


class LuaCode(Protocol):
    """A Lua state with the module ``swupdate`` in it."""

    def run(self, text: bytes, name: str) -> None:
        """Run the text of a file.

        Raises:
            ScriptError: it is no Lua, or failed, or was stopped.
        """
        ...

    def knows(self, function: str) -> bool:
        """Whether there is a global function of this name."""
        ...

    def call(self, function: str, *arguments: Any) -> tuple[Any, ...]:
        """Call a global function; its results.

        Raises:
            ScriptError: there is none, or it failed, or was stopped.
        """
        ...


class Lua(Protocol):
    """Lua for handlers: code that came with the image, and handlers that are written in it."""

    def fresh(self, name: str) -> AbstractContextManager[LuaCode]:
        """A state of its own, called ``name`` in messages.

        Raises:
            RegistrationError: Lua is not installed.
        """
        ...

    def shared(self) -> LuaCode:
        """The state of this update, in which its embedded script ran.

        Raises:
            RegistrationError: Lua is not installed.
        """
        ...

    def handle(self, art: Artifact, data: Data | None = None, phase: Phase | None = None) -> None:
        """Call the function that was registered for ``art.type``.

        Raises:
            ScriptError: it failed, or gave back something else than 0.
            SwagentError: what was wrong with its data.
        """
        ...


class Context(Protocol):
    """What a handler may use besides its artifact."""

    hw: Hardware
    env: BootEnv
    sync: Sync
    dry_run: bool
    verify_write: bool
    """Whether handlers that can should read back what they wrote, even where the entry does not say so."""
    tls: TlsFiles
    """For connections to other devices, where the entry does not say so."""
    coming: list[Coming]
    """During preflight: partitions that will be there, or be another size, when the entries behind are installed."""
    partitions: tuple[Artifact, ...]
    """What this update does to layouts before its images: so an image may need what is not there beforehand."""

    @property
    def lua(self) -> Lua:
        """Lua, started when it is used."""
        ...

    @property
    def tmpdir(self) -> str:
        """A folder of this session's own; removed at its end."""
        ...

    def progress(self, n_bytes: int) -> None:
        """Tell that ``n_bytes`` more reached the target (``Data`` does so by itself)."""
        ...

    def checkpoint(self) -> None:
        """A place where the update may be stopped.

        Raises:
            Cancelled: somebody asked for it.
        """
        ...

    def log(self, level: str, message: str) -> None:
        """A line for the log; level is error, warn, info, debug or trace."""
        ...

    def script_path(self, art: Artifact) -> str:
        """Where the verified, plain copy of a script's member lies (mode 0600, below ``tmpdir``).

        Raises:
            ArchiveError: the member is missing.
        """
        ...

    def parts(self, url: str, size_bytes: int, parts_max: int) -> Parts:
        """A file on a server, by the settings of this unit; nothing is asked for until parts are fetched.

        Args:
            url: where it is.
            size_bytes: what the whole file must have.
            parts_max: how many parts to ask for in one request.

        Raises:
            RegistrationError: there is no library for it.
            UsageError: the address makes no sense.
            SettingsError: a certificate or key of the settings cannot be used.
        """
        ...

    def preflight(self, art: Artifact) -> Needs:
        """What the handler named by ``art.type`` finds beforehand: for handlers that will ``chain`` to it.

        Raises:
            DescriptionError: there is no such handler, it takes no images, or the entry is not what it needs.
            PreflightRefused: it cannot be done.
        """
        ...

    def chain(self, art: Artifact, source: Reader, size_bytes: int | None) -> None:
        """Install ``source`` with the handler named by ``art.type``; ``size_bytes`` None when its length is unknown.

        Raises:
            DescriptionError: there is no such handler, or it takes no images.
        """
        ...


class Installs(Protocol):
    """Kinds IMAGE and FILE."""

    card: ClassVar[Card]
    Options: ClassVar[type]

    def install(self, art: Artifact, opt: Any, data: Data, ctx: Context) -> None:
        """Put the artifact where it belongs."""
        ...


class Runs(Protocol):
    """Kind SCRIPT; called once per phase, ignores phases that it does not serve."""

    card: ClassVar[Card]
    Options: ClassVar[type]

    def run(self, art: Artifact, opt: Any, phase: Phase, ctx: Context) -> None:
        """Do what belongs to this phase."""
        ...


class Applies(Protocol):
    """Kind PARTITION."""

    card: ClassVar[Card]
    Options: ClassVar[type]

    def apply(self, art: Artifact, opt: Any, ctx: Context) -> None:
        """Make it so."""
        ...


class Preflights(Protocol):
    """Optional: look before anything is written."""

    def preflight(self, art: Artifact, opt: Any, ctx: Context) -> Needs:
        """Whether it is there and fits; changes nothing.

        Raises:
            PreflightRefused: it cannot be done.
        """
        ...


Handler = Any
"""A class with a card that has ``install``, ``run`` or ``apply`` (checked when it is loaded, by ``handlers.load``)."""


def chunks(data: Reader, buffer_bytes: int = 256 * 1024) -> Iterator[memoryview]:
    """Read to the end piece by piece; each piece is valid until the next."""
    buffer = memoryview(bytearray(buffer_bytes))
    while n := data.readinto(buffer):
        yield buffer[:n]


def held_back(data: Reader, piece_bytes: int) -> Iterator[memoryview]:
    """Full pieces and a last one, each given only when more was read behind it, or the verdict on all is known.

    For handlers that hand bytes to others, who count them: nobody gets the last piece of what proves wrong.
    Each piece is valid until the next.

    Raises:
        SwagentError: as reading ``data``.
    """
    piece, behind = memoryview(bytearray(piece_bytes)), memoryview(bytearray(piece_bytes))
    n_bytes = _fill(data, piece)
    while n_bytes:
        n_behind = _fill(data, behind)
        yield piece[:n_bytes]
        piece, behind, n_bytes = behind, piece, n_behind


def _fill(data: Reader, buffer: memoryview) -> int:
    done = 0
    while done < len(buffer) and (n := data.readinto(buffer[done:])):
        done += n
    return done
