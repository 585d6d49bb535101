"""The three JSON dialects: TUF 1.0's (our own), aktualizr's, and the reference implementation's."""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from swagent.uptane import canonical
from swagent.uptane.metadata import (
    OFFLINE_ROLES,
    OFFLINE_SNAPSHOT,
    OFFLINE_TARGETS,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TOP_LEVEL,
    Body,
    DelegatedRole,
    Delegation,
    Delegations,
    Document,
    EncryptedTarget,
    FileFacts,
    HashBins,
    Key,
    RoleKeys,
    Root,
    Signature,
    Snapshot,
    Target,
    Targets,
    Timestamp,
)
from swagent.uptane.reports import EcuReport, InstalledImage, Report, TimeAttestation, VehicleReport

from . import json_fields as fields
from .base import (
    NotUnderstood,
    SigningPair,
    judge_delegated_name,
    judge_hashes,
    judge_offline,
    read_time,
    role_of_file,
    without_slash,
    write_time,
)
from .json_fields import boolean, integer, items, mapping, optional_text, text, texts

SPEC_VERSION = "1.0.33"
_SCHEMES = {"ed25519": "ed25519", "rsa": "rsassa-pss-sha256", "ecdsa": "ecdsa-sha2-nistp256"}
_METHODS = {
    "ed25519": "ed25519",
    "rsassa-pss": "rsassa-pss-sha256",
    "rsassa-pss-sha256": "rsassa-pss-sha256",
}
_OFFLINE_WORDS = {
    "offline-update-snapshot": OFFLINE_SNAPSHOT,
    "offline-update-targets": OFFLINE_TARGETS,
    "offline-targets": OFFLINE_TARGETS,
    **{role: role for role in OFFLINE_ROLES},
}
"""How PURE-2's samples and aktualizr's fork call the roles, as ``_type`` and in root, in lower case."""
_ENCRYPTED_KEYS = ("aes128", "aes192", "aes256")


class Dialect(NamedTuple):
    """What one dialect does otherwise than the others.

    Attributes:
        name: as ``--dialect`` has it.
        capital: whether ``_type`` is ``Root`` rather than ``root``.
        methods: whether a signature names its method, and whether its bytes are base64 instead of hex.
        slash: whether paths begin with a slash.
        schemes: whether keys name their scheme.
        message: the signed bytes of the signed part.
    """

    name: str
    capital: bool
    methods: bool
    base64: bool
    slash: bool
    schemes: bool
    message: Callable[[Any], bytes]


TUF1 = Dialect("tuf1", False, False, False, False, True, canonical.encode)
AK = Dialect("ak", True, True, True, False, False, canonical.encode_compact)
REF = Dialect("ref-json", True, True, False, True, False, canonical.encode)


class JsonCodec:
    """One JSON dialect; implements ``base.Codec``.

    Args:
        dialect: which.
    """

    extension = "json"

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.name = dialect.name

    # -- role files

    def decode(self, raw: bytes, *, offline: bool = False) -> Document:
        """A role's file. Raises NotUnderstood."""
        judge_offline(self.name, offline=offline)
        signed, signatures, message = self._open(raw)
        kind = text(signed, "_type")
        word = kind.lower() if self.dialect.capital or offline else kind
        if self.dialect.schemes:
            spec_version = text(signed, "spec_version")
            if spec_version.split(".")[0] != "1":
                raise NotUnderstood(f"spec_version is {spec_version[:20]!r}, not 1.x")
        readers: Mapping[str, Callable[[Mapping[str, Any]], Body]] = {
            ROOT: self._root,
            TIMESTAMP: self._timestamp,
            SNAPSHOT: self._snapshot,
            TARGETS: self._targets,
        }
        if offline:
            word = _OFFLINE_WORDS.get(word, word)
            readers = {OFFLINE_SNAPSHOT: self._offline_snapshot, OFFLINE_TARGETS: self._targets}
        if word not in readers:
            raise NotUnderstood(f"_type is {kind[:40]!r}")
        version = integer(signed, "version", least=1)
        expires_s = read_time(text(signed, "expires"))
        body = readers[word](signed)
        whole = b"" if self.dialect is not AK else canonical.encode_compact(canonical.load(raw))
        return Document(body, version, expires_s, signatures, raw, message, whole)

    def encode(
        self,
        body: Body,
        *,
        version: int,
        expires_s: int,
        signers: tuple[SigningPair, ...],
        offline: bool = False,
    ) -> bytes:
        """A role's file, signed; canonical bytes, but for the reference's, which are indented as it writes them."""
        judge_offline(self.name, offline=offline)
        writers: Mapping[type, tuple[str, Callable[[Any], dict[str, Any]]]] = {
            Root: (ROOT, self._write_root),
            Timestamp: (TIMESTAMP, self._write_timestamp),
            Snapshot: (SNAPSHOT, self._write_snapshot),
            Targets: (TARGETS, self._write_targets),
        }
        word, write = writers[type(body)]
        if offline:
            word = {SNAPSHOT: OFFLINE_SNAPSHOT, TARGETS: OFFLINE_TARGETS}[word]
        signed = {
            "_type": word.title() if self.dialect.capital else word,
            "version": version,
            "expires": write_time(expires_s),
            **write(body),
        }
        if self.dialect.schemes:
            signed["spec_version"] = SPEC_VERSION
        return self._seal(signed, signers)

    def keyid(self, key: Key) -> str:
        """The identifier that writers of this dialect give a key (hex SHA-256 of a form of it)."""
        from swagent.crypto.digest import sha256

        if self.dialect is AK:
            form = canonical.encode_compact(key.public.rstrip("\n"))
        else:
            form = canonical.encode(self._key_object(key))
        return sha256(form).hexdigest()

    def _key_object(self, key: Key) -> dict[str, Any]:
        if self.dialect is REF:
            return {
                "keytype": key.kind,
                "keyval": {"public": key.public},
                "keyid_hash_algorithms": ["sha256", "sha512"],
            }
        if self.dialect is AK:
            return {"keytype": key.kind.upper(), "keyval": {"public": key.public}}
        return {"keytype": key.kind, "scheme": key.scheme, "keyval": {"public": key.public}}

    # -- reading

    def _open(self, raw: bytes) -> tuple[Mapping[str, Any], tuple[Signature, ...], bytes]:
        try:
            tree = canonical.load(raw)
            whole = fields.as_mapping(tree, "the file")
            signed = mapping(whole, "signed")
            signatures = tuple(self._signature(item) for item in items(whole, "signatures"))
            return signed, signatures, self.dialect.message(signed)
        except NotUnderstood:
            raise
        except ValueError as exc:
            raise NotUnderstood(str(exc)) from exc

    def _signature(self, item: Any) -> Signature:
        found = fields.as_mapping(item, "a signature")
        encoded = text(found, "sig", empty=True)
        try:
            value = b64decode(encoded, validate=True) if self.dialect.base64 else bytes.fromhex(encoded)
        except ValueError as exc:
            raise NotUnderstood(f"a signature is neither hex nor base64: {exc}") from exc
        method = ""
        if self.dialect.methods:
            word = text(found, "method").lower()
            method = _METHODS.get(word, word)
        return Signature(text(found, "keyid"), method, value)

    def _key(self, keyid: str, item: Any) -> Key:
        found = fields.as_mapping(item, "a key")
        kind = text(found, "keytype").lower()
        if kind.startswith("ecdsa"):
            kind = "ecdsa"
        scheme = text(found, "scheme") if self.dialect.schemes else _SCHEMES.get(kind, kind)
        return Key(keyid, kind, scheme, text(mapping(found, "keyval"), "public"))

    def _keys(self, owner: Mapping[str, Any]) -> dict[str, Key]:
        return {keyid: self._key(keyid, item) for keyid, item in mapping(owner, "keys").items()}

    def _root(self, signed: Mapping[str, Any]) -> Root:
        roles: dict[str, RoleKeys] = {}
        for word, item in mapping(signed, "roles").items():
            name = _OFFLINE_WORDS.get(word.lower(), word)
            if name in roles:
                raise NotUnderstood(f"root says twice who signs {name[:60]}")
            if name in TOP_LEVEL or name in OFFLINE_ROLES or self.dialect is not TUF1:
                roles[name] = _role_keys(fields.as_mapping(item, word))
        for name in (ROOT, TARGETS) if self.dialect is AK else TOP_LEVEL:
            if name not in roles:
                raise NotUnderstood(f"root says nothing of the role {name}")
        return Root(self._keys(signed), roles, boolean(signed, "consistent_snapshot", default=False))

    def _timestamp(self, signed: Mapping[str, Any]) -> Timestamp:
        meta = mapping(signed, "meta")
        if set(meta) != {"snapshot.json"}:
            raise NotUnderstood("timestamp must list snapshot.json and nothing else")
        return Timestamp(_file_facts(meta["snapshot.json"], "snapshot.json"))

    def _snapshot(self, signed: Mapping[str, Any]) -> Snapshot:
        files: dict[str, FileFacts] = {}
        root = None
        for filename, item in mapping(signed, "meta").items():
            role = role_of_file(filename)
            if role in files:
                raise NotUnderstood(f"snapshot lists {role[:60]} twice")
            if role == ROOT:
                root = _file_facts(item, filename)
            elif role in (TIMESTAMP, SNAPSHOT):
                raise NotUnderstood(f"snapshot must not list {filename}")
            else:
                files[role] = _file_facts(item, filename)
        if TARGETS not in files:
            raise NotUnderstood("snapshot does not list targets")
        return Snapshot(files, root)

    def _offline_snapshot(self, signed: Mapping[str, Any]) -> Snapshot:
        files: dict[str, FileFacts] = {}
        for filename, item in mapping(signed, "meta").items():
            role = role_of_file(filename)
            if role in files or role.lower() in (*TOP_LEVEL, *_OFFLINE_WORDS):
                raise NotUnderstood(f"the offline snapshot must not list {filename[:60]}, or not twice")
            files[role] = _file_facts(item, filename)
        return Snapshot(files)

    def _targets(self, signed: Mapping[str, Any]) -> Targets:
        targets = {}
        for path, item in mapping(signed, "targets").items():
            target = self._target(self._path(path), fields.as_mapping(item, path))
            if target.path in targets:
                raise NotUnderstood(f"{path[:60]!r} stands there twice")
            targets[target.path] = target
        custom = mapping(signed, "custom", default={})
        delegations = Delegations()
        if signed.get("delegations") is not None:
            delegations = self._delegations(mapping(signed, "delegations"))
        return Targets(
            targets, delegations, optional_text(custom, "vin"), optional_text(custom, "correlationId")
        )

    def _path(self, path: str) -> str:
        return without_slash(path) if self.dialect.slash else path

    def _target(self, path: str, item: Mapping[str, Any]) -> Target:
        hashes = judge_hashes(fields.text_mapping(item, "hashes"), path[:60])
        if not hashes:
            raise NotUnderstood(f"{path[:60]!r} has no hashes")
        custom = mapping(item, "custom", default={})
        ecus: dict[str, str] = {}
        if "ecuIdentifiers" in custom:
            for serial, facts in mapping(custom, "ecuIdentifiers").items():
                ecus[serial] = optional_text(fields.as_mapping(facts, serial), "hardwareId")
        if "ecu_serial" in custom:
            ecus.setdefault(text(custom, "ecu_serial"), "")
        return Target(
            path,
            integer(item, "length", least=0),
            hashes,
            ecus,
            _hardware_ids(custom),
            _release_counter(custom),
            optional_text(custom, "uri"),
            self._encrypted(custom),
            custom,
        )

    def _encrypted(self, custom: Mapping[str, Any]) -> EncryptedTarget | None:
        if "encryptedTarget" not in custom:
            return None
        item = mapping(custom, "encryptedTarget")
        path = self._path(text(item, "filename"))
        hashes = judge_hashes(fields.text_mapping(item, "hashes"), path[:60])
        if not hashes:
            raise NotUnderstood(f"the encrypted form of {path[:60]!r} has no hashes")
        kind, value = "", b""
        if "encryptedSymmetricKey" in custom:
            key = mapping(custom, "encryptedSymmetricKey")
            kind = text(key, "type")
            if kind not in _ENCRYPTED_KEYS:
                raise NotUnderstood(f"an encrypted key is of type {kind[:20]!r}")
            value = fields.hexadecimal(key, "value")
        return EncryptedTarget(path, integer(item, "length", least=0), hashes, kind, value)

    def _delegations(self, tree: Mapping[str, Any]) -> Delegations:
        keys = self._keys(tree)
        if "succinct_roles" in tree:
            if "roles" in tree:
                raise NotUnderstood("delegations have both roles and succinct_roles")
            item = mapping(tree, "succinct_roles")
            bins = HashBins(
                integer(item, "bit_length", least=1, most=32), text(item, "name_prefix"), _role_keys(item)
            )
            return Delegations(keys, bins=bins)
        roles = [fields.as_mapping(item, "a delegation") for item in items(tree, "roles")]
        entries = [self._delegation(item) for item in roles]
        by_name = {role.name: role for entry in entries for role in entry.roles}
        names = [entry.roles[0].name for entry in entries if len(entry.roles) == 1]
        if len(set(names)) != len(names):
            raise NotUnderstood("a role is delegated to twice")
        several = [self._multi_role(fields.as_mapping(item, "a delegation"), by_name)
                   for item in items(tree, "multiroledelegations", default=[])]  # fmt: skip
        return Delegations(keys, (*several, *entries))

    def _delegation(self, item: Mapping[str, Any]) -> Delegation:
        if "min_roles_in_agreement" in item:  # TAP 3
            roles = tuple(
                DelegatedRole(judge_delegated_name(text(role, "name")), _role_keys(role))
                for role in (fields.as_mapping(one, "a role") for one in items(item, "roles"))
            )
            agreement = integer(item, "min_roles_in_agreement", least=1, most=max(len(roles), 1))
        else:
            roles = (DelegatedRole(judge_delegated_name(text(item, "name")), _role_keys(item)),)
            agreement = 1
        return self._with_paths(item, roles, agreement)

    def _multi_role(self, item: Mapping[str, Any], by_name: Mapping[str, DelegatedRole]) -> Delegation:
        """The reference fork's form: roles defined beside it, of which all must agree."""
        names = texts(item, "required_roles")
        missing = [name for name in names if name not in by_name]
        if missing or not names:
            raise NotUnderstood(
                f"a multi-role delegation names the unknown role {(missing or [''])[0][:40]!r}"
            )
        return self._with_paths(item, tuple(by_name[name] for name in names), len(names))

    def _with_paths(
        self, item: Mapping[str, Any], roles: tuple[DelegatedRole, ...], agreement: int
    ) -> Delegation:
        paths = prefixes = None
        if "paths" in item:
            paths = tuple(self._path(path) for path in texts(item, "paths"))
        if "path_hash_prefixes" in item:
            prefixes = texts(item, "path_hash_prefixes")
        if (paths is None) == (prefixes is None):
            raise NotUnderstood("a delegation needs either paths or path_hash_prefixes")
        if "backtrack" in item and "terminating" not in item:
            terminating = not boolean(item, "backtrack")
        else:
            terminating = boolean(item, "terminating", default=False)
        return Delegation(roles, agreement, paths, prefixes, terminating, _hardware_ids(item))

    # -- writing

    def _seal(self, signed: dict[str, Any], signers: tuple[SigningPair, ...]) -> bytes:
        message = self.dialect.message(signed)
        tree = {
            "signed": signed,
            "signatures": [self._write_signature(signer, message) for signer in signers],
        }
        if self.dialect is REF:
            import json

            return json.dumps(tree, sort_keys=True, indent=1, separators=(",", ": ")).encode()
        return canonical.encode_compact(tree)

    def _write_signature(self, signer: SigningPair, message: bytes) -> dict[str, str]:
        value = signer.sign(message)
        item = {
            "keyid": signer.key.keyid,
            "sig": b64encode(value).decode() if self.dialect.base64 else value.hex(),
        }
        if self.dialect.methods:
            if signer.key.scheme == "rsassa-pss-sha256":
                item["method"] = "RSASSA-PSS" if self.dialect is REF else "rsassa-pss-sha256"
            else:
                item["method"] = signer.key.scheme
        return item

    def _write_root(self, body: Root) -> dict[str, Any]:
        tree: dict[str, Any] = {
            "consistent_snapshot": body.consistent_snapshot,
            "keys": {key.keyid: self._key_object(key) for key in body.keys.values()},
            "roles": {name: _write_role_keys(role) for name, role in body.roles.items()},
        }
        if self.dialect is REF:
            tree["compression_algorithms"] = ["gz"]
        return tree

    def _write_timestamp(self, body: Timestamp) -> dict[str, Any]:
        return {"meta": {"snapshot.json": _write_file_facts(body.snapshot)}}

    def _write_snapshot(self, body: Snapshot) -> dict[str, Any]:
        meta = {f"{role}.json": _write_file_facts(facts) for role, facts in body.files.items()}
        if body.root is not None:
            meta["root.json"] = _write_file_facts(body.root)
        return {"meta": meta}

    def _write_targets(self, body: Targets) -> dict[str, Any]:
        tree: dict[str, Any] = {
            "targets": {
                self._write_path(path): self._write_target(target) for path, target in body.targets.items()
            }
        }
        if body.delegations or self.dialect is REF:
            tree["delegations"] = self._write_delegations(body.delegations)
        custom = {"vin": body.vin, "correlationId": body.correlation_id}
        if any(custom.values()):
            tree["custom"] = {name: value for name, value in custom.items() if value}
        return tree

    def _write_path(self, path: str) -> str:
        return "/" + path if self.dialect.slash else path

    def _write_target(self, target: Target) -> dict[str, Any]:
        custom: dict[str, Any] = dict(target.custom)
        if target.ecus and self.dialect is REF:
            if len(target.ecus) > 1:
                raise NotUnderstood(f"{target.path} is for several ECUs, this dialect has words for one")
            custom.setdefault("ecu_serial", next(iter(target.ecus)))
        elif target.ecus:
            custom.setdefault(
                "ecuIdentifiers",
                {
                    serial: {"hardwareId": hardware} if hardware else {}
                    for serial, hardware in target.ecus.items()
                },
            )
        if target.hardware_ids is not None and not _HARDWARE_WORDS & custom.keys():
            custom["hardwareIds"] = sorted(target.hardware_ids)
        if target.release_counter is not None and not _COUNTER_WORDS & custom.keys():
            custom["releaseCounter"] = target.release_counter
        if target.uri:
            custom["uri"] = target.uri
        if target.encrypted is not None:
            form = target.encrypted
            custom["encryptedTarget"] = {
                "filename": self._write_path(form.path),
                "length": form.length_bytes,
                "hashes": dict(form.hashes),
            }
            if form.key_kind:
                custom["encryptedSymmetricKey"] = {"type": form.key_kind, "value": form.key.hex()}
        tree: dict[str, Any] = {"length": target.length_bytes, "hashes": dict(target.hashes)}
        if custom:
            tree["custom"] = custom
        return tree

    def _write_delegations(self, body: Delegations) -> dict[str, Any]:
        tree: dict[str, Any] = {"keys": {key.keyid: self._key_object(key) for key in body.keys.values()}}
        if body.bins is not None:
            tree["succinct_roles"] = {
                **_write_role_keys(body.bins.keys),
                "bit_length": body.bins.bits,
                "name_prefix": body.bins.prefix,
            }
            return tree
        tree["roles"] = [self._write_delegation(entry) for entry in body.entries]
        return tree

    def _write_delegation(self, entry: Delegation) -> dict[str, Any]:
        item: dict[str, Any]
        if len(entry.roles) == 1:
            item = {"name": entry.roles[0].name, **_write_role_keys(entry.roles[0].keys)}
        else:
            roles = [{"name": role.name, **_write_role_keys(role.keys)} for role in entry.roles]
            item = {"roles": roles, "min_roles_in_agreement": entry.agreement}
        if entry.paths is not None:
            item["paths"] = [self._write_path(path) for path in entry.paths]
        if entry.hash_prefixes is not None:
            item["path_hash_prefixes"] = list(entry.hash_prefixes)
        if self.dialect is REF:
            item["backtrack"] = not entry.terminating
        else:
            item["terminating"] = entry.terminating
        if entry.hardware_ids is not None:
            item["hardwareIds"] = sorted(entry.hardware_ids)
        return item

    # -- reports

    def decode_ecu_report(self, raw: bytes) -> Report[EcuReport]:
        """An ECU version manifest. Raises NotUnderstood."""
        signed, signatures, message = self._open(raw)
        if _CONTROL.search(canonical.encode(canonical.load(raw))):
            raise NotUnderstood(
                "a report holds control characters, which not every way to a Director can carry"
            )
        image = mapping(signed, "installed_image")
        facts = mapping(image, "fileinfo")
        path = text(image, "filepath")
        report = EcuReport(
            text(signed, "ecu_serial"),
            InstalledImage(
                self._path(path),
                integer(facts, "length", least=0),
                judge_hashes(fields.text_mapping(facts, "hashes"), path[:60]),
            ),
            read_time(text(signed, "timeserver_time")),
            read_time(text(signed, "previous_timeserver_time")),
            optional_text(signed, "attacks_detected"),
            _counter(signed),
        )
        return Report(report, signatures, message, raw)

    def encode_ecu_report(self, report: EcuReport, signer: SigningPair) -> bytes:
        """An ECU version manifest, signed."""
        signed: dict[str, Any] = {
            "ecu_serial": report.serial,
            "installed_image": {
                "filepath": self._write_path(report.installed.path),
                "fileinfo": {
                    "length": report.installed.length_bytes,
                    "hashes": dict(report.installed.hashes),
                },
            },
            "timeserver_time": write_time(report.time_s),
            "previous_timeserver_time": write_time(report.previous_time_s),
            "attacks_detected": report.attacks,
        }
        if report.counter is not None and self.dialect is not REF:
            signed["report_counter"] = str(report.counter)
        return self._seal(signed, (signer,))

    def decode_vehicle_report(self, raw: bytes) -> Report[VehicleReport]:
        """A vehicle version manifest. Raises NotUnderstood."""
        signed, signatures, message = self._open(raw)
        ecus = {}
        for serial, found in mapping(signed, "ecu_version_manifests").items():
            one = [found] if self.dialect is AK else fields.as_list(found, serial)
            ecus[serial] = tuple(canonical.encode_compact(fields.as_mapping(item, serial)) for item in one)
        report = VehicleReport(
            optional_text(signed, "vin") if self.dialect is AK else text(signed, "vin"),
            text(signed, "primary_ecu_serial"),
            ecus,
            optional_text(signed, "attacks_detected"),
            mapping(signed, "installation_report") if "installation_report" in signed else None,
        )
        return Report(report, signatures, message, raw)

    def encode_vehicle_report(self, report: VehicleReport, signer: SigningPair) -> bytes:
        """A vehicle version manifest, signed."""
        ecus: dict[str, Any] = {}
        for serial, found in report.ecus.items():
            trees = [canonical.load(raw) for raw in found]
            if self.dialect is AK and len(trees) != 1:
                raise NotUnderstood(f"{serial} has {len(trees)} reports, this dialect has words for one")
            ecus[serial] = trees[0] if self.dialect is AK else trees
        signed: dict[str, Any] = {"primary_ecu_serial": report.primary, "ecu_version_manifests": ecus}
        if self.dialect is not AK:
            signed["vin"] = report.vin
        if report.attacks:
            signed["attacks_detected"] = report.attacks
        if report.installation is not None:
            signed["installation_report"] = dict(report.installation)
        return self._seal(signed, (signer,))

    def decode_time(self, raw: bytes) -> Report[TimeAttestation]:
        """A time attestation. Raises NotUnderstood."""
        signed, signatures, message = self._open(raw)
        nonces = tuple(fields.as_integer(item, "a nonce") for item in items(signed, "nonces"))
        return Report(TimeAttestation(nonces, read_time(text(signed, "time"))), signatures, message, raw)

    def encode_time(self, attestation: TimeAttestation, signer: SigningPair) -> bytes:
        """A time attestation, signed."""
        signed = {"nonces": list(attestation.nonces), "time": write_time(attestation.time_s)}
        return self._seal(signed, (signer,))


_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f]|\xef\xbf[\xbe\xbf]")
"""XML has no form for these, or makes others of them."""
_HARDWARE_WORDS = {"hardwareIds", "hardware_ids", "hardwareId", "hardwareIdentifier"}
_COUNTER_WORDS = {"releaseCounter", "release_counter"}


def _role_keys(item: Mapping[str, Any]) -> RoleKeys:
    keyids = texts(item, "keyids")
    if len(set(keyids)) != len(keyids):
        raise NotUnderstood("a role lists a key twice")
    return RoleKeys(keyids, integer(item, "threshold", least=-(2**31), most=2**31))


def _write_role_keys(role: RoleKeys) -> dict[str, Any]:
    return {"keyids": list(role.keyids), "threshold": role.threshold}


def _file_facts(item: Any, filename: str) -> FileFacts:
    found = fields.as_mapping(item, filename)
    hashes = judge_hashes(fields.text_mapping(found, "hashes"), filename) if "hashes" in found else {}
    length = integer(found, "length", least=0) if "length" in found else None
    return FileFacts(integer(found, "version", least=0), length, hashes)


def _write_file_facts(facts: FileFacts) -> dict[str, Any]:
    item: dict[str, Any] = {"version": facts.version}
    if facts.length_bytes is not None:
        item["length"] = facts.length_bytes
    if facts.hashes:
        item["hashes"] = dict(facts.hashes)
    return item


def _hardware_ids(item: Mapping[str, Any]) -> frozenset[str] | None:
    """What hardware something is for, in any spelling there is."""
    for word in ("hardwareIds", "hardware_ids"):
        if word in item:
            return frozenset(texts(item, word))
    for word in ("hardwareId", "hardwareIdentifier"):
        if word in item:
            return frozenset((text(item, word),))
    return None


def _release_counter(custom: Mapping[str, Any]) -> int | None:
    for word in ("releaseCounter", "release_counter"):
        if word in custom:
            return integer(custom, word, least=0)
    return None


def _counter(signed: Mapping[str, Any]) -> int | None:
    if "report_counter" not in signed:
        return None
    word = text(signed, "report_counter")
    if not word.isascii() or not word.isdigit() or len(word) > 18:
        raise NotUnderstood(f"report_counter is {word[:24]!r}")
    return int(word)
