"""UBI: volumes on raw flash, which the kernel keeps on good blocks (upstream: Linux, include/uapi/mtd/ubi-user.h).

What there is, sysfs tells (upstream: Documentation/ABI/stable/sysfs-class-ubi); what is to change, ioctls say.
"""

import errno
import fcntl
import os
import re
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from swagent.errors import DeviceError

NAME_BYTES_MAX = 127
RENAMES_MAX = 32
SYSFS_UBI = "/sys/class/ubi"

# on /dev/ubi_ctrl
_UBI_IOCATT = 0x40186F40
_UBI_IOCDET = 0x40046F41
_ATTACH = struct.Struct("=iiih10x")  # ubi_num, mtd_num, vid_hdr_offset, max_beb_per1024
# on /dev/ubiX
_UBI_IOCMKVOL = 0x40986F00
_UBI_IOCRMVOL = 0x40046F01
_UBI_IOCRSVOL = 0x400C6F02
_UBI_IOCRNVOL = 0x51106F03
_MAKE = struct.Struct("=iiqbBh4x128s")  # vol_id, alignment, bytes, type, flags, name_len, name
_RESIZE = struct.Struct("=qi")  # bytes, vol_id
_RENAMES = struct.Struct("=i12x")  # count, then RENAMES_MAX of:
_RENAME = struct.Struct("=ih2x128s")  # vol_id, name_len, name
# on /dev/ubiX_Y
_UBI_IOCVOLUP = 0x40084F00
_UBI_IOCEBCH = 0x40044F02  # its number speaks of 4 bytes, the structure has 16
_BYTES = struct.Struct("=q")
_CHANGE = struct.Struct("=iib7x")  # lnum, bytes, dtype

_CONTROL = "/dev/ubi_ctrl"
_NUMBER = struct.Struct("=i")
_ANY = -1  # the kernel chooses a number
_DYNAMIC, _STATIC = 3, 4
_DTYPE_UNKNOWN = 3
_BUSY_TRIES = 3
_BUSY_PAUSE_S = 1.0
_BUSY_HINT = "unmount it, or write to the other copy"
_VOLUME_PATH = re.compile(r"(?:.*/)?ubi([0-9]{1,4})(?:_([0-9]{1,4})|:(.+))\Z", re.DOTALL)


class UbiDevice(NamedTuple):
    """An attached UBI device.

    Attributes:
        number: X of /dev/ubiX.
        mtd: number of the MTD below it.
        leb_bytes: size of a logical erase block, before a volume's alignment takes from it.
        free_lebs: how many are in no volume.
    """

    number: int
    mtd: int
    leb_bytes: int
    free_lebs: int


class Volume(NamedTuple):
    """A volume, as it was when it was asked for.

    Attributes:
        ubi: number of its device.
        id: Y of /dev/ubiX_Y.
        static: it holds one stream of bytes with a checksum; else (dynamic) blocks that may change.
        lebs: how many logical erase blocks are reserved for it.
        leb_bytes: how many bytes each of them can hold.
        data_bytes: what a static volume holds; of a dynamic one, all.
        interrupted: an update of it has begun and not ended; nothing can be read until the next one has.
        corrupted: the checksum of a static volume is wrong.
    """

    ubi: int
    id: int
    name: str
    static: bool
    lebs: int
    leb_bytes: int
    data_bytes: int
    interrupted: bool = False
    corrupted: bool = False

    @property
    def size_bytes(self) -> int:
        """How much it can hold."""
        return self.lebs * self.leb_bytes

    @property
    def path(self) -> str:
        """Its device."""
        return f"/dev/ubi{self.ubi}_{self.id}"


class OpenVolume(Protocol):
    """A volume that is open. All methods raise DeviceError."""

    def read(self, at: int, n_bytes: int) -> bytes:
        """Up to so many bytes, from the flash itself; fewer only at the end."""
        ...

    def begin_update(self, n_bytes: int) -> None:
        """Give up all that it holds; exactly ``n_bytes`` must be written now, before anything can be read again."""
        ...

    def write(self, data: bytes | memoryview) -> None:
        """The next bytes of the update; the last of them end it."""
        ...

    def change_leb(self, number: int, data: bytes) -> None:
        """Replace what a logical erase block holds: after a power cut it is the old or the new."""
        ...

    def sync(self) -> None:
        """Return when all that was written is on the flash."""
        ...

    def close(self) -> None:
        """Let it go; an update that was not written to its end leaves it ``interrupted``. Never raises."""
        ...


class Ubi(Protocol):
    """The UBI devices of a machine: ``KernelUbi``, or ``swagent.testing.FakeUbi``. All methods raise DeviceError."""

    def devices(self) -> list[UbiDevice]:
        """All that are attached, by number."""
        ...

    def volumes(self, ubi: int) -> list[Volume]:
        """All of one device, by id."""
        ...

    def attach(self, mtd: int) -> UbiDevice:
        """Attach an MTD; one that is empty is formatted by that."""
        ...

    def detach(self, ubi: int) -> None:
        """Undo ``attach``."""
        ...

    def create(
        self, ubi: int, name: str, size_bytes: int, *, static: bool = False, volume_id: int | None = None
    ) -> Volume:
        """Make an empty volume, of this id or any that is free; the size is rounded up to whole blocks."""
        ...

    def remove(self, volume: Volume) -> None:
        """Remove a volume and what it holds."""
        ...

    def resize(self, volume: Volume, size_bytes: int) -> None:
        """Give or take blocks at its end; the size is rounded up to whole blocks."""
        ...

    def rename(self, ubi: int, names: Mapping[int, str]) -> None:
        """Give volumes, by id, new names, all in one step: after a power cut all have the old or all the new.

        A volume that is not named here and has one of the new names is removed by the kernel.
        """
        ...

    def in_use(self, volume: Volume) -> str:
        """Why a volume cannot be updated or removed now, "" if nothing holds it."""
        ...

    def open(self, volume: Volume, *, writable: bool = False) -> OpenVolume:
        """Open a volume."""
        ...


class KernelUbi:
    """The kernel's; a ``Ubi``.

    Args:
        sysfs: where the class ``ubi`` is.
    """

    def __init__(self, sysfs: str = SYSFS_UBI) -> None:
        self._sysfs = sysfs

    def devices(self) -> list[UbiDevice]:
        """See ``Ubi.devices``."""
        return [self._device(number) for number, volume in self._entries() if volume is None]

    def volumes(self, ubi: int) -> list[Volume]:
        """See ``Ubi.volumes``."""
        return [
            self._volume(number, volume)
            for number, volume in self._entries()
            if number == ubi and volume is not None
        ]

    def attach(self, mtd: int) -> UbiDevice:
        """See ``Ubi.attach``."""
        answer = bytearray(_ATTACH.pack(_ANY, mtd, 0, 0))
        try:
            _ask(_CONTROL, f"attach mtd{mtd} to UBI through", _UBI_IOCATT, answer)
        except DeviceError as exc:
            if exc.errno == errno.EINVAL:
                exc.hint = f"see dmesg; if it holds something else that may go: ubiformat /dev/mtd{mtd}"
            raise
        return self._device(_NUMBER.unpack_from(answer)[0])

    def detach(self, ubi: int) -> None:
        """See ``Ubi.detach``."""
        _patiently(lambda: _ask(_CONTROL, f"detach ubi{ubi} through", _UBI_IOCDET, _NUMBER.pack(ubi)))

    def create(
        self, ubi: int, name: str, size_bytes: int, *, static: bool = False, volume_id: int | None = None
    ) -> Volume:
        """See ``Ubi.create``."""
        kind = _STATIC if static else _DYNAMIC
        raw = _name(name)
        wanted = _ANY if volume_id is None else volume_id
        answer = bytearray(_MAKE.pack(wanted, 1, size_bytes, kind, 0, len(raw), raw))
        _ask(f"/dev/ubi{ubi}", f"make the volume {name} on", _UBI_IOCMKVOL, answer)
        return self._volume(ubi, _NUMBER.unpack_from(answer)[0])

    def remove(self, volume: Volume) -> None:
        """See ``Ubi.remove``."""
        self._ask_patiently(
            volume, f"remove the volume {volume.name} from", _UBI_IOCRMVOL, _NUMBER.pack(volume.id)
        )

    def resize(self, volume: Volume, size_bytes: int) -> None:
        """See ``Ubi.resize``."""
        request = _RESIZE.pack(size_bytes, volume.id)
        self._ask_patiently(volume, f"resize the volume {volume.name} on", _UBI_IOCRSVOL, request)

    def rename(self, ubi: int, names: Mapping[int, str]) -> None:
        """See ``Ubi.rename``."""
        raw = {volume_id: _name(name) for volume_id, name in names.items()}
        if len(raw) > RENAMES_MAX:
            raise DeviceError(
                f"cannot rename {len(raw)} volumes in one step, {RENAMES_MAX} at most",
                path=f"/dev/ubi{ubi}",
                errno=errno.EINVAL,
            )
        entries = (_RENAME.pack(volume_id, len(name), name) for volume_id, name in raw.items())
        request = _RENAMES.pack(len(raw)) + b"".join(entries)
        request = request.ljust(_RENAMES.size + RENAMES_MAX * _RENAME.size, b"\0")
        verb = f"rename {', '.join(names.values())} on"
        _patiently(lambda: _ask(f"/dev/ubi{ubi}", verb, _UBI_IOCRNVOL, request))

    def in_use(self, volume: Volume) -> str:
        """See ``Ubi.in_use``. To resize a volume to the size it has takes it exclusively, and changes nothing."""
        try:
            self.resize(volume, volume.size_bytes)
        except DeviceError as exc:
            if exc.errno != errno.EBUSY:
                raise
            return f"the UBI volume {volume.name} ({volume.path}) is mounted or otherwise in use"
        return ""

    def open(self, volume: Volume, *, writable: bool = False) -> "VolumeDevice":
        """See ``Ubi.open``."""
        return VolumeDevice(volume.path, writable=writable)

    def _ask_patiently(self, volume: Volume, verb: str, request: int, argument: bytes) -> None:
        path = f"/dev/ubi{volume.ubi}"
        _patiently(lambda: _ask(path, verb, request, argument))

    # -- sysfs

    def _entries(self) -> list[tuple[int, int | None]]:
        """Numbers of devices and, behind each, of its volumes."""
        try:
            names = os.listdir(self._sysfs)
        except OSError:
            return []  # this kernel has no UBI, or nothing was attached yet
        found = [re.fullmatch(r"ubi([0-9]+)(?:_([0-9]+))?", name) for name in names]
        pairs = [(int(match[1]), int(match[2]) if match[2] else None) for match in found if match]
        return sorted(pairs, key=lambda pair: (pair[0], -1 if pair[1] is None else pair[1]))

    def _device(self, number: int) -> UbiDevice:
        fact = self._facts(f"ubi{number}")
        return UbiDevice(
            number, int(fact("mtd_num")), int(fact("eraseblock_size")), int(fact("avail_eraseblocks"))
        )

    def _volume(self, ubi: int, volume_id: int) -> Volume:
        fact = self._facts(f"ubi{ubi}_{volume_id}")
        return Volume(
            ubi,
            volume_id,
            fact("name"),
            fact("type") == "static",
            int(fact("reserved_ebs")),
            int(fact("usable_eb_size")),
            int(fact("data_bytes")),
            interrupted=fact("upd_marker") != "0",
            corrupted=fact("corrupted") != "0",
        )

    def _facts(self, name: str) -> Callable[[str], str]:
        def fact(key: str) -> str:
            path = os.path.join(self._sysfs, name, key)
            try:
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    return file.read(4096).rstrip("\n")
            except OSError as exc:
                raise _failed("read", path, exc) from exc

        return fact


class VolumeDevice:
    """A volume's character device, open; an ``OpenVolume``.

    Args:
        path: such as ``/dev/ubi0_1``.
        writable: open it for updates too; nobody else may write to it then.

    Raises:
        DeviceError: it cannot be opened.
    """

    def __init__(self, path: str, *, writable: bool = False) -> None:
        self._path = path
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC
        self._fd: int = _patiently(lambda: _try("open", path, os.open, path, flags))

    def read(self, at: int, n_bytes: int) -> bytes:
        """See ``OpenVolume.read``."""
        data = b""
        while len(data) < n_bytes:
            piece = _try("read", self._path, os.pread, self._fd, n_bytes - len(data), at + len(data))
            if not piece:
                break
            data += piece
        return data

    def begin_update(self, n_bytes: int) -> None:
        """See ``OpenVolume.begin_update``."""
        request = _BYTES.pack(n_bytes)
        _patiently(lambda: _try("update", self._path, fcntl.ioctl, self._fd, _UBI_IOCVOLUP, request))

    def write(self, data: bytes | memoryview) -> None:
        """See ``OpenVolume.write``."""
        rest = memoryview(data)
        while rest:
            rest = rest[_try("write", self._path, os.write, self._fd, rest) :]

    def change_leb(self, number: int, data: bytes) -> None:
        """See ``OpenVolume.change_leb``."""
        request = _CHANGE.pack(number, len(data), _DTYPE_UNKNOWN)
        verb = f"change block {number} of"
        _patiently(lambda: _try(verb, self._path, fcntl.ioctl, self._fd, _UBI_IOCEBCH, request))
        self.write(data)

    def sync(self) -> None:
        """See ``OpenVolume.sync``."""
        _try("sync", self._path, os.fsync, self._fd)

    def close(self) -> None:
        """See ``OpenVolume.close``."""
        with suppress(OSError):
            os.close(self._fd)


def volume_at(ubi: Ubi, path: str) -> Volume:
    """The volume that ``/dev/ubiX_Y`` or ``/dev/ubiX:name`` stands for; links are followed.

    Raises:
        DeviceError: it is not of that form, or there is no such volume.
    """
    match = _VOLUME_PATH.match(path) or _VOLUME_PATH.match(os.path.realpath(path))
    if match is None:
        raise DeviceError(
            f"{path} is no UBI volume",
            path=path,
            errno=errno.ENODEV,
            hint="such as /dev/ubi0_1 or /dev/ubi0:rootfs",
        )
    number, volume_id, name = int(match[1]), match[2], match[3]
    for volume in ubi.volumes(number):
        if volume.name == name if name is not None else volume.id == int(volume_id):
            return volume
    raise DeviceError(f"there is no UBI volume {path}", path=path, errno=errno.ENOENT)


def _name(name: str) -> bytes:
    raw = os.fsencode(name)
    if not 0 < len(raw) <= NAME_BYTES_MAX or b"\0" in raw:
        raise DeviceError(
            f"{name[:40]!r} is no name for a UBI volume, which has 1 to {NAME_BYTES_MAX} bytes",
            path=name,
            errno=errno.EINVAL,
        )
    return raw


def _ask(path: str, verb: str, request: int, argument: bytes | bytearray) -> None:
    # a bytearray has no limit of size, and one of the caller's holds the answer
    buffer = argument if isinstance(argument, bytearray) else bytearray(argument)
    fd = _try("open", path, os.open, path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _try(verb, path, fcntl.ioctl, fd, request, buffer)
    finally:
        os.close(fd)


def _patiently(call: Callable[[], Any]) -> Any:
    """Try again a little later while it is busy: whoever looks at new devices (udev) lets go of them soon."""
    for _ in range(_BUSY_TRIES - 1):
        try:
            return call()
        except DeviceError as exc:
            if exc.errno != errno.EBUSY:
                raise
            time.sleep(_BUSY_PAUSE_S)
    return call()


def _try(verb: str, path: str, call: Callable[..., Any], *args: object) -> Any:
    try:
        return call(*args)
    except OSError as exc:
        raise _failed(verb, path, exc) from exc


def _failed(verb: str, path: str, exc: OSError) -> DeviceError:
    hint = _BUSY_HINT if exc.errno == errno.EBUSY else ""
    if path == _CONTROL and exc.errno == errno.ENOENT:
        hint = "this kernel has no UBI, or its module is not loaded: modprobe ubi"
    return DeviceError(f"cannot {verb} {path}: {exc.strerror}", path=path, errno=exc.errno, hint=hint)
