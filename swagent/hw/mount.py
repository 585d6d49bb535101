"""Mounting a device on a folder of our own, for as long as something is written there."""

import errno
import os
import re
from types import TracebackType

from swagent.errors import DeviceError

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
_OCTAL = re.compile(r"\\([0-7]{3})")
_HINTS = {
    errno.EPERM: "mounting needs root",
    errno.ENODEV: "the kernel does not know this filesystem",
    errno.EINVAL: "there is no such filesystem on it, or it is damaged",
    errno.ENOTBLK: "it is no block device",
    errno.ENOENT: "the device is not there",
    errno.EBUSY: "it is mounted elsewhere in another mode",
}


class Mounted:
    """``with Mounted(...) as folder``: a device, mounted on a fresh folder (0700), in the end unmounted and removed.

    Args:
        device: path of a block device.
        filesystem: type, as in ``/proc/filesystems``.
        below: where the folder is made.
        read_only: mount it so.
        untrusted: no programs, device nodes or rights of files count on it.

    Raises:
        DeviceError: on entering, it cannot be mounted; on leaving without another error, not be unmounted.
    """

    def __init__(
        self, device: str, filesystem: str, *, below: str, read_only: bool = False, untrusted: bool = False
    ) -> None:
        self._device = device
        self._filesystem = filesystem
        self._below = below
        self._flags = MS_RDONLY if read_only else 0
        self._flags |= MS_NOSUID | MS_NODEV | MS_NOEXEC if untrusted else 0
        self._folder = ""

    def __enter__(self) -> str:
        self._folder = _fresh_folder(self._below)
        try:
            _mount(self._device, self._folder, self._filesystem, self._flags)
        except OSError as exc:
            os.rmdir(self._folder)
            raise DeviceError(
                f"cannot mount {self._device} as {self._filesystem}: {exc.strerror}",
                path=self._device,
                errno=exc.errno,
                hint=_HINTS.get(exc.errno or 0, "see dmesg"),
            ) from exc
        return self._folder

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            _umount(self._folder)
            os.rmdir(self._folder)
        except OSError as exc:
            if raised is not None:
                raised.add_note(f"{self._device} stays mounted on {self._folder}: {exc.strerror}")
                return
            raise DeviceError(
                f"cannot unmount {self._device}: {exc.strerror}",
                path=self._device,
                errno=exc.errno,
                hint=f"something still uses {self._folder}; see fuser -m",
            ) from exc


def mount_points(mountinfo: str = "/proc/self/mountinfo") -> list[str]:
    """Where anything is mounted.

    Raises:
        OSError: the kernel does not tell.
    """
    with open(mountinfo, encoding="utf-8", errors="surrogateescape") as lines:
        # spaces and the like are written in octal (upstream: proc_pid_mountinfo(5))
        return [_OCTAL.sub(lambda match: chr(int(match[1], 8)), line.split(" ")[4]) for line in lines]


def _fresh_folder(below: str) -> str:
    """Like ``mkdtemp``, whose module costs too much to import: a name nobody has, mode 0700."""
    for _ in range(100):
        folder = os.path.join(below, f"mnt-{os.urandom(6).hex()}")
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            continue
        except OSError as exc:
            raise DeviceError(
                f"cannot make a folder to mount on: {exc.strerror}", path=folder, errno=exc.errno
            ) from exc
        return folder
    raise DeviceError(f"no free name for a folder below {below}", path=below, errno=errno.EEXIST)


def _mount(device: str, folder: str, filesystem: str, flags: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    try:
        words = [os.fsencode(word) for word in (device, folder, filesystem)]
    except UnicodeEncodeError as exc:
        raise OSError(errno.EINVAL, "the name cannot be encoded") from exc
    if any(b"\0" in word for word in words):
        raise OSError(errno.EINVAL, "the name has a NUL byte")
    if libc.mount(*map(ctypes.c_char_p, words), ctypes.c_ulong(flags), None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _umount(folder: str) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(ctypes.c_char_p(os.fsencode(folder)), 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
