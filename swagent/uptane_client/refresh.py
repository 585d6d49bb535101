"""Bringing one repository's metadata up to date: root chain, timestamp, snapshot, targets (Standard §5.4.4.2).

What is fetched is judged by ``swagent.uptane``; what passes is stored. Unless the rules say otherwise nothing but
roots is stored before the whole repository has passed, so that a failed attempt leaves the stored files as they were.
"""

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import quote

from swagent.errors import EndlessDataError, SettingsError, TransportError
from swagent.uptane.codecs.base import Codec
from swagent.uptane.metadata import (
    DIRECTOR,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    Root,
    Target,
)
from swagent.uptane.repository import NO_FLOORS, Floors, Repository
from swagent.uptane.rules import Rules


class Fetch(Protocol):
    """Where metadata files come from."""

    def __call__(self, repository: str, name: str, max_bytes: int) -> bytes | None:
        """A file, None when it is not there.

        Args:
            repository: ``director`` or ``image``.
            name: such as ``2.root.json``; a role's name may hold anything, so it is for the other side to quote.
            max_bytes: read no more than one byte beyond.

        Raises:
            TransportError: whether it is there cannot be told.
        """
        ...


class Store(Protocol):
    """Where accepted files are kept. All methods raise DeviceError."""

    def load(self, repository: str, role: str) -> bytes | None:
        """The file that was accepted last, None when there is none."""
        ...

    def save(self, repository: str, role: str, raw: bytes) -> None:
        """Replace it, durably; the old one is kept as "previous"."""
        ...

    def keep_root(self, repository: str, version: int, raw: bytes) -> None:
        """Keep one root of the chain, durably, for ECUs that are several behind."""
        ...

    def roots(self, repository: str) -> Mapping[int, bytes]:
        """The roots of the chain that were kept, by version."""
        ...

    def forget(self, repository: str, role: str) -> None:
        """Remove a file, durably; only for what a change of keys has made void."""
        ...

    def floors(self, repository: str) -> Floors:
        """The versions below which nothing is accepted."""
        ...

    def save_floors(self, repository: str, floors: Floors) -> None:
        """Replace them, durably."""
        ...


class Refresh:
    """One repository in one cycle.

    Args:
        name: ``director`` or ``image``.
        codec: the encoding.
        rules: the rule set.
        fetch: where files come from.
        store: where they are kept.
        now_s: the verified time.

    Raises:
        UptaneError: the stored root cannot be understood, or is not signed.
        SettingsError: there is no root.
    """

    kind: type[Repository] = Repository
    repository: Repository

    def __init__(
        self, name: str, codec: Codec, rules: Rules, fetch: Fetch, store: Store, *, now_s: float
    ) -> None:
        self._codec = codec
        self._rules = rules
        self._fetch = fetch
        self._store = store
        root = store.load(name, ROOT)
        if root is None:
            raise _no_root(name)
        self.repository = self.kind(name, codec, rules, root, now_s, store.floors(name))
        self._name = name
        self._pending: dict[str, bytes] = {}
        self._stored_floors = self.repository.floors

    # -- the steps

    def root(self) -> None:
        """Follow the chain of roots; each is stored as it is accepted (§5.4.4.3).

        Raises:
            UptaneError: one does not follow, or the last one has expired.
            TransportError: the repository cannot be reached.
        """
        repository, caps = self.repository, self._rules.caps
        for _ in range(self._rules.root_rotations_max):
            name = f"{repository.root.version + 1}.root.{self._codec.extension}"
            raw = self._take(name, caps.root)
            if raw is None:
                break
            repository.update_root(raw)
            self._save_root()
        if not self._rules.versioned_root_only:
            raw = self._take(f"root.{self._codec.extension}", caps.root)
            if raw is not None and raw != repository.root.raw:
                repository.update_unversioned_root(raw)
                self._save_root()
        repository.judge_root_expiry()

    def _save_root(self) -> None:
        """What a change of keys makes void goes first: left behind, it would bind the new root for ever."""
        for role in self.repository.voided:
            self._store.forget(self._name, role)
        if self.repository.voided:
            self._store.save_floors(self._name, self.repository.floors)
            self._stored_floors = self.repository.floors
        root = self.repository.root
        self._store.keep_root(self._name, root.version, root.raw)
        self._store.save(self._name, ROOT, root.raw)

    def recall(self) -> None:
        """Take back what was stored, as far as it holds under the present root."""
        for role in (TIMESTAMP, SNAPSHOT, TARGETS):
            raw = self._store.load(self._name, role)
            if raw is not None:
                self.repository.recall(role, raw)

    def timestamp_and_snapshot(self) -> bool:
        """Bring both up to date (§5.4.4.4, §5.4.4.5).

        Returns:
            Whether there is news: False when the stored snapshot is the one listed.

        Raises:
            UptaneError: one of them does not pass.
            TransportError: one is not to be had.
        """
        repository, caps = self.repository, self._rules.caps
        raw = self._need(f"timestamp.{self._codec.extension}", caps.timestamp)
        if repository.update_timestamp(raw):
            self._accept(TIMESTAMP, raw)
        if repository.has_snapshot():
            repository.judge_snapshot_expiry()
            return False
        facts = repository.snapshot_facts
        raw = self._need(self._versioned(SNAPSHOT, facts.version), facts.length_bytes or caps.snapshot)
        repository.update_snapshot(raw)
        self._accept(SNAPSHOT, raw)
        return True

    def targets(self) -> None:
        """Bring top-level targets up to date (§5.4.4.6).

        Raises:
            UptaneError: they do not pass.
            TransportError: they are not to be had.
        """
        repository, caps = self.repository, self._rules.caps
        facts = repository.listed(TARGETS)
        if facts is not None and repository.has_targets():
            repository.judge_targets_expiry()
            return
        version, length_bytes = (facts.version, facts.length_bytes) if facts is not None else (None, None)
        raw = self._need(self._versioned(TARGETS, version), length_bytes or caps.targets)
        repository.update_targets(raw)
        self._accept(TARGETS, raw)

    def finish(self) -> None:
        """Store what was accepted: floors first, then timestamp, snapshot, targets."""
        if self.repository.floors != self._stored_floors:
            self._store.save_floors(self._name, self.repository.floors)
            self._stored_floors = self.repository.floors
        for role, raw in self._pending.items():
            self._store.save(self._name, role, raw)
        self._pending.clear()

    def run(self) -> bool:
        """All of it; returns whether there is news since the last time.

        Raises:
            UptaneError: something does not pass; the stored files, roots apart, are as they were.
            TransportError: something is not to be had.
        """
        self.root()
        self.recall()
        news = True
        if self._name != DIRECTOR or self._rules.director_lists:
            news = self.timestamp_and_snapshot()
        self.targets()
        self.finish()
        return news

    def stored(self) -> None:
        """Go by what is stored, and fetch nothing.

        Raises:
            ExpiredMetadata: it no longer counts.
            SettingsError: there is nothing, or not all of it.
        """
        self.recall()
        repository = self.repository
        lists = self._name != DIRECTOR or self._rules.director_lists
        whole = TARGETS in repository.targets
        if lists:
            whole = (
                repository.timestamp is not None and repository.has_snapshot() and repository.has_targets()
            )
        if not whole:
            raise SettingsError(
                f"no verified metadata of the {self._name} repository is stored here",
                hint="`swagent uptane download` comes before",
            )
        repository.judge_expiries()

    def files(self) -> dict[str, bytes]:
        """What was verified, by file name, to hand on; the chain of roots is among it where the rules have one."""
        repository, extension = self.repository, self._codec.extension
        found = {f"{ROOT}.{extension}": repository.root.raw}
        if self._rules.versioned_root_only:
            kept = {**self._store.roots(self._name), repository.root.version: repository.root.raw}
            newest = sorted(kept)[-self._rules.root_rotations_max :]
            found |= {f"{version}.{ROOT}.{extension}": kept[version] for version in newest}
        lists = {TIMESTAMP: repository.timestamp, SNAPSHOT: repository.snapshot, **repository.targets}
        for role, document in lists.items():
            if document is not None:
                found[f"{quote(role, safe='')}.{extension}"] = document.raw
        return found

    def find(self, path: str, hardware_id: str = "") -> Target | None:
        """Look for an image, fetching the delegated files that it takes (§5.4.4.7); accepted ones are stored.

        Raises:
            UptaneError: a delegated file does not pass, or is not to be had.
            TransportError: the repository cannot be reached.
        """
        search = self.repository.search(path, hardware_id)
        try:
            wanted = next(search)
            while True:
                facts = self.repository.listed(wanted.role)
                stored = self._store.load(self._name, wanted.role)
                if stored is not None and self._still_holds(stored, wanted.role, wanted.delegator):
                    wanted = next(search)
                    continue
                version, length_bytes = (facts.version, facts.length_bytes) if facts else (None, None)
                raw = self._take_either(
                    self._versioned(wanted.role, version), length_bytes or self._rules.caps.targets
                )
                if raw is not None:
                    self.repository.update_delegated(raw, wanted)
                    self._store.save(self._name, wanted.role, raw)
                wanted = next(search)
        except StopIteration as end:
            found: Target | None = end.value
            return found

    def _still_holds(self, raw: bytes, role: str, delegator: str) -> bool:
        repository = self.repository
        if not repository.recall(role, raw, delegator=delegator):
            return False
        if repository.has_targets(role):
            return True
        repository.targets.pop(role, None)
        return False

    # -- fetching

    def _versioned(self, role: str, version: int | None) -> tuple[str, ...]:
        """Names of a file, the likelier first."""
        plain = f"{role}.{self._codec.extension}"
        root = self.repository.root.body
        consistent = isinstance(root, Root) and root.consistent_snapshot
        if version is None:
            return (plain,)
        versioned = f"{version}.{plain}"
        return (versioned,) if consistent else (plain, versioned)

    def _take(self, name: str, max_bytes: int) -> bytes | None:
        raw = self._fetch(self._name, name, max_bytes)
        if raw is not None and len(raw) > max_bytes:
            raise EndlessDataError(
                f"{self._name} {name} has more than {max_bytes} bytes",
                repository=self._name,
                role=name,
                expected=f"{max_bytes} bytes at most",
                found="more",
            )
        return raw

    def _take_either(self, names: tuple[str, ...], max_bytes: int) -> bytes | None:
        for name in names:
            raw = self._take(name, max_bytes)
            if raw is not None:
                return raw
        return None

    def _need(self, names: str | tuple[str, ...], max_bytes: int) -> bytes:
        names = (names,) if isinstance(names, str) else names
        raw = self._take_either(names, max_bytes)
        if raw is None:
            raise TransportError(
                f"the {self._name} repository has no {names[0]}", hint="it may be in the middle of a change"
            )
        return raw

    def _accept(self, role: str, raw: bytes) -> None:
        self._pending[role] = raw
        if not self._rules.stored_as_one:
            self.finish()


class MemoryStore:
    """A ``Store`` that forgets everything at the end."""

    def __init__(self, roots: Mapping[str, bytes]) -> None:
        self.files: dict[tuple[str, str], bytes] = {(name, ROOT): raw for name, raw in roots.items()}
        self._floors: dict[str, Floors] = {}
        self._roots: dict[str, dict[int, bytes]] = {}

    def load(self, repository: str, role: str) -> bytes | None:
        """What was saved last."""
        return self.files.get((repository, role))

    def save(self, repository: str, role: str, raw: bytes) -> None:
        """Keep it."""
        self.files[repository, role] = raw

    def keep_root(self, repository: str, version: int, raw: bytes) -> None:
        """Keep it."""
        self._roots.setdefault(repository, {})[version] = raw

    def roots(self, repository: str) -> Mapping[int, bytes]:
        """What was kept."""
        return self._roots.get(repository, {})

    def forget(self, repository: str, role: str) -> None:
        """Drop it."""
        self.files.pop((repository, role), None)

    def floors(self, repository: str) -> Floors:
        """What was saved last."""
        return self._floors.get(repository, NO_FLOORS)

    def save_floors(self, repository: str, floors: Floors) -> None:
        """Keep them."""
        self._floors[repository] = floors


def _no_root(name: str) -> Exception:
    return SettingsError(
        f"there is no root of the {name} repository to begin with",
        hint="`swagent uptane provision` puts one there",
    )
