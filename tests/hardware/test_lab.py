"""The lab's providers that find devices by udev: serial ports that are plugged in and out, lines of a real chip."""

import os
import subprocess
import threading
import time
import tty
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from swagent.errors import LabError
from swagent.hw.gpio import in_use
from swagent.hw.udev import SOCKET, is_running
from swagent.lab.client import LabClient
from swagent.lab.errors import InvalidRequest
from swagent.lab.items import ItemType
from swagent.model import GpioLine
from tests.lab.labs import SERVER, Keys, eventually, serving, using

ACM = Path("/sys/kernel/config/usb_gadget/acm")


@pytest.fixture(scope="module", autouse=True)
def udev() -> Iterator[None]:
    """Its daemon; the bench has none of its own, and goes on without: it would look into each new UBI volume."""
    assert not is_running()
    daemon = subprocess.Popen(["/lib/systemd/systemd-udevd"])
    eventually(is_running)
    subprocess.run(["udevadm", "trigger"], check=True)
    subprocess.run(["udevadm", "settle"], check=True)
    yield
    subprocess.run(["udevadm", "control", "--exit"], check=True)
    daemon.wait(30)
    Path(SOCKET).unlink(missing_ok=True)


@pytest.fixture
def gadget() -> Iterator[Path]:
    """A board with a serial console on USB; ``ttyGS0`` is its side of it."""
    for name in ("libcomposite", "usb_f_acm", "cdc-acm"):
        subprocess.run(["modprobe", name], check=True)
    (ACM / "functions/acm.0").mkdir(parents=True)
    (ACM / "configs/c.1").mkdir()
    (ACM / "strings/0x409").mkdir()
    for name, value in (
        ("idVendor", "0x1d6b"),
        ("idProduct", "0x0104"),
        ("strings/0x409/manufacturer", "Acme"),
        ("strings/0x409/product", "Board"),
        ("strings/0x409/serialnumber", "0042"),
    ):
        (ACM / name).write_text(value)
    (ACM / "configs/c.1/acm.0").symlink_to(ACM / "functions/acm.0")
    yield ACM
    plug(ACM, into=False)
    (ACM / "configs/c.1/acm.0").unlink()
    for folder in ("configs/c.1", "functions/acm.0", "strings/0x409", "."):
        (ACM / folder).rmdir()


def plug(gadget: Path, *, into: bool = True) -> None:
    wanted = "dummy_udc.0" if into else ""
    if (gadget / "UDC").read_text().strip() != wanted:
        (gadget / "UDC").write_text(wanted + "\n")


LAB = f"""{SERVER}
providers:
  - name: serial
    provider: serial
  - name: pins
    provider: gpio
    parameters:
      match: {{ udev.SUBSYSTEM: gpio }}
      lines:
        - {{ name: power, line_name: line3 }}
        - {{ name: boot, line_number: 0 }}
        - {{ name: absent, line_name: nowhere }}
devices:
  - name: board
    consoles:
      - name: main
        parameters: {{ rate: 115200 }}
        match: {{ udev.ID_VENDOR_ID: 1d6b, udev.ID_SERIAL_SHORT: 0042, udev.ID_USB_INTERFACE_NUM: 00 }}
    modes:
      - name: off
        sequence: [ {{ match: {{ boardswarm.name: power }}, parameters: {{ value: false }} }} ]
      - name: on
        depends: off
        sequence:
          - {{ match: {{ gpio.line_number: 0 }}, parameters: {{ value: true }} }}
          - {{ match: {{ gpio.line_name: line3 }}, parameters: {{ value: true }}, stabilisation: 1ms }}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[tuple[LabClient, list[str]]]:
    keys = Keys(tmp_path)
    with serving(tmp_path, LAB) as (server, log), using(server, keys.token()) as client:
        yield client, log


def console_of(client: LabClient) -> int | None:
    return next(client.device(client.find(ItemType.DEVICE, "board"))).consoles["main"]


def contains(heard: bytearray, piece: bytes) -> bool:
    return piece in heard


def console_after(client: LabClient, last: int) -> int:
    """The device's console once it is a newer one than ``last``."""

    def found() -> list[int]:
        number = console_of(client)
        return [] if number is None or number <= last else [number]

    number: int = eventually(found)[0]
    return number


def test_a_console_that_is_plugged_in_and_out(gadget: Path, lab: tuple[LabClient, list[str]]) -> None:
    """It becomes the device's, remembers what was said before anybody listened, and is new when it comes again."""
    client, _ = lab
    assert console_of(client) is None
    last = -1
    for round_ in range(2):
        plug(gadget)
        number = console_after(client, last)
        properties = client.properties(ItemType.CONSOLE, number)
        assert properties["boardswarm.name"].startswith("ttyACM")
        assert properties["udev.ID_PATH"] == "platform-dummy_hcd.0-usb-0:1:1.0"
        assert (properties["udev.ID_MODEL"], properties["boardswarm.provider"]) == ("Board", "serial")
        assert "udev.MAJOR" not in properties
        board = os.open("/dev/ttyGS0", os.O_RDWR | os.O_NOCTTY)
        tty.setraw(board)
        try:
            os.write(board, b"U-Boot 2024.01\n")
            time.sleep(0.5)  # nobody listens
            heard, done = bytearray(), threading.Event()

            def listen(number: int = number, heard: bytearray = heard, done: threading.Event = done) -> None:
                try:
                    for piece in client.output(number, replay=True):
                        heard.extend(piece)
                except LabError:
                    done.set()

            threading.Thread(target=listen, daemon=True).start()
            eventually(partial(contains, heard, b"U-Boot"))
            client.type(number, [b"run bootcmd\n"])
            typed = b""
            while not typed.endswith(b"\n"):
                typed += os.read(board, 100)
            assert typed == b"run bootcmd\n"
            client.configure(number, {"rate": 9600})
        finally:
            os.close(board)
        plug(gadget, into=False)
        assert done.wait(60), round_
        eventually(lambda: console_of(client) is None)
        assert number not in [item.number for item in client.items(ItemType.CONSOLE)]
        last = number


def test_lines_of_a_chip(gpio: str, lab: tuple[LabClient, list[str]]) -> None:
    client, log = lab
    sysfs = Path(os.environ["HWBENCH_GPIO_SYSFS"])

    def volts(line: int) -> str:
        return (sysfs / f"sim_gpio{line}" / "value").read_text().strip()

    (sysfs / "sim_gpio3" / "pull").write_text("pull-up")
    device = client.find(ItemType.DEVICE, "board")
    eventually(lambda: len(client.items(ItemType.ACTUATOR)) == 2)
    assert volts(3) == "1"  # to start a lab switches nothing
    eventually(lambda: any("no actuator absent" in line for line in log))
    power = client.find(ItemType.ACTUATOR, "power")
    properties = client.properties(ItemType.ACTUATOR, power)
    assert (properties["gpio.line_name"], properties["gpio.line_number"]) == ("line3", "3")
    client.change_mode(device, "off")
    assert volts(3) == "0"
    client.change_mode(device, "on")
    assert (volts(3), volts(0)) == ("1", "1")
    client.change_actuator(power, {"value": False})
    assert volts(3) == "0"
    for wrong in ({"value": 1.0}, {"mode": "on"}, {}):
        with pytest.raises(InvalidRequest):
            client.change_actuator(power, wrong)
    assert in_use(GpioLine(gpio, 3)) == f"{GpioLine(gpio, 3)} is held by swagent"
