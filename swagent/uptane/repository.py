"""One repository's trusted metadata, brought up to date file by file (Standard §5.4.4.2 to §5.4.4.8).

An object of this class is fed bytes, the verified time and what was stored; it does no I/O. A file that fails leaves
everything as it was before it. Whoever drives it stores a file after it was accepted, and never deletes one for
failing.
"""

from collections.abc import Generator, Mapping
from typing import NamedTuple, TypeVar

from swagent.crypto.digest import same
from swagent.errors import MetadataTrustError

from . import paths
from .codecs.base import Codec, NotUnderstood
from .errors import (
    DelegationHashMismatch,
    DelegationMissing,
    ExpiredMetadata,
    InvalidMetadata,
    MixAndMatch,
    RootRotationError,
    VersionMismatch,
    VersionRollback,
)
from .metadata import (
    DIRECTOR,
    OFFLINE_SNAPSHOT,
    OFFLINE_TARGETS,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    Delegation,
    Delegations,
    Document,
    FileFacts,
    Key,
    RoleKeys,
    Root,
    Snapshot,
    Target,
    Targets,
    Timestamp,
)
from .rules import Rules
from .trust import judge_signatures, judge_thresholds

_B = TypeVar("_B", Root, Timestamp, Snapshot, Targets)


class Floors(NamedTuple):
    """The lowest versions that are still accepted, kept beside the files and surviving their loss (§4.9 of our notes).

    Attributes:
        timestamp: version of timestamp.
        snapshot: version of snapshot.
        listed: role to the version of its targets file that a snapshot listed.
        offline_snapshot: of a Director: version of the snapshot for updates from a medium.
        offline: targets file to its version that this one listed.
    """

    timestamp: int = 0
    snapshot: int = 0
    listed: tuple[tuple[str, int], ...] = ()
    offline_snapshot: int = 0
    offline: tuple[tuple[str, int], ...] = ()


NO_FLOORS = Floors()


class Wanted(NamedTuple):
    """A delegated role's file that a search needs; give it to ``update_delegated``, or say that it is not to be had."""

    role: str
    delegator: str


class Repository:
    """The trusted metadata of one repository.

    Args:
        name: ``director`` or ``image``.
        codec: the encoding.
        rules: the rule set.
        root: the root that is trusted already, as stored or provisioned; it must be signed as it demands itself.
        now_s: the verified time, in seconds since the epoch.
        floors: what earlier cycles reached.

    Attributes:
        voided: roles whose stored files a new root's keys have made void.

    Raises:
        InvalidMetadata: the root cannot be understood.
        RootRotationError: it is not signed.
    """

    def __init__(
        self, name: str, codec: Codec, rules: Rules, root: bytes, now_s: float, floors: Floors = NO_FLOORS
    ) -> None:
        self.name = name
        self._codec = codec
        self._rules = rules
        self._now_s = now_s
        self.floors = floors
        self.root = self._decode(root, ROOT)
        self._judge_rotation(self.root, body_of(self.root, Root), "its own")
        self.timestamp: Document | None = None
        self.snapshot: Document | None = None
        self.targets: dict[str, Document] = {}
        self.voided: frozenset[str] = frozenset()

    # -- what was stored

    def recall(self, role: str, raw: bytes, *, delegator: str = ROOT) -> bool:
        """Take a stored file back as "the previous one": its signatures must hold under the present root.

        Expiry plays no part: what it says of versions is a floor all the same.

        Returns:
            Whether it was taken; a file that does not hold is as good as none, and its floors remain.
        """
        kind = role if role in (TIMESTAMP, SNAPSHOT) else TARGETS
        try:
            document = self._decode(raw, kind, role=role)
            self._judge_signatures(document, role, delegator)
        except (InvalidMetadata, DelegationMissing, MetadataTrustError):
            return False
        self._keep(role, document)
        return True

    # -- root

    def update_root(self, raw: bytes) -> Document:
        """Follow to the next root (§5.4.4.3): signed by the old root's keys and by its own, version exactly one more.

        Its expiry does not matter yet; see ``judge_root_expiry``.

        Raises:
            RootRotationError: it does not follow.
            UptaneError: it cannot be understood, or a threshold is illegal.
        """
        new = self._decode(raw, ROOT)
        old_root, new_root = body_of(self.root, Root), body_of(new, Root)
        judge_thresholds(new_root, repository=self.name)
        if new.version != self.root.version + 1:
            raise RootRotationError(
                f"{self.name} root has version {new.version} where {self.root.version + 1} is due",
                repository=self.name,
                role=ROOT,
                expected=str(self.root.version + 1),
                found=str(new.version),
            )
        for which, root in (("the trusted root", old_root), ("its own", new_root)):
            self._judge_rotation(new, root, which)
        self._become_root(new)
        return new

    def update_unversioned_root(self, raw: bytes) -> Document:
        """As the reference rotates: one root file, any higher version, judged by the old root's keys only.

        Raises:
            RootRotationError: it is not signed by the old keys, or not newer.
            UptaneError: it cannot be understood, or a threshold is illegal.
        """
        new = self._decode(raw, ROOT)
        judge_thresholds(body_of(new, Root), repository=self.name)
        self._judge_rotation(new, body_of(self.root, Root), "the trusted root")
        if new.version < self.root.version or (new.version == self.root.version and new.raw != self.root.raw):
            raise RootRotationError(
                f"{self.name} root has version {new.version}, the trusted one has {self.root.version}",
                repository=self.name,
                role=ROOT,
                expected=f"more than {self.root.version}",
                found=str(new.version),
            )
        self._become_root(new)
        return new

    def judge_root_expiry(self) -> None:
        """Of the last root only (§5.4.4.3 step 4).

        Raises:
            ExpiredMetadata: it has expired.
        """
        self._judge_expiry(self.root, ROOT)

    def _judge_rotation(self, new: Document, root: Root, which: str) -> None:
        try:
            self._judge(new, root.roles[ROOT], root.keys, ROOT)
        except MetadataTrustError as exc:
            raise RootRotationError(
                f"{self.name} root {new.version} is not signed by the keys of {which}: {exc.message}",
                repository=self.name,
                role=ROOT,
                expected=exc.expected,
                found=exc.found,
            ) from exc

    def _become_root(self, new: Document) -> None:
        """When timestamp's or snapshot's keys change, what they said before counts no more (fast-forward, step 5).

        Where a Director has neither, it is its targets that set the floor, and their keys that lift it.
        """
        old = self.root
        self.root = new
        if self._targets_set_floor and _identities(old, TARGETS) != _identities(new, TARGETS):
            self.targets.clear()
            self.voided |= {TARGETS}
            self.floors = self.floors._replace(listed=())
        for role in (TIMESTAMP, SNAPSHOT):
            if _identities(old, role) == _identities(new, role):
                continue
            self.timestamp = self.snapshot = None
            self.voided |= {TIMESTAMP, SNAPSHOT}
            self.floors = self.floors._replace(timestamp=0, snapshot=0)
            if role == SNAPSHOT:
                self.floors = self.floors._replace(listed=())
        before, after = _identities(old, OFFLINE_SNAPSHOT), _identities(new, OFFLINE_SNAPSHOT)
        if before[0] and after[0] and before != after:  # a role that goes and comes again keeps its floors
            self.voided |= {OFFLINE_SNAPSHOT}
            self.floors = self.floors._replace(offline_snapshot=0, offline=())

    # -- timestamp, snapshot

    def update_timestamp(self, raw: bytes) -> bool:
        """A new timestamp (§5.4.4.4).

        Returns:
            Whether it replaces the one that was there.

        Raises:
            UptaneError: not understood, not signed, older, or expired.
        """
        new = self._decode(raw, TIMESTAMP)
        self._judge_signatures(new, TIMESTAMP, ROOT)
        self._judge_version(new, TIMESTAMP, self.floors.timestamp)
        facts = body_of(new, Timestamp).snapshot
        self._judge_not_lower(
            facts.version, self.floors.snapshot, SNAPSHOT, "the snapshot that timestamp lists"
        )
        if self.timestamp is not None and new.version == self.timestamp.version:
            if self._rules.equal_timestamp_kept or new.raw == self.timestamp.raw:
                return False  # its expiry is judged when its facts are used
            before = body_of(self.timestamp, Timestamp).snapshot
            self._judge_not_lower(
                facts.version, before.version or 0, SNAPSHOT, "the snapshot that timestamp lists"
            )
        self._judge_expiry(new, TIMESTAMP)
        self.timestamp = new
        self.floors = self.floors._replace(timestamp=new.version)
        return True

    @property
    def snapshot_facts(self) -> FileFacts:
        """What timestamp says of snapshot.

        Raises:
            ExpiredMetadata: timestamp has expired.
        """
        if self.timestamp is None:
            raise ValueError("timestamp comes before snapshot")
        self._judge_expiry(self.timestamp, TIMESTAMP)
        return body_of(self.timestamp, Timestamp).snapshot

    def has_snapshot(self) -> bool:
        """Whether the snapshot that timestamp lists is the one that is there (§5.4.4.2 steps 4 and 8)."""
        facts = self.snapshot_facts
        if self.snapshot is None or self.snapshot.version != facts.version:
            return False
        return self._facts_fault(self.snapshot, facts) is None

    def update_snapshot(self, raw: bytes) -> Document:
        """A new snapshot, the one that timestamp lists (§5.4.4.5).

        Raises:
            UptaneError: not understood, not the one listed, not signed, older, or expired.
        """
        facts = self.snapshot_facts
        new = self._decode(raw, SNAPSHOT)
        self._judge_facts(new, facts, SNAPSHOT)
        self._judge_signatures(new, SNAPSHOT, ROOT)
        self._judge_listed_version(new, facts, SNAPSHOT, TIMESTAMP)
        self._judge_not_rolled_back(new)
        self._judge_expiry(new, SNAPSHOT)
        self._become_snapshot(new)
        return new

    def _judge_not_rolled_back(self, new: Document) -> None:
        """Neither a snapshot itself nor what it lists goes back, and nothing disappears from it."""
        self._judge_version(new, SNAPSHOT, self.floors.snapshot)
        files = body_of(new, Snapshot).files
        for role, version in self.floors.listed:
            if role not in files:
                raise VersionRollback(
                    f"{self.name} snapshot no longer lists {role}",
                    repository=self.name,
                    role=SNAPSHOT,
                    expected=f"{role} of version {version} or more",
                    found="nothing",
                )
            self._judge_not_lower(files[role].version, version, SNAPSHOT, f"{role} as snapshot lists it")

    def _become_snapshot(self, new: Document) -> None:
        self.snapshot = new
        files = body_of(new, Snapshot).files
        self.floors = self.floors._replace(
            snapshot=new.version,
            listed=tuple(sorted((role, facts.version or 0) for role, facts in files.items())),
        )

    def judge_snapshot_expiry(self) -> None:
        """Of a snapshot that was there already.

        Raises:
            ExpiredMetadata: it has expired.
        """
        if self.snapshot is not None:
            self._judge_expiry(self.snapshot, SNAPSHOT)

    def judge_targets_expiry(self) -> None:
        """Of top-level targets that were there already.

        Raises:
            ExpiredMetadata: they have expired.
        """
        if TARGETS in self.targets:
            self._judge_expiry(self.targets[TARGETS], TARGETS)

    def judge_expiries(self) -> None:
        """Of all that is there, when nothing new is to be had.

        Raises:
            ExpiredMetadata: one of them has expired.
        """
        self.judge_root_expiry()
        if self.timestamp is not None:
            self._judge_expiry(self.timestamp, TIMESTAMP)
        self.judge_snapshot_expiry()
        self.judge_targets_expiry()

    # -- targets

    def listed(self, role: str) -> FileFacts | None:
        """What snapshot says of a targets file; None where there is no snapshot to ask (aktualizr's Director).

        Raises:
            DelegationMissing: snapshot does not list it.
        """
        if self.snapshot is None:
            if self._targets_set_floor:
                return None
            raise ValueError("snapshot comes before targets")
        facts = body_of(self.snapshot, Snapshot).files.get(role)
        if facts is None:
            raise DelegationMissing(
                f"{self.name} snapshot does not list the role {role[:60]}",
                repository=self.name,
                role=role,
                expected="an entry in snapshot",
                found="none",
            )
        return facts

    def has_targets(self, role: str = TARGETS) -> bool:
        """Whether the targets file that snapshot lists is the one that is there."""
        there, facts = self.targets.get(role), self.listed(role)
        return (
            there is not None
            and facts is not None
            and there.version == facts.version
            and self._facts_fault(there, facts) is None
        )

    def update_targets(self, raw: bytes) -> Document:
        """New top-level targets (§5.4.4.6).

        Raises:
            UptaneError: not understood, not the version listed, not signed, older, expired; of a Director: it
                delegates.
        """
        return self._update_targets(raw, TARGETS, ROOT)

    def update_delegated(self, raw: bytes, wanted: Wanted) -> Document:
        """A delegated role's file, judged by the file that delegates to it (§5.4.4.6).

        Raises:
            UptaneError: as ``update_targets``.
        """
        return self._update_targets(raw, wanted.role, wanted.delegator)

    def _update_targets(self, raw: bytes, role: str, delegator: str) -> Document:
        facts = self.listed(role)
        new = self._decode(raw, TARGETS, role=role)
        if facts is not None:
            self._judge_facts(new, facts, role)
        self._judge_signatures(new, role, delegator)
        body = body_of(new, Targets)
        judge_thresholds(body, repository=self.name)
        if facts is not None:
            self._judge_listed_version(new, facts, role, SNAPSHOT)
        # what snapshots listed is the floor, not the stored file: new snapshot keys lift the one (§5.4.4.5)
        self._judge_version(new, role, dict(self.floors.listed).get(role, 0))
        self._judge_expiry(new, role)
        self._judge_no_delegations(body, role)
        self._keep(role, new)
        return new

    # -- looking for an image

    def search(self, path: str, hardware_id: str = "") -> Generator[Wanted, None, Target | None]:
        """Look for an image by its name, through delegations, in order of priority (§5.4.4.7, §5.4.4.8).

        A generator: it yields the delegated files that it needs, to be loaded with ``update_delegated`` before it is
        resumed, and returns the target, or None when there is none.

        Raises:
            DelegationMissing: a file that it yielded is still not there when it is resumed.
        """
        answer = yield from self._ask(TARGETS, path, hardware_id, 0, set())
        return answer.target

    def _ask(
        self, role: str, path: str, hardware_id: str, depth: int, visited: set[str]
    ) -> "Generator[Wanted, None, _Answer]":
        visited.add(role)
        body = body_of(self.targets[role], Targets)
        if path in body.targets:
            return _Answer(body.targets[path])
        if depth >= self._rules.depth_max:
            return _Answer(None)
        for entry in _entries_for(body.delegations, path, hardware_id, self._rules):
            if len(entry.roles) == 1:
                child = entry.roles[0].name
                if len(visited) >= self._rules.visits_max:
                    return _Answer(None, ended=True)
                answer = _Answer(None)
                if child not in visited:
                    yield from self._load(child, role)
                    answer = yield from self._ask(child, path, hardware_id, depth + 1, visited)
            else:
                answer = yield from self._ask_several(entry, role, path, hardware_id, depth, visited)
            if answer.target is not None or answer.ended:
                return answer
            if entry.terminating:
                return _Answer(None, ended=True)
        return _Answer(None)

    def _ask_several(
        self, entry: Delegation, role: str, path: str, hardware_id: str, depth: int, visited: set[str]
    ) -> "Generator[Wanted, None, _Answer]":
        """Several roles that must agree (TAP 3): of the sets large enough, that with the earliest role counts."""
        answers: list[Target] = []
        for member in entry.roles:
            if len(visited) >= self._rules.visits_max:
                break
            own = visited - {member.name}
            yield from self._load(member.name, role)
            answer = yield from self._ask(member.name, path, hardware_id, depth + 1, own)
            visited |= own
            if answer.target is not None:
                answers.append(answer.target)
        for target in answers:
            if sum(_agree(target, other) for other in answers) >= entry.agreement:
                return _Answer(target)
        return _Answer(None)

    def _load(self, role: str, delegator: str) -> Generator[Wanted, None, None]:
        """See that a delegated file is there, and that this delegator vouches for it."""
        there = self.targets.get(role)
        if there is not None and self.has_targets(role):
            self._judge_signatures(there, role, delegator)
            self._judge_expiry(there, role)
            return
        self.targets.pop(role, None)
        self.listed(role)
        yield Wanted(role, delegator)
        if role not in self.targets:
            raise DelegationMissing(
                f"{self.name}: the role {role[:60]} is delegated to, and its file is not to be had",
                repository=self.name,
                role=role,
                expected="its file",
                found="nothing",
            )

    # -- single checks

    @property
    def _targets_set_floor(self) -> bool:
        """Of a Director without snapshot, as aktualizr's: its targets stand for themselves."""
        return self.name == DIRECTOR and not self._rules.director_lists

    def _decode(self, raw: bytes, kind: str, *, role: str = "", offline: bool = False) -> Document:
        role = role or kind
        try:
            document = self._codec.decode(raw, offline=offline)
        except NotUnderstood as exc:
            raise InvalidMetadata(
                f"{self.name} {role} cannot be understood: {exc}", repository=self.name, role=role
            ) from exc
        if document.kind != kind:
            raise InvalidMetadata(
                f"{self.name} {role} is a file of the role {document.kind}",
                repository=self.name,
                role=role,
                expected=kind,
                found=document.kind,
            )
        return document

    def _judge_signatures(self, document: Document, role: str, delegator: str) -> None:
        who, keys = self._signers(role, delegator)
        self._judge(document, who, keys, role)

    def _judge(self, document: Document, who: RoleKeys, keys: Mapping[str, Key], role: str) -> None:
        judge_signatures(document.message, document.signatures, keys, who, repository=self.name, role=role)

    def _signers(self, role: str, delegator: str) -> tuple[RoleKeys, Mapping[str, Key]]:
        """Who must sign a role: root says it of top-level roles, a delegating file of others."""
        if delegator == ROOT:
            root = body_of(self.root, Root)
            who = root.roles.get(role)
            if who is not None:
                return who, root.keys
        elif delegator in self.targets:
            delegations = body_of(self.targets[delegator], Targets).delegations
            for entry in delegations.entries:
                for member in entry.roles:
                    if member.name == role:
                        return member.keys, delegations.keys
            if delegations.bins is not None and role.startswith(delegations.bins.prefix + "-"):
                return delegations.bins.keys, delegations.keys
        raise DelegationMissing(
            f"{self.name}: {delegator[:60]} does not delegate to {role[:60]}", repository=self.name, role=role
        )

    def _judge_version(self, document: Document, role: str, floor: int) -> None:
        self._judge_not_lower(document.version, floor, role, f"{role}")

    def _judge_not_lower(self, version: int | None, floor: int, role: str, what: str) -> None:
        if (version or 0) < floor:
            raise VersionRollback(
                f"{self.name}: {what} has version {version}, and {floor} was there before",
                repository=self.name,
                role=role,
                expected=f"{floor} or more",
                found=str(version),
            )

    def _judge_listed_version(self, document: Document, facts: FileFacts, role: str, lister: str) -> None:
        if document.version != facts.version:
            raise VersionMismatch(
                f"{self.name} {role} has version {document.version}, {lister} lists {facts.version}",
                repository=self.name,
                role=role,
                expected=str(facts.version),
                found=str(document.version),
            )

    def _judge_facts(self, document: Document, facts: FileFacts, role: str) -> None:
        fault = self._facts_fault(document, facts)
        if fault is not None:
            kind = MixAndMatch if role in (SNAPSHOT, TARGETS, OFFLINE_TARGETS) else DelegationHashMismatch
            raise kind(
                f"{self.name} {role} is not the file that is listed: its {fault[0]} is another",
                repository=self.name,
                role=role,
                expected=fault[1],
                found=fault[2],
            )

    def _facts_fault(self, document: Document, facts: FileFacts) -> tuple[str, str, str] | None:
        """What of length and hashes is not as listed: its name, expected, found."""
        if facts.length_bytes is not None and facts.length_bytes != len(document.raw):
            return "length", str(facts.length_bytes), str(len(document.raw))
        for algorithm, expected in facts.hashes.items():
            found = _hash(algorithm, document.raw)
            if found is None:
                return f"hash {algorithm[:20]}", expected, "an algorithm that is not known here"
            if not same(found.encode(), expected.encode()) and not (
                document.canonical and _hash(algorithm, document.canonical) == expected
            ):
                return algorithm, expected, found
        return None

    def _judge_no_delegations(self, body: Targets, role: str) -> None:
        if self.name == DIRECTOR and body.delegations:
            raise InvalidMetadata(
                "the Director delegates, which it may not",
                repository=self.name,
                role=role,
                expected="no delegations",
                found=f"{len(body.delegations.entries) or 1} delegations",
            )

    def _judge_expiry(self, document: Document, role: str) -> None:
        """Expired means: the verified time has reached it (§5.4.4, "lower than the expiration timestamp")."""
        if not self._now_s < document.expires_s:
            from .codecs.base import write_time

            raise ExpiredMetadata(
                f"{self.name} {role} expired at {write_time(document.expires_s)}",
                repository=self.name,
                role=role,
                expected=f"later than {write_time(int(self._now_s))}",
                found=write_time(document.expires_s),
            )

    def _keep(self, role: str, document: Document) -> None:
        if role == TIMESTAMP:
            self.timestamp = document
            floor = max(self.floors.timestamp, document.version)
            self.floors = self.floors._replace(timestamp=floor)
        elif role == SNAPSHOT:
            self.snapshot = document
            listed = dict(self.floors.listed)
            for name, facts in body_of(document, Snapshot).files.items():
                listed[name] = max(listed.get(name, 0), facts.version or 0)
            self.floors = self.floors._replace(
                snapshot=max(self.floors.snapshot, document.version), listed=tuple(sorted(listed.items()))
            )
        else:
            self.targets[role] = document
            if self._targets_set_floor:
                listed = dict(self.floors.listed)
                listed[role] = max(listed.get(role, 0), document.version)
                self.floors = self.floors._replace(listed=tuple(sorted(listed.items())))


class _Answer(NamedTuple):
    """What one role says of an image; ``ended``: the search ends here, found or not."""

    target: Target | None
    ended: bool = False


def _entries_for(delegations: Delegations, path: str, hardware_id: str, rules: Rules) -> list[Delegation]:
    """Which delegations speak of an image, in order."""
    if delegations.bins is not None:
        from .metadata import DelegatedRole

        name = paths.bin_of(delegations.bins, path)
        return [Delegation((DelegatedRole(name, delegations.bins.keys),))]
    return [
        entry
        for entry in delegations.entries
        if (entry.hardware_ids is None or hardware_id in entry.hardware_ids)
        and paths.speaks_of(entry, path, wildcards_cross_slash=rules.wildcards_cross_slash)
    ]


def _agree(one: Target, other: Target) -> bool:
    """Whether two roles say the same of an image: length, hashes, and what must match (§5.4.4.8)."""
    return (
        one.length_bytes == other.length_bytes
        and one.hashes == other.hashes
        and one.hardware_ids == other.hardware_ids
        and one.release_counter == other.release_counter
    )


def _identities(root: Document, role: str) -> tuple[int, frozenset[str]]:
    """Who signs a role, by public values."""
    body = body_of(root, Root)
    who = body.roles.get(role)
    if who is None:
        return 0, frozenset()
    known = (body.keys.get(keyid) for keyid in who.keyids)
    return who.threshold, frozenset("".join(key.public.split()) for key in known if key is not None)


def _hash(algorithm: str, data: bytes) -> str | None:
    import hashlib

    name = algorithm.replace("-", "_") if algorithm.startswith("sha512-") else algorithm
    if name not in ("sha224", "sha256", "sha384", "sha512", "sha512_224", "sha512_256"):
        return None
    return hashlib.new(name, data).hexdigest()


def body_of(document: Document, kind: type[_B]) -> _B:
    """The body of a document that is known to be of this kind."""
    if not isinstance(document.body, kind):
        raise TypeError(f"{document.kind} where {kind.__name__} is due")
    return document.body
