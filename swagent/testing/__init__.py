"""Stand-ins for tests of handlers and of what uses them; shipped, so that other packages' handlers can use them too."""

from .data import FakeData
from .flash import FakeFlash
from .handlers import FakeContext, FakeEnv, FakeHardware, FakeTarget, install, run_script
from .ubi import FakeUbi

__all__ = [
    "FakeContext",
    "FakeData",
    "FakeEnv",
    "FakeFlash",
    "FakeHardware",
    "FakeTarget",
    "FakeUbi",
    "install",
    "run_script",
]
