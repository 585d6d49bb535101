"""Stand-ins for tests of handlers and of what uses them; shipped, so that other packages' handlers can use them too."""

from .data import FakeData
from .engine import FakeEngine
from .flash import FakeFlash
from .gpio import FakeGpio
from .handlers import FakeContext, FakeEnv, FakeHardware, FakeTarget, install, run_script
from .microcontroller import Fault, Microcontroller
from .ubi import FakeUbi

__all__ = [
    "FakeContext",
    "FakeData",
    "FakeEngine",
    "FakeEnv",
    "FakeFlash",
    "FakeGpio",
    "FakeHardware",
    "FakeTarget",
    "FakeUbi",
    "Fault",
    "Microcontroller",
    "install",
    "run_script",
]
