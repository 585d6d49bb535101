"""``ucfw``: firmware for a microcontroller behind a serial port (handlers §2.17)."""

import errno
import re
import time
from typing import NamedTuple

from swagent.errors import (
    Cancelled,
    DeadlineError,
    DescriptionError,
    DeviceError,
    PreflightRefused,
    SizeError,
    SwagentError,
)
from swagent.model import Artifact, Data, GpioLine, Kind, Needs

from .api import Context, GpioLines, Uart, chunks, handler
from .options import plain_size
from .ucdialogue import MAX_FIRMWARE_BYTES, Dialogue, Firmware, shown

SETTLE_S = 0.02
"""How long the microcontroller gets to notice a level."""
_TICK_S = 0.1
_BITS_PER_BYTE = 10  # with start and stop bit
_BAUDRATES = (300, 4_000_000)
_WAIT_S_MAX = 86_400
_RETRIES_MAX = 100
_LINE = re.compile(r"(/[^:\0]+):([0-9]{1,5}):(true|false)\Z")


@handler("ucfw", kinds=Kind.IMAGE, attributes=("device",))
class MicrocontrollerFirmware:
    """Give firmware to a microcontroller's boot loader over the serial port ``device``, line by line.

    The file is read and verified whole before the microcontroller is touched. However the transfer ends, `prog` is
    left at 1 and the microcontroller is reset, so that it runs what it has.
    """

    class Options(NamedTuple):
        """How to reach it. A line is CHIP:NUMBER:ACTIVE-LOW, such as /dev/gpiochip0:38:false.

        Attributes:
            reset: GPIO line that holds the microcontroller in reset at 0; CHIP:NUMBER:ACTIVE-LOW, such as
                /dev/gpiochip0:38:false; active-low true swaps the voltages
            prog: GPIO line that makes it start its boot loader, at 0 when reset ends; written as reset is
            timeout: seconds that it has for each answer
            total_timeout: seconds for everything, all attempts together
            retries: how often to begin again, from the reset on, after a failed transfer
            baudrate: of the serial port, in bit/s
            fallback_baudrate: of the last attempt; needs retries
            debug: show the dialogue in the log
        """

        reset: str
        prog: str
        timeout: int = 2
        total_timeout: int = 1800
        retries: int = 2
        baudrate: int = 115200
        fallback_baudrate: int | None = None
        debug: bool = False

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether port and lines are there, and the properties make sense.

        Whether they are free too: what uses them may be stopped by a script, unless the entry is installed directly.
        """
        read_lines(art, opt)
        _judge_numbers(art, opt)
        size_bytes = plain_size(art)
        if size_bytes is not None and size_bytes > MAX_FIRMWARE_BYTES:
            raise PreflightRefused(
                f"{art.where or art.label} has more than {MAX_FIRMWARE_BYTES} bytes of firmware"
            )
        try:
            busy = _busy(art, opt, ctx)
        except DeviceError as exc:
            raise PreflightRefused(exc.message, hint=exc.hint or "check device, reset and prog") from exc
        if busy and art.installed_directly:
            raise PreflightRefused(
                busy, hint="stop what uses it; a script of the update can, without installed-directly"
            )
        if busy:
            ctx.log("warn", f"{busy}; it must be free when {art.label} is installed")
        return Needs(target=art.device, write_bytes=size_bytes)

    def install(self, art: Artifact, opt: Options, data: Data, ctx: Context) -> None:
        """Read everything, then transfer it; begin again as often as allowed.

        Raises:
            SizeError: it is too large.
            HandlerError: it is no firmware, or the microcontroller answers something else than it should.
            DeadlineError: the microcontroller does not answer in time.
            DeviceError: a line or the port is used by somebody else, or failed.
        """
        if busy := _busy(art, opt, ctx):
            raise DeviceError(
                busy, path=art.device, errno=errno.EBUSY, hint="stop what uses it, by a preinstall script"
            )
        firmware = _read(art, data)
        with _Wiring(art, opt, ctx) as wiring:
            _Transfer(art, opt, firmware, wiring, ctx).run()


class _Wiring:
    """The two lines; leaving the block ends programming and lets the microcontroller run, whatever happened."""

    def __init__(self, art: Artifact, opt: MicrocontrollerFirmware.Options, ctx: Context) -> None:
        self._reset, self._prog = read_lines(art, opt)
        self._ctx = ctx

    def __enter__(self) -> "_Wiring":
        self._lines: GpioLines = self._ctx.hw.gpio({self._reset: True, self._prog: True})
        return self

    def enter_boot_loader(self) -> None:
        """Reset it with ``prog`` at 0."""
        self._restart(prog=False)

    def _restart(self, *, prog: bool) -> None:
        try:
            self._lines.set({self._reset: False, self._prog: prog}, settle_s=SETTLE_S)
        finally:  # it must not stay in reset
            self._lines.set({self._reset: True}, settle_s=SETTLE_S)

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        try:
            self._restart(prog=True)
        except DeviceError as failed:
            if exc is None:
                raise
            self._ctx.log("error", f"the microcontroller could not be restarted: {failed.message}")
        finally:
            self._lines.close()


class _Transfer:
    """All attempts to bring one firmware across."""

    def __init__(
        self,
        art: Artifact,
        opt: MicrocontrollerFirmware.Options,
        firmware: Firmware,
        wiring: _Wiring,
        ctx: Context,
    ) -> None:
        self._art = art
        self._opt = opt
        self._firmware = firmware
        self._wiring = wiring
        self._ctx = ctx
        self._until_s = time.monotonic() + opt.total_timeout

    def run(self) -> None:
        opt = self._opt
        for left in range(opt.retries, -1, -1):
            baudrate = opt.fallback_baudrate if opt.fallback_baudrate and not left else opt.baudrate
            dialogue = Dialogue(self._firmware)
            try:
                self._attempt(dialogue, baudrate)
            except SwagentError as exc:
                self._ctx.log("warn", f"{exc.message} (at {baudrate} bit/s)")
                if left and time.monotonic() < self._until_s and not isinstance(exc, Cancelled):
                    self._ctx.log("warn", f"beginning again, {left} further attempts")
                    continue
                if dialogue.sent:
                    self._ctx.log(
                        "warn", "the microcontroller may hold half a firmware until its next update"
                    )
                raise
            self._ctx.log("info", f"{dialogue.sent} packets at {baudrate} bit/s, all acknowledged")
            return

    def _attempt(self, dialogue: Dialogue, baudrate: int) -> None:
        port = self._ctx.hw.uart(self._art.device, baudrate)
        try:
            self._wiring.enter_boot_loader()
            port.discard()
            while not dialogue.completed:
                self._ctx.checkpoint()
                message = dialogue.send()
                wire_s = len(message) * _BITS_PER_BYTE / baudrate
                until_s = time.monotonic() + wire_s + self._opt.timeout
                if message:
                    self._debug("sent", message)
                    port.write(message, wire_s + self._opt.timeout)
                self._await_answer(dialogue, port, until_s)
                self._tell(dialogue)
        finally:
            port.close()

    def _await_answer(self, dialogue: Dialogue, port: Uart, until_s: float) -> None:
        piece = b""
        while not dialogue.receive(piece):
            left_s = min(until_s, self._until_s) - time.monotonic()
            if left_s <= 0:
                raise self._late(dialogue.awaited)
            piece = port.read(min(left_s, _TICK_S))
            if piece:
                self._debug("received", piece)
            self._ctx.checkpoint()

    def _tell(self, dialogue: Dialogue) -> None:
        """At each tenth of the packets: the bytes were all read before the first was sent, and counted then."""
        total = self._firmware.packets
        if dialogue.sent and dialogue.sent * 10 // total > (dialogue.sent - 1) * 10 // total:
            self._ctx.log("info", f"packet {dialogue.sent} of {total}")

    def _late(self, awaited: str) -> DeadlineError:
        if time.monotonic() >= self._until_s:
            return DeadlineError(
                f"the transfer was not done within {self._opt.total_timeout} s: {awaited} has not come",
                hint="the property total-timeout allows more",
            )
        return DeadlineError(
            f"{awaited} did not come within {self._opt.timeout} s",
            hint="is it wired as device, reset and prog say? the property timeout allows more",
        )

    def _debug(self, verb: str, data: bytes) -> None:
        if self._opt.debug:
            self._ctx.log("info", f"{verb} {shown(data)}")


def read_lines(art: Artifact, opt: MicrocontrollerFirmware.Options) -> tuple[GpioLine, GpioLine]:
    """Reset and prog.

    Raises:
        DescriptionError: one is not written as it must be, or both are one.
    """
    found = []
    for name, text in (("reset", opt.reset), ("prog", opt.prog)):
        match = _LINE.match(text)
        if match is None:
            raise DescriptionError(
                f"{art.where or art.label}: property {name} is {text[:60]!r}, which is no GPIO line",
                hint="write chip:number:active-low, such as /dev/gpiochip0:38:false",
            )
        found.append(GpioLine(match[1], int(match[2]), match[3] == "true"))
    reset, prog = found
    if reset[:2] == prog[:2]:
        raise DescriptionError(f"{art.where or art.label}: reset and prog are one line, {reset}")
    return reset, prog


def _busy(art: Artifact, opt: MicrocontrollerFirmware.Options, ctx: Context) -> str:
    """Who uses the port or a line, "" if nobody does; raises DeviceError when one is not there."""
    reset, prog = read_lines(art, opt)
    return ctx.hw.uart_in_use(art.device) or ctx.hw.gpio_in_use(reset) or ctx.hw.gpio_in_use(prog)


def _judge_numbers(art: Artifact, opt: MicrocontrollerFirmware.Options) -> None:
    bounds = {
        "timeout": (opt.timeout, 1, _WAIT_S_MAX),
        "total-timeout": (opt.total_timeout, 1, _WAIT_S_MAX),
        "retries": (opt.retries, 0, _RETRIES_MAX),
        "baudrate": (opt.baudrate, *_BAUDRATES),
        "fallback-baudrate": (opt.fallback_baudrate or opt.baudrate, *_BAUDRATES),
    }
    for name, (value, least, most) in bounds.items():
        if not least <= value <= most:
            raise DescriptionError(
                f"{art.where or art.label}: property {name} goes from {least} to {most}, not {value}"
            )
    if opt.fallback_baudrate is not None and not opt.retries:
        raise DescriptionError(
            f"{art.where or art.label}: fallback-baudrate is for the last retry, and retries is 0"
        )


def _read(art: Artifact, data: Data) -> Firmware:
    """All bytes, for the verdicts and for further attempts."""
    content = bytearray()
    for chunk in chunks(data):
        content += chunk
        if len(content) > MAX_FIRMWARE_BYTES:
            raise SizeError(f"{art.where or art.label} has more than {MAX_FIRMWARE_BYTES} bytes of firmware")
    return Firmware(content)
