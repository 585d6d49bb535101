"""The process in which Lua runs: one interpreter, one state, and a socket to the session that started it.

It answers the session's calls one after the other, and while it does so it may ask. Lua never sees a Python object: the
two Lua files beside this one get a function each and hide it, values are copied, and no exception of ours gets through.
Limits on memory are held by Lua's allocator and, behind it, by the kernel. Whoever goes over the limit of instructions
ends this process, so no script can catch that. Time is held by the session, which kills.
"""

import os
import resource
import signal
import socket
from importlib import import_module
from pathlib import Path
from typing import Any

from . import wire
from .wire import Frame, Value, WireError

_ROOM_BESIDES_LUA_BYTES = 512 * 1024 * 1024
"""Address space of Python and its libraries."""


def serve(fd: int, version: str, path: str, memory_bytes: int, instructions: int, grants: str) -> None:
    """Make a state and answer until the session closes its end.

    Args:
        fd: the socket.
        version: of Lua, as ``5.4``.
        path: ``package.path``.
        memory_bytes: how much Lua may take.
        instructions: how many one call may run.
        grants: words with blanks between them.
    """
    sock = socket.socket(fileno=fd)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not {"execute", "popen"} & set(grants.split()):  # programs would inherit it
        limit = memory_bytes + _ROOM_BESIDES_LUA_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        _Server(sock, version, path, memory_bytes, instructions, grants).run()
    except WireError:
        return  # the session has gone: there is nobody to tell


class _Server:
    def __init__(
        self, sock: socket.socket, version: str, path: str, memory_bytes: int, instructions: int, grants: str
    ) -> None:
        self._sock = sock
        try:
            lupa = import_module(f"lupa.lua{version.replace('.', '')}")
        except ImportError as exc:
            self._stop("unavailable", str(exc))
        self._lua = lupa.LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            attribute_filter=_refuse_attribute,
            max_memory=memory_bytes,
        )
        self._type = lupa.lua_type
        self._problems = (lupa.LuaError, MemoryError, OverflowError, WireError)
        self._lua.globals().package.path = path.encode()
        granted = self._lua.table_from({word.encode(): True for word in grants.split()})
        sandbox = self._load("sandbox.lua")
        self._restart_count = sandbox(granted, instructions, self._stop_from_lua, _run_program)
        (names,) = wire.receive(sock).values
        self._session = self._load("facade.lua")(self._ask, self._to_lua(names, 0))
        wire.send(sock, Frame("done"))

    def run(self) -> None:
        """Answer one call after the other."""
        while True:
            call = wire.receive(self._sock)
            wire.send(self._sock, self._answer(call))

    def _load(self, name: str) -> Any:
        text = Path(__file__).with_name(name).read_bytes()
        return self._lua.eval(b"function(text, name) return (loadstring or load)(text, name) end")(
            text, b"=swagent"
        )

    def _answer(self, call: Frame) -> Frame:
        try:
            self._restart_count()
            arguments = [self._to_lua(value, 0) for value in call.values]
            if call.blob:
                arguments.insert(0, _without_first_line(call.blob))
            ok, *results = _several(self._session[call.verb.encode()](*arguments))
            if ok:
                return Frame("done", tuple(self._from_lua(value, 0) for value in results))
            return Frame("failed", (results[0],))
        except self._problems as exc:
            return Frame("failed", (str(exc) or "not enough memory",))

    # -- what Lua calls; nothing may be raised into it

    def _ask(self, verb: bytes, *arguments: Any) -> tuple[Any, ...]:
        try:
            values = tuple(self._from_lua(value, 0) for value in arguments)
            wire.send(self._sock, Frame(verb.decode(), values))
        except self._problems as exc:
            return False, str(exc).encode() or b"not enough memory"
        try:
            reply = wire.receive(self._sock)
        except WireError:
            os.kill(os.getpid(), signal.SIGKILL)  # the session has gone
            raise
        try:
            results = [self._to_lua(value, 0) for value in reply.values]
        except self._problems as exc:
            return False, str(exc).encode() or b"not enough memory"
        if reply.verb == "bytes":
            return True, reply.blob
        return reply.verb == "done", *results

    def _stop_from_lua(self, text: bytes) -> None:
        self._stop("limit", text.decode(errors="replace"))

    def _stop(self, verb: str, text: str) -> None:
        """Tell the session, and be gone before anything else of the script runs."""
        try:
            wire.send(self._sock, Frame(verb, (text,)))
        finally:
            os.kill(os.getpid(), signal.SIGKILL)

    # -- values

    def _to_lua(self, value: Value, depth: int) -> Any:
        if isinstance(value, str):
            return value.encode("utf-8", "surrogateescape")
        if not isinstance(value, dict):
            return value
        if depth > wire.TABLE_DEPTH_MAX:
            raise WireError("a table is nested too deeply")
        return self._lua.table_from(
            {self._to_lua(key, depth + 1): self._to_lua(item, depth + 1) for key, item in value.items()}
        )

    def _from_lua(self, value: Any, depth: int) -> Value:
        if value is None or isinstance(value, bool | int | float | bytes):
            return value
        if self._type(value) != "table":
            raise WireError(f"a {self._type(value) or 'foreign value'} cannot be handed over")
        if depth > wire.TABLE_DEPTH_MAX:
            raise WireError("a table is nested too deeply")
        table: dict[Value, Value] = {}
        for key, item in value.items():
            if len(table) >= wire.TABLE_ENTRIES_MAX:
                raise WireError("a table is too large to be handed over")
            if isinstance(key, bool | int | float | bytes):
                table[key] = self._from_lua(item, depth + 1)
        return table


def _run_program(command: Any, data: Any = None) -> tuple[bytes, int]:
    """What a shell command writes, and its status, negative when a signal ended it."""
    from subprocess import PIPE, run

    try:
        done = run(["/bin/sh", "-c", command], input=data or b"", stdout=PIPE, check=False)
    except (OSError, ValueError, TypeError, MemoryError) as exc:
        return f"{exc}\n".encode(errors="replace"), 127
    return done.stdout, done.returncode


def _several(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def _without_first_line(text: bytes) -> bytes:
    """Without a ``#!`` line; the numbers of the others stay."""
    return text[text.find(b"\n") :] if text.startswith(b"#") and b"\n" in text else text


def _refuse_attribute(*_: object) -> str:
    raise AttributeError("not for Lua")
