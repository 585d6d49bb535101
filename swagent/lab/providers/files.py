"""Volumes that are files: the disk of a virtual board, or an image that an emulator of storage gives to a real one."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from swagent.lab.errors import Failed, NotSupported, OutOfRange
from swagent.lab.lab import Provision
from swagent.lab.volumes import Target, no_target

from .parameters import Parameters

T = TypeVar("T")


class OpenFile:
    """A file in use."""

    def __init__(self, path: str, target: Target) -> None:
        self.target = target
        self._path = path
        self._fd = os.open(path, (os.O_RDWR if target.writable else os.O_RDONLY) | os.O_CLOEXEC)
        self._written = False

    async def read(self, length_bytes: int, offset_bytes: int) -> bytes:
        """Read. Raises Failed."""
        return await self._do(os.pread, self._fd, length_bytes, _within(offset_bytes))

    async def write(self, data: bytes, offset_bytes: int) -> None:
        """Write all of it. Raises Failed."""
        self._written = True
        await self._do(_write_all, self._fd, data, _within(offset_bytes))

    async def flush(self) -> None:
        """See that it is on the disk. Raises Failed."""
        if self._written:
            await self._do(os.fsync, self._fd)

    async def shutdown(self) -> None:
        """As ``flush``: a file has nothing to finish."""
        await self.flush()

    async def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)

    async def _do(self, call: Callable[..., T], *args: object) -> T:
        try:
            return await asyncio.to_thread(call, *args)
        except OSError as exc:
            raise Failed(f"{self._path}: {exc.strerror}") from exc


class FileVolume:
    """A volume of files, each a target; its size is that of the file, which never changes.

    Args:
        files: target to path, and whether it may be written.
        opened: makes what uses one.
    """

    exhaustive = True

    def __init__(
        self, files: dict[str, tuple[str, bool]], opened: Callable[[str, Target], OpenFile] = OpenFile
    ) -> None:
        self._files = files
        self._opened = opened

    async def targets(self) -> tuple[Target, ...]:
        """Those whose files are there."""
        found = []
        for name, (path, writable) in self._files.items():
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                size_bytes = os.lseek(fd, 0, os.SEEK_END)  # of block devices too
            finally:
                os.close(fd)
            found.append(Target(name, readable=True, writable=writable, seekable=True, size_bytes=size_bytes))
        return tuple(found)

    async def open(self, name: str, length_bytes: int | None) -> OpenFile:
        """Use a file. Raises NotThere, OutOfRange or Failed."""
        known = await self.targets()
        target = next((target for target in known if target.name == name), None)
        if target is None:
            raise no_target(name, known)
        if length_bytes is not None and target.size_bytes is not None and length_bytes > target.size_bytes:
            raise OutOfRange(f"{name} has {target.size_bytes} bytes, and {length_bytes} would be written")
        try:
            return self._opened(self._files[name][0], target)
        except OSError as exc:
            raise Failed(f"{self._files[name][0]}: {exc.strerror}") from exc

    async def commit(self) -> None:
        """Nothing is left to do: what was written is there."""

    async def erase(self, name: str) -> None:
        """Raises NotSupported."""
        raise NotSupported("files are not erased", hint="write zeroes")


def provide(provision: Provision) -> Coroutine[Any, Any, None]:
    """``volumes``: a list, each with ``name`` and ``targets``: a list of ``name``, ``path`` and ``writable`` (true)."""
    made = []
    for one in Parameters.of(provision.rule, "volumes").each("volumes", "name", "targets"):
        files = {
            target.text("name"): (target.path("path"), target.flag("writable", default=True))
            for target in one.each("targets", "name", "path", "writable")
        }
        made.append((one.text("name"), FileVolume(files)))

    async def run() -> None:
        for name, volume in made:
            provision.lab.volumes.add(provision.properties(name), volume)
        await asyncio.Event().wait()

    return run()


def _within(offset_bytes: int) -> int:
    if offset_bytes >= 1 << 63:
        raise OutOfRange("this is far behind the end")
    return offset_bytes


def _write_all(fd: int, data: bytes, offset_bytes: int) -> None:
    rest = memoryview(data)
    while rest:
        n = os.pwrite(fd, rest, offset_bytes)
        rest, offset_bytes = rest[n:], offset_bytes + n
