"""What the web server wants of the installer, which is another process."""

import socket
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple, Protocol

Facts = Mapping[str, Any]
"""A JSON object."""


class Progress(NamedTuple):
    """A message of SWUpdate's progress socket (runtime interfaces §3.2).

    Attributes:
        status: 0 IDLE to 8 PROGRESS.
        steps: how many there are.
        step: the present one, from 1; 0 outside of steps.
        percent: of the step.
        image: the artifact at work.
        origin: who asked: 0 unknown, 1 web server, 2 suricatta, 3 downloader, 4 local.
        info: free text, mostly JSON.
    """

    status: int
    steps: int = 0
    step: int = 0
    percent: int = 0
    image: str = ""
    origin: int = 0
    info: str = ""


class Notice(NamedTuple):
    """A log line as the control socket gives it; levels are SWUpdate's, 1 error to 5 debug."""

    level: int
    text: str


class Installer(Protocol):
    """The installer as a door sees it. Every call raises ``TransportError`` when nobody is there."""

    async def install(self, name: str) -> socket.socket:
        """Ask for an install of what is then written to the socket, until it is closed.

        Raises:
            Busy: an update is running.
            Refused: the installer does not want it.
        """
        ...

    async def post_update(self) -> bool:
        """Have the command for after an update run; whether it succeeded."""
        ...

    async def ask(self, question: str, data: bytes = b"") -> Facts:
        """An answer to a question.

        Args:
            question: ``device``, how this device stands; or ``image``, what an update would do here.
            data: of ``image``, the head of the file.

        Raises:
            SwagentError: as the installer says.
        """
        ...

    def progress(self) -> AsyncIterator[Progress]:
        """SWUpdate's progress, from now on."""
        ...

    def notices(self) -> AsyncIterator[Notice]:
        """Log lines, from now on."""
        ...

    def events(self, connected: Callable[[], None]) -> AsyncIterator[Facts]:
        """News as docs/reference/events.md describes them.

        Args:
            connected: called when the installer is there.
        """
        ...
