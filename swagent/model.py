"""The nouns: what an update is made of. Frozen facts and small protocols; no I/O.

Sources: swu format (SWUpdate's documentation of sw-description); attribute names are SWUpdate's with ``-`` as ``_``.
"""

from collections.abc import Callable, Mapping
from enum import Enum, Flag, auto
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable


class Reader(Protocol):
    """Bytes that can be pulled. Every stage of the pipe wraps a Reader and is one."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of ``buffer``; returns how many bytes, 0 at the end (only then).

        The verdicts on what was read (length, digest, padding, checksum) arrive with the call that returns 0.

        Raises:
            SwagentError: what was read is not what was promised.
        """
        ...


class Sink(NamedTuple):
    """A file descriptor that the pipe may write by itself.

    Attributes:
        fd: open for writing.
        seekable: written with ``pwrite`` from ``offset_bytes`` on; else with ``write`` from where it is.
        offset_bytes: where the first byte goes.
        alignment_bytes: 1, or the block size when ``fd`` was opened with O_DIRECT (the pipe clears the flag for a tail
            that is no multiple of it, and when the kernel refuses with EINVAL).
        limit_bytes: how many bytes it can hold from ``offset_bytes`` on, None if only the kernel knows.
        present_bytes: how many of them are there already, so that writing them takes no room; all of a device.
    """

    fd: int
    seekable: bool = True
    offset_bytes: int = 0
    alignment_bytes: int = 1
    limit_bytes: int | None = None
    present_bytes: int = 0


@runtime_checkable
class Data(Reader, Protocol):
    """What a handler gets: the plain bytes of its artifact, hashed, decrypted and decompressed as they are read."""

    @property
    def size_bytes(self) -> int | None:
        """How many plain bytes there will be, None when the image does not say."""
        ...

    @property
    def stored_bytes(self) -> int | None:
        """How many bytes its member has in the archive; None for what another handler passes on without knowing."""
        ...

    def want_plain_sha256(self) -> None:
        """Ask for ``plain_sha256``, before the first byte is read; costs nothing where bytes are stored plain."""
        ...

    @property
    def plain_sha256(self) -> bytes | None:
        """Digest of the plain bytes, once all are read or poured; None when nobody asked for it."""
        ...

    def pour(self, sink: Sink) -> int:
        """Write everything to ``sink``, which is faster than reading; returns the number of bytes written.

        All verdicts have been given when it returns. It neither syncs nor closes.

        Raises:
            SwagentError: as ``readinto``; SizeError when ``sink`` cannot hold it; DeviceError when it fails.
        """
        ...


class Kind(Flag):
    """What a handler serves, and in which section of sw-description an entry stands."""

    IMAGE = auto()
    FILE = auto()
    SCRIPT = auto()
    PARTITION = auto()
    BOOTENV = auto()


class Phase(Enum):
    """When a script runs; the value is the word SWUpdate passes to scripts."""

    PREINSTALL = "preinst"
    POSTINSTALL = "postinst"
    POSTFAILURE = "postfailure"


class Compression(Enum):
    """How a member is compressed, by SWUpdate's word (``zlib`` means the gzip container)."""

    NONE = ""
    ZLIB = "zlib"
    XZ = "xz"
    ZSTD = "zstd"


class Hardware(NamedTuple):
    """A board and its revision, as ``-H board:rev`` or ``/etc/hwrevision`` tell."""

    board: str
    revision: str

    def __str__(self) -> str:
        return f"{self.board} rev {self.revision}"


class Selection(NamedTuple):
    """Software set and mode, ``-e set,mode``."""

    software_set: str
    mode: str

    def __str__(self) -> str:
        return f"{self.software_set},{self.mode}"


class GpioLine(NamedTuple):
    """One line of a GPIO chip.

    Attributes:
        chip: path of its device, such as ``/dev/gpiochip0``.
        offset: its number on the chip.
        active_low: whether 1 means a low voltage.
    """

    chip: str
    offset: int
    active_low: bool = False

    def __str__(self) -> str:
        return f"{self.chip} line {self.offset}"


class TlsFiles(NamedTuple):
    """What TLS needs to talk to somebody.

    Attributes:
        authorities: certificates to believe, "" for the system's.
        certificate: to show, "" for none.
        key: its private key, "" when it is in the same file.
    """

    authorities: str = ""
    certificate: str = ""
    key: str = ""


class Artifact(NamedTuple):
    """One entry of ``images``, ``files``, ``scripts`` or ``partitions`` (swu format §2.9).

    Attributes:
        kind: exactly one of IMAGE, FILE, SCRIPT, PARTITION: the section it stands in.
        type: name of the handler.
        filename: archive member, "" for entries without data.
        size_bytes: promised length of the member as stored, None if not promised.
        offset_bytes: absolute position in the target.
        compression: how the plain bytes were compressed.
        cipher: "" when not encrypted, else ``aes-cbc`` or ``aes-cbc-128``, ``-192``, ``-256``.
        ivt: 16 bytes, None for that of the key file.
        aes_key: 16, 24 or 32 bytes, None for that of the key file.
        sha256: digest of the member as stored, 32 bytes; None if sw-description has none.
        properties: values as written, in description order; a single string is a tuple of one.
        preinstall: Lua function to call right before its handler, "" for none; images and files only.
        postinstall: the same right after it.
        where: how messages call it, such as ``images[0] rootfs.ext4``.
    """

    kind: Kind
    type: str
    filename: str = ""
    name: str = ""
    version: str = ""
    install_if_different: bool = False
    install_if_higher: bool = False
    size_bytes: int | None = None
    data: str = ""
    volume: str = ""
    device: str = ""
    mtdname: str = ""
    path: str = ""
    filesystem: str = ""
    offset_bytes: int = 0
    compression: Compression = Compression.NONE
    cipher: str = ""
    ivt: bytes | None = None
    aes_key: bytes | None = None
    sha256: bytes | None = None
    installed_directly: bool = False
    preserve_attributes: bool = False
    properties: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    preinstall: str = ""
    postinstall: str = ""
    where: str = ""

    def prop(self, key: str) -> str | None:
        """The value of a property, None if absent; the last one of a list, as SWUpdate reads it (§2.10)."""
        values = self.properties.get(key)
        return values[-1] if values else None

    @property
    def label(self) -> str:
        """How people see it: its file name, else its name, else its handler."""
        return self.filename or self.name or self.type


class Description(NamedTuple):
    """sw-description, resolved for one board and selection (swu format §2.7, §2.8).

    Attributes:
        version: of the whole release.
        hardware_compatibility: accepted revisions, None when the description has no such list.
        update_type_given: whether the description says so itself.
        reboot: None when the description does not say.
        bootenv: name to value in description order; an empty value removes the variable.
        variables: ``vars``; namespace is ``namespace_for_vars``.
        requires: component name to the constraint (``versions.read_constraint``) that its installed version must meet.
    """

    version: str
    description: str = ""
    hardware_compatibility: tuple[str, ...] | None = None
    update_type: str = "default"
    reboot: bool | None = None
    transaction_marker: bool = True
    state_marker: bool = True
    output: str = ""
    namespace_for_vars: str = ""
    images: tuple[Artifact, ...] = ()
    files: tuple[Artifact, ...] = ()
    scripts: tuple[Artifact, ...] = ()
    partitions: tuple[Artifact, ...] = ()
    bootenv: Mapping[str, str] = MappingProxyType({})
    variables: Mapping[str, str] = MappingProxyType({})
    update_type_given: bool = False
    requires: Mapping[str, str] = MappingProxyType({})

    @property
    def installables(self) -> tuple[Artifact, ...]:
        """Partitions, images, files: SWUpdate's order of installation."""
        return self.partitions + self.images + self.files


class Fate(Enum):
    """What the plan does with an entry."""

    DIRECT = "direct"  # streamed to its handler as it passes
    STAGED = "staged"  # verified first, installed after the pre-install scripts
    APPLY = "apply"  # has no data: partitions, and scripts without a file
    SCRIPT = "script"
    SKIPPED = "skipped"


class Needs(NamedTuple):
    """What a handler found beforehand.

    Attributes:
        target: what it will write to, for people, such as ``/dev/mmcblk0p3``.
        write_bytes: how many bytes it will write, None if unknown.
        reboot: whether the change only works after a reboot.
    """

    target: str = ""
    write_bytes: int | None = None
    reboot: bool = False


class Planned(NamedTuple):
    """One entry and what will be done with it.

    Attributes:
        reason: why it is skipped; "" otherwise.
        needs: the handler's findings; None before preflight and for skipped entries.
        stored_bytes: size of its member, None when it has none or nobody knows yet (a stream).
        overwrites: whether its handler writes the entry's device as a whole.
    """

    artifact: Artifact
    fate: Fate
    reason: str = ""
    needs: Needs | None = None
    stored_bytes: int | None = None
    overwrites: bool = True

    @property
    def verify_first(self) -> bool:
        """Whether the entry asks that everything be verified before anything is written."""
        return self.fate is not Fate.SKIPPED and self.artifact.prop("verify-first") in ("true", "TRUE")

    @property
    def user_data(self) -> bool:
        """Whether it holds the user's data, without which the unit can run."""
        return self.artifact.prop("user-data") in ("true", "TRUE")


class UserDataFailure(Enum):
    """What follows when an image with the property ``user-data`` cannot be written.

    The update fails, or goes on without it, or the image is written by force: once more, from its beginning.
    """

    FAIL = "fail"
    SKIP = "skip"
    FORCE = "force"


class Plan(NamedTuple):
    """What an update will do, entry by entry, in order of installation; scripts apart.

    Attributes:
        database: the UniAuth.db that the image brings, None when it brings none.
    """

    description: Description
    entries: tuple[Planned, ...]
    scripts: tuple[Planned, ...]
    database: bytes | None = None

    @property
    def steps(self) -> int:
        """Number of steps, counted as SWUpdate does (§6.8): entries + 2 x scripts."""
        return sum(p.fate is not Fate.SKIPPED for p in self.entries) + 2 * len(self.scripts)


class Unit(NamedTuple):
    """The device, as gates and the planner know it.

    Attributes:
        hardware: None when neither ``-H`` nor ``/etc/hwrevision`` tells.
        installed: component name to versions that are installed (a name may be listed more than once).
    """

    hardware: Hardware | None = None
    installed: Mapping[str, tuple[str, ...]] = MappingProxyType({})


class Gate(Protocol):
    """Says yes by returning, no by raising ``Refused``."""

    name: str

    def check(self, plan: Plan, unit: Unit) -> None:
        """Judge the plan before anything is written.

        Raises:
            Refused: no, and why.
        """
        ...


class InstallRequest(NamedTuple):
    """A stream for an installer, and what somebody who was verified says of it.

    Attributes:
        name: of the image, for people and for choosing what installs it.
        source: its bytes; the verdict on them arrives with the read that returns 0.
        length_bytes: exactly how many there are, None when nobody said so.
        hashes: algorithm to hex, as they were signed.
        origin: who asks, such as ``uptane``.
        correlation_id: what reports about it shall carry, "" for nothing.
        verified: whether all of it was verified before; of what comes as it is fetched nothing may be committed before
            the last read, and nothing written over what runs.
        checkpoint: called between pieces; may wait, and may raise to stop.
        info: what programs that follow it are told, "" for nothing.
    """

    name: str
    source: Reader
    length_bytes: int | None
    hashes: Mapping[str, str]
    origin: str
    correlation_id: str = ""
    verified: bool = True
    checkpoint: Callable[[], None] = lambda: None
    info: str = ""


class Outcome(NamedTuple):
    """What became of an installation.

    Attributes:
        code: as aktualizr numbers results (uptane §6): 0 installed, 21 installed but a reboot must complete it.
        message: a sentence for people.
    """

    code: int
    message: str = ""


class EcuInstaller(Protocol):
    """Puts images onto one ECU; who asks it knows no installer (house: the Primary takes this Protocol)."""

    def install(self, request: InstallRequest) -> Outcome:
        """Install; reads ``request.source`` to its end.

        Raises:
            SwagentError: it failed; what was there before is still what runs.
        """
        ...

    def mark(self) -> str:
        """What names the last installation that was begun, "" before the first."""
        ...

    def completed(self, mark: str) -> bool | None:
        """Of an installation that was asked for: whether it came to its end (True), failed (False), or is waited for.

        Args:
            mark: what ``mark`` said right before; one that was cut before it began has failed.
        """
        ...
