"""Stand-ins for tests of handlers and of what uses them; shipped, so that other packages' handlers can use them too."""

from .data import FakeData
from .flash import FakeFlash
from .handlers import FakeContext, FakeEnv, FakeHardware, FakeTarget, install, run_script

__all__ = [
    "FakeContext",
    "FakeData",
    "FakeEnv",
    "FakeFlash",
    "FakeHardware",
    "FakeTarget",
    "install",
    "run_script",
]
