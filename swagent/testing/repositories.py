"""A repository of Uptane metadata in memory, in any dialect, that can be made to lie: for tests of what verifies it."""

import os
from collections.abc import Iterable
from hashlib import sha256, sha512

from swagent.crypto.cipher import BLOCK_BYTES, OVERHEAD_BYTES, CbcEncryptor
from swagent.crypto.imagekey import KINDS
from swagent.crypto.schemes import from_seed
from swagent.uptane.codecs import codec
from swagent.uptane.metadata import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TOP_LEVEL,
    DelegatedRole,
    Delegation,
    Delegations,
    EncryptedTarget,
    FileFacts,
    RoleKeys,
    Snapshot,
    Target,
    Targets,
    Timestamp,
)
from swagent.uptane.signing import Signer
from swagent.uptane_server.repository import DAY_S as DAY_S
from swagent.uptane_server.repository import RoleFiles

NOW_S = 1_800_000_000


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


class RepoSimulator(RoleFiles):
    """One repository.

    Args:
        dialect: the encoding.
        seed: makes its keys; another seed, other keys.
        vin: what targets say of the vehicle.
        now_s: what its clock says.
        consistent_snapshot: what root says of names of files.

    Attributes:
        targets, delegations, correlation_id: what ``publish`` puts into targets.
        delegated: role to the body of its file.
        fetched: names of files that were asked for.
    """

    def __init__(
        self,
        dialect: str = "tuf1",
        seed: int = 1,
        vin: str = "",
        *,
        now_s: int = NOW_S,
        consistent_snapshot: bool = False,
    ) -> None:
        super().__init__(codec(dialect), now_s, consistent_snapshot=consistent_snapshot)
        self.dialect = dialect
        self.seed = seed
        self.vin = vin
        self.targets: dict[str, Target] = {}
        self.delegations = Delegations()
        self.correlation_id = ""
        self.delegated: dict[str, Targets] = {}
        self.fetched: list[str] = []
        self._keys = 0
        for role in TOP_LEVEL:
            self.signers[role] = [self.new_key()]
            self.threshold[role] = 1
        self.lifetime_s = {ROOT: 365 * DAY_S, TARGETS: 90 * DAY_S, SNAPSHOT: 7 * DAY_S, TIMESTAMP: DAY_S}
        self.renew_root()
        self.publish()

    def new_key(self) -> Signer:
        """A key that was not there before; the same for the same seed."""
        self._keys += 1
        return Signer(from_seed(sha256(f"{self.seed} {self._keys}".encode()).digest()), self.codec)

    # -- honest work

    def rotate(self, *roles: str) -> None:
        """New keys for these roles, in a root that follows."""
        old = self.signers[ROOT]
        for role in roles:
            self.signers[role] = [self.new_key()]
        self.renew_root(also=old)

    def publish(self) -> None:
        """New targets, delegated files, snapshot and timestamp."""
        self.renew(TARGETS, Targets(self.targets, self.delegations, self.vin, self.correlation_id))
        for role, body in self.delegated.items():
            self.renew(role, body)
        self.renew_lists()

    def publish_snapshot(self, body: Snapshot) -> None:
        """A new snapshot with this in it."""
        self.renew(SNAPSHOT, body)

    def publish_timestamp(self, facts: FileFacts | None = None) -> None:
        """A new timestamp, of the present snapshot or with these facts."""
        self.renew(TIMESTAMP, Timestamp(facts or self.facts(SNAPSHOT)))

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

    # -- as a server

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
        for name, raw in self.named().items():
            path = os.path.join(metadata, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(raw)
