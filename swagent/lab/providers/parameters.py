"""Parameters of providers, read once, with the place in every complaint."""

import os
from collections.abc import Mapping
from typing import Any

from swagent.errors import SettingsError
from swagent.lab.config import ProviderRule


class Parameters:
    """The parameters of one provider, or a part of them.

    Args:
        given: the mapping.
        where: its place in the configuration.
        folder: that relative paths begin at.
        known: the keys it may have.

    Raises:
        SettingsError: it is no mapping, or has another key.
    """

    def __init__(self, given: Any, where: str, folder: str, known: tuple[str, ...]) -> None:
        if not isinstance(given, Mapping):
            raise SettingsError(f"{where} must be a mapping with the keys {', '.join(known)}")
        for key in given:
            if key not in known:
                from difflib import get_close_matches

                near = get_close_matches(str(key), known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known) or 'none'}"
                raise SettingsError(f"{where}: unknown parameter {str(key)[:80]!r}", hint=hint)
        self.where = where
        self._given = given
        self._folder = folder

    @classmethod
    def of(cls, rule: ProviderRule, *known: str) -> "Parameters":
        """Of a provider; none at all are the same as ``{}``."""
        return cls(rule.parameters or {}, f"{rule.where}: parameters", rule.folder, known)

    def text(self, key: str) -> str:
        """A text that must be there. Raises SettingsError."""
        found = self._given.get(key)
        if not isinstance(found, str) or not found:
            raise SettingsError(f"{self.where}: {key} must be a text")
        return found

    def path(self, key: str) -> str:
        """A path that must be there; a relative one begins at the configuration's folder."""
        return os.path.join(self._folder, self.text(key))

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false. Raises SettingsError."""
        found = self._given.get(key, default)
        if not isinstance(found, bool):
            raise SettingsError(f"{self.where}: {key} must be true or false")
        return found

    def number(self, key: str, default: float, *, most: float) -> float:
        """A number from 0 up to ``most``. Raises SettingsError."""
        found = self._given.get(key, default)
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= most:
            raise SettingsError(f"{self.where}: {key} must be a number from 0 to {most:g}")
        return found

    def whole(self, key: str, *, most: int) -> int:
        """A whole number from 0 up to ``most`` that must be there. Raises SettingsError."""
        found = self._given.get(key)
        if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= most:
            raise SettingsError(f"{self.where}: {key} must be a whole number from 0 to {most}")
        return found

    def texts(self, key: str) -> Mapping[str, str]:
        """A mapping of names to texts that must be there. Raises SettingsError."""
        found = self._given.get(key)
        if not isinstance(found, Mapping) or not all(isinstance(value, str) for value in found.values()):
            raise SettingsError(f"{self.where}: {key} must be a mapping of names to texts")
        return found

    def words(self, key: str) -> tuple[str, ...]:
        """A program and its arguments: a list of texts; no shell reads them. Raises SettingsError."""
        found = self._given.get(key)
        if not isinstance(found, list) or not found:
            raise SettingsError(f"{self.where}: {key} must be a list: a program and its arguments")
        return tuple(str(word) for word in found)

    def numbered(self, key: str, *, most: int) -> tuple[str, ...]:
        """Names: a number N stands for ``1`` to ``N``, else it is a list of them. Raises SettingsError."""
        found = self._given.get(key)
        if isinstance(found, int) and not isinstance(found, bool) and 1 <= found <= most:
            return tuple(str(number) for number in range(1, found + 1))
        if isinstance(found, list) and 1 <= len(found) <= most:
            return tuple(str(name) for name in found)
        raise SettingsError(f"{self.where}: {key} must be a number from 1 to {most}, or a list of names")

    def has(self, key: str) -> bool:
        """Whether it is there."""
        return self._given.get(key) is not None

    def each(self, key: str, *known: str) -> list["Parameters"]:
        """A list of mappings that must be there. Raises SettingsError."""
        found = self._given.get(key)
        if not isinstance(found, list) or not found:
            raise SettingsError(f"{self.where}: {key} must be a list with something in it")
        return [
            Parameters(one, f"{self.where}: {key}[{number}]", self._folder, known)
            for number, one in enumerate(found)
        ]

    def keys(self, key: str) -> tuple[str, ...]:
        """The names in a mapping that must be there. Raises SettingsError."""
        found = self._given.get(key)
        if not isinstance(found, Mapping) or not found:
            raise SettingsError(f"{self.where}: {key} must be a mapping with something in it")
        return tuple(found)

    def inner(self, key: str, *known: str) -> "Parameters":
        """A mapping that must be there. Raises SettingsError."""
        return Parameters(self._given.get(key), f"{self.where}: {key}", self._folder, known)
