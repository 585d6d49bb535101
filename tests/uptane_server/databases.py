"""Databases for the inventory: SQLite in a file, and a PostgreSQL server of this test run's own."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from swagent.uptane_server.inventory import Inventory

_numbers = count()


class PostgreSql:
    """A cluster in a folder, reached through a socket in it; it is nobody's who is root."""

    def __init__(self, programs: Path, folder: Path, *, durable: bool = False) -> None:
        self.folder = folder
        self._has_template = False
        self._programs = programs
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(folder, pwd.getpwnam(self._user).pw_uid, -1)
        data = folder / "data"
        self._run(
            "initdb", "-D", data, "-U", "director", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"
        )
        settings = ["listen_addresses=", f"unix_socket_directories={folder}"]
        settings += [] if durable else ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]
        options = " ".join(f"-c {setting}" for setting in settings)
        self._run("pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "-t", "120", "start")

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://director@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """One with our schema: made once, then copied."""
        if not self._has_template:
            self._run("createdb", "-h", self.folder, "-U", "director", "blank")
            _upgrade(self.url("blank"))
            self._has_template = True
        name = f"fleet{next(_numbers)}"
        self._run("createdb", "-h", self.folder, "-U", "director", "-T", "blank", name)
        return self.url(name)

    def close(self) -> None:
        self._run("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "-w", "stop")

    def _run(self, program: str, *words: "str | Path") -> None:
        done = subprocess.run(
            [self._programs / program, *words],
            user=self._user,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, (done.stdout or b"").decode() + program


def find_postgresql() -> Path | None:
    """The folder of PostgreSQL's programs, the newest."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSql]:
    programs = find_postgresql()
    if programs is None:
        pytest.skip("needs a PostgreSQL server: apt-get install postgresql")
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="swagent-pg-", dir=memory) as folder:
        server = PostgreSql(programs, Path(folder))
        try:
            yield server
        finally:
            server.close()


def _upgrade(url: str) -> None:
    found = Inventory(url)
    found.upgrade()
    found.close()


@pytest.fixture(scope="session")
def blank_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("blank") / "fleet.sqlite"
    _upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite(quick_path: Path, blank_sqlite: Path) -> Iterator[Inventory]:
    """An empty inventory in a file."""
    shutil.copy(blank_sqlite, quick_path / "fleet.sqlite")
    found = Inventory(f"sqlite:///{quick_path}/fleet.sqlite")
    yield found
    found.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def inventory(request: pytest.FixtureRequest) -> Iterator[Inventory]:
    """An empty inventory, in each kind of database."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite")
        return
    found = Inventory(request.getfixturevalue("postgresql").new_database())
    yield found
    found.close()
