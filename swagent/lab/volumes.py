"""Volumes: what can be read from or written to a board, target by target (boardswarm §1.5)."""

from typing import NamedTuple, Protocol

from .errors import NotSupported, NotThere

REPLY_BYTES_MAX = 3 * 1024 * 1024
"""Replies stay below the 4 MiB that gRPC takes by default."""


class Target(NamedTuple):
    """One part of a volume.

    Attributes:
        size_bytes: None when nobody knows.
        block_bytes: what offsets and lengths must be multiples of, None for anything.
    """

    name: str
    readable: bool = False
    writable: bool = False
    seekable: bool = False
    size_bytes: int | None = None
    block_bytes: int | None = None


class OpenTarget(Protocol):
    """A target in use. Requests come one after the other; one error ends the use.

    Attributes:
        target: what it is.
    """

    target: Target

    async def read(self, length_bytes: int, offset_bytes: int) -> bytes:
        """Some bytes; fewer than asked for are no error, none means the end.

        Raises:
            LabError: it cannot be read there.
        """
        ...

    async def write(self, data: bytes, offset_bytes: int) -> None:
        """Write all of it.

        Raises:
            LabError: it cannot be written there; nobody may count on what is there now.
        """
        ...

    async def flush(self) -> None:
        """What was written is on the device when this returns."""
        ...

    async def shutdown(self) -> None:
        """The end of a success: flush, and finish what the device wants finished. Then ``close`` follows."""
        ...

    async def close(self) -> None:
        """The end in any case; without ``shutdown`` before it, what was begun is given up, never finished."""
        ...


class Volume(Protocol):
    """A volume.

    Attributes:
        exhaustive: whether ``targets`` names all there are.
    """

    exhaustive: bool

    async def targets(self) -> tuple[Target, ...]:
        """The targets that are known."""
        ...

    async def open(self, name: str, length_bytes: int | None) -> OpenTarget:
        """Use a target.

        Args:
            name: of the target.
            length_bytes: how much will be written, None when the client does not say.

        Raises:
            NotThere: there is none of this name.
        """
        ...

    async def commit(self) -> None:
        """Have the board use what was written.

        Raises:
            LabError: it does not.
        """
        ...

    async def erase(self, name: str) -> None:
        """Erase a target.

        Raises:
            NotSupported: this volume cannot.
        """
        ...


def no_target(name: str, known: tuple[Target, ...]) -> NotThere:
    """The error for a name that a volume does not have."""
    return NotThere(
        f"there is no target {name[:80]!r}",
        hint=f"known are {', '.join(target.name for target in known) or 'none'}",
    )


def cannot(what: str, target: Target) -> NotSupported:
    """The error for a verb that a target does not have."""
    return NotSupported(f"the target {target.name!r} cannot be {what}")
