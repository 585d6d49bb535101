"""Whether a device gives back what it should: after writing (``verify-write``), or as a script (``readback``)."""

import os
import re
import stat
from typing import NamedTuple

from swagent.errors import DescriptionError, DeviceError, PreflightRefused
from swagent.model import Artifact, Data, Kind, Needs, Phase

from .api import Context, handler
from .beforehand import coming_node

_SHA256 = re.compile(r"[0-9A-Fa-f]{64}\Z")


@handler("readback", kinds=Kind.SCRIPT, streams=False, data=False, attributes=("device",), overwrites=False)
class ReadBack:
    """Compare the SHA-256 of ``device``, or of a part of it, after installing; another one fails the update.

    It is read past the page cache. A range that the device does not have is told as such.
    """

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            sha256: 64 hexadecimal digits.
            size: how many bytes; 0 means to the end.
            offset: where they begin.
        """

        sha256: str
        size: int = 0
        offset: int = 0

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether it makes sense; what is read may only come into being with the update."""
        who = art.where or art.label
        if not _SHA256.match(opt.sha256):
            raise DescriptionError(
                f"{who}: sha256 is not 64 hexadecimal digits", artifact=art.label, handler=art.type
            )
        try:
            capacity = ctx.hw.capacity_bytes(art.device)
        except DeviceError as exc:
            ctx.log("warn", f"{exc.message}; it must be there when {art.label} runs")
            return Needs()
        if capacity is not None and opt.offset + opt.size > capacity and coming_node(ctx, art.device) is None:
            raise PreflightRefused(
                f"{who}: {art.device} has {capacity} bytes, and {opt.size} from {opt.offset} on are to be compared",
                artifact=art.label,
                handler=art.type,
            )
        return Needs()

    def run(self, art: Artifact, opt: Options, phase: Phase, ctx: Context) -> None:
        """Compare, in POSTINSTALL.

        Raises:
            DeviceError: it cannot be read, is shorter, or holds something else.
        """
        if phase is not Phase.POSTINSTALL:
            return
        path = art.device
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError) as exc:
            why = getattr(exc, "strerror", None) or str(exc)
            raise DeviceError(
                f"cannot open {path}: {why}", path=path, errno=getattr(exc, "errno", None)
            ) from exc
        try:
            there = _size_bytes(fd, path, ctx) - opt.offset
            n_bytes = opt.size or there
            if n_bytes > there or there < 0:
                raise DeviceError(
                    f"{path} has {max(0, there)} bytes from {opt.offset} on, {opt.size or 'some'} are to be compared",
                    path=path,
                )
            found = ctx.hw.read_back(fd, n_bytes, offset_bytes=opt.offset, path=path).hex()
        finally:
            os.close(fd)
        if found != opt.sha256.lower():
            raise DeviceError(
                f"{path} holds something else: sha256 of {n_bytes} bytes from {opt.offset} on is {found}, "
                f"expected {opt.sha256.lower()}",
                path=path,
                hint="it was not written, or the storage is failing: see dmesg",
            )


def _size_bytes(fd: int, path: str, ctx: Context) -> int:
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode):
        return status.st_size
    if stat.S_ISBLK(status.st_mode):
        return ctx.hw.capacity_bytes(path) or 0
    raise DeviceError(f"{path} is neither a file nor a block device", path=path)


def wanted(art: Artifact, *, always: bool, unasked: bool = False) -> bool:
    """Whether the entry or the unit (``always``) asks for it, or the handler does it ``unasked`` and nobody objects."""
    word = art.prop("verify-write")
    return always or word == "true" or (unasked and word != "false")


class Expected:
    """The digest that a target must have; made before the data is poured. Does nothing when nobody asked for it.

    Args:
        art: the entry.
        data: what is going to be written.
        ctx: tells whether the unit asks for it.
        unasked: do it unless the entry says no.

    Attributes:
        wanted: whether it is going to be compared.
    """

    def __init__(self, art: Artifact, data: Data, ctx: Context, *, unasked: bool = False) -> None:
        self._data = data
        self._hw = ctx.hw
        self.wanted = wanted(art, always=ctx.verify_write, unasked=unasked)
        if self.wanted:
            data.want_plain_sha256()

    def compare(self, fd: int, n_bytes: int, offset_bytes: int, path: str) -> None:
        """Make durable what was written, read it back and compare.

        Args:
            fd: open on the target.
            n_bytes: how many bytes were written.
            offset_bytes: from where on.
            path: what to call the target.

        Raises:
            DeviceError: the target gives back something else, or nothing.
        """
        if not self.wanted:
            return
        self.judge(self._hw.read_back(fd, n_bytes, offset_bytes=offset_bytes, path=path), n_bytes, path)

    def judge(self, found: bytes, n_bytes: int, path: str) -> None:
        """Compare the digest of what a target gives back.

        Raises:
            DeviceError: it is another one.
        """
        expected = self._data.plain_sha256
        if found != expected:
            raise DeviceError(
                f"{path} reads back differently than it was written: sha256 of its {n_bytes} bytes is {found.hex()}, "
                f"expected {expected.hex() if expected else 'none'}",
                path=path,
                hint="the storage is failing, or something else writes to it: see dmesg",
            )
