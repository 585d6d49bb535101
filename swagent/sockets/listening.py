"""Sockets to listen at: made with the right permissions from the start, or taken over from systemd."""

import grp
import os
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress

from swagent.errors import Busy, DeviceError, SettingsError

BACKLOG = 1024
FIRST_FD = 3
FDS_MAX = 64


class Listening:
    """One listening socket.

    Args:
        sock: it listens already.
        path: where.
        made: whether we made it, and so remove it.
    """

    def __init__(self, sock: socket.socket, path: str, *, made: bool) -> None:
        self.sock = sock
        self.path = path
        sock.setblocking(False)
        self._inode = os.stat(path, follow_symlinks=False).st_ino if made else None

    def close(self) -> None:
        """Stop listening; a socket that we made goes, but not that of somebody who came after us."""
        self.sock.close()
        if self._inode is not None:
            with suppress(OSError):
                if os.stat(self.path, follow_symlinks=False).st_ino == self._inode:
                    os.unlink(self.path)


def make(path: str, *, mode: int, gid: int = -1) -> Listening:
    """Listen at a path; a dead socket there is replaced.

    Args:
        path: where.
        mode: permissions, in force from the first moment.
        gid: group of the socket, -1 for our own.

    Raises:
        Busy: somebody listens there.
        SettingsError: the path is too long for a socket.
        DeviceError: there is something else, or it cannot be made.
    """
    if len(os.fsencode(path)) > 107:
        raise SettingsError(f"{path} is too long for a socket", hint="107 bytes is the most")
    _remove_dead(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old_umask = os.umask(0o177)  # nobody else, until it has its group
    try:
        sock.bind(path)
        if gid != -1:
            os.chown(path, -1, gid)
        os.chmod(path, mode)
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        raise DeviceError(f"cannot listen at {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
    finally:
        os.umask(old_umask)
    return Listening(sock, path, made=True)


def inherited(environ: Mapping[str, str], pid: int) -> dict[str, list[Listening]]:
    """Sockets that systemd listens at for us, by the names that the units give them (sd_listen_fds(3)).

    Raises:
        SettingsError: one of them is no listening Unix stream socket.
    """
    if environ.get("LISTEN_PID") != str(pid):
        return {}
    try:
        count = int(environ.get("LISTEN_FDS", "0"))
    except ValueError:
        count = 0
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[Listening]] = {}
    for index in range(min(max(count, 0), FDS_MAX)):
        name = names[index] if index < len(names) else ""
        os.set_inheritable(FIRST_FD + index, False)
        try:
            sock = socket.socket(fileno=FIRST_FD + index)
            path = sock.getsockname()
            good = sock.family == socket.AF_UNIX and sock.type == socket.SOCK_STREAM
        except OSError as exc:
            raise SettingsError(
                f"descriptor {FIRST_FD + index} ({name}) is no socket: {exc.strerror}"
            ) from exc
        if not good or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise SettingsError(f"the socket {name or path} is no listening Unix stream socket")
        found.setdefault(name, []).append(Listening(sock, os.fsdecode(path), made=False))
    return found


def group_id(name: str) -> int:
    """A group's number.

    Raises:
        SettingsError: there is no such group.
    """
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as exc:
        raise SettingsError(f"there is no group {name!r}", hint="make it, or name another") from exc


def _remove_dead(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as exc:
        raise DeviceError(f"cannot look at {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
    if not stat.S_ISSOCK(mode):
        raise DeviceError(f"{path} is there and no socket", path=path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(path)
        except OSError:
            pass
        else:
            raise Busy(f"somebody listens at {path} already", hint="is another daemon running?")
    with suppress(FileNotFoundError):
        os.unlink(path)
