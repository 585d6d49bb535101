"""``dummy``: reads and verifies everything, changes nothing."""

import os
from typing import Any

from swagent.errors import DeviceError
from swagent.model import Artifact, Data, Kind, Phase, Sink

from .api import Context, handler
from .options import NoOptions


@handler("dummy", kinds=Kind.IMAGE | Kind.FILE | Kind.SCRIPT | Kind.PARTITION)
class Dummy:
    """Take any entry, verify its data to the last byte, and throw it away. A dry run uses it for every entry."""

    Options = NoOptions

    def install(self, art: Artifact, opt: Any, data: Data, ctx: Context) -> None:
        """Read all of it, for the verdicts."""
        try:
            fd = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        except OSError as exc:
            raise DeviceError(
                f"cannot open /dev/null: {exc.strerror}",
                path="/dev/null",
                errno=exc.errno,
                artifact=art.label,
            ) from exc
        try:
            data.pour(Sink(fd, seekable=False))
        finally:
            os.close(fd)

    def run(self, art: Artifact, opt: Any, phase: Phase, ctx: Context) -> None:
        """Nothing, in any phase."""

    def apply(self, art: Artifact, opt: Any, ctx: Context) -> None:
        """Nothing."""
