"""A file from a server, kept for whoever installs it later."""

import os

from swagent.errors import DeviceError
from swagent.model import Reader
from swagent.store import open_replacement
from swagent.store.atomic import make_folders

from .feed import BLOCK_BYTES


def keep(reader: Reader, path: str, size_bytes: int) -> None:
    """Write it, durably; a file of that name is replaced when all of it has come.

    Args:
        reader: vouches for its bytes.
        path: of the file; its folder is made when it is missing.
        size_bytes: how much room it takes.

    Raises:
        SwagentError: it cannot be had, or is not what was promised.
        DeviceError: there is no room, or it cannot be written.
    """
    folder = os.path.dirname(path)
    try:
        make_folders(folder)
        room = os.statvfs(folder)
    except OSError as exc:
        raise DeviceError(f"cannot make {folder}: {exc.strerror}", path=folder, errno=exc.errno) from exc
    if room.f_bavail * room.f_frsize < size_bytes:
        raise DeviceError(
            f"no room in {folder} for {size_bytes} bytes", path=folder, hint="remove old downloads"
        )
    block = memoryview(bytearray(BLOCK_BYTES))
    with open_replacement(path) as file:
        while n := reader.readinto(block):
            file.write(block[:n])
