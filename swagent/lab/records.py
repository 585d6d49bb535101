"""What consoles say, kept in files: one for each, and the one before it when it has become large."""

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from swagent.clock import Clock
from swagent.errors import SettingsError
from swagent.store.atomic import make_folders

from .consoles import Console, Heard
from .items import INSTANCE, NAME, PROVIDER_NAME, Item, Registry

FILE_BYTES_MAX = 64 * 1024 * 1024
_UNSAFE = re.compile(r"[^A-Za-z0-9._@+-]")


async def keep_records(
    folder: str, consoles: Registry[Console], clock: Clock, log: Callable[[str], None]
) -> None:
    """Write what each console says to a file of the folder, as long as it is there; runs until it is cancelled."""
    tasks: dict[int, asyncio.Task[None]] = {}
    async with asyncio.TaskGroup() as group:
        async for change in consoles.watch():
            for item in change.added:
                tasks[item.number] = group.create_task(
                    _keep(os.path.join(folder, file_name(item)), item, clock, log)
                )
            for number in change.removed:
                tasks.pop(number).cancel()


def make_folder(folder: str) -> None:
    """Make the folder for it. Raises SettingsError."""
    try:
        make_folders(folder, mode=0o700)
    except OSError as exc:
        raise SettingsError(f"cannot make the folder {folder}: {exc.strerror}") from exc


def file_name(item: Item[Console]) -> str:
    """``PROVIDER.NAME.log``, or ``INSTANCE.NAME.log`` for a console of another server."""
    properties = item.properties
    where = properties.get(INSTANCE) or properties.get(PROVIDER_NAME, "")
    return _UNSAFE.sub("_", f"{where}.{properties.get(NAME, '')}")[:200].lstrip(".") + ".log"


async def _keep(path: str, item: Item[Console], clock: Clock, log: Callable[[str], None]) -> None:
    try:
        async with aclosing(item.what.follow()) as pieces:
            await _write_all(path, pieces, clock)
    except OSError as exc:
        log(f"what {item.properties.get(NAME, '')} says is not kept any more: {path}: {exc.strerror}")


async def _write_all(path: str, pieces: AsyncGenerator[Heard, None], clock: Clock) -> None:
    from .server import utc

    file = None
    try:
        async for heard in pieces:
            data = heard.data
            if heard.lost_bytes:
                data = f"\r\n[{heard.lost_bytes} bytes of output were lost]\r\n".encode() + data
            if file is None:
                file = await asyncio.to_thread(open, path, "ab", buffering=0, opener=_private)
                data = f"[{utc(clock.now_s())} listening]\r\n".encode() + data
            if file.tell() + len(data) > FILE_BYTES_MAX:
                file.close()
                os.replace(path, f"{path}.1")
                file = await asyncio.to_thread(open, path, "ab", buffering=0, opener=_private)
            await asyncio.to_thread(file.write, data)
    finally:
        if file is not None:
            file.close()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
