"""What an attacker of a testbed can lay hands on, and what is looked at afterwards."""

import os
from collections.abc import Callable, Mapping
from hashlib import sha256, sha512
from itertools import count
from pathlib import Path
from typing import NamedTuple

from swagent.clock import SystemClock
from swagent.errors import SwagentError, UptaneError
from swagent.store.atomic import make_folders, replace
from swagent.uptane.attested import BadTimeAttestation
from swagent.uptane.errors import BadEcuId
from swagent.uptane.metadata import (
    IMAGE,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    Body,
    Snapshot,
    Target,
    Targets,
    Timestamp,
)
from swagent.uptane.signing import Signer
from swagent.uptane_server.repository import RoleFiles

from .banners import Banner
from .place import PRIMARY_WINDOW, SECONDARY, SECONDARY_WINDOW, VIN
from .script import Heard, Parties

_numbers = count(1)
_WARNINGS: Mapping[str, type[UptaneError]] = {
    "time attestation": BadTimeAttestation, "which is not in this vehicle": BadEcuId,
}  # fmt: skip


class ShiftedClock:
    """The system's clock, some seconds ahead."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self.ahead_s = 0.0

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return self._clock.now_s() + self.ahead_s

    def monotonic_s(self) -> float:
        """Seconds of the monotonic clock, as far ahead."""
        return self._clock.monotonic_s() + self.ahead_s


class Noticed(NamedTuple):
    """Who refused something, and why."""

    party: str
    error: SwagentError


class Bench:
    """An attacked testbed.

    Args:
        parties: of it.
        heard: what they said.
        clock: theirs.

    Attributes:
        noticed: who refused something, in order.
        before: what ECUs trusted when the attack began.
    """

    def __init__(self, parties: Parties, heard: Heard, clock: ShiftedClock) -> None:
        self.parties = parties
        self.place = parties.place
        self.heard = heard
        self.clock = clock
        self.noticed: list[Noticed] = []
        self._saved: dict[str, bytes | None] = {}
        self.mark()

    # -- cycles

    def primary(self) -> SwagentError | None:
        """A cycle of the Primary; what it refused."""
        at = len(self.heard.lines)
        self.parties.dp.update_cycle()
        self._note_warnings(at)
        return self.note(PRIMARY_WINDOW, self.parties.dp.error)

    def secondary(self) -> SwagentError | None:
        """A cycle of the Secondary; what it refused."""
        self.parties.ds.update_cycle()
        return self.note(SECONDARY_WINDOW, self.parties.ds.error)

    def mark(self) -> None:
        """The attack begins now: what came before was honest."""
        self.before = self.kept()
        self.noticed.clear()
        self.heard.banners.clear()

    def _note_warnings(self, at: int) -> None:
        """What a cycle of the Primary noticed and went on without."""
        for who, line in self.heard.lines[at:]:
            kind = next((kind for words, kind in _WARNINGS.items() if words in line), None)
            if who == PRIMARY_WINDOW and kind is not None:
                self.note(who, kind(line))

    def both(self) -> None:
        """A cycle of each."""
        self.primary()
        self.secondary()

    def refused(self, party: str, call: Callable[[], object]) -> None:
        """Something that a server must refuse."""
        try:
            call()
        except SwagentError as exc:
            self.note(party, exc)

    def note(self, party: str, error: SwagentError | None) -> SwagentError | None:
        """Somebody refused something."""
        if error is not None:
            self.noticed.append(Noticed(party, error))
        return error

    def fresh(self) -> bytes:
        """Contents of an image that nobody has seen before."""
        return f"honest image number {next(_numbers)}".encode()

    def order(self, path: str = "firmware.img", data: bytes | None = None, **facts: object) -> bytes:
        """An honest image for the Secondary from both repositories."""
        data = self.fresh() if data is None else data
        di, dd = self.parties.di, self.parties.dd
        source = self.place.path("incoming", path)
        make_folders(os.path.dirname(source))
        replace(source, data)
        place = os.path.join(di.folder, "targets", path)
        make_folders(os.path.dirname(place))
        replace(place, data)
        di.repository.add(source, path, **facts)  # type: ignore[arg-type]  # named facts
        di.write_to_live()
        dd.desk.add_target(VIN, SECONDARY, source, path, **facts)  # type: ignore[arg-type]  # likewise
        dd.write_to_live(VIN)
        return data

    # -- what is looked at

    def kept(self) -> dict[str, bytes]:
        """The metadata that both ECUs trust, and what the Secondary runs."""
        found = {"runs": self.parties.ds.runs()}
        for folder in (self.parties.dp.folder, self.parties.ds.folder):
            for path in Path(folder, "metadata").rglob("current/*"):
                found[str(path)] = path.read_bytes()
        return found

    def alarms(self) -> list[Banner]:
        """The banners so far."""
        return list(self.heard.banners)

    # -- what an attacker does

    def folder(self, repository: str) -> str:
        """Where a repository's metadata is served from."""
        if repository == IMAGE:
            return os.path.join(self.parties.di.folder, "metadata")
        return os.path.join(self.parties.dd.folders.of(VIN), "metadata")

    def read(self, repository: str, role: str) -> bytes:
        """The file that is served."""
        with open(os.path.join(self.folder(repository), self.place.file(role)), "rb") as file:
            return file.read()

    def serve(self, repository: str, role: str, raw: bytes, version: int | None = None) -> None:
        """Serve other bytes under a role's plain name, and under a versioned one."""
        self.write(os.path.join(self.folder(repository), self.place.file(role)), raw)
        if version is not None:
            self.write(os.path.join(self.folder(repository), f"{version}.{self.place.file(role)}"), raw)

    def write(self, path: str, raw: bytes | None) -> None:
        """Replace a file, or take it away; ``undo`` puts it back."""
        if path not in self._saved:
            self._saved[path] = Path(path).read_bytes() if os.path.exists(path) else None
        if raw is None:
            os.unlink(path)
        else:
            replace(path, raw)

    def undo(self) -> None:
        """Put back all that was replaced."""
        for path, raw in self._saved.items():
            if raw is not None:
                replace(path, raw)
            elif os.path.exists(path):
                os.unlink(path)
        self._saved.clear()

    def thief(self, repository: str, signers: Mapping[str, Signer] | None = None) -> RoleFiles:
        """Whoever has the keys of a repository, and its present files."""
        side = self.parties.di if repository == IMAGE else self.parties.dd
        files = RoleFiles(self.place.codec, int(self.clock.now_s()))
        files.signers = {role: [key] for role, key in (signers or side.signers).items()}
        for role in (ROOT, TIMESTAMP, SNAPSHOT, TARGETS):
            files.files[role] = self.read(repository, role)
            files.versions[role] = self.place.codec.decode(files.files[role]).version
        return files

    def forge(self, repository: str, body: Targets) -> None:
        """Serve targets signed with the repository's own keys, and lists of them."""
        files = self.thief(repository)
        files.renew(TARGETS, body)
        files.renew_lists()
        self.serve_all(repository, files, TARGETS, SNAPSHOT, TIMESTAMP)

    def forge_snapshot(self, repository: str, body: Body) -> None:
        """Serve what claims to be a snapshot, and a timestamp of it."""
        files = self.thief(repository)
        files.renew(SNAPSHOT, body)
        files.renew(TIMESTAMP, Timestamp(files.facts(SNAPSHOT)))
        self.serve_all(repository, files, SNAPSHOT, TIMESTAMP)

    def serve_all(self, repository: str, files: RoleFiles, *roles: str) -> None:
        """Serve these files of a thief."""
        for role in roles:
            self.serve(repository, role, files.files[role], files.versions[role])

    def mirrors(self, path: str) -> list[str]:
        """Where an image is served from: by the Director, and by the Image repository."""
        return [
            os.path.join(self.parties.dd.folders.images(VIN), path),
            os.path.join(self.parties.di.folder, "targets", path),
        ]

    def targets(self, repository: str) -> Targets:
        """What a repository's targets say."""
        body = self.place.codec.decode(self.read(repository, TARGETS)).body
        assert isinstance(body, Targets)  # noqa: S101 - the honest side made it
        return body

    def snapshot(self, repository: str) -> Snapshot:
        """What a repository's snapshot says."""
        body = self.place.codec.decode(self.read(repository, SNAPSHOT)).body
        assert isinstance(body, Snapshot)  # noqa: S101 - the honest side made it
        return body


def describe(path: str, data: bytes, *ecus: str, **facts: object) -> Target:
    """A target that describes these bytes."""
    hashes = {"sha256": sha256(data).hexdigest(), "sha512": sha512(data).hexdigest()}
    return Target(path, len(data), hashes, dict.fromkeys(ecus, ""), **facts)  # type: ignore[arg-type]  # named facts
