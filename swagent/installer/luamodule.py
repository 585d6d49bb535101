"""What the Lua module ``swupdate`` answers: one method for each of its functions (handlers §3.2).

Arguments come from a script and are judged here; ``ScriptError`` becomes an error in Lua that the script may catch.
What SWUpdate answers with nil is None here, with a line in the log.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from swagent.errors import Cancelled, DeviceError, ScriptError, SwagentError
from swagent.handlers.api import Context, Handler
from swagent.model import Artifact, Data, Hardware, Selection, Sink
from swagent.parser import amended
from swagent.plugins import Registry
from swagent.scripting import Answer, Value
from swagent.scripting.image import changes, to_table

SWUPDATE_VERSION = (2026, 5, 1)
"""The SWUpdate whose behaviour is followed, for scripts that ask."""

CHUNK_BYTES = 256 * 1024
ANY_BUT_SCRIPT = 59
_SCRIPT, _OTHERS, _SECTIONS = 4, 1 | 2 | 8 | 16, 1 | 2 | 4 | 16
_MASK_MAX = 63
_NAME_BYTES_MAX = 63
_VARIABLE_BYTES_MAX = 1022
_TEXT_MAX = 4096
_LEVELS = frozenset(("error", "warn", "info", "debug", "trace"))
_MODES = (
    (stat.S_ISDIR, "directory"),
    (stat.S_ISFIFO, "named pipe"),
    (stat.S_ISLNK, "link"),
    (stat.S_ISREG, "regular file"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISBLK, "block device"),
    (stat.S_ISCHR, "char device"),
)
_USER_AREA = 6
_ROOT_TYPES = {"": 0, "UUID": 1, "PARTUUID": 2, "PARTLABEL": 3}


class Watched:
    """An artifact's data that remembers whether reading it has failed; a ``model.Data``."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self.problem: SwagentError | None = None

    @property
    def size_bytes(self) -> int | None:
        """How many plain bytes there will be."""
        return self._data.size_bytes

    @property
    def stored_bytes(self) -> int | None:
        """How many there are in the archive."""
        return self._data.stored_bytes

    def want_plain_sha256(self) -> None:
        """As the data's."""
        self._data.want_plain_sha256()

    @property
    def plain_sha256(self) -> bytes | None:
        """As the data's."""
        return self._data.plain_sha256

    def readinto(self, buffer: memoryview) -> int:
        """As the data's."""
        return self._noting(lambda: self._data.readinto(buffer))

    def pour(self, sink: Sink) -> int:
        """As the data's."""
        return self._noting(lambda: self._data.pour(sink))

    def _noting(self, read: Callable[[], int]) -> int:
        try:
            return read()
        except SwagentError as exc:
            self.problem = exc
            raise


class Work:
    """What a handler is working on.

    Attributes:
        table: the entry, as Lua got it.
        failure: what the last call on the data ended with, as told to the script.
    """

    def __init__(self, art: Artifact, data: Data | None) -> None:
        self.art = art
        self.data = Watched(data) if data is not None else None
        self.table = to_table(art, data.stored_bytes if data is not None else None)
        self.failure: SwagentError | None = None


class LuaModule:
    """Answers one state; a ``scripting.Services``.

    Args:
        ctx: of the session.
        shelf: the handlers there are.
        hardware: of the unit.
        selection: of this update.
        chain: installs an entry's data with another handler.

    Attributes:
        register: puts a handler of this state on the shelf, given name and mask; says whether it did.
    """

    def __init__(
        self,
        ctx: Context,
        *,
        shelf: Registry[Handler],
        hardware: Hardware | None,
        selection: Selection | None,
        chain: Callable[[Artifact, Data], None],
    ) -> None:
        self._ctx = ctx
        self._shelf = shelf
        self._hardware = hardware
        self._selection = selection
        self._chain = chain
        self._work: Work | None = None
        self._mounts: dict[str, AbstractContextManager[str]] = {}
        self.register: Callable[[str, int], bool] = lambda name, mask: False

    @contextmanager
    def working(self, art: Artifact, data: Data | None) -> Iterator[Work]:
        """For the length of a ``with``, questions about an image are about this one."""
        self._work = Work(art, data)
        try:
            yield self._work
        finally:
            self._work = None

    def serve(self, verb: str, arguments: tuple[Value, ...]) -> Answer:
        """Answer one question."""
        self._ctx.checkpoint()
        if verb not in _VERBS:
            raise ScriptError(f"the module swupdate has no {verb[:40]}")
        answer: Answer = getattr(self, f"_{verb}")(*(*arguments, None, None, None)[:3])
        return answer

    def printed(self, line: str) -> None:
        """To the log, as the output of shell scripts."""
        self._ctx.log("trace", line)

    def waiting(self) -> None:
        """Stop when somebody wants to."""
        self._ctx.checkpoint()

    def close(self) -> None:
        """Unmount what was left mounted."""
        for path in list(self._mounts):
            self._ctx.log("warn", f"{path} was left mounted by a script")
            self._umount(path, None, None)

    # -- telling

    def _log(self, level: Value, text: Value, _: Value) -> Answer:
        if level not in _LEVELS:
            raise ScriptError("there is no such level")
        self._ctx.log(level, _shown(text))
        return Answer()

    def _notify(self, status: Value, code: Value, text: Value) -> Answer:
        self._ctx.log("info", f"[{_shown(status)}] {_shown(text)}")
        return Answer()

    def _progress(self, text: Value, _: Value, __: Value) -> Answer:
        self._ctx.log("info", _shown(text))
        return Answer()

    def _progress_update(self, percent: Value, _: Value, __: Value) -> Answer:
        if not isinstance(percent, int | float) or not 0 <= percent <= 100:
            raise ScriptError("progress_update: not a percentage")
        self._ctx.log("debug", f"{percent:.0f} %")
        return Answer()

    # -- the update

    def _is_dryrun(self, *_: Value) -> Answer:
        return Answer((self._ctx.dry_run,))

    def _tmpdir(self, *_: Value) -> Answer:
        return Answer((f"{self._ctx.tmpdir}/",))

    def _tmpdirscripts(self, *_: Value) -> Answer:
        return Answer((f"{self._ctx.tmpdir}/scripts/",))

    def _get_selection(self, *_: Value) -> Answer:
        return Answer(tuple(self._selection) if self._selection else ("", ""))

    def _getversion(self, *_: Value) -> Answer:
        version, patchlevel, sublevel = SWUPDATE_VERSION
        return Answer(
            ({1: version, 2: patchlevel, 3: sublevel, "version": version, "patchlevel": patchlevel,
              "sublevel": sublevel},)
        )  # fmt: skip

    def _get_bootenv(self, name: Value, *_: Value) -> Answer:
        return Answer((self._ctx.env.get(_text(name, "get_bootenv: the name")),))

    def _set_bootenv(self, name: Value, value: Value, _: Value) -> Answer:
        name = _text(name, "set_bootenv: the name")
        value = "" if value is None else _text(value, "set_bootenv: the value")
        if not name or "=" in name or any(letter in "\n\r\0" for letter in name + value):
            raise ScriptError("set_bootenv: a name has no '=', and neither name nor value a line break")
        if len(f"{name}={value}".encode("utf-8", "surrogateescape")) > _VARIABLE_BYTES_MAX:
            raise ScriptError(f"set_bootenv: {name[:40]!r} is too long to be stored")
        self._ctx.env.stage(name, value)
        return Answer()

    # -- the unit

    def _get_hw(self, *_: Value) -> Answer:
        if self._hardware is None:
            return Answer((None,))
        return Answer(({"boardname": self._hardware.board, "revision": self._hardware.revision},))

    def _getroot(self, *_: Value) -> Answer:
        from swagent.hw.identity import RunningSystem

        kind, value, path = RunningSystem().root_name()
        found: dict[Value, Value] = {"type": _ROOT_TYPES.get(kind, 4), "value": value}
        return Answer((found | {"path": path} if path else found,))

    def _get_cmdline(self, *_: Value) -> Answer:
        from swagent.hw.identity import RunningSystem

        words = (word.partition("=") for word in RunningSystem().command_line().split())
        return Answer(({name: value for name, _, value in words},))

    def _emmcbootpart(self, device: Value, *_: Value) -> Answer:
        path = _text(device, "emmcbootpart: the device")
        if not os.access(path, os.R_OK):
            return Answer((None,))
        try:
            active = self._ctx.hw.emmc(path).boot_partition()
        except DeviceError as exc:
            self._ctx.log("error", exc.message)
            return Answer((-1,))
        # SWUpdate gives the field less one: the user area is 6
        return Answer((-1 if active is None else _USER_AREA if active > 1 else active,))

    def _stat(self, path: Value, *_: Value) -> Answer:
        try:
            found = os.stat(_text(path, "stat: the path"))
        except (OSError, ValueError):
            return Answer((None,))
        mode = next((word for is_it, word in _MODES if is_it(found.st_mode)), "unknown")
        return Answer(
            ({
                "mode": mode,
                "dev": {"major": os.major(found.st_dev), "minor": os.minor(found.st_dev)},
                "rdev": {"major": os.major(found.st_rdev), "minor": os.minor(found.st_rdev)},
                "ino": found.st_ino,
                "nlink": found.st_nlink,
                "uid": found.st_uid,
                "gid": found.st_gid,
                "access": f"{time.ctime(found.st_atime)}\n",
                "modification": f"{time.ctime(found.st_mtime)}\n",
                "change": f"{time.ctime(found.st_ctime)}\n",
                "size": found.st_size,
                "permissions": stat.filemode(found.st_mode)[1:],
                "blocks": found.st_blocks,
                "blksize": found.st_blksize,
            },)
        )  # fmt: skip

    def _mount(self, device: Value, filesystem: Value, _: Value) -> Answer:
        mounted = self._ctx.hw.mounted(
            _text(device, "mount: the device"), _text(filesystem, "mount: the file system")
        )
        try:
            path = mounted.__enter__()
        except DeviceError as exc:
            self._ctx.log("error", exc.message)
            return Answer((None,), slow=True)
        self._mounts[path] = mounted
        return Answer((path,), slow=True)

    def _umount(self, path: Value, *_: Value) -> Answer:
        mounted = self._mounts.pop(path, None) if isinstance(path, str) else None
        if mounted is None:
            return Answer((None,))
        try:
            mounted.__exit__(None, None, None)
        except DeviceError as exc:
            self._ctx.log("error", exc.message)
            return Answer((None,), slow=True)
        return Answer((True,), slow=True)

    # -- handlers

    def _has_handler(self, name: Value, *_: Value) -> Answer:
        return Answer((isinstance(name, str) and name in self._shelf,))

    def _register(self, name: Value, mask: Value, _: Value) -> Answer:
        name = _text(name, "register_handler: the name")
        if not name or len(name.encode("utf-8", "replace")) > _NAME_BYTES_MAX or not name.isprintable():
            raise ScriptError(f"register_handler: a name has 1 to {_NAME_BYTES_MAX} letters")
        mask = ANY_BUT_SCRIPT if mask is None else mask
        if not isinstance(mask, int | float) or not 0 < mask <= _MASK_MAX or not int(mask) & _SECTIONS:
            raise ScriptError("register_handler: the mask is a sum of values of HANDLER_MASK")
        if int(mask) & _SCRIPT and int(mask) & _OTHERS:
            raise ScriptError("register_handler: a handler for scripts can be for nothing else")
        return Answer((self.register(name, int(mask)),))

    def _call_handler(self, name: Value, table: Value, _: Value) -> Answer:
        work = self._work
        if work is None or work.data is None:
            return Answer((1, "no image is being installed now"))
        art, data = work.art, work.data
        try:
            changed = changes(work.table, table) | {"type": _text(name, "call_handler: the handler")}
            self._chain(amended(art, changed, where=art.where or art.label), data)
        except Cancelled:
            raise
        except SwagentError as exc:
            work.failure = exc
            return Answer((1, exc.message), slow=True)
        return Answer((0, None), slow=True)

    def _copy2file(self, path: Value, *_: Value) -> Answer:
        work = self._work
        if work is None or work.data is None:
            return Answer((-1, "no image is being installed now"))
        try:
            self._pour(work.data, _text(path, "copy2file: the path"))
        except Cancelled:
            raise
        except SwagentError as exc:
            work.failure = exc
            return Answer((-1, exc.message), slow=True)
        return Answer((0,), slow=True)

    def _pour(self, data: Watched, path: str) -> None:
        try:
            held = self._ctx.hw.in_use(path) if os.path.lexists(path) else ""
            if held:
                raise DeviceError(held, path=path)
            flags = (
                os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK
            )  # of a pipe nobody reads
            fd = os.open(path, flags, 0o600)
        except (OSError, ValueError) as exc:
            why = getattr(exc, "strerror", None) or str(exc)
            raise DeviceError(
                f"cannot open {path}: {why}", path=path, errno=getattr(exc, "errno", None)
            ) from exc
        try:
            kind = os.fstat(fd).st_mode
            kept = stat.S_ISREG(kind) or stat.S_ISBLK(kind)
            if not kept and not stat.S_ISCHR(kind):
                raise DeviceError(f"{path} is neither a file nor a device", path=path)
            os.set_blocking(fd, True)
            data.pour(Sink(fd, seekable=kept))
            if kept:
                self._ctx.sync.later(fd)
        finally:
            os.close(fd)

    def _read(self, *_: Value) -> Answer:
        work = self._work
        if work is None or work.data is None:
            return Answer((None, "no image is being installed now"))
        buffer = bytearray(CHUNK_BYTES)
        try:
            n = work.data.readinto(memoryview(buffer))
        except Cancelled:
            raise
        except SwagentError as exc:
            work.failure = exc
            return Answer((None, exc.message), slow=True)
        return Answer(blob=bytes(memoryview(buffer)[:n]), slow=True)


_VERBS = frozenset((
    "log", "notify", "progress", "progress_update", "is_dryrun", "mount", "umount", "stat", "getroot", "get_hw",
    "getversion", "emmcbootpart", "tmpdir", "tmpdirscripts", "get_bootenv", "set_bootenv", "get_selection",
    "get_cmdline", "register", "has_handler", "call_handler", "copy2file", "read",
))  # fmt: skip


def _text(value: Value, what: str) -> str:
    if not isinstance(value, str):
        raise ScriptError(f"{what} must be a string")
    return value


def _shown(value: Value) -> str:
    """For people; bytes that are no UTF-8 become question marks."""
    return str(value).encode("utf-8", "replace").decode()[:_TEXT_MAX]
