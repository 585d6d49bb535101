"""Serial ports, on pseudo-terminals; tests/hardware has real ones."""

import os
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.errors import DeadlineError, DeviceError
from swagent.hw import uart

pytest.importorskip("serial")


@pytest.fixture
def ends() -> Iterator[tuple[int, str]]:
    """Our end's descriptor and the other end's path."""
    ours, theirs = os.openpty()
    path = os.ttyname(theirs)
    os.close(theirs)
    yield ours, path
    os.close(ours)


def test_bytes_go_through_as_they_are(ends: tuple[int, str]) -> None:
    ours, path = ends
    port = uart.Uart(path, 9600)
    everything = bytes(range(256))
    port.write(everything, 1)
    assert os.read(ours, 1000) == everything
    os.write(ours, everything[:100])
    assert port.read(1) == everything[:100]
    assert termios.tcgetattr(ours)[5] == termios.B9600
    port.close()


def test_what_came_before_is_forgotten(ends: tuple[int, str]) -> None:
    ours, path = ends
    port = uart.Uart(path, 9600)
    os.write(ours, b"old")
    time.sleep(0.05)
    port.discard()
    assert port.read(0.05) == b""
    port.close()


def test_silence_takes_its_time_and_no_more(ends: tuple[int, str]) -> None:
    port = uart.Uart(ends[1], 9600)
    begun_s = time.monotonic()
    assert port.read(0.1) == b""
    assert 0.09 < time.monotonic() - begun_s < 1
    port.close()


def test_a_port_that_takes_nothing(ends: tuple[int, str]) -> None:
    port = uart.Uart(ends[1], 9600)
    with pytest.raises(DeadlineError, match="takes no more bytes"):
        port.write(b"x" * 1_000_000, 0.2)
    port.close()


def test_a_port_that_goes_away() -> None:
    ours, theirs = os.openpty()
    port = uart.Uart(os.ttyname(theirs), 9600)
    os.close(theirs)
    os.close(ours)
    with pytest.raises(DeviceError):
        port.read(1)
    with pytest.raises(DeviceError):
        port.write(b"x", 1)
    port.close()


def test_it_is_ours_alone(ends: tuple[int, str]) -> None:
    port = uart.Uart(ends[1], 9600)
    with pytest.raises(DeviceError, match="cannot open"):
        uart.Uart(ends[1], 9600)
    port.close()
    uart.Uart(ends[1], 9600).close()


def test_who_has_it_open_is_named(ends: tuple[int, str]) -> None:
    path = ends[1]
    assert uart.in_use(path) == ""
    holder = subprocess.Popen(
        [sys.executable, "-c", f"f = open({path!r}, 'rb'); print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert f"{path} is open in process {holder.pid} (python" in uart.in_use(path)
        holder.kill()
    assert uart.in_use(path) == ""


@pytest.mark.parametrize(
    ("path", "text"), [("/nowhere", "cannot find /nowhere"), ("{}", "is no serial port"), ("/dev/null", "")]
)
def test_what_is_no_port(path: str, text: str, tmp_path: Path) -> None:
    path = path.format(tmp_path)
    if text:
        with pytest.raises(DeviceError, match=text):
            uart.in_use(path)
    with pytest.raises(DeviceError, match=f"cannot open {path} at 9600"):
        uart.Uart(path, 9600)


def test_a_rate_that_nobody_has(ends: tuple[int, str]) -> None:
    with pytest.raises(DeviceError, match="at -1 bit/s"):
        uart.Uart(ends[1], -1)
