"""Lua in one session: which states there are, and what happens to an entry in them.

Three kinds of states, each a process that starts when it is first needed:

- the device's: ``swupdate_handlers.lua`` of the search path, with what the settings grant it;
- the update's: ``embedded-script``, hooks, functions of entries, scripts with ``global-state``;
- one for each phase of any other script.

All that an image brings runs with what is granted to images, by default nothing; SWUpdate runs it all with all rights.
The device's file is loaded into the image's states too, as there (handlers §3.1), with the image's rights; only its own
state registers its handlers.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from swagent.errors import RegistrationError, ScriptError
from swagent.handlers.api import Context, Handler
from swagent.model import Artifact, Data, Hardware, Phase, Selection
from swagent.plugins import Entry, Registry

from .rig import LuaRules

if TYPE_CHECKING:
    from swagent.scripting import LuaState

    from .luamodule import LuaModule

HANDLERS_MODULE = "swupdate_handlers"
DEVICE_FILE_BYTES_MAX = 1024 * 1024


class _Running(NamedTuple):
    """A state, and what answers it."""

    state: "LuaState"
    module: "LuaModule"


class SessionLua:
    """All Lua of a session: a ``handlers.api.Lua`` and a ``parser.Hooks``. Imports nothing of Lua before it is needed.

    Args:
        rules: what it may do.
        ctx: of the session.
        shelf: the session's handlers; gets those that Lua registers.
        hardware: of the unit.
        selection: of this update.
        chain: installs an entry's data with another handler.
    """

    def __init__(
        self,
        rules: LuaRules,
        ctx: Context,
        shelf: Registry[Handler],
        *,
        hardware: Hardware | None,
        selection: Selection | None,
        chain: Callable[[Artifact, Data], None],
    ) -> None:
        self._rules = rules
        self._ctx = ctx
        self._shelf = shelf
        self._hardware = hardware
        self._selection = selection
        self._chain = chain
        self._update: _Running | None = None
        self._owners: dict[str, _Running] = {}
        self._open: list[_Running] = []
        self._device_file: tuple[str, bytes] | None = None
        shelf.add_source(lambda _: self.register_device())

    # -- handlers and scripts

    @contextmanager
    def fresh(self, name: str) -> "Iterator[LuaState]":
        """A state of its own for a while.

        Raises:
            RegistrationError: Lua is not installed.
        """
        one = self._start(name)
        try:
            self._load_device_file(one.state)
            yield one.state
        finally:
            self._end(one)

    def shared(self) -> "LuaState":
        """The state of this update.

        Raises:
            RegistrationError: Lua is not installed.
        """
        if self._update is None:
            one = self._start("sw-description")
            self._load_device_file(one.state)
            one.module.register = lambda name, mask: self._register(name, mask, "this image", one)
            self._update = one
        return self._update.state

    def handle(self, art: Artifact, data: Data | None = None, phase: Phase | None = None) -> None:
        """Call the function that was registered for ``art.type``.

        Raises:
            ScriptError: it failed, or gave back something else than 0.
            SwagentError: what was wrong with its data.
        """
        state, module = self._owners[art.type]
        # SWUpdate calls handlers of scripts without a word after a failure
        word = phase.value if phase not in (None, Phase.POSTFAILURE) else None
        with module.working(art, data) as work:
            try:
                result = state.handle(art.type, work.table, word)
            except ScriptError as exc:
                exc.message = f"{art.where or art.label}: the Lua handler {art.type!r} failed: {exc.message}"
                if work.failure is not None:
                    raise work.failure from exc
                raise
        if work.data is not None and work.data.problem is not None:
            raise work.data.problem  # whatever the handler thinks of it
        if result == 0 and not isinstance(result, bool):
            return
        if work.failure is not None:
            raise work.failure
        raise ScriptError(
            f"{art.where or art.label}: the Lua handler {art.type!r} gave back {_shown(result)}, not 0",
            artifact=art.label,
            handler=art.type,
            hint="what it logged tells why",
        )

    # -- sw-description

    def run_embedded(self, text: str) -> None:
        """Run ``embedded-script``.

        Raises:
            ScriptError: it failed.
        """
        self.shared().run(text.encode(), "embedded-script")

    def run_hook(self, function: str, art: Artifact) -> dict[str, object] | None:
        """What the hook of an entry changed; None when the entry is to be left out.

        Raises:
            ScriptError: it failed, or said no.
        """
        back = self._ask(function, art, "hook")
        return None if back is False else self._changes(function, art, back)

    def before(self, art: Artifact) -> Artifact:
        """Call the ``preinstall`` function of an entry; the entry as it leaves it.

        Raises:
            ScriptError: it failed, or said no.
            DescriptionError: it made something of the entry that cannot be.
        """
        from swagent.parser import amended

        changed = self._changes(art.preinstall, art, self._must(art.preinstall, art, "preinstall function"))
        changed.pop("type", None)  # the handler has been chosen
        return amended(art, changed, where=f"{art.where}, as {art.preinstall} left it")

    def after(self, art: Artifact) -> None:
        """Call the ``postinstall`` function of an entry.

        Raises:
            ScriptError: it failed, or said no.
        """
        self._must(art.postinstall, art, "postinstall function")

    def _must(self, function: str, art: Artifact, what: str) -> Any:
        back = self._ask(function, art, what)
        if back is False:
            raise ScriptError(f"{art.where}: the {what} {function} gave back no image", artifact=art.label)
        return back

    def _ask(self, function: str, art: Artifact, what: str) -> Any:
        from swagent.scripting.image import to_table

        try:
            good, back = self.shared().hook(function, to_table(art))
        except ScriptError as exc:
            raise ScriptError(
                f"{art.where or art.label}: the {what} {function} failed: {exc.message}",
                artifact=art.label,
                hint=exc.hint,
            ) from exc
        if good is not True:
            raise ScriptError(
                f"{art.where or art.label}: the {what} {function} said no",
                artifact=art.label,
                hint="it returns true and the image when all is well",
            )
        return back

    def _changes(self, function: str, art: Artifact, back: Any) -> dict[str, object]:
        from swagent.scripting.image import changes, to_table

        try:
            return {} if back is True else changes(to_table(art), back)
        except ScriptError as exc:
            raise ScriptError(f"{art.where}: {function} {exc.message}", artifact=art.label) from exc

    # -- states

    def register_device(self) -> None:
        """Put the handlers of the device's own file on the shelf; does nothing when there is none.

        Raises:
            RegistrationError: the file fails, or Lua is not installed.
        """
        path, text = self._read_device_file()
        if not path:
            return
        one = self._start(f"{HANDLERS_MODULE}.lua", device=True)
        one.module.register = lambda name, mask: self._register(name, mask, path, one)
        try:
            one.state.run(text, path)
        except ScriptError as exc:
            raise RegistrationError(
                f"the Lua handlers of this unit cannot be loaded: {exc.message}",
                hint=f"correct {path}, or move it out of the lua-path",
            ) from exc

    def close(self) -> None:
        """End all states, and what they left mounted."""
        while self._open:
            self._end(self._open[-1])

    def _start(self, name: str, *, device: bool = False) -> _Running:
        from swagent.scripting import LuaState, Setup

        from .luamodule import LuaModule

        module = LuaModule(
            self._ctx,
            shelf=self._shelf,
            hardware=self._hardware,
            selection=self._selection,
            chain=self._chain_to,
        )
        rules = self._rules
        setup = Setup(
            rules.version,
            rules.path,
            rules.device_grants if device else rules.image_grants,
            rules.memory_bytes,
            rules.instructions,
            rules.seconds,
        )
        one = _Running(LuaState(setup, module, handlers=self._shelf.known(), name=name), module)
        self._open.append(one)
        return one

    def _end(self, one: _Running) -> None:
        self._open.remove(one)
        one.state.close()
        one.module.close()

    def _load_device_file(self, state: "LuaState") -> None:
        """For its functions; that it fails, for want of rights, is only told."""
        path, text = self._read_device_file()
        if path:
            try:
                state.run(text, path)
            except ScriptError as exc:
                self._ctx.log("info", f"not loaded for this image: {exc.message}")

    def _read_device_file(self) -> tuple[str, bytes]:
        if self._device_file is None:
            self._device_file = _first_of(self._rules.path)
        return self._device_file

    def _register(self, name: str, mask: int, origin: str, owner: _Running) -> bool:
        from swagent.handlers.lua import registered

        try:
            self._shelf.add(Entry(name, f"Lua, {origin}", lambda: registered(name, mask)))
        except RegistrationError as exc:  # SWUpdate says nothing, and the first one counts
            self._ctx.log("warn", exc.message)
            return False
        self._owners[name] = owner
        return True

    def _chain_to(self, art: Artifact, data: Data) -> None:
        if art.type in self._owners:
            raise ScriptError(
                f"the handler {art.type!r} is written in Lua, and Lua handlers cannot be chained"
            )
        self._chain(art, data)


class UnrunHooks:
    """For who only looks at an image that nobody vouched for; a ``parser.Hooks``.

    Attributes:
        met: whether there was code to run.
    """

    def __init__(self) -> None:
        self.met = False

    def run_embedded(self, text: str) -> None:
        """Not run."""
        self.met = True

    def run_hook(self, function: str, art: Artifact) -> dict[str, object]:
        """Not run: the entry stays as it is written."""
        self.met = True
        return {}


def _first_of(path: str) -> tuple[str, bytes]:
    """Path and content of ``swupdate_handlers.lua``, the first on a search path; empty when there is none."""
    for template in path.split(";"):
        place = template.replace("?", HANDLERS_MODULE)
        try:
            with open(place, "rb") as file:
                text = file.read(DEVICE_FILE_BYTES_MAX + 1)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as exc:
            raise RegistrationError(f"cannot read {place}: {exc.strerror}") from exc
        if len(text) > DEVICE_FILE_BYTES_MAX:
            raise RegistrationError(f"{place} is longer than {DEVICE_FILE_BYTES_MAX} bytes")
        return place, text
    return "", b""


def _shown(value: object) -> str:
    return "nothing" if value is None else "a table" if isinstance(value, Mapping) else str(value)[:80]
