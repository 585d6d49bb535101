"""One image with one handler, for an ECU behind this unit: no sw-description, no boot environment, no journal.

Whoever asks has verified the image, or verifies it as it is read; the handler gets its last bytes only when the verdict
on all of them is there.
"""

import os
from typing import NamedTuple

from swagent.clock import Clock
from swagent.errors import DescriptionError, HandlerError
from swagent.events import EventBus
from swagent.handlers.api import Handler, Hardware
from swagent.handlers.options import read_options
from swagent.hw.sync import FileSync
from swagent.model import Artifact, InstallRequest, Outcome, Reader, TlsFiles
from swagent.plugins import Registry
from swagent.stream import ArtifactData, Codec

from .context import SessionContext
from .lua import SessionLua
from .planning import Planner
from .rig import LuaRules, no_server
from .workers import Workers
from .workspace import Workspace


class Bench(NamedTuple):
    """What a handler works with.

    Attributes:
        tmpdir: where temporary folders are made.
        tls: for connections to other devices.
        lua: what Lua may do.
    """

    handlers: Registry[Handler]
    hw: Hardware
    bus: EventBus
    clock: Clock
    tmpdir: str
    tls: TlsFiles = TlsFiles()
    lua: LuaRules = LuaRules()


class ImageInstaller:
    """Gives every image to the same handler; a ``model.EcuInstaller``.

    Args:
        entry: what sw-description would say of it: handler, device, properties.
        bench: what the handler works with.

    Raises:
        DescriptionError: there is no such handler, or the entry is not what it needs.
    """

    def __init__(self, entry: Artifact, bench: Bench) -> None:
        self._entry = entry
        self._bench = bench
        handler = Planner(bench.handlers.copy(), signed=False).judge_handler(entry)
        for mistake in read_options(handler.Options, entry)[
            1
        ]:  # no image of somebody else's: nothing is passed over
            raise DescriptionError(mistake, handler=entry.type)

    def install(self, request: InstallRequest) -> Outcome:
        """Install.

        Raises:
            SwagentError: the image is not what it must be, or the handler failed.
        """
        if request.length_bytes is None:
            raise HandlerError(f"nobody said how long {request.name} is")
        bench, session = self._bench, os.urandom(6).hex()
        workspace, sync, handlers = Workspace(bench.tmpdir, session), FileSync(), bench.handlers.copy()

        def cancelled() -> bool:
            request.checkpoint()
            return False

        ctx = SessionContext(
            hw=bench.hw,
            env=_NoEnv(),
            sync=sync,
            bus=bench.bus,
            clock=bench.clock,
            session=session,
            tmpdir=workspace.path,
            parts=no_server,
            preflight=lambda art: workers.preflight_chained(art),
            chain=lambda art, data: workers.install_chained(art, data),
            cancelled=cancelled,
            dry_run=False,
            verify_write=False,
            tls=bench.tls,
        )
        ctx.steps = 1
        lua = ctx.lua = SessionLua(
            bench.lua,
            ctx,
            handlers,
            hardware=None,
            selection=None,
            chain=lambda art, data: workers.install_called(art, data),
        )
        workers = Workers(Planner(handlers, signed=False), ctx, lua)
        art = self._entry._replace(
            filename=request.name.rpartition("/")[2], size_bytes=request.length_bytes, installed_directly=True
        )
        try:
            workers.preflight_chained(art)
            ctx.begin_step(art, request.length_bytes)
            source = _JudgedLast(request.source, request.length_bytes)
            workers.install(art, ArtifactData(source, Codec(art.label, request.length_bytes), ctx.progress))
            sync.flush()
        finally:
            lua.close()
            workspace.remove()
        return Outcome(0)

    def mark(self) -> str:
        """Nothing is remembered."""
        return ""

    def completed(self, mark: str) -> bool | None:
        """No reboot completes it: what was cut is done again."""
        return False


class _JudgedLast:
    """A ``Reader`` that gives out the last bytes when the verdict on all of them has come."""

    def __init__(self, source: Reader, length_bytes: int) -> None:
        self._source = source
        self._left_bytes = length_bytes

    def readinto(self, buffer: memoryview) -> int:
        n = self._source.readinto(buffer[: min(len(buffer), self._left_bytes)])
        self._left_bytes -= n
        if n and not self._left_bytes and self._source.readinto(memoryview(bytearray(1))):
            raise HandlerError("the image goes on behind its end")
        return n


class _NoEnv:
    """The boot environment is this unit's own."""

    def get(self, name: str) -> str | None:
        return None

    def stage(self, name: str, value: str, *, override: bool = True) -> None:
        raise HandlerError("the boot environment of this unit is not for images of other ECUs")
