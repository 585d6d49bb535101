"""The reference implementation's DER (its classes in ``metadata_asn1_definitions.py`` and ``asn1_definitions.py``).

Role files use context tags, implicit but for the body; manifests and time attestations use universal tags. What is
signed is the SHA-256 digest of the first element exactly as it stands in the file, its tag included. Counters that
stand before each list are checked against it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn, TypeVar

from swagent.crypto import der
from swagent.crypto.der import Element, Fields
from swagent.uptane.metadata import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    Body,
    DelegatedRole,
    Delegation,
    Delegations,
    Document,
    EncryptedTarget,
    FileFacts,
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

from .base import (
    ITEMS_MAX,
    NotUnderstood,
    SigningPair,
    judge_delegated_name,
    judge_hashes,
    judge_offline,
    role_of_file,
    without_slash,
)

T = TypeVar("T")

_BOOLEAN, _ENUMERATED, _VISIBLE_STRING = 0x01, 0x0A, 0x1A
_ROLES = {ROOT: 0, TARGETS: 1, SNAPSHOT: 2, TIMESTAMP: 3}  # ENUMERATED RoleType
_CHOICES = {ROOT: 0, TARGETS: 1, SNAPSHOT: 2, TIMESTAMP: 3}  # tags of the body
_KEY_KINDS = {"rsa": 0, "ed25519": 1}
_FREE_TEXT_MAX = 1024  # characters
_METHODS = {"rsassa-pss-sha256": 0, "ed25519": 1}
_HASHES = {"sha224": 0, "sha256": 1, "sha384": 2, "sha512": 3, "sha512-224": 4, "sha512-256": 5}
_CIPHERS = {"aes128": 0, "aes192": 1, "aes256": 2}
_NUMBER_MAX = 2**63 - 1


class DerCodec:
    """``ref-der``; implements ``base.Codec``."""

    name = "ref-der"
    extension = "der"

    # -- role files

    def decode(self, raw: bytes, *, offline: bool = False) -> Document:
        """A role's file. Raises NotUnderstood."""
        judge_offline(self.name, offline=offline)
        return _reading(lambda: _decode(raw))

    def encode(
        self,
        body: Body,
        *,
        version: int,
        expires_s: int,
        signers: tuple[SigningPair, ...],
        offline: bool = False,
    ) -> bytes:
        """A role's file, signed."""
        judge_offline(self.name, offline=offline)
        writers: Mapping[type, tuple[str, Callable[..., bytes]]] = {
            Root: (ROOT, _write_root),
            Timestamp: (TIMESTAMP, _write_timestamp),
            Snapshot: (SNAPSHOT, _write_snapshot),
            Targets: (TARGETS, _write_targets),
        }
        word, write = writers[type(body)]
        signed = der.write(
            _seq(0),
            _number(0, _ROLES[word]),
            _number(1, expires_s),
            _number(2, version),
            der.write(_seq(3), der.write(_seq(_CHOICES[word]), write(body))),
        )
        signatures = [_write_signature(signer, signed) for signer in signers]
        return der.write(der.SEQUENCE, signed, _number(1, len(signatures)), der.write(_seq(2), *signatures))

    def keyid(self, key: Key) -> str:
        """As in the reference's JSON: identifiers do not depend on the encoding."""
        from .json_dialect import REF, JsonCodec

        return JsonCodec(REF).keyid(key)

    # -- reports

    def decode_ecu_report(self, raw: bytes) -> Report[EcuReport]:
        """An ECU version manifest. Raises NotUnderstood."""
        return _reading(lambda: _report(raw, _ecu_report))

    def encode_ecu_report(self, report: EcuReport, signer: SigningPair) -> bytes:
        """An ECU version manifest, signed."""
        signed = [
            _string(report.serial),
            der.write_integer(_positive(report.previous_time_s)),
            der.write_integer(_positive(report.time_s)),
        ]
        if report.attacks:
            signed.append(_free_text(report.attacks))
        image = report.installed
        hashes = _write_hashes(image.hashes)
        signed.append(
            der.write(
                der.SEQUENCE,
                _string("/" + image.path),
                der.write_integer(image.length_bytes),
                der.write_integer(len(hashes)),
                der.write(der.SEQUENCE, *hashes),
            )
        )
        return _seal(der.write(der.SEQUENCE, *signed), signer)

    def decode_vehicle_report(self, raw: bytes) -> Report[VehicleReport]:
        """A vehicle version manifest. Raises NotUnderstood."""
        return _reading(lambda: _report(raw, _vehicle_report))

    def encode_vehicle_report(self, report: VehicleReport, signer: SigningPair) -> bytes:
        """A vehicle version manifest, signed."""
        if report.installation is not None:
            raise NotUnderstood("this dialect has no installation report")
        ecus = [raw for serial in sorted(report.ecus) for raw in report.ecus[serial]]
        signed = [
            _string(report.vin),
            _string(report.primary),
            der.write_integer(len(ecus)),
            der.write(der.SEQUENCE, *ecus),
        ]
        if report.attacks:
            signed.append(_free_text(report.attacks))
        return _seal(der.write(der.SEQUENCE, *signed), signer)

    def decode_time(self, raw: bytes) -> Report[TimeAttestation]:
        """A time attestation. Raises NotUnderstood."""
        return _reading(lambda: _report(raw, _time))

    def encode_time(self, attestation: TimeAttestation, signer: SigningPair) -> bytes:
        """A time attestation, signed."""
        tokens = [der.write_integer(nonce) for nonce in attestation.nonces]
        signed = der.write(
            der.SEQUENCE,
            der.write_integer(len(tokens)),
            der.write(der.SEQUENCE, *tokens),
            der.write_integer(attestation.time_s),
        )
        return _seal(signed, signer)


def _reading(work: Callable[[], T]) -> T:
    try:
        return work()
    except NotUnderstood:
        raise
    except ValueError as exc:
        raise NotUnderstood(str(exc)) from exc


# -- reading role files


def _decode(raw: bytes) -> Document:
    outer = Fields(der.read(raw, der.SEQUENCE).body, "the file")
    signed = outer.take(_seq(0))
    count = _take_number(outer, 1)
    signatures = tuple(_signature(item) for item in _items(outer.take(_seq(2)), count, "signatures"))
    outer.end()
    fields = Fields(signed.body, "the signed part")
    kind = _take_enumerated(fields, 0, _ROLES)
    expires_s = _take_number(fields, 1)
    version = _take_number(fields, 2)
    if version < 1:
        raise NotUnderstood(f"version is {version}")
    choice = Fields(fields.take(_seq(3)).body, "the body")
    fields.end()
    body_element = choice.take(_seq(_CHOICES[kind]))
    choice.end()
    body = Fields(body_element.body, kind)
    readers: Mapping[str, Callable[[Fields], Body]] = {
        ROOT: _root, TIMESTAMP: _timestamp, SNAPSHOT: _snapshot, TARGETS: _targets,
    }  # fmt: skip
    found = readers[kind](body)
    body.end()
    return Document(found, version, expires_s, signatures, raw, _digest(signed.raw))


def _root(fields: Fields) -> Root:
    keys = {}
    for item in _counted(fields, 0, "keys"):
        key = _key(item)
        if key.keyid in keys:
            raise NotUnderstood(f"the key {key.keyid} stands there twice")
        keys[key.keyid] = key
    roles = {}
    for item in _counted(fields, 2, "roles"):
        role = Fields(_sequence(item), "a role")
        name = _take_enumerated(role, 0, _ROLES)
        urls = role.maybe(_primitive(1))
        if urls is not None or role.maybe(_seq(2)) is not None:
            raise NotUnderstood("roles with URLs are not known here")
        keyids = _keyids(role, 3)
        threshold = _take_number(role, 5)
        role.end()
        if name in roles:
            raise NotUnderstood(f"the role {name} stands there twice")
        roles[name] = RoleKeys(keyids, threshold)
    for name in _ROLES:
        if name not in roles:
            raise NotUnderstood(f"root says nothing of the role {name}")
    return Root(keys, roles)


def _timestamp(fields: Fields) -> Timestamp:
    name = role_of_file(_take_string(fields, 0))
    if name != SNAPSHOT:
        raise NotUnderstood(f"timestamp lists {name[:40]} instead of snapshot")
    return Timestamp(_listed(fields, 1))


def _listed(fields: Fields, tag: int) -> FileFacts:
    """Version, length and hashes, with tags from ``tag`` on."""
    version = _take_number(fields, tag)
    length = _take_number(fields, tag + 1)
    return FileFacts(version, length, _hashes(_counted(fields, tag + 2, "hashes")))


def _snapshot(fields: Fields) -> Snapshot:
    files: dict[str, FileFacts] = {}
    for item in _counted(fields, 0, "files"):
        entry = Fields(_sequence(item), "a file")
        role = role_of_file(_take_string(entry, 0))
        if role in (ROOT, TIMESTAMP, SNAPSHOT) or role in files:
            raise NotUnderstood(f"snapshot must not list {role[:40]}, or not twice")
        files[role] = FileFacts(_take_number(entry, 1))
        entry.end()
    if TARGETS not in files:
        raise NotUnderstood("snapshot does not list targets")
    listed = Fields(fields.take(_seq(2)).body, "the entry of root")
    name = role_of_file(_take_string(listed, 0))
    if name != ROOT:
        raise NotUnderstood(f"{name[:40]} stands where root belongs")
    root = _listed(listed, 1)
    listed.end()
    return Snapshot(files, root)


def _targets(fields: Fields) -> Targets:
    targets = {}
    for item in _counted(fields, 0, "targets"):
        target = _target(Fields(_sequence(item), "a target"))
        if target.path in targets:
            raise NotUnderstood(f"{target.path[:60]!r} stands there twice")
        targets[target.path] = target
    delegations = fields.maybe(_seq(2))
    if delegations is None:
        return Targets(targets)
    return Targets(targets, _delegations(Fields(delegations.body, "delegations")))


def _target(fields: Fields) -> Target:
    path, length_bytes, hashes = _image(Fields(fields.take(_seq(0)).body, "a target"))
    custom = fields.maybe(_seq(1))
    fields.end()
    if custom is None:
        return Target(path, length_bytes, hashes)
    facts = Fields(custom.body, "custom")
    counter = facts.maybe(_primitive(0))
    hardware = facts.maybe(_primitive(1))
    ecu = facts.maybe(_primitive(2))
    form = facts.maybe(_seq(3))
    key = facts.maybe(_seq(4))
    facts.end()
    if key is not None and form is None:
        raise NotUnderstood("a key stands there without an encrypted target")
    hardware_id = _text(hardware) if hardware is not None else ""
    return Target(
        path,
        length_bytes,
        hashes,
        {_text(ecu): ""} if ecu is not None else {},
        frozenset((hardware_id,)) if hardware is not None else None,
        _bounded(der.integer(counter.body)) if counter is not None else None,
        encrypted=None if form is None else _encrypted(form, key),
    )


def _image(fields: Fields) -> tuple[str, int, dict[str, str]]:
    path = without_slash(_take_string(fields, 0))
    length_bytes = _take_number(fields, 1)
    hashes = _hashes(_counted(fields, 2, "hashes"))
    fields.end()
    if not hashes:
        raise NotUnderstood(f"{path[:60]!r} has no hashes")
    return path, length_bytes, hashes


def _encrypted(form: Element, key: Element | None) -> EncryptedTarget:
    path, length_bytes, hashes = _image(Fields(form.body, "an encrypted target"))
    if key is None:
        return EncryptedTarget(path, length_bytes, hashes)
    fields = Fields(key.body, "an encrypted key")
    kind = _take_enumerated(fields, 0, _CIPHERS)
    value = der.read(fields.take(_seq(1)).body, der.OCTET_STRING).body
    fields.end()
    return EncryptedTarget(path, length_bytes, hashes, kind, value)


def _delegations(fields: Fields) -> Delegations:
    keys = {key.keyid: key for key in map(_key, _counted(fields, 0, "keys"))}
    entries = tuple(
        _delegation(Fields(_sequence(item), "a delegation")) for item in _counted(fields, 2, "delegations")
    )
    fields.end()
    return Delegations(keys, entries)


def _delegation(fields: Fields) -> Delegation:
    paths = tuple(without_slash(_visible(item)) for item in _counted(fields, 0, "paths"))
    roles = []
    for item in _counted(fields, 2, "roles"):
        role = Fields(_sequence(item), "a delegated role")
        name = judge_delegated_name(_take_string(role, 0))
        keyids = _keyids(role, 1)
        roles.append(DelegatedRole(name, RoleKeys(keyids, _take_number(role, 3))))
        role.end()
    found = fields.maybe(_primitive(4))
    fields.end()
    if found is not None and found.body != b"\xff":  # FALSE is the default, and DER leaves that out
        raise NotUnderstood("terminating is not written as DER has it")
    if not roles:
        raise NotUnderstood("a delegation names no role")
    return Delegation(tuple(roles), len(roles), paths, terminating=found is not None)


# -- reading reports


def _report(raw: bytes, read: Callable[[Fields], T]) -> Report[T]:
    outer = Fields(der.read(raw, der.SEQUENCE).body, "the file")
    signed = outer.take(der.SEQUENCE)
    count = _universal(outer)
    signatures = tuple(_signature(item) for item in _items(outer.take(der.SEQUENCE), count, "signatures"))
    outer.end()
    fields = Fields(signed.body, "the signed part")
    content = read(fields)
    fields.end()
    return Report(content, signatures, _digest(signed.raw), raw)


def _ecu_report(fields: Fields) -> EcuReport:
    serial = _visible(fields.take(_VISIBLE_STRING))
    previous_s, time_s = _universal(fields), _universal(fields)
    attacks = fields.maybe(_VISIBLE_STRING)
    image = Fields(fields.take(der.SEQUENCE).body, "the installed image")
    path = without_slash(_visible(image.take(_VISIBLE_STRING)))
    length_bytes = _universal(image)
    count = _universal(image)
    hashes = _hashes(_items(image.take(der.SEQUENCE), count, "hashes"))
    image.end()
    text = _visible(attacks, newlines=True) if attacks is not None else ""
    return EcuReport(serial, InstalledImage(path, length_bytes, hashes), time_s, previous_s, text)


def _vehicle_report(fields: Fields) -> VehicleReport:
    vin = _visible(fields.take(_VISIBLE_STRING))
    primary = _visible(fields.take(_VISIBLE_STRING))
    count = _universal(fields)
    ecus: dict[str, list[bytes]] = {}
    for item in _items(fields.take(der.SEQUENCE), count, "reports"):
        _sequence(item)
        ecus.setdefault(_report(item.raw, _ecu_report).content.serial, []).append(item.raw)
    attacks = fields.maybe(_VISIBLE_STRING)
    text = _visible(attacks, newlines=True) if attacks is not None else ""
    return VehicleReport(vin, primary, {serial: tuple(found) for serial, found in ecus.items()}, text)


def _time(fields: Fields) -> TimeAttestation:
    count = _universal(fields)
    tokens = []
    for item in _items(fields.take(der.SEQUENCE), count, "nonces"):
        if item.tag != der.INTEGER:
            raise NotUnderstood("a nonce is not a number")
        tokens.append(_bounded(der.integer(item.body)))
    return TimeAttestation(tuple(tokens), _universal(fields))


# -- reading pieces


def _key(item: Element) -> Key:
    fields = Fields(_sequence(item), "a key")
    keyid = fields.take(der.OCTET_STRING).body.hex()
    kind = _word(fields.take(_ENUMERATED), _KEY_KINDS)
    value = fields.take(der.OCTET_STRING).body
    fields.end()
    if kind == "ed25519":
        return Key(keyid, kind, "ed25519", value.hex())
    return Key(keyid, kind, "rsassa-pss-sha256", value.decode("ascii"))


def _signature(item: Element) -> Signature:
    fields = Fields(_sequence(item), "a signature")
    keyid = fields.take(der.OCTET_STRING).body.hex()
    method = _word(fields.take(_ENUMERATED), _METHODS)
    value = fields.take(der.OCTET_STRING).body
    fields.end()
    return Signature(keyid, method, value)


def _hashes(elements: Sequence[Element]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in elements:
        fields = Fields(_sequence(item), "a hash")
        algorithm = _word(fields.take(_ENUMERATED), _HASHES)
        digest = fields.take(der.OCTET_STRING).body
        fields.end()
        if algorithm in found:
            raise NotUnderstood(f"{algorithm} stands there twice")
        found[algorithm] = digest.hex()
    return judge_hashes(found, "a hash")


def _keyids(fields: Fields, tag: int) -> tuple[str, ...]:
    found = []
    for item in _counted(fields, tag, "key identifiers"):
        if item.tag != der.OCTET_STRING:
            raise NotUnderstood("a key identifier is not an octet string")
        found.append(item.body.hex())
    if len(set(found)) != len(found):
        raise NotUnderstood("a role lists a key twice")
    return tuple(found)


def _counted(fields: Fields, tag: int, what: str) -> Sequence[Element]:
    """A number at ``tag`` and as many elements in the list behind it."""
    count = _take_number(fields, tag)
    return _items(fields.take(_seq(tag + 1)), count, what)


def _items(element: Element, count: int, what: str) -> Sequence[Element]:
    found = Fields(element.body, what).rest()
    if len(found) != count or count > ITEMS_MAX:
        raise NotUnderstood(f"there are {len(found)} {what}, the counter says {count}")
    return found


def _sequence(item: Element) -> bytes:
    if item.tag != der.SEQUENCE:
        raise NotUnderstood(f"type 0x{item.tag:02x} found where a sequence is due")
    return item.body


def _take_number(fields: Fields, tag: int) -> int:
    return _bounded(der.integer(fields.take(_primitive(tag)).body))


def _universal(fields: Fields) -> int:
    return _bounded(der.integer(fields.take(der.INTEGER).body))


def _bounded(number: int) -> int:
    if not 0 <= number <= _NUMBER_MAX:
        raise NotUnderstood(f"a number is out of range: {hex(number)[:24]}")
    return number


def _take_enumerated(fields: Fields, tag: int, words: Mapping[str, int]) -> str:
    return _word(fields.take(_primitive(tag)), words)


def _word(element: Element, words: Mapping[str, int]) -> str:
    number = der.integer(element.body)
    for word, value in words.items():
        if value == number:
            return word
    raise NotUnderstood(f"the enumeration has no value {hex(number)[:24]}")


def _take_string(fields: Fields, tag: int) -> str:
    return _text(fields.take(_primitive(tag)))


def _visible(element: Element, *, newlines: bool = False) -> str:
    if element.tag != _VISIBLE_STRING:
        raise NotUnderstood(f"type 0x{element.tag:02x} found where a string is due")
    return _text(element, newlines=newlines)


def _text(element: Element, *, newlines: bool = False) -> str:
    """VisibleString: 0x20 to 0x7E; reports join their lines with newlines all the same."""
    if not element.body or any(
        not 0x20 <= byte <= 0x7E and not (newlines and byte == 0x0A) for byte in element.body
    ):
        raise NotUnderstood("a string is empty or holds what is no visible character")
    return element.body.decode("ascii")


# -- writing


def _write_root(body: Root) -> bytes:
    keys = [_write_key(body.keys[keyid]) for keyid in _in_order(body)]
    roles = [
        der.write(
            der.SEQUENCE,
            _number(0, _ROLES[name]),
            _number(3, len(body.roles[name].keyids)),
            der.write(_seq(4), *map(_write_keyid, body.roles[name].keyids)),
            _number(5, body.roles[name].threshold),
        )
        for name in (ROOT, SNAPSHOT, TARGETS, TIMESTAMP)
    ]
    return (
        _number(0, len(keys))
        + der.write(_seq(1), *keys)
        + _number(2, len(roles))
        + der.write(_seq(3), *roles)
    )


def _in_order(body: Root) -> list[str]:
    """Keys as the reference sorts them: by the role that uses them."""
    order = [keyid for name in (ROOT, TIMESTAMP, SNAPSHOT, TARGETS) for keyid in body.roles[name].keyids]
    return [keyid for keyid in dict.fromkeys([*order, *body.keys]) if keyid in body.keys]


def _write_timestamp(body: Timestamp) -> bytes:
    return _string_at(0, "snapshot.der") + _write_listed(body.snapshot, 1)


def _write_listed(facts: FileFacts, tag: int) -> bytes:
    if facts.version is None or facts.length_bytes is None or not facts.hashes:
        raise NotUnderstood("this dialect needs version, length and hashes")
    hashes = _write_hashes(facts.hashes)
    return (
        _number(tag, facts.version)
        + _number(tag + 1, facts.length_bytes)
        + _number(tag + 2, len(hashes))
        + der.write(_seq(tag + 3), *hashes)
    )


def _write_snapshot(body: Snapshot) -> bytes:
    if body.root is None:
        raise NotUnderstood("this dialect lists root in snapshot")
    infos = [
        der.write(der.SEQUENCE, _string_at(0, f"{role}.der"), _number(1, facts.version or 0))
        for role, facts in sorted(body.files.items())
    ]
    root = _string_at(0, "root.der") + _write_listed(body.root, 1)
    return _number(0, len(infos)) + der.write(_seq(1), *infos) + der.write(_seq(2), root)


def _write_targets(body: Targets) -> bytes:
    if body.vin or body.correlation_id:
        raise NotUnderstood("this dialect has no words for a vehicle or a correlation id")
    targets = [_write_target(target) for _, target in sorted(body.targets.items())]
    written = _number(0, len(targets)) + der.write(_seq(1), *targets)
    if body.delegations:
        written += der.write(_seq(2), _write_delegations(body.delegations))
    return written


def _write_target(target: Target) -> bytes:
    if len(target.ecus) > 1 or (target.hardware_ids is not None and len(target.hardware_ids) != 1):
        raise NotUnderstood(f"{target.path}: this dialect has words for one ECU and one hardware id")
    if target.uri:
        raise NotUnderstood(f"{target.path}: this dialect has no words for a URI")
    custom = b""
    if target.release_counter is not None:
        custom += _number(0, target.release_counter)
    if target.hardware_ids is not None:
        custom += _string_at(1, next(iter(target.hardware_ids)))
    for serial in target.ecus:
        custom += _string_at(2, serial)
    form = target.encrypted
    if form is not None:
        custom += der.write(_seq(3), _write_image(form.path, form.length_bytes, form.hashes))
        if form.key_kind:
            key = der.write(_seq(1), der.write(der.OCTET_STRING, form.key))
            custom += der.write(_seq(4), _number(0, _CIPHERS[form.key_kind]), key)
    image = der.write(_seq(0), _write_image(target.path, target.length_bytes, target.hashes))
    return der.write(der.SEQUENCE, image, der.write(_seq(1), custom) if custom else b"")


def _write_image(path: str, length_bytes: int, hashes: Mapping[str, str]) -> bytes:
    written = _write_hashes(hashes)
    return (
        _string_at(0, "/" + path)
        + _number(1, length_bytes)
        + _number(2, len(written))
        + der.write(_seq(3), *written)
    )


def _write_delegations(body: Delegations) -> bytes:
    if body.bins is not None:
        raise NotUnderstood("this dialect has no hash bins")
    keys = [_write_key(key) for key in body.keys.values()]
    entries = [_write_delegation(entry) for entry in body.entries]
    return (
        _number(0, len(keys))
        + der.write(_seq(1), *keys)
        + _number(2, len(entries))
        + der.write(_seq(3), *entries)
    )


def _write_delegation(entry: Delegation) -> bytes:
    if entry.paths is None or entry.hardware_ids is not None or entry.agreement != len(entry.roles):
        raise NotUnderstood("this dialect delegates by paths, to roles that must all agree")
    paths = [_string("/" + path) for path in entry.paths]
    roles = [
        der.write(
            der.SEQUENCE,
            _string_at(0, role.name),
            _number(1, len(role.keys.keyids)),
            der.write(_seq(2), *map(_write_keyid, role.keys.keyids)),
            _number(3, role.keys.threshold),
        )
        for role in entry.roles
    ]
    return der.write(
        der.SEQUENCE,
        _number(0, len(paths)),
        der.write(_seq(1), *paths),
        _number(2, len(roles)),
        der.write(_seq(3), *roles),
        der.write(_primitive(4), b"\xff") if entry.terminating else b"",
    )


def _seal(signed: bytes, signer: SigningPair) -> bytes:
    return der.write(
        der.SEQUENCE, signed, der.write_integer(1), der.write(der.SEQUENCE, _write_signature(signer, signed))
    )


def _write_signature(signer: SigningPair, signed: bytes) -> bytes:
    method = _METHODS.get(signer.key.scheme)
    if method is None:
        _no_words(f"the scheme {signer.key.scheme}")
    return der.write(
        der.SEQUENCE,
        _write_keyid(signer.key.keyid),
        der.write(_ENUMERATED, bytes([method])),
        der.write(der.OCTET_STRING, signer.sign(_digest(signed))),
    )


def _write_key(key: Key) -> bytes:
    if key.kind not in _KEY_KINDS:
        _no_words(f"keys of type {key.kind}")
    value = bytes.fromhex(key.public) if key.kind == "ed25519" else key.public.encode("ascii")
    return der.write(
        der.SEQUENCE,
        _write_keyid(key.keyid),
        der.write(_ENUMERATED, bytes([_KEY_KINDS[key.kind]])),
        der.write(der.OCTET_STRING, value),
    )


def _write_keyid(keyid: str) -> bytes:
    try:
        return der.write(der.OCTET_STRING, bytes.fromhex(keyid))
    except ValueError:
        _no_words(f"the key identifier {keyid[:40]!r}")


def _write_hashes(hashes: Mapping[str, str]) -> list[bytes]:
    for algorithm in hashes:
        if algorithm not in _HASHES:
            _no_words(f"the hash {algorithm[:20]}")
    return [
        der.write(
            der.SEQUENCE,
            der.write(_ENUMERATED, bytes([_HASHES[algorithm]])),
            der.write(der.OCTET_STRING, bytes.fromhex(digest)),
        )
        for algorithm, digest in sorted(hashes.items())
    ]


def _number(tag: int, number: int) -> bytes:
    return der.write(_primitive(tag), der.write_integer(number)[2:])


def _string_at(tag: int, text: str) -> bytes:
    return der.write(_primitive(tag), _visible_bytes(text))


def _string(text: str) -> bytes:
    return der.write(_VISIBLE_STRING, _visible_bytes(text))


def _free_text(text: str) -> bytes:
    """Text for people, cut and spelled as the reference takes it: what it is about must not stop a report."""
    return der.write(
        _VISIBLE_STRING,
        "".join(char if " " <= char <= "~" or char == "\n" else "?" for char in text)[
            :_FREE_TEXT_MAX
        ].encode(),
    )


def _visible_bytes(text: str) -> bytes:
    if not text or any(not " " <= char <= "~" for char in text):
        _no_words(f"the text {text[:40]!r}")
    return text.encode("ascii")


def _positive(time_s: int) -> int:
    """The reference's classes take times from 1 on."""
    return max(time_s, 1)


def _no_words(what: str) -> NoReturn:
    raise NotUnderstood(f"this dialect has no words for {what}")


def _digest(signed: bytes) -> bytes:
    from swagent.crypto.digest import sha256

    return sha256(signed).digest()


def _primitive(tag: int) -> int:
    return 0x80 | tag


def _seq(tag: int) -> int:
    return 0xA0 | tag
