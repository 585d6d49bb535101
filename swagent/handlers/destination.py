"""Where ``path`` lies: on the running system, or on a device that is mounted for the purpose."""

import os
from contextlib import AbstractContextManager

from swagent.errors import DeviceError, PreflightRefused
from swagent.model import Artifact, Needs

from .api import Context
from .options import plain_size
from .tree import PATH_BYTES_MAX, Tree


def is_mounted(art: Artifact) -> bool:
    """Whether the entry names a device to mount first (upstream: both attributes are needed for that)."""
    return bool(art.device and art.filesystem)


def mounted(art: Artifact, ctx: Context) -> AbstractContextManager[str]:
    """The device of the entry, mounted for the length of a ``with``. Raises DeviceError."""
    return ctx.hw.mounted(art.device, art.filesystem)


def check(art: Artifact, ctx: Context) -> Needs:
    """The part of preflight that ``rawfile`` and ``archive`` share.

    Raises:
        PreflightRefused: no path or an impossible one, or a filesystem without its device.
    """
    why = hint = ""
    if not art.path:
        why = f"{art.type} needs the attribute path"
    elif "\0" in art.path or len(os.fsencode(art.path)) > PATH_BYTES_MAX:
        why = "its path is no path"
    elif art.filesystem and not art.device:
        why = "it has a filesystem to mount, but no device"
    elif is_mounted(art):
        if ".." in art.path.split("/"):
            why = f"its path {art.path} could lead out of the mounted device"
        elif art.installed_directly:
            try:
                ctx.hw.capacity_bytes(art.device)
            except DeviceError as exc:
                why, hint = exc.message, exc.hint
    elif not art.path.startswith("/"):
        why, hint = f"its path {art.path} is not absolute", "nobody knows where an update is started from"
    if why:
        raise PreflightRefused(
            f"{art.where or art.label}: {why}", artifact=art.label, handler=art.type, hint=hint
        )
    if art.device and not art.filesystem:
        ctx.log("warn", f"{art.label}: the device {art.device} is not mounted, as no filesystem is given")
    target = f"{art.path} on {art.device}" if is_mounted(art) else art.path
    return Needs(target=target, write_bytes=plain_size(art))


def make_folders(path: str) -> None:
    """Like ``mkdir -p``, mode 0755 less the umask; the names are durable when it returns.

    Raises:
        DeviceError: something on the way is no folder, or cannot be made.
    """
    from swagent.store import atomic

    try:
        atomic.make_folders(path)
    except OSError as exc:
        raise DeviceError(
            f"cannot make the folder {path}: {exc.strerror}", path=path, errno=exc.errno
        ) from exc


def open_tree(art: Artifact, root: str, *, create: bool) -> Tree:
    """The destination folder of an entry, from which nothing leads out.

    Args:
        art: its ``path`` is the folder.
        root: mount point, "" for the running system.
        create: make it if it is missing.

    Raises:
        DeviceError: it is not there, or is no folder.
    """
    if not root:
        if create:
            make_folders(art.path)
        return Tree(art.path)
    whole = Tree(root, own_root=True)
    try:
        return whole.below(os.fsencode(art.path), create=create)
    finally:
        whole.close()
