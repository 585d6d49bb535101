"""No boot loader: variables in memory, gone at the end of the process. For units whose boot needs no variables."""

from collections.abc import Mapping


class NoBootloader:
    """A dictionary (``-B none``); what is set can be read again until the process ends."""

    name = "none"

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        del settings  # there is nothing to set
        self._variables: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        """See ``Bootloader.get``."""
        return self._variables.get(name)

    def all(self) -> dict[str, str]:
        """See ``Bootloader.all``."""
        return dict(sorted(self._variables.items()))

    def set_many(self, changes: Mapping[str, str | None]) -> None:
        """See ``Bootloader.set_many``."""
        for name, value in changes.items():
            if value:
                self._variables[name] = value
            else:
                self._variables.pop(name, None)

    def check(self, changes: Mapping[str, str | None]) -> None:
        """See ``Bootloader.check``: memory takes anything."""
