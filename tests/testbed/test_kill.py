"""Somebody kills the Director's console in the middle of what it writes: no client ever sees a mixture."""

import random
import signal
import subprocess
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest

from swagent.clock import SystemClock
from swagent.errors import MismatchError, SettingsError, TransportError
from swagent.testbed.director_side import DirectorSide
from swagent.testbed.image_side import ImageSide
from swagent.testbed.place import VIN, Place, free_ports
from swagent.uptane.codecs import codec
from swagent.uptane.metadata import DIRECTOR, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Snapshot, Timestamp
from swagent.uptane.rules import BY_DIALECT
from swagent.uptane_client.files import FileStore
from swagent.uptane_client.refresh import Refresh
from swagent.uptane_client.sources import RepositorySource

from .test_script import Silent

DIALECTS = ("tuf1", "ref-json", "ref-der")
KILLS = 4
ALWAYS = {("write", "tuf1"), ("restore", "ref-der")}
CONSOLE = """
import sys
from swagent.testbed.director_side import DirectorSide
from swagent.testbed.image_side import ImageSide
from swagent.testbed.place import Place, free_ports
from tests.testbed.test_script import Silent
folder, dialect, verb = sys.argv[1:]
place = Place(folder, dialect, Silent(), ports=free_ports())
dd = DirectorSide(place, ImageSide(place))
dd.resume()
while True:
    if verb == "write":
        dd.write_to_live("democar")
    else:
        dd.backup_repositories("democar")
        dd.restore_repositories("democar")
    print("done", flush=True)
"""


class Client:
    """A vehicle's view of its Director repository, read from the folder that is served."""

    def __init__(self, folder: Path, dialect: str) -> None:
        self._codec = codec(dialect)
        self._rules = BY_DIALECT[dialect]
        self._source = RepositorySource(f"file://{folder}/director/{VIN}", SystemClock())
        self._store = FileStore(str(folder / "client"), self._codec.extension)
        self._live = folder / "director" / VIN / "metadata"
        self._store.save(DIRECTOR, ROOT, self.read(ROOT))

    def read(self, role: str) -> bytes:
        return (self._live / f"{role}.{self._codec.extension}").read_bytes()

    def refresh(self) -> None:
        def fetch(repository: str, name: str, max_bytes: int) -> bytes | None:
            return self._source.metadata(name, max_bytes)

        now_s = SystemClock().now_s()
        Refresh(DIRECTOR, self._codec, self._rules, fetch, self._store, now_s=now_s).run()

    def one_state(self) -> None:
        """All files under their plain names belong together."""
        timestamp = self._codec.decode(self.read(TIMESTAMP)).body
        snapshot = self._codec.decode(self.read(SNAPSHOT))
        assert isinstance(timestamp, Timestamp)
        assert isinstance(snapshot.body, Snapshot)
        assert timestamp.snapshot.version == snapshot.version
        assert timestamp.snapshot.hashes["sha256"] == sha256(snapshot.raw).hexdigest()
        assert snapshot.body.files[TARGETS].version == self._codec.decode(self.read(TARGETS)).version


@pytest.mark.parametrize(
    ("verb", "dialect"),
    [
        pytest.param(verb, dialect, marks=[] if (verb, dialect) in ALWAYS else [pytest.mark.slow])
        for verb in ("write", "restore")
        for dialect in DIALECTS
    ],
)
def test_whoever_reads_finds_one_state(quick_path: Path, verb: str, dialect: str) -> None:
    place = Place(str(quick_path), dialect, Silent(), ports=free_ports())
    dd = DirectorSide(place, ImageSide(place))
    dd.clean_slate()
    dd.close()
    client = Client(quick_path, dialect)
    client.refresh()
    chance = random.Random(f"{dialect} {verb}")
    for _ in range(KILLS):
        with subprocess.Popen(
            [sys.executable, "-c", CONSOLE, str(quick_path), dialect, verb],
            stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
        ) as console:  # fmt: skip
            assert console.stdout is not None
            for _ in range(chance.randint(1, 3)):
                assert console.stdout.readline() == b"done\n"
                with suppress(
                    TransportError, MismatchError
                ):  # a change between two requests is refused, not believed
                    client.refresh()
            try:
                console.wait(chance.uniform(0.0, 0.05))
            except subprocess.TimeoutExpired:
                console.send_signal(signal.SIGKILL)
        client.one_state()
        client.refresh()
        dd.resume()
        try:
            dd.restore_repositories(VIN)  # what a kill in the middle of it left
        except SettingsError:
            dd.write_to_live(VIN)
        client.one_state()
        client.refresh()
        dd.backup_repositories(VIN)
        dd.restore_repositories(VIN)
        dd.close()
        client.one_state()
        client.refresh()


def test_what_was_not_finished_is_no_backup(quick_path: Path) -> None:
    place = Place(str(quick_path), "tuf1", Silent(), ports=free_ports())
    dd = DirectorSide(place, ImageSide(place))
    with pytest.raises(SettingsError, match="no Director"):
        dd.resume()
    dd.clean_slate()
    (quick_path / "director" / VIN / "metadata.staged" / "targets.json").unlink()
    with pytest.raises(SettingsError, match="not what is served"):
        dd.backup_repositories()
    dd.write_to_live()
    dd.backup_repositories()
    dd.close()


def test_a_console_goes_on_with_the_keys_that_count(quick_path: Path) -> None:
    place = Place(str(quick_path), "ref-der", Silent(), ports=free_ports())
    dd = DirectorSide(place, ImageSide(place))
    dd.clean_slate()
    client = Client(quick_path, "ref-der")
    dd.revoke_compromised_keys()
    client.refresh()
    dd.close()
    again = DirectorSide(place, ImageSide(place))
    again.resume()
    again.write_to_live(VIN)
    again.close()
    client.refresh()
