"""The files of one repository in any dialect: the next version of each role, signed by the keys of that role."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from swagent.errors import SettingsError
from swagent.uptane.codecs.base import Codec, NotUnderstood, SigningPair
from swagent.uptane.metadata import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TOP_LEVEL,
    Body,
    FileFacts,
    RoleKeys,
    Root,
    Snapshot,
    Timestamp,
)
from swagent.uptane.signing import Signer

DAY_S = 86_400
LIFETIME_S: Mapping[str, int] = {
    ROOT: 31_556_900, TARGETS: 7_889_230, SNAPSHOT: 7 * DAY_S, TIMESTAMP: DAY_S,
}  # fmt: skip
"""The reference's; delegated roles live as long as targets."""


@dataclass
class RoleFiles:
    """What one repository serves, and what its next files are made from. It does no I/O.

    Attributes:
        codec: the encoding.
        now_s: the time that lifetimes are counted from.
        signers: role to the keys that sign it; a role that is missing is not made.
        threshold: role to how many of them must sign; 1 where nothing is said.
        lifetime_s: role to how long a file is good for.
        versions: role to the version of its file.
        files: role to its file.
        roots: every root there ever was, the first one first.
        consistent_snapshot: what root says of names of files.
    """

    codec: Codec
    now_s: int
    signers: dict[str, list[Signer]] = field(default_factory=dict)
    threshold: dict[str, int] = field(default_factory=dict)
    lifetime_s: dict[str, int] = field(default_factory=lambda: dict(LIFETIME_S))
    versions: dict[str, int] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    roots: list[bytes] = field(default_factory=list)
    consistent_snapshot: bool = False

    # -- what is made next

    def renew_root(self, *, also: Iterable[SigningPair] = ()) -> bytes:
        """The next root, with the present keys; ``also`` signs too: the keys of the root before, when they changed."""
        signers = {signer.key.keyid: signer for signer in (*self.signers[ROOT], *also)}
        raw = self.renew(ROOT, self.root_body(), tuple(signers.values()))
        self.roots.append(raw)
        return raw

    def renew_lists(self) -> None:
        """The next snapshot and timestamp, of the files as they are; nothing where these roles have no keys."""
        if SNAPSHOT in self.signers:
            self.renew(SNAPSHOT, self.snapshot_body())
        if TIMESTAMP in self.signers:
            self.renew(TIMESTAMP, Timestamp(self.facts(SNAPSHOT)))

    def renew(self, role: str, body: Body, signers: Sequence[SigningPair] | None = None) -> bytes:
        """The next file of a role.

        Raises:
            SettingsError: the dialect has no words for something in it; nothing has changed.
        """
        version = self.versions.get(role, 0) + 1
        raw = self.make(role, body, version, signers)
        self.versions[role] = version
        self.files[role] = raw
        return raw

    # -- its pieces

    def make(
        self, role: str, body: Body, version: int, signers: Iterable[SigningPair] | None = None
    ) -> bytes:
        """A file of any role, signed by its keys or by others; it is not kept.

        Raises:
            SettingsError: the dialect has no words for something in it.
        """
        lifetime_s = self.lifetime_s.get(role, self.lifetime_s[TARGETS])
        try:
            return self.codec.encode(
                body,
                version=version,
                expires_s=self.now_s + lifetime_s,
                signers=tuple(self.signers[role] if signers is None else signers),
            )
        except NotUnderstood as exc:
            raise SettingsError(f"{role} cannot be written in {self.codec.name}: {exc}") from exc

    def root_body(self) -> Root:
        """Root as the present keys make it."""
        roles = [role for role in TOP_LEVEL if role in self.signers]
        keys = {signer.key.keyid: signer.key for role in roles for signer in self.signers[role]}
        who = {
            role: RoleKeys(
                tuple(signer.key.keyid for signer in self.signers[role]), self.threshold.get(role, 1)
            )
            for role in roles
        }
        return Root(keys, who, self.consistent_snapshot)

    def snapshot_body(self) -> Snapshot:
        """Snapshot of all targets files there are; the reference's dialects list root too."""
        listed = {
            role: FileFacts(self.versions[role])
            for role in self.files
            if role not in (ROOT, SNAPSHOT, TIMESTAMP)
        }
        return Snapshot(listed, self.facts(ROOT) if self.codec.name.startswith("ref") else None)

    def facts(self, role: str) -> FileFacts:
        """Version, length and hash of a file."""
        raw = self.files[role]
        return FileFacts(self.versions[role], len(raw), {"sha256": sha256(raw).hexdigest()})

    # -- as files

    def named(self) -> dict[str, bytes]:
        """Every file under its plain and its versioned name, and every root; aktualizr's delegated ones in a folder."""
        extension = self.codec.extension
        found = {f"{number}.{ROOT}.{extension}": raw for number, raw in enumerate(self.roots, 1)}
        for role, raw in self.files.items():
            found[f"{role}.{extension}"] = raw
            if role != TIMESTAMP:
                found[f"{self.versions[role]}.{role}.{extension}"] = raw
            if self.codec.name == "ak" and role not in TOP_LEVEL:
                found[f"delegations/{role}.{extension}"] = raw
        return found
