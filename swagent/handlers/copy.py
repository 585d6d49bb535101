"""``copy`` (also called ``rawcopy``): feeds what the device has already to another handler, instead of an artifact."""

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from swagent.errors import DescriptionError, DeviceError, PreflightRefused, SizeError, SwagentError
from swagent.model import Artifact, Compression, Kind, Needs, Phase

from . import destination
from .api import Context, handler
from .basefile import open_source

DEPTH_MAX = 128
_PHASES = {"preinstall": Phase.PREINSTALL, "postinstall": Phase.POSTINSTALL}
_OURS = frozenset({"copyfrom", "chain", "type", "size", "offset", "recursive"})


@handler("copy", kinds=Kind.SCRIPT, data=False)
class Copy:
    """Copy a file, a block device or a folder by the handler named in ``chain``, before or after installing.

    Runs once, in the phase named by ``type``; without ``type`` before installing (SWUpdate would copy in every phase,
    and after a failure too). In folders only folders and regular files are copied; links are not followed.
    """

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            copyfrom: file, block device, folder, or mtd:NAME of an MTD partition.
            chain: handler that receives the data.
            type: preinstall or postinstall: when it runs.
            size: bytes to copy; 0: all there are.
            offset: where to begin in the source, bytes.
            recursive: copyfrom is a folder, and so is path.
            create_destination: make the folder path, or that in which path lies.
        """

        copyfrom: str
        chain: str = "raw"
        type: str = ""
        size: int = 0
        offset: int = 0
        recursive: bool = False
        create_destination: bool = False

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether it makes sense and the chained handler can do it; the source may come into being with the update."""
        why = ""
        if opt.type and opt.type not in _PHASES:
            why = f"property type is {opt.type[:40]!r}, not preinstall or postinstall"
        elif opt.chain in ("copy", "rawcopy"):
            why = "copy cannot be chained to itself"
        elif opt.recursive and not art.path:
            why = "a recursive copy needs the attribute path"
        elif opt.recursive and destination.is_mounted(art):
            why = "a recursive copy onto a device that is to be mounted is not supported"
        if why:
            raise PreflightRefused(f"{art.where or art.label}: {why}", artifact=art.label, handler="copy")
        if not opt.type:
            ctx.log("warn", f"{art.label}: copy without the property type runs once, before installing")
        if "chain" not in art.properties:
            ctx.log("warn", f"{art.label}: copy without the property chain uses raw")
        link = _link_of(art, opt, opt.size or None)
        if opt.recursive:
            ctx.preflight(link._replace(path=os.path.join(art.path, "file")))
            return Needs(target=art.path)
        return ctx.preflight(link)

    def run(self, art: Artifact, opt: Options, phase: Phase, ctx: Context) -> None:
        """Copy, if this is the phase for it."""
        if phase is not _PHASES.get(opt.type, Phase.PREINSTALL):
            return
        try:
            source = _resolve(opt.copyfrom)
            if opt.recursive:
                self._copy_tree(source, art, opt, ctx)
            else:
                if opt.create_destination and art.path and not destination.is_mounted(art):
                    destination.make_folders(os.path.dirname(art.path))
                self._copy_one(source, art, opt, ctx)
        except SwagentError as exc:
            exc.artifact = exc.artifact or art.label
            exc.handler = exc.handler or "copy"
            raise

    def _copy_one(self, source: str, art: Artifact, opt: Options, ctx: Context) -> None:
        with open_source(source) as file:
            there = file.size_bytes(ctx) - opt.offset
            size_bytes = opt.size or there
            if size_bytes < 0 or size_bytes > there:
                raise SizeError(
                    f"{source} has {max(0, there)} bytes from {opt.offset} on"
                    + (f", {size_bytes} are to be copied" if size_bytes >= 0 else "")
                )
            file.limit(opt.offset, size_bytes)
            ctx.chain(_link_of(art, opt, size_bytes), file, size_bytes)

    def _copy_tree(self, source: str, art: Artifact, opt: Options, ctx: Context) -> None:
        if not os.path.isdir(source):
            raise DeviceError(f"{source} is no folder", path=source, hint="leave out the property recursive")
        target = art.path.rstrip("/") or "/"
        if os.path.realpath(target).startswith(os.path.realpath(source).rstrip("/") + "/"):
            raise DescriptionError(f"cannot copy {source} into itself, to {target}")
        if opt.create_destination:
            destination.make_folders(target)
        for relative, status in _walk(source, "", 0):
            ctx.checkpoint()
            path = os.path.join(target, relative)
            if stat.S_ISDIR(status.st_mode):
                _make_folder(path, stat.S_IMODE(status.st_mode))
                continue
            with open_source(os.path.join(source, relative)) as file:
                size_bytes = file.size_bytes(ctx)
                file.limit(0, size_bytes)
                ctx.chain(_link_of(art, opt, size_bytes)._replace(path=path), file, size_bytes)


def _link_of(art: Artifact, opt: Copy.Options, size_bytes: int | None) -> Artifact:
    """The entry as the chained handler sees it: an image of that size, plain and without a digest."""
    return art._replace(
        kind=Kind.IMAGE,
        type=opt.chain,
        size_bytes=size_bytes,
        device=art.mtdname or art.device,
        compression=Compression.NONE,
        cipher="",
        sha256=None,
        installed_directly=False,
        properties={
            key: value
            for key, value in art.properties.items()
            if key not in _OURS
            and not (key == "create-destination" and opt.chain not in ("rawfile", "archive", "tar"))
        },
    )


def _resolve(copyfrom: str, proc_mtd: str = "/proc/mtd") -> str:
    """The path of a source; ``mtd:NAME`` becomes the block device of that MTD partition."""
    if not copyfrom.startswith("mtd:"):
        return copyfrom
    wanted = copyfrom[4:]
    try:
        with open(proc_mtd, encoding="utf-8", errors="replace") as table:
            for line in table:
                device, _, rest = line.partition(":")
                if device.startswith("mtd") and rest.partition('"')[2].rpartition('"')[0] == wanted:
                    path = f"/dev/mtdblock{device[3:]}"
                    if os.path.exists(path):
                        return path
                    raise DeviceError(
                        f"cannot copy from {copyfrom}: {path} is missing", path=path, hint="load mtdblock"
                    )
    except OSError:
        pass  # no MTD at all: said below
    raise DeviceError(f"cannot copy from {copyfrom}: there is no MTD partition of this name", path=copyfrom)


def _walk(source: str, relative: str, depth: int) -> Iterator[tuple[str, os.stat_result]]:
    """Folders and regular files below a folder, a folder before its contents, by name."""
    if depth > DEPTH_MAX:
        raise DeviceError(f"{source} has folders more than {DEPTH_MAX} deep", path=source)
    folder = os.path.join(source, relative)
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry.name, entry.stat(follow_symlinks=False)) for entry in found)
    except OSError as exc:
        raise DeviceError(
            f"cannot read the folder {folder}: {exc.strerror}", path=folder, errno=exc.errno
        ) from exc
    for name, status in entries:
        below = os.path.join(relative, name)
        if stat.S_ISDIR(status.st_mode):
            yield below, status
            yield from _walk(source, below, depth + 1)
        elif stat.S_ISREG(status.st_mode):
            yield below, status


def _make_folder(path: str, mode: int) -> None:
    try:
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
    except OSError as exc:
        raise DeviceError(
            f"cannot make the folder {path}: {exc.strerror}", path=path, errno=exc.errno
        ) from exc
