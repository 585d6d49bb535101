"""``btrfs``: subvolumes made and deleted; ``btrfs-receive``: a subvolume that comes as a stream."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from swagent.errors import DescriptionError, DeviceError, PreflightRefused
from swagent.hw import programs
from swagent.model import Artifact, Data, Kind, Needs

from . import destination
from .api import Context, handler
from .beforehand import coming_node, refusing
from .shell import feed

COMMANDS = ("create", "delete")


@handler("btrfs", kinds=Kind.PARTITION, streams=False, data=False)
class Btrfs:
    """Make or delete the btrfs subvolume ``path``, on ``device`` when it is to be mounted.

    A subvolume that is there is not made again, and one that is gone is not deleted: an update that was cut can be
    installed again. Deleting takes those nested in it too, the innermost first.
    """

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            command: create or delete.
            path: of the subvolume; below the top of the file system when mount is true.
            mount: mount device for it.
            create_destination: make the folders that lead to it, mode 0755 (create only).
        """

        command: str
        path: str
        mount: bool = False
        create_destination: bool = False

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether it makes sense, and the device is there."""
        with refusing(art):
            if opt.command not in COMMANDS:
                raise DescriptionError(f"command is {opt.command[:40]!r}, not create or delete")
            _check_path(art, opt.path, ctx, mount=opt.mount)
        return Needs(target=f"{opt.path} on {art.device}" if opt.mount else opt.path)

    def apply(self, art: Artifact, opt: Options, ctx: Context) -> None:
        """Do it.

        Raises:
            DeviceError: the kernel refuses, or something that is no subvolume has its name.
        """
        with _root(art, ctx, mount=opt.mount) as root:
            path = _below(root, opt.path.rstrip("/"))
            if opt.command == "delete":
                if os.path.lexists(path):
                    ctx.hw.delete_subvolume(path)
                else:
                    ctx.log("info", f"{opt.path} is not there")
                return
            if ctx.hw.is_subvolume(path):
                ctx.log("info", f"{opt.path} is there already")
                return
            if opt.create_destination:
                destination.make_folders(os.path.dirname(path))
            ctx.hw.make_subvolume(path)


@handler("btrfs-receive", kinds=Kind.IMAGE, overwrites=False)
class BtrfsReceive:
    """Give a stream of ``btrfs send`` to ``btrfs receive``, which makes a subvolume in the folder ``path``.

    The stream names the subvolume. If either side fails, or the update is stopped, what came is deleted again. A power
    cut leaves part of it under its name, which an entry ``btrfs`` with ``command = "delete"`` clears away beforehand.
    """

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            path: folder for the new subvolume; below the top of the file system when mount is true.
            mount: mount device for it.
            btrfs_cmd: the program, with its path; that in PATH by default.
        """

        path: str
        mount: bool = False
        btrfs_cmd: str = ""

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether program and device are there."""
        with refusing(art):
            _program(opt)
            _check_path(art, opt.path, ctx, mount=opt.mount)
        target = f"{opt.path} on {art.device}" if opt.mount else opt.path
        return Needs(target=target, write_bytes=art.size_bytes)

    def install(self, art: Artifact, opt: Options, data: Data, ctx: Context) -> None:
        """Feed it.

        Raises:
            ScriptError: btrfs failed.
            SwagentError: whatever reading the data raised; btrfs is killed then.
        """
        with _root(art, ctx, mount=opt.mount) as root:
            folder = _below(root, opt.path.rstrip("/") + "/")
            before = _names(folder)
            try:
                feed([_program(opt), "receive", folder], art, ctx, data)
                if not opt.mount:  # unmounting makes it durable
                    _sync(folder, ctx)
            except BaseException:
                for name in _names(folder) - before:
                    _discard(os.path.join(folder, name), ctx)
                raise


def _check_path(art: Artifact, path: str, ctx: Context, *, mount: bool) -> None:
    if not path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise DescriptionError(f"path {path[:60]!r} is not absolute, or has .. in it")
    if not mount:
        return
    if not art.device:
        raise DescriptionError("mount is true, but there is no device")
    if coming_node(ctx, art.device) is None:
        try:
            ctx.hw.capacity_bytes(art.device)
        except DeviceError as exc:
            ctx.log("warn", f"{exc.message}; it must be there when {art.label} is installed")


@contextmanager
def _root(art: Artifact, ctx: Context, *, mount: bool) -> Iterator[str]:
    """What paths begin with: "" on the running system, else where the device is mounted meanwhile."""
    if not mount:
        yield ""
        return
    with ctx.hw.mounted(art.device, "btrfs") as root:
        yield root


def _below(root: str, path: str) -> str:
    """A path on the mounted device, from which no link leads; "" is the running system, where links are followed."""
    whole = root + path
    if root and not f"{os.path.realpath(os.path.dirname(whole))}/".startswith(f"{os.path.realpath(root)}/"):
        raise DeviceError(f"{path} leads out of the mounted device, through a link", path=path)
    return whole


def _program(opt: BtrfsReceive.Options) -> str:
    given = opt.btrfs_cmd.strip()
    if not given:
        return programs.find("btrfs")
    if not os.access(given, os.X_OK) or not os.path.isfile(given):
        raise PreflightRefused(f"btrfs-cmd {given!r} is no program")
    return given


def _names(folder: str) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError as exc:
        raise DeviceError(
            f"cannot look into the folder {folder}: {exc.strerror}", path=folder, errno=exc.errno
        ) from exc


def _sync(folder: str, ctx: Context) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        ctx.sync.later(fd)
    finally:
        os.close(fd)


def _discard(path: str, ctx: Context) -> None:
    try:
        ctx.hw.delete_subvolume(path)
    except DeviceError as exc:
        ctx.log("error", f"what came of the subvolume stays: {exc.message}")
