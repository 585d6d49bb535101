"""The device as handlers may touch it: one object, each method backed by a module that is imported when it is used."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from swagent.model import GpioLine, Reader

from .block import BlockTarget, capacity_bytes, in_use, open_image_target

if TYPE_CHECKING:
    from .emmc import Emmc
    from .engine import Engine
    from .filesystem import Filesystem
    from .gpio import GpioLines
    from .mtd import Flash
    from .partitions import Disk
    from .uart import Uart
    from .ubi import Ubi

Log = Callable[[str, str], None]


class Hardware:
    """The real device; a ``handlers.api.Hardware``. ``swagent.testing`` has a stand-in.

    Args:
        tmpdir: the session's own folder; mount points are made below it.
        docker_socket: of the container engine, "" for the usual place.
        mtd_denied: numbers of MTDs on which no UBI is looked for.
    """

    def __init__(
        self, tmpdir: str, docker_socket: str = "", mtd_denied: frozenset[int] = frozenset()
    ) -> None:
        self._tmpdir = tmpdir
        self._docker_socket = docker_socket
        self.mtd_denied = mtd_denied

    def image_target(self, path: str, *, offset_bytes: int = 0, allow_mounted: bool = False) -> BlockTarget:
        """Open an existing block device or file for an image; see ``block.open_image_target``."""
        return open_image_target(path, offset_bytes, allow_mounted=allow_mounted)

    def capacity_bytes(self, path: str) -> int | None:
        """Size of a block device; None for regular files. Raises DeviceError."""
        return capacity_bytes(path)

    def in_use(self, path: str) -> str:
        """Why a block device or file must not be written to now, "" if nothing holds it. Raises DeviceError."""
        return in_use(path)

    def overlap(self, path: str, other: str) -> bool:
        """Whether writing one of two block devices or files changes the other."""
        from .identity import RunningSystem

        return RunningSystem().share(path, other)

    def read_back(self, fd: int, n_bytes: int, *, offset_bytes: int = 0, path: str) -> bytes:
        """SHA-256 of what a file or device holds now; see ``readback.read_back``."""
        from .readback import read_back

        return read_back(fd, n_bytes, offset_bytes=offset_bytes, path=path)

    def mounted(
        self, device: str, filesystem: str, *, read_only: bool = False
    ) -> AbstractContextManager[str]:
        """Mount a device on a fresh folder for the length of a ``with``; see ``mount.Mounted``."""
        from .mount import Mounted

        return Mounted(device, filesystem, below=self._tmpdir, read_only=read_only)

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
        """Run a program; returns its exit status, -1 when a signal ended it; see ``process.run``."""
        from .process import run

        return run(argv, log=log, stdin=stdin, env=env, cwd=cwd, deadline_s=deadline_s)

    def gpio_in_use(self, line: GpioLine) -> str:
        """Who holds a GPIO line, "" if nobody does; see ``gpio.in_use``."""
        from .gpio import in_use

        return in_use(line)

    def gpio(self, levels: Mapping[GpioLine, bool]) -> "GpioLines":
        """Take GPIO lines as outputs; see ``gpio.GpioLines``."""
        from .gpio import GpioLines

        return GpioLines(levels)

    def uart_in_use(self, path: str) -> str:
        """Who uses a serial port, "" if nobody does; see ``uart.in_use``."""
        from .uart import in_use

        return in_use(path)

    def uart(self, path: str, baudrate: int) -> "Uart":
        """Open a serial port; see ``uart.Uart``."""
        from .uart import Uart

        return Uart(path, baudrate)

    def disk(self, path: str, log: Log) -> "Disk":
        """A disk whose partitions are looked at or changed; see ``partitions.Disk``."""
        from .partitions import Disk

        return Disk(path, log)

    def filesystem(self, path: str, log: Log) -> "Filesystem":
        """What file system a device holds; see ``filesystem.probe``."""
        from .filesystem import probe

        return probe(path, log)

    def make_filesystem(self, path: str, kind: str, label: str, log: Log) -> None:
        """Make an empty file system; see ``filesystem.make``."""
        from .filesystem import make

        make(path, kind, label, log)

    def label_filesystem(self, path: str, kind: str, label: str, log: Log) -> None:
        """Give a file system another label; see ``filesystem.relabel``."""
        from .filesystem import relabel

        relabel(path, kind, label, log)

    def filesystem_uuids(self, log: Log) -> dict[str, str]:
        """UUIDs of all file systems and where they are; see ``filesystem.uuids``."""
        from .filesystem import uuids

        return uuids(log)

    def make_subvolume(self, path: str) -> None:
        """Make a btrfs subvolume; see ``btrfs.create``."""
        from .btrfs import create

        create(path)

    def delete_subvolume(self, path: str) -> None:
        """Delete a btrfs subvolume with all in it; see ``btrfs.delete``."""
        from .btrfs import delete

        delete(path)

    def is_subvolume(self, path: str) -> bool:
        """Whether there is a btrfs subvolume of this name; see ``btrfs.is_subvolume``."""
        from .btrfs import is_subvolume

        return is_subvolume(path)

    def emmc(self, path: str) -> "Emmc":
        """The boot configuration of an eMMC; see ``emmc.Emmc``."""
        from .emmc import Emmc

        return Emmc(path)

    def container_engine(self, *, waiting: Callable[[], None], timeout_s: float) -> "Engine":
        """The container engine; see ``engine.Engine``."""
        from .engine import SOCKET, Engine

        return Engine(self._docker_socket or SOCKET, waiting=waiting, timeout_s=timeout_s)

    @property
    def ubi(self) -> "Ubi":
        """The kernel's UBI."""
        from .ubi import KernelUbi

        return KernelUbi()

    def mtd_numbers(self) -> list[int]:
        """The numbers of all MTDs."""
        from .mtd import mtd_numbers

        return mtd_numbers()

    def mtd_number(self, device: str) -> int:
        """The number of an MTD, however it is called; see ``mtd.mtd_number``. Raises DeviceError."""
        from .mtd import mtd_number

        return mtd_number(device)

    def flash(self, number: int, *, writable: bool = False, raw: bool = False) -> "Flash":
        """Open an MTD; see ``mtd.Mtd``. Raises DeviceError."""
        from .mtd import Mtd

        return Mtd(f"/dev/mtd{number}", writable=writable, raw=raw)

    def flash_in_use(self, number: int) -> str:
        """Why an MTD must not be written to now, "" if nothing holds it. Raises DeviceError."""
        from .mtd import in_use

        return in_use(number)
