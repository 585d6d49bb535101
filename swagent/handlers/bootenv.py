"""``bootloader``, ``uboot``: boot variables from a text file, which are stored with those of sw-description, last."""

from typing import NamedTuple

from swagent.errors import BootEnvError, SizeError
from swagent.model import Artifact, Data, Kind

from .api import Context, chunks, handler

MAX_LINE_BYTES = 1023
MAX_FILE_BYTES = 1 << 20


@handler("bootloader", kinds=Kind.IMAGE | Kind.BOOTENV)
class BootEnvFile:
    """Stage the ``name=value`` lines of a text file for the boot environment; they override ``bootenv``."""

    class Options(NamedTuple):
        """How it relates to others.

        Attributes:
            nooverride: variables that this update has set already keep their values.
        """

        nooverride: bool = False

    def install(self, art: Artifact, opt: Options, data: Data, ctx: Context) -> None:
        """Read all of it, for the verdicts, then stage it.

        Raises:
            BootEnvError: a line cannot be understood; nothing is staged then.
            SizeError: it is larger than any boot environment list should be.
        """
        text = bytearray()
        for chunk in chunks(data):
            ctx.checkpoint()
            text += chunk
            if len(text) > MAX_FILE_BYTES:
                raise SizeError(
                    f"{art.where or art.label} has more than {MAX_FILE_BYTES} bytes of boot variables",
                    artifact=art.label,
                    handler=art.type,
                )
        for name, value in parse_list(bytes(text), art):
            ctx.env.stage(name, value, override=not opt.nooverride)


def parse_list(text: bytes, art: Artifact) -> list[tuple[str, str]]:
    """Names and values of a list of boot variables (handlers §2.12).

    Lines that begin with ``#`` and blank ones say nothing. The value is all that follows the first ``=``, its blanks
    included; ``=`` signs that a value merely begins with belong to the separator (``a==b`` means b). Without a value
    the variable is removed.

    Args:
        text: UTF-8, or whatever else the environment holds.
        art: for messages.

    Raises:
        BootEnvError: a line is too long, has no name, or a NUL in it.
    """
    found = []
    for number, raw in enumerate(text.split(b"\n"), 1):
        line = raw.rstrip(b"\r")
        if not line.strip() or line.startswith(b"#"):
            continue
        if len(line) > MAX_LINE_BYTES:
            raise _error(f"is longer than {MAX_LINE_BYTES} bytes", number, art)
        if b"\0" in line:
            raise _error("has a NUL in it", number, art)
        name, _, value = line.partition(b"=")
        if not name:
            raise _error("has no name before its `=`", number, art)
        if b"=" not in value.strip(b"="):
            value = value.lstrip(b"=")
        found.append((name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")))
    return found


def _error(what: str, line: int, art: Artifact) -> BootEnvError:
    return BootEnvError(
        f"{art.where or art.label}, line {line} {what}",
        artifact=art.label,
        handler=art.type,
        hint="one `name=value` per line",
    )
