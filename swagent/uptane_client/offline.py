"""Metadata of updates from a medium (PURE-2), and what a Primary does for them while it is online."""

from collections.abc import Callable

from swagent.errors import EndlessDataError, MetadataTrustError, TransportError
from swagent.uptane.errors import InvalidMetadata, MixAndMatch
from swagent.uptane.metadata import (
    OFFLINE_SNAPSHOT,
    OFFLINE_TARGETS,
    SNAPSHOT,
    Document,
)
from swagent.uptane.offline import OfflineDirector, OfflineImage

from .refresh import Refresh


class DirectorRefresh(Refresh):
    """A Director's repository, online or on a medium."""

    kind = OfflineDirector
    repository: OfflineDirector

    def follow_offline(self, warn: Callable[[str], None]) -> None:
        """Online, after ``run``: learn which updates from a medium may still be installed.

        Args:
            warn: hears why it was not learned.

        Raises:
            VersionRollback: the Director lists older ones than before.
            EndlessDataError: it is too long.
            DeviceError: it cannot be stored.
        """
        if not self.repository.allows_offline:
            return
        self._recall_offline()
        try:
            raw = self._take_either(self._names(), self._rules.caps.snapshot)
            if raw is not None and self.repository.update_offline_snapshot(raw, from_medium=False):
                self._accept(OFFLINE_SNAPSHOT, raw)
                self.finish()
        except EndlessDataError:
            raise
        except (MetadataTrustError, InvalidMetadata, TransportError) as exc:
            warn(f"nothing new was learned of updates from a medium: {exc.message}")

    def offline_targets(self) -> tuple[str, Document]:
        """From a medium: its one targets file, and how it is called.

        Raises:
            UptaneError: something does not pass; the stored files, roots apart, are as they were.
            TransportError: something is not to be had.
        """
        self.root()
        self._recall_offline()
        repository = self.repository
        raw = self._need(self._names(), self._rules.caps.snapshot)
        if repository.update_offline_snapshot(raw, from_medium=True):
            self._accept(OFFLINE_SNAPSHOT, raw)
        name, file = self._one_targets_file()
        document = repository.update_offline_targets(name, file)
        self.finish()
        return name, document

    def _one_targets_file(self) -> tuple[str, bytes]:
        """Of those that the snapshot lists the only one that is there, and its name."""
        listed, found = self.repository.offline_files(), None
        for name, facts in listed.items():
            most_bytes = facts.length_bytes or self._rules.caps.targets
            raw = self._take(f"{name}.{self._codec.extension}", most_bytes)
            if raw is not None and found is not None:
                raise InvalidMetadata(
                    f"the medium has more than one targets file: {found[0][:60]}, {name[:60]}",
                    repository=self._name,
                    role=OFFLINE_TARGETS,
                    expected="one",
                    found="two",
                )
            if raw is not None:
                found = name, raw
        if found is None:
            raise MixAndMatch(
                "the medium has no targets file that may still be installed from one",
                repository=self._name,
                role=OFFLINE_TARGETS,
                expected="one of " + ", ".join(name[:60] for name in list(listed)[:8]),
                found="none",
            )
        return found

    def _names(self) -> tuple[str, ...]:
        """Aktualizr's fork calls the file by its role, PURE-2 shows another name."""
        return tuple(
            f"{word}.{self._codec.extension}" for word in (OFFLINE_SNAPSHOT, "Offline-update-snapshot")
        )

    def _recall_offline(self) -> None:
        stored = self._store.load(self._name, OFFLINE_SNAPSHOT)
        if stored is not None:
            self.repository.recall_offline_snapshot(stored)


class ImageFromMedium(Refresh):
    """The Image repository on a medium: what is stored already and newer counts instead."""

    kind = OfflineImage
    repository: OfflineImage

    def run(self) -> bool:
        """All of it; returns whether the medium's snapshot is news.

        Raises:
            UptaneError: something does not pass; the stored files, roots apart, are as they were.
            TransportError: something is not to be had.
        """
        self.root()
        self.recall()
        raw = self._need(f"{SNAPSHOT}.{self._codec.extension}", self._rules.caps.snapshot)
        news = self.repository.update_offline_snapshot(raw)
        if news:
            self._accept(SNAPSHOT, raw)
        self.targets()
        self.finish()
        return news

    def _versioned(self, role: str, version: int | None) -> tuple[str, ...]:
        """A medium has one version of each: plain names, whatever root says of names."""
        plain = f"{role}.{self._codec.extension}"
        return (plain,) if version is None else (plain, f"{version}.{plain}")
