"""GRUB's environment block in a file, as grub-editenv and GRUB's ``load_env`` and ``save_env`` see it.

The file is replaced whole, so readers see the old block or the new one. On FAT (an EFI system partition) the kernel has
no journal for the exchange of the two names: a power cut within it can leave a file system that needs ``fsck.vfat``.
Where that matters, keep the block on another file system that GRUB can read.
"""

import os
import stat
from collections.abc import Mapping
from contextlib import suppress

from swagent.errors import BootEnvError, DeviceError
from swagent.store.atomic import replace

from . import grubenv

DEFAULT_PATH = "/boot/efi/EFI/BOOT/grub/grubenv"


class Grub:
    """The environment block of GRUB (``-B grub``).

    Args:
        settings: ``grubenv-path``, default that of SWUpdate, /boot/efi/EFI/BOOT/grub/grubenv. Nothing is opened yet.
    """

    name = "grub"

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self._path = (settings or {}).get("grubenv-path") or DEFAULT_PATH

    def get(self, name: str) -> str | None:
        """See ``Bootloader.get``."""
        return self.all().get(name)

    def all(self) -> dict[str, str]:
        """See ``Bootloader.all``."""
        return grubenv.parse(_read(self._path)[0], self._path)

    def set_many(self, changes: Mapping[str, str | None]) -> None:
        """See ``Bootloader.set_many``. Nothing is written when nothing changes.

        The block is never made up: a damaged one is an error and stays as it is.
        """
        before, mode = _read(self._path)
        path = os.path.realpath(self._path)  # the file, not the link that /boot/grub2/grubenv often is
        block = self._changed(before, changes)
        if grubenv.parse(block, self._path) == grubenv.parse(before, self._path):
            _sync(path)
            return
        try:
            _replace(path, block, mode)
        except BootEnvError:
            # what failed to become durable may be there all the same: it must not come into force later
            with suppress(BootEnvError):
                if _read(path)[0] != before:
                    _replace(path, before, mode)
            raise

    def check(self, changes: Mapping[str, str | None]) -> None:
        """See ``Bootloader.check``."""
        self._changed(_read(self._path)[0], changes)

    def _changed(self, block: bytes, changes: Mapping[str, str | None]) -> bytes:
        wanted = {name: value or None for name, value in changes.items()}
        for name, value in wanted.items():
            grubenv.check_variable(name, value or "")
        return grubenv.change(block, wanted, self._path)


def _read(path: str) -> tuple[bytes, int]:
    """Content and permissions of the file; one byte more than a block at most."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise BootEnvError(
            f"cannot open {path}, GRUB's environment block: {exc.strerror or exc}",
            hint=f"name the right file with --grubenv, or make one with `grub-editenv {path} create`",
        ) from exc
    except ValueError as exc:
        raise BootEnvError(f"{path!r} is no path of a file") from exc
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise BootEnvError(f"{path} is no file, GRUB's environment block is one")
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)  # let it come from the device, if it is there
        return os.read(fd, grubenv.SIZE_BYTES + 1), stat.S_IMODE(mode)
    except OSError as exc:
        raise BootEnvError(f"cannot read {path}, GRUB's environment block: {exc.strerror or exc}") from exc
    finally:
        os.close(fd)


def _replace(path: str, block: bytes, mode: int) -> None:
    """Put a block in place of the one that is there; the permissions stay, FAT knows no others."""
    try:
        replace(path, block, mode=mode)
    except DeviceError as exc:
        raise BootEnvError(f"cannot store GRUB's environment block: {exc.message}", hint=exc.hint) from exc
    if _read(path)[0] != block:
        raise BootEnvError(
            f"{path} does not give back the environment block that was written to it",
            hint="the device may be worn out or write-protected",
        )


def _sync(path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)  # whoever wrote what we found may not have done so
        finally:
            os.close(fd)
    except OSError as exc:
        raise BootEnvError(f"cannot sync {path}: {exc.strerror or exc}") from exc
