"""What the Director knows of its fleet, in a database: SQLite on one machine, PostgreSQL for many workers.

The database is the one place of state: any number of processes may work on it. Whoever changes a vehicle locks its row
first (SQLite: the whole file), so that two workers never sign the same version twice.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from swagent.errors import DeviceError, SettingsError, TransportError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from .inventory_fleet import Fleet

BUSY_S = 20.0
DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}


class Inventory:
    """A database of vehicles.

    Args:
        url: ``sqlite:///path/to/file`` or ``postgresql://user@host/database``; a plain path is one of SQLite.

    Raises:
        SettingsError: no such kind of database.
        RegistrationError: what opens it is not installed.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        address = self._engine.url
        kind = address.get_backend_name()
        self.name: str = address.set(drivername=kind).render_as_string(hide_password=True)
        self.is_sqlite: bool = kind == "sqlite"

    @contextmanager
    def change(self) -> "Iterator[Fleet]":
        """All that is done in the block, or nothing of it; durable when it ends well.

        Raises:
            DeviceError, TransportError: the database refuses, or is not there.
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield _fleet(connection)

    @contextmanager
    def look(self) -> "Iterator[Fleet]":
        """To read.

        Raises:
            DeviceError, TransportError: the database refuses, or is not there.
        """
        with self._transaction("BEGIN") as connection:
            yield _fleet(connection)

    def upgrade(self) -> None:
        """Raise the schema to this program's; several processes may try at once.

        Raises:
            SettingsError: the database was made by a later version.
            DeviceError, TransportError: it refuses, or is not there.
        """
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", "swagent:uptane_server/inventory_migrations")
        with self._transaction("BEGIN IMMEDIATE") as connection:
            if not self.is_sqlite:
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7358134)")
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as exc:
                raise SettingsError(
                    f"the inventory {self.name} was made by a later version of swagent: {exc}",
                    hint="install that version again, or name another database",
                ) from exc

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, begin: str) -> "Iterator[Connection]":
        from sqlalchemy.exc import OperationalError, SQLAlchemyError

        try:
            with self._engine.connect() as connection:  # what was not committed at its end is rolled back
                if self.is_sqlite:
                    connection.exec_driver_sql(begin)
                yield connection
                connection.commit()
        except OperationalError as exc:
            message = f"the inventory {self.name} cannot be used: {exc.orig}"
            if self.is_sqlite:
                raise DeviceError(message, path=self.name) from exc
            raise TransportError(message) from exc
        except SQLAlchemyError as exc:
            raise DeviceError(f"the inventory {self.name}: {exc}"[:500], path=self.name) from exc


def _fleet(connection: "Connection") -> "Fleet":
    from .inventory_fleet import Fleet

    return Fleet(connection)


def _engine(url: str) -> "Engine":
    try:
        from sqlalchemy import create_engine, event
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    except ImportError as exc:
        from swagent.errors import RegistrationError

        raise RegistrationError("a Director needs swagent[server]") from exc
    try:
        address = make_url(url if "://" in url else f"sqlite:///{url}")
        address = address.set(drivername=DRIVERS[address.drivername])
        if address.drivername.startswith("sqlite"):
            if address.database != ":memory:":
                _make_private(address.database or "")
            engine = create_engine(address, connect_args={"timeout": BUSY_S, "check_same_thread": False})
            event.listen(engine, "connect", _prepare_sqlite)
        else:
            engine = create_engine(address, pool_size=8, max_overflow=8, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, KeyError) as exc:
        raise SettingsError(
            f"the inventory {url[:80]!r} is no database that is known here",
            hint="a path, sqlite:///PATH or postgresql://USER@HOST/DATABASE",
        ) from exc
    except ImportError as exc:
        from swagent.errors import RegistrationError

        raise RegistrationError("an inventory in PostgreSQL needs swagent[postgres]") from exc
    return engine


def _make_private(path: str) -> None:
    """A new database is its owner's alone; what keeps it from being made is told when it is opened."""
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Writers do not wait for readers; each commit is durable; we alone say when a transaction begins."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
