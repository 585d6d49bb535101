"""The only room that touches devices: block devices, mounts, durability, programs."""

from .device import Hardware
from .sync import FileSync

__all__ = ["FileSync", "Hardware"]
