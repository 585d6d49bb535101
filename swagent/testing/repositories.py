"""A repository of Uptane metadata in memory, in any dialect, that can be made to lie: for tests of what verifies it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256, sha512

from swagent.crypto.cipher import BLOCK_BYTES, OVERHEAD_BYTES, CbcEncryptor
from swagent.crypto.imagekey import KINDS
from swagent.crypto.schemes import from_seed
from swagent.uptane.codecs import codec
from swagent.uptane.codecs.base import Codec, SigningPair
from swagent.uptane.metadata import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TOP_LEVEL,
    Body,
    DelegatedRole,
    Delegation,
    Delegations,
    EncryptedTarget,
    FileFacts,
    RoleKeys,
    Root,
    Snapshot,
    Target,
    Targets,
    Timestamp,
)
from swagent.uptane.signing import Signer

NOW_S = 1_800_000_000
DAY_S = 86_400


def image_target(path: str, data: bytes, *ecus: str, hardware_id: str = "", **facts: object) -> Target:
    """A target that describes ``data``, for these ECUs."""
    hashes = {"sha256": sha256(data).hexdigest(), "sha512": sha512(data).hexdigest()}
    return Target(path, len(data), hashes, dict.fromkeys(ecus, hardware_id), **facts)  # type: ignore[arg-type]  # named facts


def encrypted_target(target: Target, data: bytes, key: bytes, wrapped: bytes = b"") -> tuple[Target, bytes]:
    """A target whose image travels encrypted, and that form.

    Args:
        target: what describes ``data``.
        data: the plain image.
        key: AES key of the image, or of the ECU.
        wrapped: the image's key, wrapped for the ECU; empty where its own key is used.
    """
    vector = sha256(target.path.encode()).digest()[:BLOCK_BYTES]
    cipher = CbcEncryptor(key, vector)
    buffer = memoryview(bytearray(len(data) + OVERHEAD_BYTES))
    n = cipher.update_into(memoryview(data), buffer)
    sealed = vector + bytes(buffer[:n]) + cipher.finalize()
    facts = image_target(f"{target.path}.enc", sealed)
    kind = {size: name for name, size in KINDS.items()}[len(key)] if wrapped else ""
    form = EncryptedTarget(facts.path, facts.length_bytes, facts.hashes, kind, wrapped)
    return target._replace(encrypted=form), sealed


@dataclass
class RepoSimulator:
    """One repository.

    Attributes:
        dialect: the encoding.
        seed: makes its keys; another seed, other keys.
        now_s: what its clock says.
        signers: role to the keys that sign it.
        threshold: role to how many must.
        targets: what ``publish`` puts into targets.
        delegated: role to the body of its file.
        versions: role to the version published last.
        lifetime_s: role to how long a file is good for.
        roots: every root ever published, the first one first.
        files: role to the file that is served now.
        lists_delegated: whether snapshot lists delegated roles.
    """

    dialect: str = "tuf1"
    seed: int = 1
    now_s: int = NOW_S
    targets: dict[str, Target] = field(default_factory=dict)
    delegations: Delegations = field(default_factory=Delegations)
    vin: str = ""
    delegated: dict[str, Targets] = field(default_factory=dict)
    signers: dict[str, list[Signer]] = field(default_factory=dict)
    threshold: dict[str, int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    lifetime_s: dict[str, int] = field(default_factory=dict)
    roots: list[bytes] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    consistent_snapshot: bool = False
    fetched: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.codec: Codec = codec(self.dialect)
        self._keys = 0
        for role in TOP_LEVEL:
            self.signers[role] = [self.new_key()]
            self.threshold[role] = 1
        self.lifetime_s = {ROOT: 365 * DAY_S, TARGETS: 90 * DAY_S, SNAPSHOT: 7 * DAY_S, TIMESTAMP: DAY_S}
        self.publish_root()
        self.publish()

    def new_key(self) -> Signer:
        """A key that was not there before; the same for the same seed."""
        self._keys += 1
        return Signer(from_seed(sha256(f"{self.seed} {self._keys}".encode()).digest()), self.codec)

    # -- honest work

    def root_body(self) -> Root:
        """Root as the present keys make it."""
        keys = {signer.key.keyid: signer.key for role in TOP_LEVEL for signer in self.signers[role]}
        roles = {
            role: RoleKeys(tuple(signer.key.keyid for signer in self.signers[role]), self.threshold[role])
            for role in TOP_LEVEL
        }
        return Root(keys, roles, self.consistent_snapshot)

    def publish_root(self, *, also: Iterable[Signer] = ()) -> None:
        """A new root; ``also`` signs too: the keys of the root before, when they were changed."""
        signers = dict.fromkeys([*self.signers[ROOT], *also])
        raw = self.make(ROOT, self.root_body(), self._next(ROOT), signers)
        self.roots.append(raw)
        self.files[ROOT] = raw

    def rotate(self, *roles: str) -> None:
        """New keys for these roles, in a root that follows."""
        old = self.signers[ROOT]
        for role in roles:
            self.signers[role] = [self.new_key()]
        self.publish_root(also=old)

    def publish(self) -> None:
        """New targets, delegated files, snapshot and timestamp."""
        self.files[TARGETS] = self.make(
            TARGETS, Targets(self.targets, self.delegations, self.vin), self._next(TARGETS)
        )
        for role, body in self.delegated.items():
            self.files[role] = self.make(role, body, self._next(role))
        self.publish_lists()

    def publish_lists(self) -> None:
        """New snapshot and timestamp for the files as they are."""
        self.publish_snapshot(self.snapshot_body())
        self.publish_timestamp()

    def snapshot_body(self) -> Snapshot:
        """A snapshot that tells the truth."""
        files = {role: FileFacts(self.versions[role]) for role in (TARGETS, *self.delegated)}
        root = None
        if self.dialect.startswith("ref"):
            root = self.facts(ROOT)
        return Snapshot(files, root)

    def publish_snapshot(self, body: Snapshot) -> None:
        """A new snapshot with this in it."""
        self.files[SNAPSHOT] = self.make(SNAPSHOT, body, self._next(SNAPSHOT))

    def publish_timestamp(self, facts: FileFacts | None = None) -> None:
        """A new timestamp, of the present snapshot or with these facts."""
        body = Timestamp(facts or self.facts(SNAPSHOT))
        self.files[TIMESTAMP] = self.make(TIMESTAMP, body, self._next(TIMESTAMP))

    def delegate(
        self,
        name: str,
        paths: tuple[str, ...],
        targets: Iterable[Target] = (),
        *,
        to: str = TARGETS,
        **facts: object,
    ) -> Delegation:
        """Let a new role with a key of its own sign for these paths; published with the next ``publish``."""
        signer = self.new_key()
        self.signers[name] = [signer]
        role = DelegatedRole(name, RoleKeys((signer.key.keyid,), 1))
        entry = Delegation((role,), paths=paths, **facts)  # type: ignore[arg-type]  # named facts
        self.delegated[name] = Targets({target.path: target for target in targets})
        old = self.delegations if to == TARGETS else self.delegated[to].delegations
        new = Delegations({**old.keys, signer.key.keyid: signer.key}, (*old.entries, entry))
        if to == TARGETS:
            self.delegations = new
        else:
            self.delegated[to] = self.delegated[to]._replace(delegations=new)
        return entry

    # -- pieces, for lies too

    def make(
        self, role: str, body: Body, version: int, signers: Iterable[SigningPair] | None = None
    ) -> bytes:
        """A file of any role, signed by its keys or by others."""
        return self.codec.encode(
            body,
            version=version,
            expires_s=self.now_s + self.lifetime_s.get(role, 30 * DAY_S),
            signers=tuple(self.signers[role] if signers is None else signers),
        )

    def facts(self, role: str) -> FileFacts:
        """Version, length and hash of a file that is served."""
        raw = self.files[role]
        return FileFacts(self.versions[role], len(raw), {"sha256": sha256(raw).hexdigest()})

    def fetch(self, repository: str, name: str, max_bytes: int) -> bytes | None:
        """A ``uptane_client.refresh.Fetch``: files under their plain and their versioned names."""
        self.fetched.append(name)
        stem = name.removesuffix("." + self.codec.extension)
        number, _, role = stem.partition(".")
        if not number.isdigit():
            return self.files.get(stem, b"")[: max_bytes + 1] or None
        version = int(number)
        if role == ROOT:
            return self.roots[version - 1][: max_bytes + 1] if 0 < version <= len(self.roots) else None
        return self.files.get(role, b"")[: max_bytes + 1] or None

    def write(self, folder: str) -> None:
        """Put everything below ``folder/metadata``, under plain and versioned names."""
        metadata = os.path.join(folder, "metadata")
        os.makedirs(metadata, exist_ok=True)
        extension = self.codec.extension
        named = {f"{number}.{ROOT}.{extension}": raw for number, raw in enumerate(self.roots, 1)}
        for role, raw in self.files.items():
            named[f"{role}.{extension}"] = raw
            if role != TIMESTAMP:
                named[f"{self.versions[role]}.{role}.{extension}"] = raw
        for name, raw in named.items():
            with open(os.path.join(metadata, name), "wb") as file:
                file.write(raw)

    def _next(self, role: str) -> int:
        self.versions[role] = self.versions.get(role, 0) + 1
        return self.versions[role]
