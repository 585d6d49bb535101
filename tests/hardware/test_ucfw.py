"""Firmware for a microcontroller, over GPIO and serial lines of the kernel; the simulated one sits at the far end."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.cli.main import main
from swagent.errors import DeviceError, PreflightRefused, SwagentError
from swagent.hw import Hardware, gpio
from swagent.model import Artifact, GpioLine, Kind
from swagent.swu.make import make
from swagent.testing import FakeContext, FakeData, Fault, Microcontroller, install

EXAMPLE = Path(__file__).parents[2] / "sw-description.examples" / "mcu"
FIRMWARE = b":0400000001020304F2\r\n" * 20 + b":00000001FF\r\n"
RESET, PROG = 5, 6
Volts = tuple[bool, bool]


class Board:
    """The two lines as they are measured, reset first; the board pulls both to where they rest: high and low."""

    def __init__(self, chip: str) -> None:
        self.chip = chip
        self.seen: list[Volts] = []
        self._sysfs = Path(os.environ["HWBENCH_GPIO_SYSFS"])
        self._stop = threading.Event()
        (self._sysfs / f"sim_gpio{RESET}" / "pull").write_text("pull-up")
        (self._sysfs / f"sim_gpio{PROG}" / "pull").write_text("pull-down")

    def volts(self) -> Volts:
        reset, prog = (
            (self._sysfs / f"sim_gpio{line}" / "value").read_text().strip() == "1" for line in (RESET, PROG)
        )
        return reset, prog

    def watch(self) -> None:
        while not self._stop.is_set():
            now = self.volts()
            if now == self.volts() and self.seen[-1:] != [
                now
            ]:  # read one after the other: it may change meanwhile
                self.seen.append(now)
            time.sleep(0.001)

    def __enter__(self) -> "Board":
        self._thread = threading.Thread(target=self.watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def properties(self) -> dict[str, str]:
        """Reset is active high here, prog active low."""
        return {"reset": f"{self.chip}:{RESET}:false", "prog": f"{self.chip}:{PROG}:true"}


REST, IN_RESET, BOOT_LOADER = (True, False), (False, True), (True, True)


@pytest.fixture
def board(gpio: str) -> Iterator[Board]:
    pytest.importorskip("gpiod")
    pytest.importorskip("serial")
    with Board(gpio) as board:
        yield board


def entry(board: Board, device: str, **properties: str) -> Artifact:
    given = {**board.properties, "retries": "0", "timeout": "10", **properties}
    return Artifact(
        Kind.IMAGE,
        "ucfw",
        filename="mcu.hex",
        device=device,
        properties={key: (value,) for key, value in given.items()},
    )


def free(board: Board) -> bool:
    return not any(gpio.in_use(GpioLine(board.chip, line)) for line in (RESET, PROG))


def test_lines_show_what_they_are_told(board: Board) -> None:
    high, low = GpioLine(board.chip, RESET), GpioLine(board.chip, PROG, active_low=True)
    lines = gpio.GpioLines({high: True, low: True})
    assert board.volts() == (True, False)
    lines.set({high: False})
    assert board.volts() == (False, False)
    lines.set({high: True, low: False})
    assert board.volts() == (True, True)
    assert gpio.in_use(high) == f"{board.chip} line {RESET} is held by swagent"
    with pytest.raises(DeviceError, match=f"cannot take {board.chip} line {RESET}: Device or resource busy"):
        gpio.GpioLines({high: True})
    lines.close()
    assert free(board)
    assert board.volts() == REST
    with pytest.raises(DeviceError, match=f"there is no {board.chip} line 16"):
        gpio.in_use(GpioLine(board.chip, 16))


def test_firmware_goes_through(board: Board, uart_a: str, uart_b: str, tmp_path: Path) -> None:
    with Microcontroller(
        Fault("checksum", 3), line=uart_b, in_boot_loader=lambda: board.volts() == BOOT_LOADER
    ) as mcu:
        ctx = FakeContext(str(tmp_path), hw=Hardware(str(tmp_path)))
        install(entry(board, uart_a, retries="1"), FakeData(FIRMWARE), ctx)
    assert mcu.firmware == FIRMWARE
    assert len(mcu.attempts) == 2
    in_time = [volts for volts in board.seen if volts in (IN_RESET, BOOT_LOADER)]
    assert in_time == [IN_RESET, BOOT_LOADER] * 2
    assert board.volts() == REST
    assert free(board)


@pytest.mark.parametrize("kind", ["silent", "garbage", "incomplete"])
def test_a_failure_leaves_it_running(
    kind: str, board: Board, uart_a: str, uart_b: str, tmp_path: Path
) -> None:
    with (
        Microcontroller(Fault(kind, 2), line=uart_b) as mcu,
        pytest.raises(SwagentError),
    ):
        ctx = FakeContext(str(tmp_path), hw=Hardware(str(tmp_path)))
        install(entry(board, uart_a, timeout="2"), FakeData(FIRMWARE), ctx)
    assert len(mcu.attempts) == 1
    assert board.volts() == REST
    assert free(board)


@pytest.mark.parametrize("direct", [True, False])
def test_what_others_hold_is_refused(direct: bool, board: Board, uart_a: str, tmp_path: Path) -> None:
    ctx = FakeContext(str(tmp_path), hw=Hardware(str(tmp_path)))
    art = entry(board, uart_a)._replace(installed_directly=direct)
    held = gpio.GpioLines({GpioLine(board.chip, PROG): False})
    try:
        with pytest.raises(
            PreflightRefused if direct else DeviceError, match=f"line {PROG} is held by swagent"
        ):
            install(art, FakeData(FIRMWARE), ctx)
    finally:
        held.close()
    with open(uart_a, "rb") as port:
        other = subprocess.Popen(["sleep", "60"], stdin=port)
    with other:
        try:
            with pytest.raises(
                PreflightRefused if direct else DeviceError, match=f"open in process {other.pid}"
            ):
                install(art, FakeData(FIRMWARE), ctx)
        finally:
            other.kill()


def update(board: Board, uart: str, folder: Path) -> Path:
    """The example, for this board."""
    description = (EXAMPLE / "sw-description").read_text()
    description = (
        description.replace(":38:", f":{RESET}:").replace(":39:", f":{PROG}:").replace('"5"', '"60"')
    )
    (folder / "sw-description").write_text(description)
    make(
        str(folder / "sw-description"),
        output=str(folder / "update.swu"),
        search=[str(EXAMPLE)],
        variables={"VERSION": "2.4.0", "UART": uart, "CHIP": board.chip},
    )
    return folder / "update.swu"


WORDS = ("--allow-unsigned", "-H", "drive:1.0", "-B", "none")


def test_a_whole_update(
    board: Board, uart_a: str, uart_b: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TMPDIR", "RUNTIME_DIRECTORY", "STATE_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path))
    with Microcontroller(line=uart_b, in_boot_loader=lambda: board.volts() == BOOT_LOADER) as mcu:
        assert main(["-i", str(update(board, uart_a, tmp_path)), *WORDS]) == 0
    assert mcu.firmware == (EXAMPLE / "motor.hex").read_bytes()
    assert board.volts() == REST
    assert free(board)


def test_an_update_that_is_stopped(board: Board, uart_a: str, uart_b: str, tmp_path: Path) -> None:
    image = update(board, uart_a, tmp_path)
    places = dict.fromkeys(("TMPDIR", "RUNTIME_DIRECTORY", "STATE_DIRECTORY"), str(tmp_path))
    with Microcontroller(Fault("silent", 2), line=uart_b) as mcu:
        words = [sys.executable, "-m", "swagent", "-i", str(image), *WORDS]
        with subprocess.Popen(words, env={**os.environ, **places}) as process:
            until_s = time.monotonic() + 60
            while not mcu.attempts and time.monotonic() < until_s:
                time.sleep(0.1)
            time.sleep(1)
            assert board.volts() == BOOT_LOADER
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 80
    assert len(mcu.attempts) == 1
    assert board.volts() == REST
    assert free(board)
