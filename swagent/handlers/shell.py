"""``shellscript``, ``preinstall``, ``postinstall``: scripts that come with the update."""

import os
from typing import Any

from swagent.errors import DeviceError, PreflightRefused, ScriptError
from swagent.model import Artifact, Data, Kind, Needs, Phase, Reader

from .api import Context, chunks, handler
from .options import NoOptions


class _Script:
    """What the three have in common: the format defines one shell command (handlers §2.13)."""

    Options = NoOptions

    def preflight(self, art: Artifact, opt: Any, ctx: Context) -> Needs:
        """Whether there is a script to run, and a command line that can exist."""
        if not art.filename:
            raise PreflightRefused(
                f"{art.where or art.label} names no file", handler=art.type, hint="add its filename"
            )
        if "\0" in art.data:
            raise PreflightRefused(
                f"{art.where or art.label}: data has a NUL in it", artifact=art.label, handler=art.type
            )
        return Needs(target="/bin/sh")

    def _execute(self, art: Artifact, word: str, ctx: Context) -> None:
        path = ctx.script_path(art)
        try:
            os.chmod(path, 0o700)
        except OSError as exc:
            raise DeviceError(
                f"cannot make {path} executable: {exc.strerror}",
                path=path,
                errno=exc.errno,
                artifact=art.label,
                handler=art.type,
            ) from exc
        # the path is ours and quoted; data is the author's, and the format lets the shell split it
        command = " ".join(part for part in (quoted(path), word, art.data) if part)
        shell(command, art, ctx)


@handler("shellscript", kinds=Kind.SCRIPT, streams=False)
class ShellScript(_Script):
    """Run a script in every phase: with ``preinst``, ``postinst`` or ``postfailure`` and ``data`` as arguments."""

    def run(self, art: Artifact, opt: Any, phase: Phase, ctx: Context) -> None:
        """Run it.

        Raises:
            ScriptError: it failed.
        """
        self._execute(art, phase.value, ctx)


@handler("preinstall", kinds=Kind.SCRIPT, streams=False)
class PreInstall(_Script):
    """Run a script before images and files that are not streamed are installed, with ``data`` as arguments."""

    def run(self, art: Artifact, opt: Any, phase: Phase, ctx: Context) -> None:
        """Run it in the phase ``preinst``.

        Raises:
            ScriptError: it failed.
        """
        if phase is Phase.PREINSTALL:
            self._execute(art, "", ctx)


@handler("postinstall", kinds=Kind.SCRIPT, streams=False)
class PostInstall(_Script):
    """Run a script after everything is installed, with ``data`` as arguments."""

    def run(self, art: Artifact, opt: Any, phase: Phase, ctx: Context) -> None:
        """Run it in the phase ``postinst``.

        Raises:
            ScriptError: it failed.
        """
        if phase is Phase.POSTINSTALL:
            self._execute(art, "", ctx)


def quoted(word: str) -> str:
    """One word for the shell, whatever is in it."""
    return "'" + word.replace("'", "'\"'\"'") + "'"


def shell(command: str, art: Artifact, ctx: Context) -> None:
    """Run one command in the words of /bin/sh; its output goes to the log. Raises ScriptError as ``execute``."""
    execute(["/bin/sh", "-c", command], art, ctx)


def feed(argv: list[str], art: Artifact, ctx: Context, data: Data) -> None:
    """Run a program on an artifact, and read what it leaves, so that the verdict on the bytes is known.

    Raises:
        ScriptError: it failed.
        SwagentError: whatever reading the data raised; the program is killed then and never sees their end.
    """
    execute(argv, art, ctx, stdin=_Interruptible(data, ctx))
    for _ in chunks(data):
        ctx.checkpoint()


def execute(argv: list[str], art: Artifact, ctx: Context, *, stdin: Reader | None = None) -> None:
    """Run a program; its output goes to the log.

    Args:
        argv: the program and its arguments.
        art: for messages.
        ctx: of this session.
        stdin: what it reads, nothing by default.

    Raises:
        ScriptError: it ended with another status than 0, or by a signal; the last line of its stderr is in it.
        SwagentError: whatever reading ``stdin`` raised.
    """
    last_error = ""

    def log(level: str, line: str) -> None:
        nonlocal last_error
        if level == "error" and line.strip():
            last_error = line.strip()
        ctx.log(level, line)

    status = ctx.hw.run(argv, log=log, stdin=stdin)
    if status == 0:
        return
    how = "was ended by a signal" if status < 0 else f"ended with status {status}"
    said = f": {last_error[:200]}" if last_error else ""
    raise ScriptError(
        f"{art.where or art.label}: {art.type} {how}{said}",
        artifact=art.label,
        handler=art.type,
        hint=_HINTS.get(status, "its output is in the log"),
    )


class _Interruptible:
    """A Reader that looks before each piece whether the update shall stop."""

    def __init__(self, data: Data, ctx: Context) -> None:
        self._data = data
        self._ctx = ctx

    def readinto(self, buffer: memoryview) -> int:
        self._ctx.checkpoint()
        return self._data.readinto(buffer)


_HINTS = {
    126: "it cannot be executed: is the temporary folder mounted noexec, or the #! line wrong?",
    127: "a program was not found: is the interpreter of its #! line on this unit?",
}
