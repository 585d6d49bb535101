"""The handlers: code that installs one type of artifact each. Built-ins are listed here and loaded when asked for."""

from swagent.plugins import Registry

from .api import Handler

SHELF = "swagent.handlers"

BUILT_INS: tuple[tuple[str, str], ...] = (
    ("archive", "archive:Archive"),
    ("bootloader", "bootenv:BootEnvFile"),
    ("copy", "copy:Copy"),
    ("dummy", "dummy:Dummy"),
    ("executor", "executor:Executor"),
    ("postinstall", "shell:PostInstall"),
    ("preinstall", "shell:PreInstall"),
    ("raw", "raw:Raw"),
    ("rawcopy", "copy:Copy"),
    ("rawfile", "rawfile:RawFile"),
    ("rdiff_file", "rdiff:RdiffFile"),
    ("rdiff_image", "rdiff:RdiffImage"),
    ("remote", "remote:Remote"),
    ("shellscript", "shell:ShellScript"),
    ("tar", "archive:Archive"),
    ("uboot", "bootenv:BootEnvFile"),
    ("ucfw", "ucfw:MicrocontrollerFirmware"),
)


def registry() -> Registry[Handler]:
    """A fresh registry with the built-ins on it; other packages' handlers are found by entry point."""
    shelf: Registry[Handler] = Registry(SHELF)
    shelf.add_built_ins(__name__, BUILT_INS)
    return shelf
