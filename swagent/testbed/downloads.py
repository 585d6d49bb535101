"""What a Primary of the exercise fetches, said line by line, in the order in which the reference fetches it.

The four top-level files are asked for in every cycle, so that each cycle shows them; nothing is believed for that: the
verifier asks for what it needs in its own order, and gets these bytes.
"""

from collections.abc import Callable, Sequence
from urllib.parse import quote

from swagent.net import Folder
from swagent.net.folder import Closing
from swagent.uptane.codecs.base import NotUnderstood
from swagent.uptane.metadata import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Target
from swagent.uptane_client.sources import RepositorySource

from .place import Place

REFERENCE_ORDER = (TIMESTAMP, SNAPSHOT, ROOT, TARGETS)
STANDARD_ORDER = (ROOT, TIMESTAMP, SNAPSHOT, TARGETS)


class ToldSource(RepositorySource):
    """A repository whose downloads are told.

    Args:
        url: of the repository.
        place: the testbed.
        say: hears each line.
        step: number of the step in which it is asked; the answer is the next one.
    """

    def __init__(self, url: str, place: Place, say: Callable[[str], None], step: int) -> None:
        super().__init__(url, place.clock)
        self._step = step
        self._url = url.rstrip("/")
        self._place = place
        self._say = say
        self._fetched: dict[str, bytes | None] = {}

    def begin(self) -> None:
        """A new cycle."""
        self._fetched.clear()

    def metadata(self, name: str, max_bytes: int) -> bytes | None:
        """As the base class; what the cycle fetched already is not fetched again."""
        if not self._fetched:
            caps = self._place.rules.caps
            order = REFERENCE_ORDER if self._place.dialect.startswith("ref") else STANDARD_ORDER
            self._place.voice.step(self._step)
            for role in order:
                file = self._place.file(role)
                self._say(f"Downloading: '{self._url}/metadata/{file}'")
                self._fetched[file] = super().metadata(file, getattr(caps, role))
            self._place.voice.step(self._step + 1)
        version, _, plain = name.partition(".")
        raw = self._fetched.get(name if not version.isdigit() else plain)
        if raw is not None and (not version.isdigit() or self._version(raw) == int(version)):
            return raw
        raw = super().metadata(name, max_bytes)
        if raw is not None:
            self._say(f"Downloading: '{self._url}/metadata/{name}'")
        return raw

    def images(self, target: Target) -> Sequence[tuple[Folder, str]]:
        """As the base class, each said when it is opened."""
        return [
            (_ToldFolder(folder, self._url, self._say), name) for folder, name in super().images(target)[:1]
        ]

    def _version(self, raw: bytes) -> int:
        try:
            return self._place.codec.decode(raw).version
        except NotUnderstood:
            return -1


class _ToldFolder:
    """A ``Folder`` of images."""

    def __init__(self, folder: Folder, url: str, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._url = url
        self._say = say
        self.name = folder.name
        self.get, self.attend = folder.get, folder.attend
        self.close = folder.close

    def open(self, name: str) -> Closing:
        self._say(f"Downloading: '{self._url}/targets/{quote(name)}'")
        return self._folder.open(name)
