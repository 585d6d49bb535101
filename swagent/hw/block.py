"""Destinations of images: block devices and slot files, opened for streaming and closed durably.

A block device is opened with O_EXCL: the kernel then refuses (EBUSY) what is mounted, whole or in part, used as swap,
or held by LVM, RAID or dm-crypt. O_DIRECT is taken where device and filesystem allow: it keeps the disk busy while the
next bytes are verified, and leaves the page cache to the running system.
"""

import errno
import fcntl
import os
import stat
import struct
from contextlib import suppress

from swagent.errors import DeviceError, PreflightRefused
from swagent.model import Sink

BLKGETSIZE64 = 0x80081272 if struct.calcsize("P") == 8 else 0x80041272
"""upstream: linux/fs.h, ``_IOR(0x12, 114, size_t)``; the answer is 64 bits wide whatever size_t is."""
BLKSSZGET = 0x1268
FILE_ALIGNMENT_BYTES = 4096
SYSFS_BLOCK = "/sys/class/block"


class BlockTarget:
    """An open image destination; a ``handlers.api.ImageTarget``.

    Attributes:
        sink: where the pipe writes.
        path: as it was asked for.
    """

    def __init__(
        self, path: str, sink: Sink, read_only_switch: str | None, *, file_bytes: int | None = None
    ) -> None:
        self.path = path
        self.sink = sink
        self._read_only_switch = read_only_switch
        self._file_bytes = file_bytes
        self._open = True

    def close(self) -> None:
        """Make what was written durable, then close and restore write protection.

        Raises:
            DeviceError: the device did not take it all.
        """
        if not self._open:
            return
        try:
            os.fsync(self.sink.fd)
        except OSError as exc:
            self.abandon()
            raise _device_error(
                "cannot sync", self.path, exc, "the device may be failing: see dmesg"
            ) from exc
        self._open = False
        try:
            os.close(self.sink.fd)
        except OSError as exc:
            raise _device_error("cannot close", self.path, exc) from exc
        finally:
            _protect_again(self._read_only_switch)

    def abandon(self) -> None:
        """Close without a promise, and restore write protection; never raises."""
        if not self._open:
            return
        self._open = False
        try:
            if self._file_bytes is not None and os.fstat(self.sink.fd).st_size > self._file_bytes:
                os.ftruncate(
                    self.sink.fd, self._file_bytes
                )  # what half an image has grown it by is of no use
            if self._read_only_switch is not None:
                os.fsync(
                    self.sink.fd
                )  # dirty pages of a device that is read-only again could never be written
            os.close(self.sink.fd)
        except OSError:
            pass  # the update has failed already, for a reason that matters more
        _protect_again(self._read_only_switch)


def open_image_target(
    path: str, offset_bytes: int = 0, *, allow_mounted: bool = False, sysfs: str = SYSFS_BLOCK
) -> BlockTarget:
    """Open an existing block device or regular file for an image; never creates one.

    Args:
        path: links are followed.
        offset_bytes: where the first byte goes.
        allow_mounted: write a block device even if something holds it.
        sysfs: where block devices have their ``force_ro`` (eMMC boot partitions), switched off until ``close``.

    Raises:
        DeviceError: it is not there, is neither of the two, or cannot be written.
        PreflightRefused: it is mounted or otherwise in use.
    """
    status = _stat(path)
    if stat.S_ISREG(status.st_mode):
        why = "" if allow_mounted else in_use(path)
        if why:
            raise PreflightRefused(why, hint=_BUSY_HINT)
        return _open_file(path, offset_bytes)
    if not stat.S_ISBLK(status.st_mode):
        raise DeviceError(
            f"{path} is neither a block device nor a file",
            path=path,
            errno=errno.ENOTBLK,
            hint="MTD and UBI devices cannot be written as images; use their own handlers",
        )
    switch = _unprotect(path, sysfs)
    try:
        fd, direct = _open(path, os.O_RDWR | os.O_CLOEXEC | (0 if allow_mounted else os.O_EXCL))
    except OSError as exc:
        _protect_again(switch)
        if exc.errno == errno.EBUSY and not allow_mounted:
            raise PreflightRefused(why_busy(path, status.st_rdev), hint=_BUSY_HINT) from exc
        raise _device_error("cannot open", path, exc) from exc
    try:
        alignment = max(512, ioctl_int(fd, BLKSSZGET, path)) if direct else 1
        capacity = _ioctl_u64(fd, BLKGETSIZE64, path)
    except DeviceError:
        os.close(fd)
        _protect_again(switch)
        raise
    room_bytes = max(0, capacity - offset_bytes)
    sink = _sink(fd, offset_bytes, alignment, room_bytes, room_bytes)
    return BlockTarget(path, sink, switch)


_BUSY_HINT = "unmount it, or write to the other copy; the property allow-mounted overrules this"


def capacity_bytes(path: str) -> int | None:
    """Size of a block device; None for a regular file, which grows.

    Raises:
        DeviceError: it is not there or is neither.
    """
    status = _stat(path)
    if stat.S_ISREG(status.st_mode):
        return None
    if not stat.S_ISBLK(status.st_mode):
        raise DeviceError(f"{path} is neither a block device nor a file", path=path, errno=errno.ENOTBLK)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise _device_error("cannot open", path, exc) from exc
    try:
        return _ioctl_u64(fd, BLKGETSIZE64, path)
    finally:
        os.close(fd)


def in_use(path: str) -> str:
    """Why a block device or file must not be written to now, "" if nothing holds it.

    It may hold the running system or something mounted, whole or in part, or be the file behind a loop device that
    does; a block device may be held by the kernel for another reason (swap, LVM, RAID).

    Raises:
        DeviceError: it is not there or cannot be opened.
    """
    from .identity import RunningSystem

    status = _stat(path)
    why = RunningSystem().overlap(path)
    if why or not stat.S_ISBLK(status.st_mode):
        return why
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as exc:
        if exc.errno == errno.EBUSY:
            return why_busy(path, status.st_rdev)
        raise _device_error("cannot open", path, exc) from exc
    return ""


def why_busy(path: str, device: int, *, mountinfo: str = "/proc/self/mountinfo") -> str:
    """A sentence that names where a busy device is mounted, if that can be found out."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open(mountinfo, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                words = line.split(" ")
                if len(words) > 4 and words[2] == number:
                    return f"{path} is mounted on {words[4]}"
    except OSError:
        pass  # /proc may not be there; the sentence below is true without it
    return f"{path} is in use: mounted in part, swap, or held by another driver"


def _open_file(path: str, offset_bytes: int) -> BlockTarget:
    try:
        fd, direct = _open(path, os.O_RDWR | os.O_CLOEXEC)
        space = os.fstatvfs(fd)
        size_bytes = os.fstat(fd).st_size
    except OSError as exc:
        raise _device_error("cannot open", path, exc) from exc
    present_bytes = max(0, size_bytes - offset_bytes)
    limit_bytes = space.f_bavail * space.f_frsize + present_bytes
    sink = _sink(fd, offset_bytes, FILE_ALIGNMENT_BYTES if direct else 1, limit_bytes, present_bytes)
    return BlockTarget(path, sink, None, file_bytes=size_bytes)


def _sink(fd: int, offset_bytes: int, alignment_bytes: int, limit_bytes: int, present_bytes: int) -> Sink:
    if offset_bytes % alignment_bytes:
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_DIRECT)
        alignment_bytes = 1
    return Sink(
        fd,
        offset_bytes=offset_bytes,
        alignment_bytes=alignment_bytes,
        limit_bytes=limit_bytes,
        present_bytes=present_bytes,
    )


def _open(path: str, flags: int) -> tuple[int, bool]:
    """Open with O_DIRECT if that is possible; tells whether it was."""
    try:
        return os.open(path, flags | os.O_DIRECT), True
    except OSError as exc:
        if exc.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    return os.open(path, flags), False


def _unprotect(path: str, sysfs: str) -> str | None:
    """Switch ``force_ro`` off if it is on; the switch to turn on again, None if nothing was changed."""
    switch = os.path.join(sysfs, os.path.basename(os.path.realpath(path)), "force_ro")
    try:
        with open(switch, "rb") as state:
            if state.read(1) != b"1":
                return None
    except OSError:
        return None  # only eMMC boot partitions have one
    try:
        _write_switch(switch, b"0")
    except OSError as exc:
        raise _device_error("cannot switch off write protection of", path, exc) from exc
    return switch


def _protect_again(switch: str | None) -> None:
    if switch is None:
        return
    with suppress(OSError):  # what is written is sound; the partition only stays writable until the next boot
        _write_switch(switch, b"1")


def _write_switch(switch: str, value: bytes) -> None:
    fd = os.open(switch, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value)
    finally:
        os.close(fd)


def _stat(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as exc:
        hint = "" if exc.errno != errno.ENOENT else "an image is never the first to create its target"
        raise _device_error("cannot find", path, exc, hint) from exc
    except ValueError as exc:  # a NUL byte in the path
        raise DeviceError(f"{path!r} is no path: {exc}", path=path, errno=errno.EINVAL) from exc


def _ioctl_u64(fd: int, request: int, path: str) -> int:
    answer = bytearray(8)
    _ioctl(fd, request, answer, path)
    return int(struct.unpack("=Q", answer)[0])


def ioctl_int(fd: int, request: int, path: str) -> int:
    """The answer to an ioctl that fills in an int. Raises DeviceError."""
    answer = bytearray(4)
    _ioctl(fd, request, answer, path)
    return int(struct.unpack("=i", answer)[0])


def _ioctl(fd: int, request: int, answer: bytearray, path: str) -> None:
    try:
        fcntl.ioctl(fd, request, answer)
    except OSError as exc:
        raise _device_error("cannot ask for the size of", path, exc) from exc


def _device_error(what: str, path: str, exc: OSError, hint: str = "") -> DeviceError:
    return DeviceError(f"{what} {path}: {exc.strerror}", path=path, errno=exc.errno, hint=hint)
