"""As whom the daemon's children run, and what they keep of our rights: by default nothing but the daemon's sockets.

A door that faces a network never stays root unless the settings say so. Without a user of their own in the settings the
doors get numbers that no account has, each another one, so that none can touch what belongs to another, to an account,
or to "nobody", whom other programs share.
"""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from swagent.errors import SettingsError

SOCKETS_GID = 65520
"""Group of the sockets where nobody names one. systemd's table leaves 65520 to 65533 to nobody (UIDS-GIDS.md)."""
FIRST_UID = SOCKETS_GID + 1
LAST_UID = 65533
_PR_SET_NO_NEW_PRIVS = 38


class Identity(NamedTuple):
    """As whom a process runs; None for as whom we do."""

    uid: int | None = None
    gid: int | None = None

    @property
    def is_ours(self) -> bool:
        """Whether nothing changes."""
        return self.uid is None and self.gid is None


def identity_of(given: Mapping[str, Any], where: str) -> Identity:
    """User and group of a group of the settings: numbers first, as SWUpdate has it.

    Raises:
        SettingsError: there is no such user or group.
    """
    import grp
    import pwd

    uid, gid = int(given.get("userid", 0)), int(given.get("groupid", 0))
    user, group = str(given.get("user", "")), str(given.get("group", ""))
    try:
        entry = pwd.getpwnam(user) if user and not uid else None
        uid = uid or (entry.pw_uid if entry else 0)
        gid = gid or (grp.getgrnam(group).gr_gid if group else 0)
    except KeyError as exc:
        raise SettingsError(
            f"{where}: {exc.args[0]}", hint="make that user and group, or name others"
        ) from exc
    if uid and not gid:
        try:
            gid = pwd.getpwuid(uid).pw_gid
        except KeyError as exc:
            raise SettingsError(f"{where}: user {uid} has no group", hint="name one with group") from exc
    return Identity(uid or None, gid or None)


def door_identity(given: Mapping[str, Any], where: str, number: int) -> Identity:
    """As whom a door runs: whom its group of the settings names, else where we are root someone without an account.

    Args:
        given: the group.
        where: its name.
        number: of the door, from 0.

    Raises:
        SettingsError: there is no such user or group.
    """
    named = identity_of(given, where)
    if named.uid is not None or "user" in given or "userid" in given or os.geteuid() != 0:
        return named
    own = FIRST_UID + number
    if not _exists(own):
        return named  # root of a user namespace that has nobody else: not the system's
    return Identity(own, named.gid or own)


def sockets_gid() -> int:
    """The group of the sockets where the settings name none; -1 for our own."""
    return SOCKETS_GID if os.geteuid() == 0 and _exists(SOCKETS_GID, "gid_map") else -1


def judge_rights(
    name: str, where: str, identity: Identity, control: str, log: Callable[[str, str], None]
) -> None:
    """Whether a door can do its work, and how unwise its rights are.

    Args:
        name: of the door.
        where: group of the settings that says who it is; "" for a door that needs our rights.
        identity: as whom it will run.
        control: path of the socket that it needs.
        log: hears of what is unwise.

    Raises:
        SettingsError: it could not use the socket.
    """
    if identity.uid is None:
        if os.geteuid() == 0 and where:
            log(
                "warn",
                f"{name} runs as root: leave user and userid out of the group {where}, or name another",
            )
        return
    found = os.stat(control)
    in_group = found.st_gid != 0 and found.st_mode & 0o060 == 0o060
    if identity.uid != found.st_uid and not in_group and found.st_mode & 0o006 != 0o006:
        raise SettingsError(
            f"{name} runs as user {identity.uid}, who may not use {control}",
            hint="name a group for the sockets with socket-group in the group daemon",
        )


def reachable(path: str) -> str:
    """Another name of a file or folder, for this process only, that leads past folders which will be closed to us."""
    try:
        return f"/proc/self/fd/{os.open(path, os.O_PATH | os.O_CLOEXEC)}"
    except OSError:
        return path  # whoever uses it says what is wrong


def hand_over(folder: str, identity: Identity) -> None:
    """Give a folder, and what lies in it, to whom a door becomes.

    Raises:
        OSError: it cannot be given.
    """
    if identity.is_ours:
        return
    uid, gid = (-1 if number is None else number for number in identity)
    os.chown(folder, uid, gid)
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):
            os.chown(os.path.join(folder, name), uid, gid, follow_symlinks=False)


def drop_rights(identity: Identity, socket_gid: int | None) -> None:
    """Become somebody else, for good, with the group of the sockets as the only further one.

    Raises:
        SettingsError: the kernel does not let us.
    """
    if identity.is_ours:
        return
    keep_imports()
    try:
        _never_more()
        if os.geteuid() == 0:
            os.setgroups([] if socket_gid is None else [socket_gid])
        if identity.gid is not None:
            os.setresgid(identity.gid, identity.gid, identity.gid)
        if identity.uid is not None:
            os.setresuid(identity.uid, identity.uid, identity.uid)
    except OSError as exc:
        raise SettingsError(
            f"cannot become user {identity.uid}, group {identity.gid}: {exc.strerror}",
            hint="only root can; remove user and group where the daemon does not run as root",
        ) from exc


def keep_imports() -> None:
    """What is imported later is still found, also when Python or we lie below somebody's home."""
    opened = {path: reachable(path) for path in sys.path if os.path.isdir(path) and not _open_to_all(path)}
    if not opened:
        return
    for module in list(sys.modules.values()):
        places = getattr(module, "__path__", None)
        if isinstance(places, list):
            places[:] = [_moved(str(place), opened) for place in places]
    sys.path[:] = [opened.get(path, path) for path in sys.path]
    sys.path_importer_cache.clear()


def _moved(path: str, opened: Mapping[str, str]) -> str:
    for old in sorted(opened, key=len, reverse=True):
        if path == old or path.startswith(f"{old}/"):
            return opened[old] + path[len(old) :]
    return path


def _open_to_all(path: str) -> bool:
    folder = os.path.realpath(path)
    while os.stat(folder).st_mode & 0o001:
        if folder == "/":
            return True
        folder = os.path.dirname(folder)
    return False


def _never_more() -> None:
    """No program that we start can have more rights than we, whatever its file says (prctl(2))."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _exists(number: int, table: str = "uid_map") -> bool:
    """Whether this user namespace has such a user, or group (user_namespaces(7))."""
    try:
        with open(f"/proc/self/{table}", encoding="ascii") as file:
            ranges = [[int(word) for word in line.split()] for line in file]
    except (OSError, ValueError):
        return False
    return any(first <= number < first + count for first, _, count in ranges)
