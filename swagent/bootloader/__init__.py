"""Boot environments: read one variable, store many in one step."""

from swagent.plugins import Registry

from .base import Bootloader, Factory

__all__ = ["BUILT_INS", "SHELF", "Bootloader", "Factory", "registry"]

SHELF = "swagent.bootloaders"

BUILT_INS: tuple[tuple[str, str], ...] = (
    ("ebg", "ebg:EfiBootGuard"),
    ("grub", "grub:Grub"),
    ("none", "none:NoBootloader"),
    ("uboot", "uboot:UBoot"),
)


def registry() -> Registry[Factory]:
    """A fresh registry with the built-ins on it; those of other packages are found by entry point."""
    shelf: Registry[Factory] = Registry(SHELF)
    shelf.add_built_ins(__name__, BUILT_INS)
    return shelf
