"""``ucfw`` against the simulated microcontroller that is shipped: every fault, and that the lines are always let go."""

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from swagent.errors import (
    Cancelled,
    DeadlineError,
    DescriptionError,
    DeviceError,
    HandlerError,
    HashError,
    PreflightRefused,
    SizeError,
    SwagentError,
)
from swagent.handlers.ucdialogue import MAX_FIRMWARE_BYTES
from swagent.model import Artifact, Kind
from swagent.testing import FakeContext, FakeData, FakeGpio, FakeHardware, Fault, Microcontroller, install
from swagent.testing.microcontroller import FAULTS

CHIP = "/dev/gpiochip7"
RESET, PROG = (CHIP, 5), (CHIP, 6)
FIRMWARE = b"".join(b":10%04X00%s00\r\n" % (at * 16, b"5A" * 16) for at in range(12)) + b":00000001FF\r\n"


class Outcome(NamedTuple):
    error: SwagentError | None
    mcu: Microcontroller
    gpio: FakeGpio
    log: str
    seconds: float


def entry(device: str, **properties: object) -> Artifact:
    given: dict[str, object] = {
        "reset": f"{CHIP}:5:false",
        "prog": f"{CHIP}:6:false",
        "timeout": 1,
        "retries": 0,
        **properties,
    }
    return Artifact(
        Kind.IMAGE,
        "ucfw",
        filename="mcu.hex",
        device=device,
        properties={
            key.replace("_", "-"): (str(value),) for key, value in given.items() if value is not None
        },
        where="images[0] mcu.hex",
    )


def flash(
    tmp_path: Path,
    *faults: Fault | None,
    firmware: FakeData | bytes = FIRMWARE,
    gpio: FakeGpio | None = None,
    before_checkpoint: Any = None,
    **properties: object,
) -> Outcome:
    lines = gpio or FakeGpio()
    low = {name: str(properties.get(name, "")).endswith("true") for name in ("reset", "prog")}

    def in_boot_loader() -> bool:
        return lines.volts[RESET] != low["reset"] and lines.volts[PROG] == low["prog"]

    ctx = FakeContext(str(tmp_path), hw=FakeHardware(lines=lines), before_checkpoint=before_checkpoint)
    error = None
    open_files = os.listdir("/proc/self/fd")
    begun_s = time.monotonic()
    with Microcontroller(*faults, in_boot_loader=in_boot_loader, late_s=1.1) as mcu:
        try:
            data = firmware if isinstance(firmware, FakeData) else FakeData(firmware)
            install(entry(mcu.device, **properties), data, ctx)
        except SwagentError as exc:
            error = exc
    assert os.listdir("/proc/self/fd") == open_files
    log = "\n".join(f"{level}: {message}" for level, message in ctx.logged)
    return Outcome(error, mcu, lines, log, time.monotonic() - begun_s)


def released(outcome: Outcome) -> bool:
    """Nothing is held, the microcontroller was reset once more with prog at 1, and runs."""
    volts = outcome.gpio.volts
    return (
        not outcome.gpio.held
        and volts == {RESET: True, PROG: True}
        and outcome.gpio.log[-3:] == [(5, False), (6, True), (5, True)]
    )


def test_it_is_flashed(tmp_path: Path) -> None:
    done = flash(tmp_path)
    assert done.error is None
    assert done.mcu.firmware == FIRMWARE
    assert done.mcu.attempts == [115200]
    assert done.gpio.log == [
        (5, True), (6, True),  # taken, and nothing changes
        (5, False), (6, False), (5, True),  # its boot loader
        (5, False), (6, True), (5, True),  # its program
    ]  # fmt: skip
    assert released(done)
    assert "13 packets at 115200 bit/s, all acknowledged" in done.log
    assert "PROG" not in done.log


def test_active_low_swaps_the_voltages(tmp_path: Path) -> None:
    done = flash(tmp_path, reset=f"{CHIP}:5:true", prog=f"{CHIP}:6:true")
    assert done.error is None
    assert done.gpio.log == [
        (5, False), (6, False),
        (5, True), (6, True), (5, False),
        (5, True), (6, False), (5, False),
    ]  # fmt: skip


def test_debug_shows_the_dialogue(tmp_path: Path) -> None:
    log = flash(tmp_path, debug="true").log
    assert "info: sent '$PROG;8D'\ninfo: received '$READY;50'\n" in log
    assert "info: sent ':00000001FF'\ninfo: received '$COMPLETED;28'\n" in log


GOOD = ("pieces", "ready-after")
ERRORS: dict[str, tuple[type[SwagentError], str]] = {
    "silent": (DeadlineError, "the answer to packet 4 of 13 did not come within 1 s"),
    "late": (DeadlineError, "the answer to packet 4 of 13 did not come within 1 s"),
    "garbage": (HandlerError, "which is no message"),
    "checksum": (HandlerError, "said '$READY;51', whose checksum should be 50"),
    "other": (HandlerError, "said '$ERROR;3B' where the answer to packet 4 of 13 was due"),
    "endless": (HandlerError, "without an end"),
    "twice": (HandlerError, "said '$READY;50' unasked"),
    "early": (HandlerError, "said $COMPLETED where the answer to packet 4 of 13 was due"),
    "reboots": (HandlerError, "application 1.0 starts"),
    "unplugged": (DeviceError, "is gone"),
    "incomplete": (DeadlineError, "$COMPLETED after the last packet did not come within 1 s"),
}


def test_every_fault_is_tried() -> None:
    assert {*ERRORS, *GOOD} == set(FAULTS)


@pytest.mark.parametrize("kind", ERRORS)
def test_a_fault_is_told_and_the_lines_are_released(kind: str, tmp_path: Path) -> None:
    done = flash(tmp_path, Fault(kind, 4))
    error, text = ERRORS[kind]
    assert type(done.error) is error
    assert text in done.error.message
    assert released(done)
    assert len(done.mcu.attempts) == 1
    assert done.seconds < 2.5
    assert "may hold half a firmware" in done.log


@pytest.mark.parametrize("kind", GOOD)
def test_what_looks_odd_and_is_right(kind: str, tmp_path: Path) -> None:
    done = flash(tmp_path, Fault(kind))
    assert done.error is None
    assert done.mcu.firmware == FIRMWARE
    assert released(done)


@pytest.mark.parametrize("kind", sorted(set(ERRORS) - {"unplugged"}))
def test_it_begins_again_from_the_reset_and_slower_at_last(kind: str, tmp_path: Path) -> None:
    fault = Fault(kind, 4)
    slow = kind in ("silent", "late", "incomplete")  # each of these waits a second
    faults = [fault] if slow else [fault, fault]
    done = flash(tmp_path, *faults, retries=len(faults), baudrate=230400, fallback_baudrate=9600)
    assert done.error is None
    assert done.mcu.firmware == FIRMWARE
    assert done.mcu.attempts == [230400] * len(faults) + [9600]
    resets = done.gpio.log.count((5, False))
    assert resets == len(faults) + 2, "one for each attempt, one at the end"
    assert released(done)
    assert f"beginning again, {len(faults)} further attempts" in done.log


@pytest.mark.parametrize("at", [0, 1, 13])
def test_silence_at_the_ends(at: int, tmp_path: Path) -> None:
    done = flash(tmp_path, Fault("silent", at))
    assert type(done.error) is DeadlineError
    assert (f"packet {at} of 13" if at else "$PROG") in done.error.message
    assert ("may hold half a firmware" in done.log) is (at > 0)
    assert released(done)


@pytest.mark.parametrize("at", [0, 1, 12, 13])
def test_a_port_that_vanishes(at: int, tmp_path: Path) -> None:
    done = flash(tmp_path, Fault("unplugged", at), retries=1)
    assert type(done.error) is DeviceError
    assert "cannot open" in done.error.message, "the second attempt finds no port"
    assert released(done)


def test_all_attempts_together_are_bounded(tmp_path: Path) -> None:
    done = flash(tmp_path, Fault("silent"), Fault("silent"), timeout=60, retries=50, total_timeout=1)
    assert type(done.error) is DeadlineError
    assert "the transfer was not done within 1 s" in done.error.message
    assert len(done.mcu.attempts) == 1
    assert done.seconds < 2
    assert released(done)


def test_a_stop_is_heard_while_it_waits(tmp_path: Path) -> None:
    begun_s = time.monotonic()

    def stop() -> None:
        if time.monotonic() - begun_s > 0.3:
            raise Cancelled("stopped on request")

    done = flash(tmp_path, Fault("silent", 2), timeout=60, retries=5, before_checkpoint=stop)
    assert type(done.error) is Cancelled
    assert len(done.mcu.attempts) == 1
    assert done.seconds < 1.5
    assert released(done)
    assert "may hold half a firmware" in done.log


def test_whatever_is_raised_the_lines_are_released(tmp_path: Path) -> None:
    gpio = FakeGpio()

    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        flash(tmp_path, gpio=gpio, before_checkpoint=fail)
    assert not gpio.held
    assert gpio.volts == {RESET: True, PROG: True}


@pytest.mark.parametrize(
    ("firmware", "error"),
    [
        (FakeData(FIRMWARE, verdict=HashError("not what was promised")), HashError),
        (b"", HandlerError),
        (FIRMWARE[:-2], HandlerError),
        (FIRMWARE + b"x" * 1024 + b"\n", HandlerError),
        (FakeData(b"\n" * (MAX_FIRMWARE_BYTES + 1), size_bytes=None), SizeError),
    ],
)
def test_what_is_wrong_with_the_file_is_found_before_the_microcontroller_is_touched(
    firmware: FakeData | bytes, error: type[SwagentError], tmp_path: Path
) -> None:
    done = flash(tmp_path, firmware=firmware, retries=3)
    assert type(done.error) is error
    assert done.gpio.log == []
    assert done.mcu.attempts == []


@pytest.mark.parametrize("after", range(1, 8))
def test_a_line_that_breaks(after: int, tmp_path: Path) -> None:
    gpio = FakeGpio()
    gpio.breaks_after = after
    done = flash(tmp_path, gpio=gpio)
    if after < 6:
        assert type(done.error) is DeviceError
        assert "broken" in done.error.message
    else:
        assert done.error is None
    assert not gpio.held


def test_a_line_that_breaks_does_not_hide_what_happened_before(tmp_path: Path) -> None:
    gpio = FakeGpio()
    gpio.breaks_after = 3
    done = flash(tmp_path, Fault("garbage", 4), gpio=gpio)
    assert done.error is not None
    assert "no message" in done.error.message
    assert "error: the microcontroller could not be restarted" in done.log
    assert not gpio.held


def refused(tmp_path: Path, device: str, gpio: FakeGpio, **properties: object) -> SwagentError:
    ctx = FakeContext(str(tmp_path), hw=FakeHardware(lines=gpio))
    data = FakeData(FIRMWARE)
    with pytest.raises(SwagentError) as raised:
        install(entry(device, **properties), data, ctx)
    assert not data.read_bytes
    assert gpio.log == []
    return raised.value


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({"reset": None}, "needs the property reset"),
        ({"prog": None}, "needs the property prog"),
        ({"reset": "/dev/gpiochip0:5"}, "no GPIO line"),
        ({"reset": "gpiochip0:5:false"}, "no GPIO line"),
        ({"prog": "/dev/gpiochip0:5:0"}, "no GPIO line"),
        ({"prog": "/dev/gpiochip0:-1:false"}, "no GPIO line"),
        ({"prog": f"{CHIP}:5:true"}, "are one line"),
        ({"timeout": 0}, "timeout goes from 1"),
        ({"total_timeout": 0}, "total-timeout goes from 1"),
        ({"retries": 101}, "retries goes from 0 to 100"),
        ({"baudrate": 0}, "baudrate goes from 300"),
        ({"fallback_baudrate": 9600}, "retries is 0"),
        ({"fallback_baudrate": 1, "retries": 1}, "fallback-baudrate goes from 300"),
        ({"timeout": "soon"}, "not a number"),
    ],
)
def test_properties_that_make_no_sense(properties: dict[str, object], text: str, tmp_path: Path) -> None:
    error = refused(tmp_path, "/dev/null", FakeGpio(), **properties)
    assert type(error) is DescriptionError
    assert text in error.message


def test_what_is_not_there_is_refused_beforehand(tmp_path: Path) -> None:
    plain = tmp_path / "file"
    plain.touch()
    assert "cannot find" in refused(tmp_path, f"{tmp_path}/ttyS9", FakeGpio()).message
    assert "is no serial port" in refused(tmp_path, str(plain), FakeGpio()).message
    with Microcontroller() as mcu:
        for chips, line in (({}, 5), ({CHIP: 6}, 6)):
            error = refused(tmp_path, mcu.device, FakeGpio(chips=chips))
            assert type(error) is PreflightRefused
            assert f"there is no {CHIP} line {line}" in error.message
        assert mcu.attempts == []


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("port", [True, False])
def test_what_is_not_free_may_be_freed_by_a_script_until_it_is_needed(
    port: bool, direct: bool, tmp_path: Path
) -> None:
    gpio = FakeGpio()
    with Microcontroller() as mcu:
        hw = FakeHardware(lines=gpio, busy={mcu.device: "the port is open in process 7"} if port else {})
        if not port:
            gpio.busy[PROG] = "heartbeat"
        ctx = FakeContext(str(tmp_path), hw=hw)
        data = FakeData(FIRMWARE)
        with pytest.raises(SwagentError) as raised:
            install(entry(mcu.device)._replace(installed_directly=direct), data, ctx)
    what = "the port is open in process 7" if port else f"{CHIP} line 6 is held by heartbeat"
    assert type(raised.value) is (PreflightRefused if direct else DeviceError)
    assert raised.value.message == what
    assert direct or ("warn", f"{what}; it must be free when mcu.hex is installed") in ctx.logged
    assert not data.read_bytes
    assert gpio.log == []
    assert mcu.attempts == []
