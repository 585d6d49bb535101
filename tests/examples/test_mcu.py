"""The example for a microcontroller, from its description to a whole install; the microcontroller is simulated."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from swagent.clock import SystemClock
from swagent.errors import HardwareRefused, HashError, SwagentError
from swagent.events import Event, EventBus
from swagent.handlers import registry
from swagent.installer.gates import HardwareGate
from swagent.installer.rig import Policy, Rig
from swagent.installer.session import Session
from swagent.model import Hardware, Unit
from swagent.swu.make import make
from swagent.testing import FakeGpio, FakeHardware, Fault, Microcontroller
from tests.stream.sources import file_source, stream_source

EXAMPLE = Path(__file__).parents[2] / "sw-description.examples" / "mcu"
CHIP = "/dev/gpiochip0"
REST = {(CHIP, 38): True, (CHIP, 39): False}


def build(folder: Path, device: str) -> bytes:
    update = folder / "update.swu"
    variables: Mapping[str, str] = {"VERSION": "2.4.0", "UART": device, "CHIP": CHIP}
    make(
        str(EXAMPLE / "sw-description"), output=str(update), search=[str(EXAMPLE)], variables=dict(variables)
    )
    return update.read_bytes()


def install(raw: bytes, gpio: FakeGpio, folder: Path, *, pipe: bool, revision: str = "1.0") -> list[Event]:
    bus = EventBus()
    news = bus.subscribe()
    rig = Rig(
        handlers=registry(),
        hw=FakeHardware(lines=gpio),
        bootloader=None,
        bus=bus,
        clock=SystemClock(),
        unit=Unit(Hardware("drive", revision), {}),
        gates=(HardwareGate(strict=True),),
    )
    with stream_source(raw) if pipe else file_source(raw) as source:
        assert Session(rig, Policy(trust=None, tmpdir=str(folder)), source).run() == "installed"
    return news.take()


@pytest.mark.parametrize("pipe", [False, True])
def test_it_is_installed(pipe: bool, tmp_path: Path) -> None:
    gpio = FakeGpio()
    with Microcontroller(Fault("garbage", 3), Fault("checksum", 9)) as mcu:
        events = install(build(tmp_path, mcu.device), gpio, tmp_path, pipe=pipe)
    assert mcu.firmware == (EXAMPLE / "motor.hex").read_bytes()
    assert mcu.attempts == [460800, 460800, 115200]
    assert gpio.volts == REST
    assert not gpio.held
    assert events[-1].facts["result"] == "installed"


@pytest.mark.parametrize("pipe", [False, True])
def test_one_wrong_bit_is_found_before_the_reset(pipe: bool, tmp_path: Path) -> None:
    gpio = FakeGpio()
    with Microcontroller() as mcu:
        raw = bytearray(build(tmp_path, mcu.device))
        raw[raw.rindex(b":00000001FF") - 5] ^= 1
        with pytest.raises(HashError):
            install(bytes(raw), gpio, tmp_path, pipe=pipe)
    assert gpio.log == []
    assert mcu.attempts == []


def test_another_board_is_left_alone(tmp_path: Path) -> None:
    gpio = FakeGpio()
    with Microcontroller() as mcu, pytest.raises(HardwareRefused):
        install(build(tmp_path, mcu.device), gpio, tmp_path, pipe=False, revision="2.0")
    assert gpio.log == []


def test_a_microcontroller_that_never_answers_fails_the_update(tmp_path: Path) -> None:
    gpio = FakeGpio()
    with Microcontroller(*[Fault("other", 1)] * 3) as mcu, pytest.raises(SwagentError) as raised:
        install(build(tmp_path, mcu.device), gpio, tmp_path, pipe=False)
    assert raised.value.wrote
    assert (raised.value.artifact, raised.value.handler) == ("motor.hex", "ucfw")
    assert gpio.volts == REST
    assert len(mcu.attempts) == 3
