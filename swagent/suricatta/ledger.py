"""What a feeder must still know after a power cut: which update it took, how far it came, what it still has to tell.

One small file, replaced whole and synced. It belongs to the door, which has no rights on the installer's journal; what
became of an update is asked of the installer, under the identifier that it was handed in with.
"""

import json
import os
from contextlib import suppress
from enum import Enum
from typing import Any, NamedTuple

from swagent.store.atomic import fsync_folder, make_folders, replace

FORMAT = 1
_BYTES_MAX = 64 * 1024
DETAILS_MAX = 50
DETAIL_CHARS_MAX = 500


class Stage(Enum):
    """How far an update came, as far as the feeder knows."""

    TAKEN = "taken"  # handed to the installer, or about to be
    INSTALLED = "installed"  # the installer has it; a reboot must show whether it is good
    CLOSING = "closing"  # the verdict is known and still to be told


class Entry(NamedTuple):
    """The one update that a feeder is about.

    Attributes:
        server: whom it came from, so that nobody else hears of it.
        action: what the server calls it.
        position: which of its archives, from 0.
        archives: how many it has.
        attempts: how often this archive was begun.
        finished: of CLOSING: ``success`` or ``failure``.
        details: of CLOSING: sentences for the server.
        noted: what the server was told already beside that, so that it is told once.
    """

    server: str
    action: str
    stage: Stage = Stage.TAKEN
    position: int = 0
    archives: int = 1
    attempts: int = 0
    finished: str = ""
    details: tuple[str, ...] = ()
    noted: str = ""

    @property
    def correlation_id(self) -> str:
        """What its present archive is called towards the installer."""
        return f"{self.server} {self.action} {self.position}"

    def closing(self, *, success: bool, details: tuple[str, ...]) -> "Entry":
        """The same with a verdict."""
        kept = tuple(detail[:DETAIL_CHARS_MAX] for detail in details[:DETAILS_MAX])
        return self._replace(stage=Stage.CLOSING, finished="success" if success else "failure", details=kept)


class Verdict(Enum):
    """What is to be thought of an update."""

    OPEN = "open"  # it must be begun, perhaps again
    PENDING = "pending"  # a reboot, or the checks after it, must show
    GOOD = "good"
    BAD = "bad"


def judge(entry: Entry, state: str) -> Verdict:
    """What became of an update.

    Args:
        entry: what the feeder knows.
        state: what the installer does, "" for nothing (docs/reference/states.md).
    """
    known = {
        "CONFIRMED": Verdict.GOOD,
        "ROLLED_BACK": Verdict.BAD,
        "COMMITTED": Verdict.PENDING,
        "TESTING": Verdict.PENDING,
    }.get(state)
    if known is not None:
        return known
    if entry.stage is Stage.TAKEN:
        return Verdict.OPEN  # cut, or never begun
    return (
        Verdict.BAD if entry.attempts else Verdict.PENDING
    )  # the second: somebody else said that it is installed


class Ledger:
    """The file.

    Args:
        path: of it; its folder is made when it is missing. "" keeps nothing beyond the process.

    Attributes:
        problem: why the file could not be understood when it was read, "" if it could.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.problem = ""
        self._entry = self._read()

    @property
    def entry(self) -> Entry | None:
        """The update that is under way; None when there is none."""
        return self._entry

    def put(self, entry: Entry) -> Entry:
        """Keep it, durably.

        Raises:
            DeviceError: it cannot be written.
        """
        if entry != self._entry:
            if self._path:
                with suppress(OSError):  # the write below tells
                    make_folders(os.path.dirname(self._path), mode=0o700)
                tree = {**entry._asdict(), "stage": entry.stage.value, "format": FORMAT}
                replace(self._path, json.dumps(tree).encode() + b"\n", mode=0o600)
            self._entry = entry
        return entry

    def clear(self) -> None:
        """Nothing is under way any more.

        Raises:
            DeviceError: the file cannot be removed.
        """
        from swagent.errors import DeviceError

        self._entry = None
        if not self._path:
            return
        try:
            os.unlink(self._path)
            fsync_folder(os.path.dirname(self._path))
        except FileNotFoundError:
            return
        except OSError as exc:
            raise DeviceError(
                f"cannot remove {self._path}: {exc.strerror}", path=self._path, errno=exc.errno
            ) from exc

    def _read(self) -> Entry | None:
        if not self._path:
            return None
        try:
            with open(self._path, "rb") as file:
                data = file.read(_BYTES_MAX + 1)
            return read_entry(data)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            self.problem = (
                f"{self._path} cannot be understood ({exc}); what the last update came to is not told"
            )
            with suppress(OSError):  # it is only kept for people to look at
                os.replace(self._path, f"{self._path}.damaged")
            return None


def read_entry(data: bytes) -> Entry:
    """An entry from its file.

    Raises:
        ValueError: it is none.
    """
    if len(data) > _BYTES_MAX:
        raise ValueError(f"more than {_BYTES_MAX} bytes")
    try:
        tree: Any = json.loads(data)
    except RecursionError as exc:
        raise ValueError("nested too deep") from exc
    if not isinstance(tree, dict) or tree.pop("format", None) != FORMAT:
        raise ValueError(f"not of format {FORMAT}")
    if set(tree) != set(Entry._fields):
        raise ValueError("keys are missing, or there are others")
    texts = (tree["server"], tree["action"], tree["finished"], tree["noted"])
    details = tree["details"]
    if not isinstance(details, list) or not all(isinstance(text, str) for text in (*texts, *details)):
        raise ValueError("not all of them are texts")
    for key in ("position", "archives", "attempts"):
        if type(tree[key]) is not int or not 0 <= tree[key] < 2**31:
            raise ValueError(f"{key} is no number that can be")
    if tree["finished"] not in ("", "success", "failure"):
        raise ValueError("finished is no verdict")
    entry = Entry(**{**tree, "stage": Stage(tree["stage"]), "details": tuple(details)})
    if (entry.stage is Stage.CLOSING) != bool(entry.finished):
        raise ValueError("a verdict and no verdict")
    return entry
