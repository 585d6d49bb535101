"""A client of the progress socket, of swagent's daemon and of SWUpdate's, new and old."""

import os
from collections.abc import Iterator

from swagent.errors import TransportError

from .control import Connection
from .messages import (
    PROGRESS_2022_BYTES,
    PROGRESS_ACK,
    PROGRESS_API,
    PROGRESS_BYTES,
    Progress,
    unpack_progress,
)
from .places import PROGRESS, socket_path

GREETING_S = 5.0


def progress(
    path: str | None = None, *, old: bool = False, patience_s: float | None = None
) -> Iterator[Progress]:
    """What the daemon tells of its updates, from now on, until it ends.

    Args:
        path: of its progress socket; the usual place if not given.
        old: it is one of SWUpdate 2022.12, or ours for such clients: nothing on the socket tells.
        patience_s: how long nothing may come, None for ever.

    Raises:
        TransportError: nobody listens, or does not speak this version.
        DeadlineError: nothing came.
    """
    path = path or socket_path(PROGRESS, os.environ)
    with Connection(path, GREETING_S) as connection:
        if not old:
            greeting = connection.receive(len(PROGRESS_ACK))
            major = int.from_bytes(greeting[:4], "little") >> 16
            if greeting[4:] != PROGRESS_ACK[4:] or major != PROGRESS_API >> 16:
                raise TransportError(
                    f"{path} does not greet as SWUpdate does since 2024.12",
                    hint="is it the socket of an older one?",
                )
        connection.wait_for(patience_s)
        size = PROGRESS_2022_BYTES if old else PROGRESS_BYTES
        while len(data := connection.receive(size)) == size:
            yield unpack_progress(data)
