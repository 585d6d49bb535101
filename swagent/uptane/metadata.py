"""The nouns of Uptane: roles, keys, targets, as frozen facts with the bytes that were signed (Uptane Standard §5.2).

Encodings are the business of ``codecs``; what must hold between these facts is ``verify``'s.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

ROOT, TIMESTAMP, SNAPSHOT, TARGETS = TOP_LEVEL = ("root", "timestamp", "snapshot", "targets")
OFFLINE_SNAPSHOT, OFFLINE_TARGETS = OFFLINE_ROLES = ("offline-snapshot", "offline-updates")
"""A Director's roles for updates from a medium (PURE-2), by the names that aktualizr's fork for them uses."""
DIRECTOR, IMAGE = "director", "image"
"""The two repositories, as errors name them."""

NO_MAPPING: Mapping[str, str] = MappingProxyType({})


class Key(NamedTuple):
    """A public key as metadata lists it; whether it can be used shows when it is needed.

    Attributes:
        keyid: how this file calls it; nothing is concluded from how it was computed.
        kind: ``ed25519``, ``rsa``, ``ecdsa``, or what the file says.
        scheme: as TUF names it, such as ``ed25519``.
        public: hex for Ed25519, else PEM.
    """

    keyid: str
    kind: str
    scheme: str
    public: str


class RoleKeys(NamedTuple):
    """Who may sign a role: identifiers of keys, and how many of them must."""

    keyids: tuple[str, ...]
    threshold: int


class Signature(NamedTuple):
    """One signature.

    Attributes:
        method: the scheme that the signature itself names, "" where only the key does.
    """

    keyid: str
    method: str
    value: bytes


class FileFacts(NamedTuple):
    """What one file says of another.

    Attributes:
        version: None for images.
        length_bytes: None where it is not said.
        hashes: algorithm to lower-case hex.
    """

    version: int | None = None
    length_bytes: int | None = None
    hashes: Mapping[str, str] = NO_MAPPING


class Root(NamedTuple):
    """Keys and who may use them for what.

    Attributes:
        keys: by identifier.
        roles: by role name.
        consistent_snapshot: whether files have their version or hash in their names.
    """

    keys: Mapping[str, Key]
    roles: Mapping[str, RoleKeys]
    consistent_snapshot: bool = False


class Timestamp(NamedTuple):
    """Which snapshot is the newest."""

    snapshot: FileFacts


class Snapshot(NamedTuple):
    """Which targets files belong together.

    Attributes:
        files: role name (``targets``, delegated roles) to facts.
        root: facts of root, where it is listed.
    """

    files: Mapping[str, FileFacts]
    root: FileFacts | None = None


class Target(NamedTuple):
    """An image, as Targets describes it.

    Attributes:
        path: its name, relative to the targets folder; not yet judged, see ``paths.judge``.
        length_bytes: exact size.
        hashes: algorithm to lower-case hex; at least one.
        ecus: serial of each ECU that shall install it (Director only) to its hardware id, "" where none is given.
        hardware_ids: what it is for, None where nothing is said.
        release_counter: never goes down for one image, None where it has none.
        uri: where else to find it, "" for nowhere.
        encrypted: of a per-ECU encrypted image: the facts of its encrypted form, and what opens it.
        custom: everything else that the file says of it, as JSON values; for DER nothing.
    """

    path: str
    length_bytes: int
    hashes: Mapping[str, str]
    ecus: Mapping[str, str] = NO_MAPPING
    hardware_ids: frozenset[str] | None = None
    release_counter: int | None = None
    uri: str = ""
    encrypted: "EncryptedTarget | None" = None
    custom: Mapping[str, object] = MappingProxyType({})

    @property
    def travelling(self) -> "Target":
        """The form in which it is fetched, stored and handed on: the encrypted one where there is one."""
        form = self.encrypted
        return self if form is None else Target(form.path, form.length_bytes, form.hashes)


class EncryptedTarget(NamedTuple):
    """The form in which an image travels to one ECU.

    Attributes:
        path: name of the encrypted file.
        key_kind: ``aes128``, ``aes192``, ``aes256``, "" where the ECU's own key is used directly.
        key: the symmetric key, wrapped for the ECU; empty where there is none.
    """

    path: str
    length_bytes: int
    hashes: Mapping[str, str]
    key_kind: str = ""
    key: bytes = b""


class DelegatedRole(NamedTuple):
    """A role that somebody lets sign for some images."""

    name: str
    keys: RoleKeys


class Delegation(NamedTuple):
    """Images of these names are for these roles to describe.

    Attributes:
        roles: one, or several of which ``agreement`` must say the same (TAP 3).
        paths: patterns, None where ``hash_prefixes`` choose.
        hash_prefixes: beginnings of the hex SHA-256 of the path.
        terminating: whether the search ends here when nothing is found.
        hardware_ids: for which hardware only, None for any.
    """

    roles: tuple[DelegatedRole, ...]
    agreement: int = 1
    paths: tuple[str, ...] | None = None
    hash_prefixes: tuple[str, ...] | None = None
    terminating: bool = False
    hardware_ids: frozenset[str] | None = None


class HashBins(NamedTuple):
    """Succinct delegation: 2**bits roles, chosen by the first bits of the SHA-256 of the path (TAP 15)."""

    bits: int
    prefix: str
    keys: RoleKeys


class Delegations(NamedTuple):
    """All that a targets file delegates, in order of priority."""

    keys: Mapping[str, Key] = MappingProxyType({})
    entries: tuple[Delegation, ...] = ()
    bins: HashBins | None = None

    def __bool__(self) -> bool:
        return bool(self.entries or self.bins)


class Targets(NamedTuple):
    """Images.

    Attributes:
        targets: by path.
        vin: the vehicle that a Director's file is for, "" where it does not say.
        correlation_id: what reports about these assignments shall carry, "" for nothing.
    """

    targets: Mapping[str, Target]
    delegations: Delegations = Delegations()
    vin: str = ""
    correlation_id: str = ""


Body = Root | Timestamp | Snapshot | Targets
KINDS: Mapping[type, str] = MappingProxyType(
    {Root: ROOT, Timestamp: TIMESTAMP, Snapshot: SNAPSHOT, Targets: TARGETS}
)


class Document(NamedTuple):
    """A role's file, decoded but not yet believed.

    Attributes:
        raw: the file.
        message: the bytes that the signatures cover.
        canonical: another form of the file whose hash is accepted where it is listed; empty where there is none.
        expires_s: seconds since the epoch.
    """

    body: Body
    version: int
    expires_s: int
    signatures: tuple[Signature, ...]
    raw: bytes
    message: bytes
    canonical: bytes = b""

    @property
    def kind(self) -> str:
        """The role that the file says it is of; delegated roles are of kind ``targets``."""
        return KINDS[type(self.body)]
