"""EFI Boot Guard's environments, as bg_printenv and bg_setenv see them: one BGENV.DAT in each config partition.

The boot loader boots the environment with the highest revision that nobody is changing, tries a new one once, and goes
back to the one before it when that is not confirmed (ustate 0 good, 1 installed, 2 being tried, 3 failed). So an update
writes the oldest copy, in one write, after everything else: until then all copies are as they were, and a copy that
a power cut tears has a wrong checksum and does not count. What begins and what ends an update is told by the variables
that every boot loader is told it by:

| changes | what happens |
|---|---|
| ``recovery_status=in_progress`` or ``ustate=7`` | nothing is written; refused when no update could be stored |
| ``recovery_status=failed`` or ``ustate=3`` | nothing is written: nothing was begun on disk |
| any, with ``ustate=1`` or without ``ustate`` | the oldest copy becomes the newest: the current one, changed |
| any, with ``ustate=0`` or ``ustate`` removed | the copy that is being tried becomes a good one, where it lies |

``recovery_status`` itself is never stored (handlers §4.3).
"""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from swagent.errors import BootEnvError

from . import ebgenv
from .ebgenv import Environment

FILE_NAME = "BGENV.DAT"
MOUNTS_PATH = "/proc/self/mounts"
_MOUNTS_MAX_BYTES = 4 << 20
_FAT = ("vfat", "msdos")
_REVISION_MAX = 0xFFFFFFFF
_COPIES_MIN = 2
_TRANSACTION = "recovery_status"

_GOOD, _INSTALLED, _TRIED, _FAILED = 0, 1, 2, 3
_BEGINS, _ENDS_BADLY = "7", "3"
_MARKS = {"in_progress": _BEGINS, "failed": _ENDS_BADLY}


class _Copy(NamedTuple):
    """One file: its bytes, and what they mean; None when the checksum is wrong."""

    path: str
    raw: bytes
    env: Environment | None

    @property
    def revision(self) -> int:
        """Of a copy without a right checksum -1: it is the first to be written to."""
        return -1 if self.env is None else self.env.revision

    @property
    def boots(self) -> bool:
        """Whether the boot loader would choose it, if nothing newer were there."""
        return self.env is not None and not self.env.in_progress and not self.failed

    @property
    def failed(self) -> bool:
        """Whether the boot loader has given it up."""
        return self.env is not None and self.env.revision == 0 and self.env.ustate == _FAILED


class EfiBootGuard:
    """The environments of EFI Boot Guard (``-B ebg``).

    Args:
        settings: ``ebg-config-paths``, separated by blanks: the files, or the folders where the config partitions are
            mounted. Without it, the roots of all mounted FAT file systems are looked at; a partition that is not
            mounted is not found. At least two copies must be there. Nothing is opened yet.
    """

    name = "ebg"

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self._paths = ((settings or {}).get("ebg-config-paths") or "").split()

    def get(self, name: str) -> str | None:
        """See ``Bootloader.get``."""
        return self.all().get(name)

    def all(self) -> dict[str, str]:
        """See ``Bootloader.all``: the current one; ``ustate`` is 3 while it is good and beside a failed one."""
        copies = self._copies()
        current = _env(_current(copies))
        found = ebgenv.variables(current)
        if current.ustate == _GOOD and any(copy.failed for copy in copies):
            found["ustate"] = str(_FAILED)
        return found

    def set_many(self, changes: Mapping[str, str | None]) -> None:
        """See ``Bootloader.set_many``; the table above tells what becomes of the marks of an update.

        Nothing is written when nothing changes. Without a valid copy there is an error, not a fresh one.

        Raises:
            BootEnvError: also when an update would take away the copy that the boot loader may have to go back to:
                while another one waits for its first start, or has not been confirmed.
        """
        mark, others = _mark_and_others(changes)
        if mark == _BEGINS:
            _check_writable(_target(self._copies()))
        elif mark == "0":
            _acknowledge(self._copies(), others)
        elif mark == "1" or (mark == "" and others):
            _commit(self._copies(), others, _INSTALLED if mark else _GOOD)

    def check(self, changes: Mapping[str, str | None]) -> None:
        """See ``Bootloader.check``."""
        mark, others = _mark_and_others(changes)
        if mark == _BEGINS:
            _check_writable(_target(self._copies()))
        elif mark == "1" or (mark == "" and others):
            _committed(self._copies(), others, _INSTALLED if mark else _GOOD)

    def _copies(self) -> list[_Copy]:
        """All copies, each file once."""
        copies = []
        seen: set[tuple[int, int]] = set()
        for path in self._places():
            raw, identity = _read(path)
            if identity not in seen:
                seen.add(identity)
                copies.append(_Copy(path, raw, ebgenv.parse(raw, path)))
        if len(copies) < _COPIES_MIN:
            where = " ".join(self._paths) or f"the mounted FAT file systems ({MOUNTS_PATH})"
            raise BootEnvError(
                f"{len(copies)} environments of EFI Boot Guard in {where}, and it takes {_COPIES_MIN} at least",
                hint="mount all config partitions, or name them in ebg-config-paths",
            )
        _refuse_unlike_sizes(copies)
        return copies

    def _places(self) -> Iterator[str]:
        if not self._paths:
            for folder in _fat_mounts(MOUNTS_PATH):
                path = os.path.join(folder, FILE_NAME)
                if os.path.exists(path):
                    yield path
        for path in self._paths:
            yield os.path.join(path, FILE_NAME) if os.path.isdir(path) else path


def _mark_and_others(changes: Mapping[str, str | None]) -> tuple[str, dict[str, str | None]]:
    """The mark of an update, see ``_mark_of``, and all changes but it."""
    wanted = {name: value or None for name, value in changes.items()}
    mark = _mark_of(wanted)
    others = {name: value for name, value in wanted.items() if name not in (_TRANSACTION, "ustate")}
    if mark in (_BEGINS, _ENDS_BADLY) and others:
        raise BootEnvError(
            "EFI Boot Guard stores variables only with an update that has succeeded",
            hint="none are needed after a failure: it goes back by itself at the next start",
        )
    return mark, others


def _mark_of(changes: Mapping[str, str | None]) -> str:
    """``_BEGINS``, ``_ENDS_BADLY``, 0, 1, or "" when there is no state to be stored."""
    transaction = changes.get(_TRANSACTION)
    state = (changes["ustate"] or "0") if "ustate" in changes else ""
    if transaction in (None, "in_progress") and state == _BEGINS:
        return _BEGINS
    if transaction in (None, "failed") and state == _ENDS_BADLY:
        return _ENDS_BADLY
    if transaction is None and state in ("", "0", "1"):
        return state
    if state == "" and transaction in _MARKS:
        return _MARKS[transaction]
    raise BootEnvError(
        f"{_TRANSACTION}={transaction} with ustate={state}: no state that EFI Boot Guard can store"
    )


def _current(copies: list[_Copy]) -> _Copy:
    """The copy that the boot loader would choose, ``ustate`` apart."""
    good = [copy for copy in copies if copy.boots]
    if not good:
        paths = " and ".join(copy.path for copy in copies)
        raise BootEnvError(
            f"no environment of EFI Boot Guard in {paths} could be booted (damaged, failed or half changed)",
            hint="see `bg_printenv -f FILE`; make one with `bg_setenv -f FILE -r 1 -k KERNEL`",
        )
    return max(good, key=lambda copy: copy.revision)


def _env(copy: _Copy) -> Environment:
    if copy.env is None:
        raise BootEnvError(f"{copy.path} has a wrong checksum")
    return copy.env


def _target(copies: list[_Copy]) -> _Copy:
    """The copy that an update may overwrite: the oldest."""
    current = _current(copies)
    state = _env(current).ustate
    if state == _INSTALLED:
        raise BootEnvError(
            "an update was installed that has not been started yet; another one now would overwrite the way back",
            hint="reboot first",
        )
    if state != _GOOD:
        raise BootEnvError(
            f"the running software has not been confirmed (ustate {state}); an update now would overwrite the way back",
            hint="confirm it with `swagent confirm` or `bg_setenv -c`, or reboot to go back",
        )
    return min((copy for copy in copies if copy is not current), key=lambda copy: copy.revision)


def _commit(copies: list[_Copy], changes: Mapping[str, str | None], state: int) -> None:
    raw = _committed(copies, changes, state)
    if raw is not None:
        _write(_target(copies), raw)


def _committed(copies: list[_Copy], changes: Mapping[str, str | None], state: int) -> bytes | None:
    """What the oldest copy becomes, None when nothing changes."""
    _target(copies)  # there must be one
    current = _env(_current(copies))
    changed = ebgenv.change(current, changes)
    if changed == current and state == _GOOD:
        return None
    # beyond a half changed copy too: bg_setenv takes the highest of all
    revision = max(copy.revision for copy in copies) + 1
    if revision > _REVISION_MAX:
        raise BootEnvError(f"the revision of EFI Boot Guard's environment cannot go beyond {_REVISION_MAX}")
    return ebgenv.build(changed._replace(revision=revision, ustate=state, in_progress=0))


def _acknowledge(copies: list[_Copy], changes: Mapping[str, str | None]) -> None:
    """Confirm the copy that is being tried, and forget a failure; nothing else may become good by this."""
    current = _current(copies)
    env = _env(current)
    if env.ustate == _INSTALLED:
        raise BootEnvError(
            "the update that is installed has not been started yet, and so cannot be confirmed",
            hint="reboot first",
        )
    if env.ustate == _TRIED:
        _write(current, ebgenv.build(ebgenv.change(env, changes)._replace(ustate=_GOOD)))
    elif env.ustate != _GOOD:
        raise BootEnvError(f"{current.path} is in state {env.ustate}, which cannot be confirmed")
    elif changes:
        target = _target(copies)
        _commit(copies, changes, _GOOD)
        copies = [copy for copy in copies if copy is not target]  # that one is new now
    for copy in copies:
        if copy.failed:
            _write(copy, ebgenv.build(_env(copy)._replace(ustate=_GOOD)))


def _refuse_unlike_sizes(copies: list[_Copy]) -> None:
    sizes = {len(copy.raw): copy.path for copy in copies if copy.env is not None}
    if len(sizes) > 1:
        raise BootEnvError(
            f"{' and '.join(sizes.values())} differ in size, they belong to different boot loaders"
        )


def _fat_mounts(path: str) -> list[str]:
    """Where FAT file systems are mounted."""
    try:
        with open(path, "rb") as file:
            text = file.read(_MOUNTS_MAX_BYTES)
    except OSError as exc:
        raise BootEnvError(
            f"cannot read {path}: {exc.strerror or exc}",
            hint="name the config partitions in ebg-config-paths",
        ) from exc
    rows = (line.split(b" ") for line in text.split(b"\n"))
    return [_unescaped(row[1]) for row in rows if len(row) > 2 and row[2].decode("ascii", "replace") in _FAT]


def _unescaped(folder: bytes) -> str:
    """The kernel writes blanks, tabs, line ends and backslashes as a backslash and three octal digits."""
    for code in (b"\\040", b"\\011", b"\\012", b"\\134"):
        folder = folder.replace(code, bytes([int(code[1:], 8)]))
    return os.fsdecode(folder)


def _read(path: str) -> tuple[bytes, tuple[int, int]]:
    """Content (one byte too much of a file that is too large), and which file it is."""
    fd = _open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            raise BootEnvError(f"{path} is no file, an environment of EFI Boot Guard is one")
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)  # let it come from the device, if it is there
        with open(fd, "rb", closefd=False) as file:
            return file.read(ebgenv.LARGEST_BYTES + 1), (facts.st_dev, facts.st_ino)
    except OSError as exc:
        raise _failed("read", path, exc) from exc
    finally:
        os.close(fd)


def _check_writable(copy: _Copy) -> None:
    os.close(_open(copy.path, os.O_RDWR))


def _write(copy: _Copy, raw: bytes) -> None:
    """Overwrite a copy where it lies: the tables of FAT, which has no journal, stay as they are."""
    try:
        _overwrite(copy.path, raw)
    except BootEnvError:
        # what failed to become durable may be valid all the same: it must not come into force later
        with suppress(BootEnvError):
            _overwrite(copy.path, copy.raw)
        raise


def _overwrite(path: str, raw: bytes) -> None:
    fd = _open(path, os.O_RDWR)
    try:
        written = 0
        while written < len(raw):
            written += os.pwrite(fd, raw[written:], written)
        os.ftruncate(fd, len(raw))
        os.fsync(fd)
    except OSError as exc:
        raise _failed("write", path, exc) from exc
    finally:
        os.close(fd)
    if _read(path)[0] != raw:
        raise BootEnvError(
            f"{path} does not give back the environment that was written to it",
            hint="the device may be worn out or write-protected",
        )


def _open(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError as exc:
        raise _failed("open", path, exc) from exc
    except ValueError as exc:
        raise BootEnvError(f"{path!r} is no path of a file") from exc


def _failed(verb: str, path: str, exc: OSError) -> BootEnvError:
    import errno

    hints = {
        errno.EROFS: "mount it for writing",
        errno.EACCES: "it needs root",
        errno.ENOENT: "mount the config partition, or correct ebg-config-paths",
    }
    return BootEnvError(
        f"cannot {verb} {path}, an environment of EFI Boot Guard: {exc.strerror or exc}",
        hint=hints.get(exc.errno or 0, ""),
    )
