"""Small databases of our own: one file, durable at each commit, its schema raised step by step."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from swagent.errors import DeviceError

from .atomic import make_folders

BUSY_S = 10.0


class Database:
    """A SQLite database; threads that share it wait for each other's transactions.

    Args:
        path: of the file; it and its folder are made when they are missing.
        steps: SQL scripts; the nth raises the schema from version n-1 to n. Never change one that was shipped.
        mode: permissions of the file.

    Raises:
        DeviceError: it cannot be opened, is damaged, or was made by a later version.
    """

    def __init__(self, path: str, steps: tuple[str, ...], *, mode: int = 0o600) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            make_folders(os.path.dirname(path) or ".", mode=0o755)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode))
            self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = DELETE")
            self._db.execute("PRAGMA synchronous = EXTRA")  # the journal's folder is synced too
            self._db.execute("PRAGMA foreign_keys = ON")
        except (OSError, sqlite3.Error) as exc:
            raise DeviceError(f"cannot open the database {path}: {exc}", path=path) from exc
        self._raise(steps)

    def _raise(self, steps: tuple[str, ...]) -> None:
        with self.transaction() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > len(steps):
                raise DeviceError(
                    f"the database {self.path} was made by a later version of swagent",
                    path=self.path,
                    hint="install that version again, or put the database aside",
                )
            for number in range(version, len(steps)):
                for statement in steps[number].split(";\n"):
                    if statement.strip():
                        db.execute(statement)
            if version < len(steps):
                db.execute(f"PRAGMA user_version = {len(steps):d}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is done in the block, or nothing of it; durable when it ends well.

        Raises:
            DeviceError: the database refuses.
        """
        try:
            with self._lock:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
        except sqlite3.Error as exc:
            raise DeviceError(f"the database {self.path} cannot be used: {exc}", path=self.path) from exc

    def close(self) -> None:
        """Close it."""
        self._db.close()
