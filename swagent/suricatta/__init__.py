"""Who tells the device that an update exists: servers that are asked, one that is given, a stick that is plugged in."""

from swagent.plugins import Registry

from .api import BackendFactory

BUILT_INS = (
    ("hawkbit", "hawkbit:make"),
    ("general", "general:make"),
)


def registry() -> Registry[BackendFactory]:
    """The shelf of backends, ``swagent.backends``."""
    shelf: Registry[BackendFactory] = Registry("swagent.backends")
    shelf.add_built_ins(__name__, BUILT_INS)
    return shelf
