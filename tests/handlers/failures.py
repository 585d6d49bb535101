"""The words of the table of faults (test_failures.py)."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

from swagent.errors import HashError, SizeError, SwagentError
from swagent.model import Artifact
from swagent.testing import FakeHardware

FAULTS = {
    "missing": "the device is not there",
    "small": "the device is too small",
    "read-only": "the device cannot be written",
    "fails": "the device fails in the middle",
    "short": "the artifact ends too early",
    "hash": "the very end of the artifact shows that it is not what was signed",
}
DATA = bytes(range(256)) * 40
SHORT = SizeError("the artifact ends after half")
WRONG = HashError("it has another digest")


class Expected(NamedTuple):
    """How a fault ends.

    Attributes:
        error: the class that is raised.
        text: a piece of its message.
        untouched: whether nothing may have been written then.
    """

    error: type[SwagentError]
    text: str = ""
    untouched: bool = False


class World:
    """Fakes around one handler.

    Attributes:
        handler: its name.
        data: an artifact for it.
        expects: for each fault what is expected; a string says why it cannot happen.
        art: the entry that is installed.
        hw: what it is installed on.
    """

    handler: ClassVar[str]
    data: ClassVar[bytes] = DATA
    expects: ClassVar[Mapping[str, Expected | str]]
    art: Artifact
    hw: FakeHardware

    def __init__(self, folder: Path) -> None:
        raise NotImplementedError

    def inflict(self, fault: str) -> None:
        """Break what ``fault`` says; "short" and "hash" are done to the artifact by the test itself."""

    def check(self, *, installed: bool, untouched: bool) -> None:
        """All is released; nothing was switched unless it was installed; nothing written where that was promised."""
        raise NotImplementedError
