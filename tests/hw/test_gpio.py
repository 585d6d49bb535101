"""What there is to know of GPIO lines without a chip; tests/hardware has one."""

from pathlib import Path

import pytest

from swagent.errors import DeviceError
from swagent.hw import gpio
from swagent.model import GpioLine

pytest.importorskip("gpiod")


@pytest.mark.parametrize("path", ["/dev/null", "/nowhere/gpiochip0", "/"])
def test_what_is_no_chip(path: str) -> None:
    line = GpioLine(path, 3)
    with pytest.raises(DeviceError, match=f"cannot use {path} line 3: ") as looked:
        gpio.in_use(line)
    assert looked.value.path == path
    with pytest.raises(DeviceError, match=f"cannot take {path} line 3: "):
        gpio.GpioLines({line: True})


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from swagent.errors import RegistrationError
    from swagent.hw import uart

    monkeypatch.setitem(__import__("sys").modules, "gpiod", None)
    monkeypatch.setitem(__import__("sys").modules, "serial", None)
    for library, look in (
        ("gpiod", lambda: gpio.in_use(GpioLine("/dev/gpiochip0", 1))),
        ("gpiod", lambda: gpio.GpioLines({GpioLine("/dev/gpiochip0", 1): True})),
        ("pyserial", lambda: uart.in_use("/dev/ttyS0")),
        ("pyserial", lambda: uart.Uart("/dev/ttyS0", 9600)),
    ):
        with pytest.raises(RegistrationError, match=f"need {library}"):
            look()
