"""What the web server wants of the installer, which is another process."""

import socket
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

from swagent.ipc import Notification, Progress

Facts = Mapping[str, Any]
"""A JSON object."""


class Installer(Protocol):
    """The installer as a door sees it. Every call raises ``TransportError`` when nobody is there."""

    async def install(self, name: str, *, decides: bool) -> socket.socket:
        """Ask for an install of what is then written to the socket, until its writing side is shut.

        Args:
            name: how messages call it.
            decides: whether somebody is there to answer questions.

        Raises:
            Busy: an update is running.
            Refused: the installer does not want it.
        """
        ...

    async def post_update(self) -> bool:
        """Have the command for after an update run; whether it succeeded."""
        ...

    async def cancel(self) -> None:
        """Stop the update that runs, where it can still be stopped.

        Raises:
            SwagentError: there is none, or it cannot.
        """
        ...

    async def answer(self, question: str, answer: str) -> None:
        """Answer a question of the update that runs.

        Raises:
            SwagentError: it is not asked, or that is no answer.
        """
        ...

    async def fetch(self, url: str) -> None:
        """Have the device fetch an update and install it.

        Raises:
            SwagentError: nobody here fetches, or not this.
        """
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

    def notices(self) -> AsyncIterator[Notification]:
        """Log lines, from now on."""
        ...

    def events(self, connected: Callable[[], None]) -> AsyncIterator[Facts]:
        """News as docs/reference/events.md describes them.

        Args:
            connected: called when the installer is there.
        """
        ...
