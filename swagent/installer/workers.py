"""Handlers at work: the one place where an entry's handler is made and called, and the handlers of one session."""

from collections.abc import Callable
from typing import Any

from swagent.errors import ArchiveError, DescriptionError, SwagentError
from swagent.handlers.api import Card
from swagent.handlers.options import read_options
from swagent.model import Artifact, Data, Needs, Phase
from swagent.stream import ArtifactData

from .context import SessionContext
from .lua import SessionLua
from .planning import Planner


def named(art: Artifact, work: Callable[[], Any]) -> Any:
    """Do some work for an entry; its errors get the entry's and the handler's name."""
    try:
        return work()
    except SwagentError as exc:
        exc.artifact = exc.artifact or art.label
        exc.handler = exc.handler or art.type
        raise


class Workers:
    """Calls handlers for one session.

    Args:
        planner: knows the handlers of this session.
        ctx: what they work with.
        lua: runs the functions that entries name.
    """

    def __init__(self, planner: Planner, ctx: SessionContext, lua: SessionLua) -> None:
        self._planner = planner
        self._ctx = ctx
        self._lua = lua

    def card(self, art: Artifact) -> Card:
        """What is known of an entry's handler."""
        card: Card = self._planner.handler(art).card
        return card

    def preflight(self, art: Artifact) -> Needs | None:
        """What the handler finds beforehand; None when it does not look.

        Raises:
            PreflightRefused: it cannot be done.
        """
        worker, options = self._worker(art)
        look = getattr(worker, "preflight", None)
        if look is None:
            return None
        needs: Needs = named(art, lambda: look(art, options, self._ctx))
        return needs

    def preflight_chained(self, art: Artifact) -> Needs:
        """As ``preflight``, for a handler that another one will pass its data on to.

        Raises:
            DescriptionError: there is none of that name, it takes no data, or it lacks something in the entry.
        """
        if not hasattr(self._planner.judge_handler(art), "install"):
            raise _takes_no_data(art)
        return self.preflight(art) or Needs()

    def install(self, art: Artifact, data: ArtifactData) -> None:
        """Put an image or file where it belongs, with the Lua functions of the entry around it.

        Raises:
            SwagentError: it failed, or the handler did not read all of it.
        """

        def install() -> None:
            target = art
            if art.preinstall:
                target = self._lua.before(art)
                self.preflight(target)  # it may point elsewhere now
            worker, options = self._worker(target)
            worker.install(target, options, data, self._ctx)
            if data.readinto(memoryview(bytearray(1))):
                raise ArchiveError(f"the handler {art.type!r} left part of its artifact unread")
            if art.postinstall:
                self._lua.after(target)

        named(art, install)

    def install_chained(self, art: Artifact, data: Data) -> None:
        """As ``install``, for a handler that another one passes its data on to.

        Raises:
            DescriptionError: it takes no data.
        """
        worker, options = self._worker(art)
        if not hasattr(worker, "install"):
            raise _takes_no_data(art)
        worker.install(art, options, data, self._ctx)

    def install_called(self, art: Artifact, data: Data) -> None:
        """As ``install_chained``, for an entry that nobody has looked at before: a Lua handler just made it.

        Raises:
            DescriptionError: it takes no data.
            PreflightRefused: it cannot be done.
        """
        self.preflight_chained(art)
        self.install_chained(art, data)

    def apply(self, art: Artifact) -> None:
        """Make it so: an entry without data."""
        worker, options = self._worker(art)
        named(art, lambda: worker.apply(art, options, self._ctx))

    def run(self, art: Artifact, phase: Phase) -> None:
        """Run a script's phase."""
        worker, options = self._worker(art)
        named(art, lambda: worker.run(art, options, phase, self._ctx))

    def _worker(self, art: Artifact) -> tuple[Any, Any]:
        cls = self._planner.handler(art)
        return cls(), read_options(cls.Options, art)[0]


def _takes_no_data(art: Artifact) -> DescriptionError:
    return DescriptionError(f"{art.where}: the handler {art.type!r} takes no data", artifact=art.label)
