"""Where sw-description asks for Lua: who runs it, and how its changes become part of an entry (swu format §2.11)."""

from collections.abc import Mapping
from typing import Any, Protocol

from swagent.model import Artifact

from . import fields


class Hooks(Protocol):
    """Runs the code of one description."""

    def run_embedded(self, text: str) -> None:
        """Run ``embedded-script``, before any entry is read.

        Raises:
            ScriptError: it failed.
        """
        ...

    def run_hook(self, function: str, art: Artifact) -> Mapping[str, object] | None:
        """Call the ``hook`` of an entry.

        Returns:
            the attributes that it changed, by their names in sw-description; None when the entry is to be left out.

        Raises:
            ScriptError: it failed, or said no.
        """
        ...


def amended(art: Artifact, changes: Mapping[str, object], *, where: str) -> Artifact:
    """An entry with some attributes replaced, held to the same rules as those in a description.

    Args:
        art: the entry.
        changes: by the names of sw-description.
        where: how messages call what was changed.

    Raises:
        DescriptionError: a value cannot be.
    """
    values: dict[str, Any] = {}
    for key, given in changes.items():
        name, read = fields.READERS[key]
        values[name] = read(where, key, given)
    fields.check_key_length(where, {**art._asdict(), **values})
    return art._replace(**values)
