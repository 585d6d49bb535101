"""Gates say yes or no before anything is written, each to one question; those asked always are named here."""

from .release import HardwareGate, RequiresGate, VersionGate

__all__ = ["HardwareGate", "RequiresGate", "VersionGate"]
