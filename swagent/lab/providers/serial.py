"""Consoles on serial ports: those that udev finds, or those named by path, a pseudo-terminal too (boardswarm §4.1)."""

import asyncio
import os
from collections.abc import Coroutine, Mapping
from typing import Any

from swagent.errors import DeviceError
from swagent.hw.uart import Uart
from swagent.hw.udev import Found
from swagent.lab.actuators import whole
from swagent.lab.consoles import Console
from swagent.lab.errors import Gone, InvalidRequest
from swagent.lab.lab import Provision
from swagent.lab.udev import follow, properties

from .parameters import Parameters

RATE = 115_200
_READ_BYTES = 4096
_FULL_S = 0.01
"""How long a full port is left alone; that it has gone must be noticed, which waiting for its descriptor would not."""
_RETRY_S = 1.0


class SerialPort:
    """One port; opened when it is first needed, and kept.

    Args:
        path: of the device.
        rate: in bit/s.
    """

    def __init__(self, path: str, rate: int = RATE) -> None:
        self._path = path
        self._rate = rate
        self._uart: Uart | None = None
        self._console: Console | None = None

    async def open(self, console: Console) -> None:
        """Begin to listen. Raises Gone."""
        try:
            self._uart = await asyncio.to_thread(Uart, self._path, self._rate)
        except DeviceError as exc:
            raise Gone(exc.message, hint=exc.hint) from exc
        os.set_blocking(self._uart.fileno(), False)
        self._console = console
        asyncio.get_running_loop().add_reader(self._uart.fileno(), self._read)

    async def write(self, data: bytes) -> None:
        """Type all of it, as fast as the port takes it. Raises Gone."""
        rest = memoryview(data)
        while rest:
            if self._uart is None:
                raise Gone(f"{self._path} has gone")
            try:
                rest = rest[os.write(self._uart.fileno(), rest) :]
            except BlockingIOError:
                await asyncio.sleep(_FULL_S)
            except OSError as exc:
                raise Gone(f"{self._path}: {exc.strerror}") from exc

    async def configure(self, parameters: Mapping[str, object]) -> None:
        """``rate``, which counts at once. Raises InvalidRequest."""
        for key in parameters:
            if key != "rate":
                raise InvalidRequest(f"a serial port has no parameter {key[:40]!r}", hint="it has rate")
        if "rate" not in parameters:
            return
        rate = whole(parameters["rate"], "rate", least=50, most=20_000_000)
        if self._uart is not None and rate != self._rate:
            try:
                self._uart.set_rate(rate)
            except DeviceError as exc:
                raise InvalidRequest(exc.message) from exc
        self._rate = rate

    async def close(self) -> None:
        """Let go of it."""
        self._let_go()

    def _let_go(self) -> None:
        if self._uart is None:
            return
        asyncio.get_running_loop().remove_reader(self._uart.fileno())
        self._uart.close()
        self._uart = None

    def _read(self) -> None:
        assert self._uart is not None and self._console is not None  # noqa: S101 - it is open while it is read
        try:
            data = os.read(self._uart.fileno(), _READ_BYTES)
        except BlockingIOError:
            return
        except OSError as exc:
            self._end(f"{self._path}: {exc.strerror}")
            return
        if data:
            self._console.heard(data)
        else:
            self._end(f"{self._path} has gone")

    def _end(self, why: str) -> None:
        assert self._console is not None  # noqa: S101 - as above
        self._let_go()
        self._console.lost(why)


def provide(provision: Provision) -> Coroutine[Any, Any, None]:
    """Nothing at all for every port that udev knows, or ``ports``: a list, each with ``path``, ``name`` and ``rate``.

    A port named by path is listened to while its device is there, so that no output is lost; one that udev finds from
    when a device of the lab has it as its console, or somebody uses it.
    """
    parameters = Parameters.of(provision.rule, "ports")
    if not parameters.has("ports"):
        return follow("tty", _is_port, lambda found: _serve_found(provision, found), provision.log)
    ports = []
    for one in parameters.each("ports", "name", "path", "rate"):
        path = one.path("path")
        name = one.text("name") if one.has("name") else os.path.basename(path)
        ports.append((name, path, int(one.number("rate", RATE, most=20_000_000))))

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            for name, path, rate in ports:
                tasks.create_task(_serve(provision, name, path, rate))

    return run()


def _is_port(found: Found) -> bool:
    return found.has_parent and bool(found.node)


async def _serve_found(provision: Provision, found: Found) -> None:
    console = Console(SerialPort(found.node))
    named = provision.properties(os.path.basename(found.node), properties(found))
    item = provision.lab.consoles.add(named, console)
    try:
        await asyncio.Event().wait()
    finally:
        provision.lab.consoles.remove(item.number)
        await console.close()


async def _serve(provision: Provision, name: str, path: str, rate: int) -> None:
    told = False
    while True:
        if os.path.exists(path):
            console = Console(SerialPort(path, rate))
            try:
                await console.open()
            except Gone as exc:
                if not told:
                    provision.log(f"console {name}: {exc.message}")
                    told = True
            else:
                told = False
                item = provision.lab.consoles.add(provision.properties(name), console)
                try:
                    while os.path.exists(path) and console.is_open:
                        await asyncio.sleep(_RETRY_S)
                finally:
                    provision.lab.consoles.remove(item.number)
                    await console.close()
        await asyncio.sleep(_RETRY_S)
