"""``executor``: an image is what a program makes of it."""

import os
from typing import NamedTuple

from swagent.errors import PreflightRefused
from swagent.model import Artifact, Data, Kind, Needs

from .api import Context, handler
from .shell import feed, quoted


@handler("executor", kinds=Kind.IMAGE)
class Executor:
    """Give the plain bytes of an image to a program's standard input; its exit status decides.

    A program may end without reading everything; the rest is then read here, so that the verdict on the bytes is known
    before it counts as installed. On a wrong verdict the program is killed and never sees the end of its input.
    """

    class Options(NamedTuple):
        """The program.

        Attributes:
            cmd: absolute path of an executable that is on the unit before the update.
            parms: its arguments, split by the shell.
        """

        cmd: str
        parms: str = ""

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether the program is there."""
        who = art.where or art.label
        if not opt.cmd.startswith("/") or "\0" in opt.cmd + opt.parms:
            raise PreflightRefused(
                f"{who}: cmd is {opt.cmd!r}, not an absolute path", artifact=art.label, handler=art.type
            )
        if not os.path.isfile(opt.cmd) or not os.access(opt.cmd, os.X_OK):
            raise PreflightRefused(
                f"{who}: {opt.cmd} is not an executable file",
                artifact=art.label,
                handler=art.type,
                hint="cmd is a path alone; arguments go into parms",
            )
        return Needs(target=f"{opt.cmd} {opt.parms}".rstrip(), write_bytes=art.size_bytes)

    def install(self, art: Artifact, opt: Options, data: Data, ctx: Context) -> None:
        """Feed it.

        Raises:
            ScriptError: the program failed.
        """
        feed(["/bin/sh", "-c", f"{quoted(opt.cmd)} {opt.parms}".rstrip()], art, ctx, data)
