"""UBI in memory, with the manners of the kernel: an update gives up what was there, a rename can cost a volume."""

import errno
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from swagent.errors import DeviceError
from swagent.hw.ubi import OpenVolume, UbiDevice, Volume


@dataclass
class _Content:
    """What a volume holds."""

    facts: Volume
    data: bytearray
    missing_bytes: int = 0


class FakeUbi:
    """A ``swagent.hw.ubi.Ubi`` with one device, ubi0.

    Args:
        lebs: how many logical erase blocks it has.
        leb_bytes: size of each.
        mtd: number of the MTD below it.
        attached: whether it is attached already.

    Attributes:
        log: what was changed, as ``"update rootfs"``.
        mtd: number of the MTD below it.
        busy: names of volumes that something holds.
        forgetful: name of a volume that gives back something else than was written.
        read_only: it refuses every change, as the kernel does when the flash below fails or cannot be written.
        before_change: called before each change with what is going to be logged; may raise, as a device that fails or
            a power cut would.
        opened: how many volumes are open now.
    """

    def __init__(self, *, lebs: int = 64, leb_bytes: int = 4096, mtd: int = 4, attached: bool = True) -> None:
        self.log: list[str] = []
        self.busy: Collection[str] = ()
        self.forgetful = ""
        self.read_only = False
        self.before_change: Callable[[str], None] | None = None
        self.opened = 0
        self._lebs = lebs
        self._leb_bytes = leb_bytes
        self.mtd = mtd
        self._attached = attached
        self._volumes: dict[int, _Content] = {}

    # -- for tests

    def put(self, name: str, data: bytes = b"", *, lebs: int = 0, static: bool = False) -> Volume:
        """Make a volume that holds ``data``, without a line in the log."""
        lebs = lebs or -(-len(data) // self._leb_bytes) or 1
        volume = self._make(self._free_id(), name, lebs, static)
        self._fill(self._volumes[volume.id], data)
        return self._volumes[volume.id].facts

    def names(self) -> dict[str, int]:
        """Names of all volumes and their ids."""
        return {content.facts.name: volume_id for volume_id, content in sorted(self._volumes.items())}

    def facts(self, name: str) -> Volume:
        """What is known of a volume."""
        return self._volumes[self.names()[name]].facts

    def holds(self, name: str) -> bytes:
        """The bytes of a volume: of a dynamic one without the 0xff at its end."""
        content = self._volumes[self.names()[name]]
        data = bytes(content.data)
        return data if content.facts.static else data.rstrip(b"\xff")

    # -- a Ubi

    def devices(self) -> list[UbiDevice]:
        """See ``Ubi.devices``."""
        return [UbiDevice(0, self.mtd, self._leb_bytes, self._free())] if self._attached else []

    def volumes(self, ubi: int) -> list[Volume]:
        """See ``Ubi.volumes``."""
        return [content.facts for _, content in sorted(self._volumes.items())] if self._there(ubi) else []

    def attach(self, mtd: int) -> UbiDevice:
        """See ``Ubi.attach``."""
        if mtd != self.mtd:
            raise _failed(errno.EINVAL, f"mtd{mtd} does not hold UBI")
        if self._attached:
            raise _failed(errno.EEXIST, f"mtd{mtd} is attached already")
        self._change(f"attach mtd{mtd}")
        self._attached = True
        return self.devices()[0]

    def detach(self, ubi: int) -> None:
        """See ``Ubi.detach``."""
        self._change(f"detach ubi{ubi}")
        self._attached = False

    def create(
        self, ubi: int, name: str, size_bytes: int, *, static: bool = False, volume_id: int | None = None
    ) -> Volume:
        """See ``Ubi.create``."""
        lebs = -(-size_bytes // self._leb_bytes)
        if not self._there(ubi) or lebs < 1:
            raise _failed(errno.EINVAL, "no such device, or no size")
        if name in self.names() or volume_id in self._volumes:
            raise _failed(errno.EEXIST, f"there is a volume {name} or its id already")
        if lebs > self._free():
            raise _failed(errno.ENOSPC, f"{lebs} blocks are wanted, {self._free()} are free")
        self._change(f"create {name}")
        return self._make(self._free_id() if volume_id is None else volume_id, name, lebs, static)

    def remove(self, volume: Volume) -> None:
        """See ``Ubi.remove``."""
        self._exclusive(volume)
        self._change(f"remove {volume.name}")
        del self._volumes[volume.id]

    def resize(self, volume: Volume, size_bytes: int) -> None:
        """See ``Ubi.resize``."""
        content = self._exclusive(volume)
        lebs = -(-size_bytes // self._leb_bytes)
        if lebs == volume.lebs:
            return
        if lebs < 1 or (volume.static and size_bytes < len(content.data)):
            raise _failed(errno.EINVAL, f"{volume.name} cannot be so small")
        if lebs - volume.lebs > self._free():
            raise _failed(
                errno.ENOSPC, f"{lebs - volume.lebs} more blocks are wanted, {self._free()} are free"
            )
        self._change(f"resize {volume.name}")
        content.facts = content.facts._replace(lebs=lebs)
        self._fill(content, bytes(content.data[:size_bytes]))

    def rename(self, ubi: int, names: Mapping[int, str]) -> None:
        """See ``Ubi.rename``."""
        if not self._there(ubi) or not set(names) <= set(self._volumes):
            raise _failed(errno.EINVAL, "no such volume")
        if len(set(names.values())) < len(names):
            raise _failed(errno.EINVAL, "two volumes would have one name")
        self._change("rename " + ", ".join(sorted(names.values())))
        for name, volume_id in self.names().items():
            if name in names.values() and volume_id not in names:
                del self._volumes[volume_id]
        for volume_id, name in names.items():
            content = self._volumes[volume_id]
            content.facts = content.facts._replace(name=name)

    def in_use(self, volume: Volume) -> str:
        """What ``busy`` says."""
        if self.read_only:
            raise _failed(errno.EROFS, "it is read-only")
        return f"the UBI volume {volume.name} is in use" if volume.name in self.busy else ""

    def open(self, volume: Volume, *, writable: bool = False) -> OpenVolume:
        """See ``Ubi.open``."""
        return _FakeVolume(self, self._content(volume), writable=writable)

    # -- inside

    def _there(self, ubi: int) -> bool:
        return self._attached and ubi == 0

    def _free(self) -> int:
        return self._lebs - sum(content.facts.lebs for content in self._volumes.values())

    def _free_id(self) -> int:
        return next(number for number in range(128) if number not in self._volumes)

    def _make(self, volume_id: int, name: str, lebs: int, static: bool) -> Volume:
        data_bytes = 0 if static else lebs * self._leb_bytes
        facts = Volume(0, volume_id, name, static, lebs, self._leb_bytes, data_bytes)
        self._volumes[volume_id] = _Content(facts, bytearray())
        self._fill(self._volumes[volume_id], b"")
        return facts

    def _fill(self, content: _Content, data: bytes) -> None:
        facts = content.facts
        if len(data) > facts.size_bytes:
            raise _failed(errno.EINVAL, f"{facts.name} holds {facts.size_bytes} bytes")
        content.data = bytearray(data if facts.static else data.ljust(facts.size_bytes, b"\xff"))
        content.facts = facts._replace(data_bytes=len(content.data))

    def _content(self, volume: Volume) -> _Content:
        if not self._attached or volume.id not in self._volumes:
            raise _failed(errno.ENODEV, f"there is no volume {volume.id}")
        return self._volumes[volume.id]

    def _exclusive(self, volume: Volume) -> _Content:
        content = self._content(volume)
        if content.facts.name in self.busy:
            raise _failed(errno.EBUSY, f"{content.facts.name} is in use")
        return content

    def _change(self, what: str) -> None:
        if self.read_only:
            raise _failed(errno.EROFS, "it is read-only")
        if self.before_change is not None:
            self.before_change(what)
        self.log.append(what)


class _FakeVolume:
    """An ``OpenVolume``."""

    def __init__(self, ubi: FakeUbi, content: _Content, *, writable: bool) -> None:
        self._ubi = ubi
        self._content = content
        self._writable = writable
        self._open = True
        ubi.opened += 1

    def read(self, at: int, n_bytes: int) -> bytes:
        """See ``OpenVolume.read``."""
        if self._content.facts.interrupted:
            raise _failed(errno.EBADF, f"{self._content.facts.name} was not updated to the end")
        data = bytes(self._content.data[at : at + n_bytes])
        return data[:-1] + b"?" if self._content.facts.name == self._ubi.forgetful else data

    def begin_update(self, n_bytes: int) -> None:
        """See ``OpenVolume.begin_update``."""
        content, facts = self._content, self._content.facts
        if not self._writable or n_bytes > facts.size_bytes:
            raise _failed(errno.EINVAL, f"{facts.name} holds {facts.size_bytes} bytes, if it may be written")
        self._ubi._exclusive(facts)
        self._ubi._change(f"update {facts.name}")
        content.data = bytearray()
        content.missing_bytes = n_bytes
        content.facts = facts._replace(interrupted=True)
        self._end_update()

    def write(self, data: bytes | memoryview) -> None:
        """See ``OpenVolume.write``."""
        content = self._content
        if not content.facts.interrupted or len(data) > content.missing_bytes:
            raise _failed(errno.EPERM, f"{content.facts.name}: more than was announced")
        self._ubi._change(f"write {content.facts.name}")
        content.data += data
        content.missing_bytes -= len(data)
        self._end_update()

    def change_leb(self, number: int, data: bytes) -> None:
        """See ``OpenVolume.change_leb``."""
        facts = self._content.facts
        if facts.static or not 0 <= number < facts.lebs or len(data) > facts.leb_bytes:
            raise _failed(errno.EINVAL, f"{facts.name} has no such block, or it is smaller")
        self._ubi._change(f"change {facts.name}")
        at = number * facts.leb_bytes
        self._content.data[at : at + facts.leb_bytes] = data.ljust(facts.leb_bytes, b"\xff")

    def sync(self) -> None:
        """See ``OpenVolume.sync``."""

    def close(self) -> None:
        """See ``OpenVolume.close``."""
        self._ubi.opened -= self._open
        self._open = False

    def _end_update(self) -> None:
        content = self._content
        if not content.missing_bytes:
            content.facts = content.facts._replace(interrupted=False, corrupted=False)
            self._ubi._fill(content, bytes(content.data))


def _failed(number: int, why: str) -> DeviceError:
    return DeviceError(f"fake UBI: {why}", path="fake UBI", errno=number)
