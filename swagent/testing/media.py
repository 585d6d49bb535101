"""A Director that allows updates from a medium (PURE-2), and what writes media: for tests of what installs them."""

import os
from collections.abc import Iterable, Mapping, Sequence

from swagent.uptane.codecs.base import SigningPair
from swagent.uptane.metadata import (
    OFFLINE_ROLES,
    OFFLINE_SNAPSHOT,
    OFFLINE_TARGETS,
    TIMESTAMP,
    FileFacts,
    RoleKeys,
    Root,
    Snapshot,
    Targets,
)

from .repositories import DAY_S, NOW_S, RepoSimulator


class OfflineSimulator(RepoSimulator):
    """A Director with roles for updates from a medium, from its second root on.

    Args:
        dialect, seed, vin, now_s: as of a ``RepoSimulator``.

    Attributes:
        offline: name of a targets file to what ``publish_offline`` puts into it.
        offline_files: name to the targets file as it was published last.
        offline_snapshot: the file that lists them.
    """

    def __init__(self, dialect: str = "tuf1", seed: int = 1, vin: str = "", *, now_s: int = NOW_S) -> None:
        self.offline: dict[str, Targets] = {}
        self.offline_files: dict[str, bytes] = {}
        self.offline_snapshot = b""
        super().__init__(dialect, seed, vin, now_s=now_s)
        for role in OFFLINE_ROLES:
            self.signers[role] = [self.new_key()]
            self.threshold[role] = 1
            self.lifetime_s[role] = 90 * DAY_S
        self.renew_root()

    def root_body(self) -> Root:
        """Root as the present keys make it, these roles among them."""
        body = super().root_body()
        roles = [role for role in OFFLINE_ROLES if role in self.signers]
        keys = {signer.key.keyid: signer.key for role in roles for signer in self.signers[role]}
        who = {
            role: RoleKeys(tuple(signer.key.keyid for signer in self.signers[role]), self.threshold[role])
            for role in roles
        }
        return Root({**body.keys, **keys}, {**body.roles, **who}, body.consistent_snapshot)

    def publish_offline(self, *names: str) -> None:
        """The next version of these targets files, or of all, and of the snapshot that lists all."""
        for name in names or self.offline:
            self.versions[name] = self.versions.get(name, 0) + 1
            self.offline_files[name] = self.make_offline(
                OFFLINE_TARGETS, self.offline[name], self.versions[name]
            )
        self.publish_offline_snapshot({name: self.versions[name] for name in self.offline})

    def publish_offline_snapshot(self, versions: Mapping[str, int]) -> None:
        """The next snapshot, listing these versions."""
        self.versions[OFFLINE_SNAPSHOT] = self.versions.get(OFFLINE_SNAPSHOT, 0) + 1
        body = Snapshot({name: FileFacts(version) for name, version in versions.items()})
        self.offline_snapshot = self.make_offline(OFFLINE_SNAPSHOT, body, self.versions[OFFLINE_SNAPSHOT])

    def make_offline(
        self,
        role: str,
        body: Snapshot | Targets,
        version: int,
        signers: Sequence[SigningPair] | None = None,
    ) -> bytes:
        """A file of one of these roles, signed by its keys or by others; it is not kept."""
        return self.codec.encode(
            body,
            version=version,
            expires_s=self.now_s + self.lifetime_s[role],
            signers=tuple(self.signers[role] if signers is None else signers),
            offline=True,
        )

    def fetch(self, repository: str, name: str, max_bytes: int) -> bytes | None:
        """Beside the other files, the snapshot for updates from a medium."""
        if name == f"{OFFLINE_SNAPSHOT}.{self.codec.extension}":
            self.fetched.append(name)
            return self.offline_snapshot[: max_bytes + 1] or None
        return super().fetch(repository, name, max_bytes)

    def named(self) -> dict[str, bytes]:
        """Beside the other files, the snapshot for updates from a medium."""
        own = {f"{OFFLINE_SNAPSHOT}.{self.codec.extension}": self.offline_snapshot}
        return super().named() | (own if self.offline_snapshot else {})


def write_medium(
    folder: str | os.PathLike[str],
    director: OfflineSimulator,
    image: RepoSimulator,
    images: Mapping[str, bytes],
    names: Iterable[str] | None = None,
) -> None:
    """Put all that an update from a medium needs below a folder, laid out as PURE-2 shows it.

    Args:
        folder: the medium.
        director: its roots, the offline snapshot and targets files.
        image: its roots, snapshot and all targets files.
        images: name to contents.
        names: of the Director's targets files; a good medium has exactly one; all unless said otherwise.
    """
    extension = director.codec.extension
    chosen = director.offline_files if names is None else names
    files = {f"metadata/director/{name}.{extension}": director.offline_files[name] for name in chosen}
    files[f"metadata/director/{OFFLINE_SNAPSHOT}.{extension}"] = director.offline_snapshot
    for sim, place in ((director, "director"), (image, "image-repo")):
        for number, raw in enumerate(sim.roots, 1):
            files[f"metadata/{place}/{number}.root.{extension}"] = raw
    for role, raw in image.files.items():
        if role not in ("root", TIMESTAMP):
            files[f"metadata/image-repo/{role}.{extension}"] = raw
    for name, raw in images.items():
        files[f"images/{name}"] = raw
    for name, raw in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(raw)
