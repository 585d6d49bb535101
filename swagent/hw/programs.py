"""Programs of the system that do what the kernel leaves to user space: found, run, their complaints made one error."""

import os
from collections.abc import Callable

from swagent.errors import DeadlineError, DeviceError, PreflightRefused

from .process import run

Log = Callable[[str, str], None]

PACKAGES = {
    "blkid": "util-linux",
    "btrfs": "btrfs-progs",
    "e2label": "e2fsprogs",
    "fatlabel": "dosfstools",
    "mkfs.btrfs": "btrfs-progs",
    "mkfs.ext2": "e2fsprogs",
    "mkfs.ext3": "e2fsprogs",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "sfdisk": "fdisk",
}
"""Debian's package of each."""
_SYSTEM_FOLDERS = ("/usr/sbin", "/sbin", "/usr/local/sbin")  # where a plain PATH does not look
_OUTPUT_MAX_CHARACTERS = 4 * 1024 * 1024


def find(name: str) -> str:
    """The absolute path of a program.

    Raises:
        PreflightRefused: it is not on this unit.
    """
    for folder in (*os.environ.get("PATH", os.defpath).split(os.pathsep), *_SYSTEM_FOLDERS):
        path = os.path.join(folder, name)
        if folder.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise PreflightRefused(
        f"the program {name} is not on this unit", hint=f"Debian's package {PACKAGES.get(name, name)} has it"
    )


def call(
    argv: list[str],
    *,
    doing: str,
    path: str,
    log: Log,
    stdin: bytes = b"",
    accepted: tuple[int, ...] = (0,),
    deadline_s: float = 60,
) -> tuple[int, str]:
    """Run a program to its end.

    Args:
        argv: its name, which is looked up, and arguments.
        doing: what it is run for, for messages: ``cannot <doing> <path>: ...``.
        path: the device or file concerned.
        log: gets what it says on its standard error, as trace.
        stdin: what it reads.
        accepted: exit statuses that are no failure.
        deadline_s: how long it may take.

    Returns:
        Its exit status and its standard output.

    Raises:
        PreflightRefused: it is not there.
        DeviceError: it failed, took too long, or said too much.
    """
    lines: list[str] = []
    complaint = ""
    n_characters = 0

    def listen(level: str, line: str) -> None:
        nonlocal complaint, n_characters
        if level == "error":
            complaint = line.strip() or complaint
            log("trace", f"{argv[0]}: {line}")
        elif (n_characters := n_characters + len(line)) <= _OUTPUT_MAX_CHARACTERS:
            lines.append(line)

    program = find(argv[0])
    try:
        status = run(
            [program, *argv[1:]],
            log=listen,
            stdin=_Bytes(stdin) if stdin else None,
            env={**os.environ, "LC_ALL": "C"},
            deadline_s=deadline_s,
        )
    except DeadlineError as exc:
        raise DeviceError(f"cannot {doing} {path}: {exc.message}", path=path, hint=exc.hint) from exc
    if status not in accepted:
        why = complaint[:200] or ("a signal ended it" if status < 0 else f"it ended with status {status}")
        raise DeviceError(f"cannot {doing} {path}: {argv[0]}: {why}", path=path, hint="see also dmesg")
    if n_characters > _OUTPUT_MAX_CHARACTERS:
        raise DeviceError(f"cannot {doing} {path}: {argv[0]} says too much", path=path)
    return status, "\n".join(lines)


class _Bytes:
    """A Reader of bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._left = memoryview(data)

    def readinto(self, buffer: memoryview) -> int:
        n = min(len(buffer), len(self._left))
        buffer[:n] = self._left[:n]
        self._left = self._left[n:]
        return n
