"""What a boot environment is, whatever the boot loader."""

from collections.abc import Callable, Mapping
from typing import Protocol


class Bootloader(Protocol):
    """Variables that a boot loader reads. Bytes that are no UTF-8 come and go as surrogate escapes."""

    name: str
    """What users call it, as in ``-B uboot``."""

    def get(self, name: str) -> str | None:
        """The stored value of one variable, None if there is none.

        Raises:
            BootEnvError: the environment cannot be read.
            SettingsError: its settings file cannot be used.
        """
        ...

    def all(self) -> dict[str, str]:
        """All stored variables, by name.

        Raises:
            BootEnvError: the environment cannot be read.
            SettingsError: its settings file cannot be used.
        """
        ...

    def set_many(self, changes: Mapping[str, str | None]) -> None:
        """Store all changes in one step; a boot loader sees all of them or none.

        Durable and read back when it returns. Other variables keep their values.

        Args:
            changes: new value by name; None and "" remove the variable.

        Raises:
            BootEnvError: they cannot be stored.
            SettingsError: its settings file cannot be used.
        """
        ...

    def check(self, changes: Mapping[str, str | None]) -> None:
        """Whether ``set_many`` could store these changes now, as far as that can be told without writing.

        Raises:
            BootEnvError: it could not.
            SettingsError: its settings file cannot be used.
        """
        ...


Factory = Callable[[Mapping[str, str]], Bootloader]
"""What stands on the shelf ``swagent.bootloaders``: called with settings by SWUpdate's names, such as
``fwenv-config-location``; it ignores those of other boot loaders and touches no device yet."""
