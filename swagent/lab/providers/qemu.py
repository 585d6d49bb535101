"""Virtual boards: QEMU as power switch, console and disks.

Two socket pairs lead into QEMU, made before it starts: what it says on its first serial port is read from its first
byte on, and QMP, its control protocol, tells that it runs and ends it. It never outlives the server (``leash``).
"""

import asyncio
import json
import os
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from swagent.errors import LabError
from swagent.lab.consoles import Console
from swagent.lab.errors import Failed, Gone, InvalidRequest, NotNow
from swagent.lab.lab import Provision

from . import leash
from .files import FileVolume, OpenFile
from .parameters import Parameters

START_S = 30.0
STOP_S = 5.0
_READ_BYTES = 64 * 1024
_SAID_BYTES_MAX = 300
_LINE_BYTES_MAX = 1 << 20


class BoardRule(NamedTuple):
    """What a virtual board is made of.

    Attributes:
        argv: QEMU and its arguments; the serial port, QMP and the disks are added.
        folder: it runs there.
        disks: target to path, and whether clients may write it; QEMU gets them in this order, by virtio.
        start_s: how long QEMU may take until it answers.
    """

    name: str
    argv: tuple[str, ...]
    folder: str
    disks: Mapping[str, tuple[str, bool]]
    start_s: float = START_S


class Machine:
    """One QEMU, which runs or does not.

    Args:
        rule: what it is.
        ended: called when it has ended by itself, with the reason.
    """

    def __init__(self, rule: BoardRule, ended: Callable[[str], None]) -> None:
        self._rule = rule
        self._ended = ended
        self._process: asyncio.subprocess.Process | None = None
        self._qmp: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._serial: socket.socket | None = None
        self._console: Console | None = None
        self._watch: asyncio.Task[None] | None = None
        self._said: deque[str] = deque(maxlen=20)
        self._busy = asyncio.Lock()
        self._wanted_end = False
        self._status = 0
        self.writers = 0
        """How many clients write a disk."""

    @property
    def runs(self) -> bool:
        """Whether the board is on."""
        return self._process is not None

    # -- power

    async def change(self, parameters: Mapping[str, object]) -> None:
        """Switch to ``{mode: on}``, ``off`` or ``reset``. Raises InvalidRequest, NotNow or Failed."""
        mode = parameters.get("mode")
        verbs: dict[str, Callable[[], Awaitable[None]]] = {
            "on": self._on,
            "off": self._off,
            "reset": self._reset,
        }
        verb = verbs.get(mode) if isinstance(mode, str) else None
        if verb is None:
            raise InvalidRequest(f"mode is {str(mode)[:40]!r}", hint="known are on, off, reset")
        async with self._busy:
            await verb()

    async def _on(self) -> None:
        if self.runs:
            return
        if self.writers:
            raise NotNow(f"a disk of {self._rule.name} is being written", hint="wait for the end of that")
        serial, their_serial = socket.socketpair()
        qmp, their_qmp = socket.socketpair()
        serial.setblocking(False)
        self._said.clear()
        self._wanted_end = False
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid())),
                *self._argv(their_serial.fileno(), their_qmp.fileno()),
                cwd=self._rule.folder,
                pass_fds=(their_serial.fileno(), their_qmp.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                process_group=0,  # Ctrl-C at the server is the server's to handle
            )
        except OSError as exc:
            serial.close()
            qmp.close()
            raise Failed(f"{self._rule.name} cannot be started: {exc.strerror}") from exc
        finally:
            their_serial.close()
            their_qmp.close()
        self._serial = serial
        asyncio.get_running_loop().add_reader(serial, self._hear)
        self._watch = asyncio.create_task(self._follow(self._process))
        try:
            async with asyncio.timeout(self._rule.start_s):
                self._qmp = await asyncio.open_connection(sock=qmp, limit=_LINE_BYTES_MAX)
                await self._answer(greeting=True)
                await self._ask("qmp_capabilities")
        except TimeoutError:
            await self._end()
            raise Failed(
                f"{self._rule.name}: QEMU has not answered within {self._rule.start_s:g} s"
            ) from None
        except (OSError, Gone) as exc:
            await self._end(grace_s=STOP_S)  # its own status tells more than ours would
            raise Failed(f"{self._rule.name}: QEMU ended {self._how()}", hint=self._last()) from exc
        except BaseException:
            await self._end()
            raise

    async def _off(self) -> None:
        if not self.runs:
            return
        self._wanted_end = True
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                with suppress(OSError, LabError):
                    await self._ask("quit")
                if self._watch is not None:
                    await asyncio.shield(self._watch)
        await self._end()

    async def _reset(self) -> None:
        if not self.runs:
            raise NotNow(f"{self._rule.name} is off", hint="switch it on")
        try:
            async with asyncio.timeout(STOP_S):
                await self._ask("system_reset")
        except TimeoutError:
            raise Failed(f"{self._rule.name}: QEMU does not answer", hint="switch it off and on") from None
        except (OSError, Gone) as exc:
            raise Failed(f"{self._rule.name}: QEMU has ended", hint=self._last()) from exc

    async def close(self) -> None:
        """The server ends, and the board with it."""
        if self._busy.locked():  # it is being started or stopped: that ends when QEMU has
            await self._end()
        async with self._busy:
            await self._off()

    def _argv(self, serial_fd: int, qmp_fd: int) -> list[str]:
        argv = list(self._rule.argv)
        for number, (path, _) in enumerate(self._rule.disks.values()):
            file = path.replace(",", ",,")  # QEMU's way to have a comma in a value
            argv += ["-drive", f"if=none,id=swagent{number},format=raw,file={file}"]
            argv += ["-device", f"virtio-blk-pci,drive=swagent{number}"]
        argv += ["-chardev", f"socket,id=swagent-serial,fd={serial_fd}", "-serial", "chardev:swagent-serial"]
        argv += ["-chardev", f"socket,id=swagent-qmp,fd={qmp_fd}"]
        return [*argv, "-mon", "chardev=swagent-qmp,mode=control"]

    async def _end(self, *, grace_s: float = 0.0) -> None:
        """It runs no more when this returns; ``grace_s`` is for an end of its own."""
        self._wanted_end = True
        process, watch = self._process, self._watch
        if process is None or watch is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await asyncio.shield(watch)
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        await watch

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        """Keeps what QEMU itself says, and notices its end."""
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        while data := await process.stdout.read(_READ_BYTES):
            self._said.append(data.decode(errors="replace"))
        self._status = await process.wait()
        self._hear()
        if self._serial is not None:
            asyncio.get_running_loop().remove_reader(self._serial)
            self._serial.close()
            self._serial = None
        if self._qmp is not None:
            self._qmp[1].close()
            self._qmp = None
        self._process = None
        if not self._wanted_end:
            last = self._last()
            why = f"QEMU ended {self._how()}{': ' + last if last else ''}"
            if self._console is not None:
                self._console.heard(f"\r\n[{why}]\r\n".encode())
            self._ended(why)

    def _how(self) -> str:
        return f"by signal {-self._status}" if self._status < 0 else f"with status {self._status}"

    def _last(self) -> str:
        return "".join(self._said)[-_SAID_BYTES_MAX:].strip()

    # -- QMP: a line is a JSON object; events come between answers and are not for us

    async def _ask(self, command: str) -> None:
        if self._qmp is None:
            raise Gone("QEMU has no QMP")
        self._qmp[1].write(json.dumps({"execute": command}).encode() + b"\n")
        await self._qmp[1].drain()
        await self._answer()

    async def _answer(self, *, greeting: bool = False) -> None:
        assert self._qmp is not None  # noqa: S101 - who asks has one
        while True:
            try:
                line = await self._qmp[0].readline()
                found = json.loads(line) if line else None
            except (ValueError, RecursionError) as exc:
                raise Failed("what QEMU says is no QMP") from exc
            if found is None:
                raise Gone("QEMU has ended")
            if not isinstance(found, dict):
                raise Failed("what QEMU says is no QMP")
            if "error" in found:
                raise Failed(f"QEMU refuses: {str(found['error'])[:_SAID_BYTES_MAX]}")
            if ("QMP" in found) if greeting else ("return" in found):
                return

    # -- the console's port; it is there while the board is off too

    async def open(self, console: Console) -> None:
        """Hand on what the board says."""
        self._console = console

    async def write(self, data: bytes) -> None:
        """Type. Raises Gone when the board is off."""
        rest = memoryview(data)
        while rest:
            if self._serial is None:
                raise Gone(f"{self._rule.name} is off")
            try:
                rest = rest[self._serial.send(rest) :]
            except BlockingIOError:
                await asyncio.sleep(
                    0.01
                )  # QEMU takes as much as the guest's port does; its end must be noticed
            except OSError as exc:
                raise Gone(f"{self._rule.name}: {exc.strerror}") from exc

    async def configure(self, parameters: Mapping[str, object]) -> None:
        """It has no speed; ``rate`` is taken, as of real ports. Raises InvalidRequest."""
        for key in parameters:
            if key != "rate":
                raise InvalidRequest(f"a virtual port has no parameter {key[:40]!r}", hint="it has none")

    def _hear(self) -> None:
        """All that is there."""
        while self._serial is not None:
            try:
                data = self._serial.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                asyncio.get_running_loop().remove_reader(self._serial)
                return
            if self._console is not None:
                self._console.heard(data)


class Port:
    """A machine, as its console sees it: closing the console leaves the board on."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.open, self.write, self.configure = machine.open, machine.write, machine.configure

    async def close(self) -> None:
        """Nothing is to be let go of."""


class Disk(OpenFile):
    """A disk in use; it is not written while the board is on."""

    machine: Machine
    _counted = False

    async def write(self, data: bytes, offset_bytes: int) -> None:
        """Write all of it. Raises NotNow or Failed."""
        if not self._counted:
            if self.machine.runs:
                raise NotNow("the board is on, and its disks are its own", hint="change to mode off first")
            self._counted = True
            self.machine.writers += 1
        await super().write(data, offset_bytes)

    async def close(self) -> None:
        """Let go of it."""
        if self._counted:
            self._counted = False
            self.machine.writers -= 1
        await super().close()


class DiskVolume(FileVolume):
    """The disks of a board."""

    def __init__(self, machine: Machine, disks: Mapping[str, tuple[str, bool]]) -> None:
        super().__init__(dict(disks), Disk)
        self._machine = machine

    async def open(self, name: str, length_bytes: int | None) -> OpenFile:
        """Use a disk. Raises NotThere, OutOfRange or Failed."""
        disk = await super().open(name, length_bytes)
        assert isinstance(disk, Disk)  # noqa: S101 - that is what it was told to make
        disk.machine = self._machine
        return disk


def provide(provision: Provision) -> Coroutine[Any, Any, None]:
    """``boards``: a list, each with ``name``, ``command``, and maybe ``disks`` and ``start-timeout`` in seconds.

    ``command`` is QEMU and its arguments, a list that no shell reads; it runs in the configuration's folder. The first
    serial port is the board's console, and each of ``disks`` (``name``, ``path``, ``writable``) a virtio disk. All
    items of a board have its name.
    """
    rules = []
    for one in Parameters.of(provision.rule, "boards").each(
        "boards", "name", "command", "disks", "start-timeout"
    ):
        disks = {}
        if one.has("disks"):
            disks = {
                disk.text("name"): (disk.path("path"), disk.flag("writable", default=True))
                for disk in one.each("disks", "name", "path", "writable")
            }
        start_s = one.number("start-timeout", START_S, most=3600)
        folder = provision.rule.folder or "."
        rules.append(BoardRule(one.text("name"), one.words("command"), folder, disks, start_s))

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            for rule in rules:
                tasks.create_task(_serve(provision, rule))

    return run()


async def _serve(provision: Provision, rule: BoardRule) -> None:
    fell: asyncio.Queue[str] = asyncio.Queue()
    machine = Machine(rule, fell.put_nowait)
    lab, console = provision.lab, Console(Port(machine))
    await console.open()
    lab.consoles.add(provision.properties(rule.name), console)
    if rule.disks:
        lab.volumes.add(provision.properties(rule.name), DiskVolume(machine, rule.disks))
    item = lab.actuators.add(provision.properties(rule.name), machine)
    try:
        while True:
            why = await fell.get()
            provision.log(f"board {rule.name}: {why}")
            # a new item, so that devices know that what they switched on is not on any more
            lab.actuators.remove(item.number)
            item = lab.actuators.add(provision.properties(rule.name), machine)
    finally:
        await machine.close()
