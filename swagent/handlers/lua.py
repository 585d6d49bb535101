"""``lua``: scripts in Lua that come with the update; and handlers registered by Lua code (handlers §2.14, §3)."""

from typing import Any, NamedTuple

from swagent.errors import DeviceError, PreflightRefused, ScriptError
from swagent.model import Artifact, Data, Kind, Needs, Phase

from .api import Card, Context, Handler, LuaCode, handler
from .options import AnyOptions

SCRIPT_BYTES_MAX = 4 * 1024 * 1024
_PHASE_OF_PROPERTY = {
    Phase.PREINSTALL: "preinstall",
    Phase.POSTINSTALL: "postinstall",
    Phase.POSTFAILURE: "postfailure",
}
_KINDS = {1: Kind.IMAGE, 2: Kind.FILE, 4: Kind.SCRIPT, 16: Kind.PARTITION}
_NO_DATA = 32
_ARTIFACTS = Kind.IMAGE | Kind.FILE


@handler("lua", kinds=Kind.SCRIPT, streams=False)
class LuaScript:
    """Run a Lua script: its function ``preinst``, ``postinst`` or ``postfailure``, if there is one, is given ``data``.

    Each phase has a state of its own, into which the file is loaded anew. The function returns ``true`` for success,
    and may return a text for the log; anything else is a failure. With ``global-state`` the file is loaded once, into
    the state that the embedded script and the hooks of this update share, and only functions that are named by a
    property are called.
    """

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            preinstall: function to call before installing, instead of `preinst`.
            postinstall: function to call after installing, instead of `postinst`.
            postfailure: function to call after a failure, instead of `postfailure`.
            global_state: use the state of the embedded script.
        """

        preinstall: str = ""
        postinstall: str = ""
        postfailure: str = ""
        global_state: bool = False

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether there is a script to run."""
        if not art.filename:
            raise PreflightRefused(
                f"{art.where or art.label} names no file", handler=art.type, hint="add its filename"
            )
        return Needs(target="Lua")

    def run(self, art: Artifact, opt: Options, phase: Phase, ctx: Context) -> None:
        """Call the function of this phase.

        Raises:
            ScriptError: it failed, or did not return ``true``.
        """
        named: str = getattr(opt, _PHASE_OF_PROPERTY[phase])
        if opt.global_state:
            shared = ctx.lua.shared()
            if phase is Phase.PREINSTALL:
                shared.run(_text(art, ctx), art.filename)
            if named:
                _call(shared, named, art, ctx)
            return
        with ctx.lua.fresh(art.where or art.label) as state:
            state.run(_text(art, ctx), art.filename)
            _call(state, named or phase.value, art, ctx)


def registered(name: str, mask: int) -> Handler:
    """A handler class for what Lua registered under a name.

    Args:
        name: the ``type`` in sw-description.
        mask: sum of SWUpdate's bits, ``HANDLER_MASK``.
    """
    kinds = Kind(0)
    for bit, kind in _KINDS.items():
        if mask & bit:
            kinds |= kind

    class LuaHandler:
        """A handler written in Lua."""

        # an image has data whatever the mask says: a handler that is registered without a mask has the bit too
        card = Card(name, kinds, data=bool(kinds & _ARTIFACTS) or not mask & _NO_DATA)
        Options = AnyOptions

        def install(self, art: Artifact, opt: Any, data: Data, ctx: Context) -> None:
            """Hand it the image."""
            ctx.lua.handle(art, data)

        def run(self, art: Artifact, opt: Any, phase: Phase, ctx: Context) -> None:
            """Call it, in each phase."""
            ctx.lua.handle(art, None, phase)

        def apply(self, art: Artifact, opt: Any, ctx: Context) -> None:
            """Call it once."""
            ctx.lua.handle(art)

    return LuaHandler


def _text(art: Artifact, ctx: Context) -> bytes:
    path = ctx.script_path(art)
    try:
        with open(path, "rb") as file:
            text = file.read(SCRIPT_BYTES_MAX + 1)
    except OSError as exc:
        raise DeviceError(
            f"cannot read {path}: {exc.strerror}",
            path=path,
            errno=exc.errno,
            artifact=art.label,
            handler=art.type,
        ) from exc
    if len(text) > SCRIPT_BYTES_MAX:
        raise ScriptError(
            f"{art.where or art.label}: a Lua script of more than {SCRIPT_BYTES_MAX} bytes",
            artifact=art.label,
            handler=art.type,
        )
    return text


def _call(state: LuaCode, function: str, art: Artifact, ctx: Context) -> None:
    """Call a function if the script has it."""
    if not state.knows(function):
        return
    results = state.call(function, art.data)
    done = results[0] if results else None
    said = results[1] if len(results) > 1 else None
    if isinstance(said, str) and said:
        ctx.log("info" if done is True else "error", f"{art.label}: {said}")
    if done is not True:
        reason = f": {said[:200]}" if isinstance(said, str) and said else ""
        raise ScriptError(
            f"{art.where or art.label}: {function}() failed{reason}",
            artifact=art.label,
            handler=art.type,
            hint="" if reason else "it must return true when it succeeds",
        )
