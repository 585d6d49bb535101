"""Providers' devices: what serves one runs as long as it is plugged in (boardswarm §3)."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress

from swagent.errors import LabError
from swagent.hw.udev import Found, Watch, is_running, look

from .items import Properties, Signal

PREFIX = "udev."


def properties(found: Found) -> Properties:
    """A device's properties as items carry them and rules name them."""
    return {PREFIX + key: value for key, value in found.properties.items()}


async def follow(
    subsystem: str,
    wanted: Callable[[Found], bool],
    serve: Callable[[Found], Awaitable[None]],
    log: Callable[[str], None],
) -> None:
    """Run ``serve`` for each wanted device, there already or yet to come, until it goes or we are cancelled.

    What ``serve`` registers it takes back in a ``finally``: it is cancelled when its device goes. One that ends by
    itself, or fails, leaves the device alone until it is plugged in anew.

    Args:
        subsystem: of the kernel, such as ``tty``.
        wanted: whether a device is for us.
        serve: works with one device.
        log: hears of those that failed, and when nobody tells of devices.

    Raises:
        RegistrationError: pyudev is not installed.
        DeviceError: the kernel does not tell of devices.
    """
    serving: dict[str, asyncio.Task[None]] = {}

    async def one(found: Found) -> None:
        try:
            await serve(found)
        except LabError as exc:
            log(f"{found.node or found.sys_path}: {exc.message}")

    async def end(sys_path: str) -> None:
        task = serving.pop(sys_path, None)
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    if not is_running():
        log(f"udevd is not running: {subsystem} devices have fewer properties than rules may want")
    try:
        async with aclosing(_events(Watch(subsystem, "devices of this machine"))) as events:
            async for sys_path, found in events:
                if found is None:
                    await end(sys_path)
                elif sys_path not in serving and wanted(found):
                    serving[sys_path] = asyncio.ensure_future(one(found))
    finally:
        for sys_path in list(serving):
            await end(sys_path)


async def _events(watch: Watch) -> AsyncGenerator[tuple[str, Found | None], None]:
    """Paths of devices, with the device when it is there, without when it has gone."""
    loop, news, count = asyncio.get_running_loop(), Signal(), 0
    loop.add_reader(watch.fileno(), news.tell)
    known: set[str] = set()
    is_behind = True
    try:
        while True:
            if is_behind:  # at first, and when news were lost
                is_behind = False
                there = {device.sys_path: device for device in watch.present()}
                gone, come = known - set(there), [there[path] for path in there if path not in known]
                for sys_path in gone:
                    known.discard(sys_path)
                    yield sys_path, None
            else:
                try:
                    device = watch.news(0)
                except OSError:
                    is_behind = True
                    continue
                if device is None:
                    count = await news.after(count)
                    continue
                if device.action == "remove":
                    known.discard(device.sys_path)
                    yield device.sys_path, None
                come = [device] if device.action == "add" and device.sys_path not in known else []
            for device in come:
                found = look(device)
                if found is not None:
                    known.add(found.sys_path)
                    yield found.sys_path, found
    finally:
        loop.remove_reader(watch.fileno())
