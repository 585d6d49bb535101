"""U-Boot's environment on block devices, raw flash, UBI and in files, as fw_printenv and fw_setenv see it.

With two copies an update is safe against power cuts: the copy that is not in force is written whole with a higher
number, synced and read back, so at every moment one copy is valid. A single copy has to be overwritten where it lies
(one write call): a power cut then can leave U-Boot with its built-in defaults.
"""

import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from swagent.errors import BootEnvError

from . import ubootenv
from .fwenv import Layout, Place, read_config

if TYPE_CHECKING:
    from swagent.hw.ubi import Ubi

    from .flashenv import FlashCopies, OpenFlash
    from .ubienv import UbiCopies

CONFIG_PATH = "/etc/fw_env.config"
LOCK_PATH = "/var/lock/fw_printenv.lock"
LOCK_WAIT_S = 10.0
NAMESPACE_PATH = "/proc/device-tree/chosen/u-boot,env-config"
_NAMESPACE_MAX_BYTES = 256

_MTD, _UBI, _OTHER = "raw flash", "UBI", "a block device or file"
_WHOLE_MTD = re.compile(r"/dev/mtd[0-9]+\Z")
_UBI_VOLUME = re.compile(r"/dev/ubi|/dev/mtd[0-9]+:")


class UBoot:
    """The environment that a fw_env.config describes (``-B uboot``).

    Args:
        settings: ``fwenv-config-location``, default /etc/fw_env.config; ``fwenv-lockfile``, default that of
            fw_setenv, so that the two never write at the same time; ``fwenv-namespace``, which environment of a
            YAML file, default the one that the device tree names, else the first. Nothing is opened yet.
        open_flash: opens an MTD device, the kernel's if not given.
        ubi: the UBI devices, the kernel's if not given.
    """

    name = "uboot"

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        open_flash: "OpenFlash | None" = None,
        ubi: "Ubi | None" = None,
    ) -> None:
        settings = settings or {}
        self._open_flash = open_flash
        self._ubi = ubi
        self._config_path = settings.get("fwenv-config-location") or CONFIG_PATH
        self._lock_path = settings.get("fwenv-lockfile") or ""
        self._namespace = settings.get("fwenv-namespace") or ""

    def get(self, name: str) -> str | None:
        """See ``Bootloader.get``."""
        return self.all().get(name)

    def all(self) -> dict[str, str]:
        """See ``Bootloader.all``."""
        layout = self._layout()
        with self._locked(layout, writing=False):
            copies = self._copies(layout.places)
            _, _, data = self._current(layout.places, copies.read_all(), by_mark=copies.by_mark)
        return ubootenv.parse_variables(data)

    def check(self, changes: Mapping[str, str | None]) -> None:
        """See ``Bootloader.check``."""
        layout = self._layout()
        variables = _changed(layout, self.all(), _wanted(changes))
        _build(layout, variables, 0)

    def set_many(self, changes: Mapping[str, str | None]) -> None:
        """See ``Bootloader.set_many``. Nothing is written when nothing changes.

        The environment is never made up: without a valid copy there is an error, not a fresh one.
        """
        wanted = _wanted(changes)
        layout = self._layout()
        redundant = len(layout.places) == 2
        with self._locked(layout, writing=True):
            copies = self._copies(layout.places)
            before = copies.read_all()
            index, flags, data = self._current(layout.places, before, by_mark=copies.by_mark)
            stored = ubootenv.parse_variables(data)
            variables = _changed(layout, stored, wanted)
            if variables == stored:
                copies.sync(index)
                return
            raw = _build(layout, variables, 1 if copies.by_mark else (flags + 1) & 0xFF)
            target = 1 - index if redundant else 0
            try:
                copies.write(target, raw)
                if redundant and copies.by_mark:
                    copies.make_obsolete(index)
            except BootEnvError:
                # what failed to become durable may be valid all the same: it must not come into force later
                with suppress(BootEnvError):
                    copies.write(target, before[target].ljust(len(raw), b"\0"))
                raise

    def _layout(self) -> Layout:
        return read_config(self._config_path, self._namespace, suggested=_namespace_of_device_tree())

    def _copies(self, places: tuple[Place, ...]) -> "FlashCopies | UbiCopies | _Copies":
        kinds = {_kind(place.device) for place in places}
        if len(kinds) > 1:
            raise BootEnvError(
                f"the copies of the boot environment lie on {' and '.join(sorted(kinds))} by {self._config_path}",
                hint="U-Boot needs both on devices of one kind",
            )
        if kinds == {_MTD}:
            from .flashenv import FlashCopies

            return FlashCopies(places, self._open_flash)
        if kinds == {_UBI}:
            from .ubienv import UbiCopies

            return UbiCopies(places, self._ubi)
        return _Copies(places)

    def _current(
        self, places: tuple[Place, ...], raw: list[bytes], *, by_mark: bool
    ) -> tuple[int, int, bytes]:
        """The copy in force: its index, flags and variables."""
        redundant = len(places) == 2
        copies = [ubootenv.split_copy(copy, redundant=redundant) for copy in raw]
        valid = [(index, *copy) for index, copy in enumerate(copies) if copy is not None]
        if not valid:
            devices = " and ".join(place.device for place in places)
            size = f"{places[0].size_bytes:#x}"
            raise BootEnvError(
                f"no valid boot environment of {size} bytes on {devices} (wrong checksum)",
                hint=f"check the places in {self._config_path}; make a first environment with `saveenv` in U-Boot, "
                f"`fw_setenv -f DEFAULTS` or `mkenvimage {'-r ' if redundant else ''}-s {size}`",
            )
        if len(valid) == 2:
            newer = ubootenv.newer_by_mark if by_mark else ubootenv.newer
            return valid[newer(valid[0][1], valid[1][1])]
        return valid[0]

    @contextmanager
    def _locked(self, layout: Layout, *, writing: bool) -> Iterator[None]:
        """Hold the lock of fw_setenv. Reading goes on without it where it cannot be had: copies have checksums."""
        path = self._lock_path or layout.lock_path or LOCK_PATH
        try:
            fd = _open_lock(path)
        except OSError as exc:
            if writing:
                raise BootEnvError(
                    f"cannot open the lock {path}: {exc.strerror or exc}",
                    hint="create its folder, or set fwenv-lockfile to a file that can be written",
                ) from exc
            yield
            return
        try:
            _wait_for(path, fd, fcntl.LOCK_EX if writing else fcntl.LOCK_SH)
            yield
        finally:
            os.close(fd)


class _Copies:
    """The one or two copies of an environment in files or on block devices (elsewhere: flashenv, ubienv)."""

    by_mark = False

    def __init__(self, places: tuple[Place, ...]) -> None:
        self._places = places

    def read_all(self) -> list[bytes]:
        """All copies as stored, in their order."""
        return _read_all(self._places)

    def write(self, index: int, raw: bytes) -> None:
        """Write a copy, durably, and read it back."""
        _write(self._places[index], raw)

    def sync(self, index: int) -> None:
        """Make a copy durable that somebody else has written."""
        _sync(self._places[index])

    def make_obsolete(self, index: int) -> None:
        """Nothing to do: the higher number says it."""


def _wanted(changes: Mapping[str, str | None]) -> dict[str, str | None]:
    """The changes, those that can be stored at all; None removes."""
    wanted = {name: value or None for name, value in changes.items()}
    for name, value in wanted.items():
        ubootenv.check_variable(name, value or "")
    return wanted


def _changed(layout: Layout, stored: Mapping[str, str], wanted: Mapping[str, str | None]) -> dict[str, str]:
    """All variables after a change that the rules of the environment allow."""
    if layout.writable is not None or ".flags" in stored:
        from . import envflags  # compiles patterns; few units have such rules

        if layout.writable is not None:
            envflags.check_writelist(layout.writable, stored, wanted)
        envflags.check(stored.get(".flags", ""), stored, wanted)
    variables = {name: value for name, value in stored.items() if name not in wanted}
    return variables | {name: value for name, value in wanted.items() if value is not None}


def _build(layout: Layout, variables: Mapping[str, str], flags: int) -> bytes:
    redundant = len(layout.places) == 2
    return ubootenv.build_copy(variables, layout.places[0].size_bytes, flags=flags if redundant else None)


def _namespace_of_device_tree() -> str:
    """What U-Boot says of where its environment is described, "" for nothing."""
    try:
        with open(NAMESPACE_PATH, "rb") as file:
            return file.read(_NAMESPACE_MAX_BYTES).partition(b"\0")[0].decode("utf-8", "surrogateescape")
    except OSError:
        return ""


def _wait_for(path: str, fd: int, operation: int) -> None:
    until_s = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(fd, operation | fcntl.LOCK_NB)
            return
        except BlockingIOError as exc:
            if time.monotonic() > until_s:
                raise BootEnvError(
                    f"the boot environment is locked by another program for more than {LOCK_WAIT_S:g} s",
                    hint=f"see who holds it: fuser {path}",
                ) from exc
        except OSError as exc:
            raise BootEnvError(f"cannot lock {path}: {exc.strerror or exc}") from exc
        time.sleep(0.02)


def _kind(device: str) -> str:
    real = os.path.realpath(device)
    if _UBI_VOLUME.match(device) or real.startswith("/dev/ubi"):
        return _UBI
    return _MTD if _WHOLE_MTD.match(real) else _OTHER


def _open_lock(path: str) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        return os.open(path, flags | os.O_CREAT, 0o600)


@contextmanager
def _opened(place: Place, flags: int) -> Iterator[tuple[int, int]]:
    """A device and the absolute offset of a copy on it."""
    real = os.path.realpath(place.device)
    if place.device.startswith("/dev/mtd") or real.startswith("/dev/mtd"):
        raise BootEnvError(
            f"a boot environment on {place.device} is not supported by this version",
            hint="name the MTD itself (/dev/mtd0), a UBI volume, a block device or a file",
        )
    try:
        fd = os.open(real, flags | os.O_CLOEXEC)
    except OSError as exc:
        raise _failed("open", place, exc) from exc
    try:
        yield fd, _absolute(place, fd)
    finally:
        os.close(fd)


def _absolute(place: Place, fd: int) -> int:
    try:
        kind = os.fstat(fd).st_mode
        end = os.lseek(fd, 0, os.SEEK_END)
    except OSError as exc:
        raise _failed("use", place, exc) from exc
    if not stat.S_ISBLK(kind) and not stat.S_ISREG(kind):
        raise BootEnvError(f"{place.device} is neither a block device nor a file")
    start = place.offset_bytes if place.offset_bytes >= 0 else end + place.offset_bytes
    beyond = start + place.size_bytes > end and (stat.S_ISBLK(kind) or place.offset_bytes < 0)
    if start < 0 or beyond:
        raise BootEnvError(
            f"a boot environment of {place.size_bytes:#x} bytes at {place.offset_bytes:#x} does not lie within "
            f"{place.device}, which has {end:#x} bytes"
        )
    return start


def _refuse_overlap(one: Place, other: Place) -> None:
    with _opened(one, os.O_RDONLY) as (fd, start), _opened(other, os.O_RDONLY) as (other_fd, other_start):
        facts, other_facts = os.fstat(fd), os.fstat(other_fd)
    same = os.path.samestat(facts, other_facts) or (
        stat.S_ISBLK(facts.st_mode) and facts.st_rdev == other_facts.st_rdev
    )
    if same and abs(start - other_start) < one.size_bytes:
        raise BootEnvError(
            f"the two copies of the boot environment overlap on {one.device}", hint="correct fw_env.config"
        )


def _read_all(places: tuple[Place, ...]) -> list[bytes]:
    if len(places) == 2:
        _refuse_overlap(*places)
    return [_read(place) for place in places]


def _read(place: Place) -> bytes:
    """A copy as stored, short when the file is; empty when the device cannot read it (U-Boot could not either)."""
    with _opened(place, os.O_RDONLY) as (fd, start):
        try:
            return _pread(fd, place.size_bytes, start)
        except OSError:
            return b""


def _pread(fd: int, size_bytes: int, start: int) -> bytes:
    pieces = []
    while size_bytes:
        piece = os.pread(fd, size_bytes, start)
        if not piece:
            break
        pieces.append(piece)
        start += len(piece)
        size_bytes -= len(piece)
    return b"".join(pieces)


def _sync(place: Place) -> None:
    with _opened(place, os.O_RDONLY) as (fd, _):
        try:
            os.fsync(fd)  # whoever wrote what we found may not have done so
        except OSError as exc:
            raise _failed("sync", place, exc) from exc


def _write(place: Place, raw: bytes) -> None:
    with _writable(place), _opened(place, os.O_RDWR) as (fd, start):
        try:
            written = os.pwrite(fd, raw, start)
            while written < len(raw):
                written += os.pwrite(fd, raw[written:], start + written)
            os.fsync(fd)
            _forget_cached(fd, start, len(raw))
            back = _pread(fd, len(raw), start)
        except OSError as exc:
            raise _failed("write", place, exc) from exc
    if back != raw:
        raise BootEnvError(
            f"{place.device} does not give back the boot environment that was written to it",
            hint="the device may be worn out or write-protected",
        )


def _forget_cached(fd: int, start: int, size_bytes: int) -> None:
    """Let the next read come from the device: clean pages are dropped, whole ones only."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    first = start - start % page_bytes
    os.posix_fadvise(fd, first, start + size_bytes - first + page_bytes, os.POSIX_FADV_DONTNEED)


@contextmanager
def _writable(place: Place) -> Iterator[None]:
    """Lift the write protection of an eMMC boot partition meanwhile."""
    switch = f"/sys/class/block/{os.path.basename(os.path.realpath(place.device))}/force_ro"
    try:
        with open(switch, "rb") as file:
            protected = file.read(2).strip() == b"1"
    except OSError:
        protected = False
    if not protected:
        yield
        return
    try:
        _switch(switch, b"0")
    except OSError as exc:
        raise _failed("lift the write protection of", place, exc) from exc
    try:
        yield
    finally:
        with suppress(
            OSError
        ):  # what is written is sound; the partition only stays writable until the next boot
            _switch(switch, b"1")


def _switch(path: str, value: bytes) -> None:
    with open(path, "wb") as file:
        file.write(value)


def _failed(verb: str, place: Place, exc: OSError) -> BootEnvError:
    return BootEnvError(
        f"cannot {verb} {place.device}, which holds the boot environment: {exc.strerror or exc}"
    )
