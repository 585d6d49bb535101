"""Certificates: from a signer's to a root that the device trusts, and whether the way is allowed (RFC 5280 §6).

The rules are those SWUpdate asks of OpenSSL (swu format §5.3): the chain ends at a self-signed certificate of the key
files, purposes as in openssl-verification-options(1). Refused on top of them: chains with SHA-1 or weak keys, issuers
without basicConstraints, name constraints (nobody here evaluates them) and unknown critical extensions.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swagent.errors import SettingsError, SignatureError

from . import der, keys

if TYPE_CHECKING:
    from cryptography import x509

DEPTH_MAX = 8
CHECKS_MAX = 64

_EKU = {"emailProtection": "1.3.6.1.5.5.7.3.4", "codeSigning": "1.3.6.1.5.5.7.3.3"}
_ACCEPTED_HASHES = ("sha256", "sha384", "sha512")
# extensions whose meaning is checked here, or that only narrow what we do not use (certificate policies, other names)
_UNDERSTOOD = {
    "2.5.29.14",  # subjectKeyIdentifier
    "2.5.29.15",  # keyUsage
    "2.5.29.17",  # subjectAltName
    "2.5.29.18",  # issuerAltName
    "2.5.29.19",  # basicConstraints
    "2.5.29.32",  # certificatePolicies
    "2.5.29.35",  # authorityKeyIdentifier
    "2.5.29.37",  # extKeyUsage
}
_CRL_UNDERSTOOD = {"2.5.29.20", "2.5.29.35"}  # cRLNumber, authorityKeyIdentifier


@dataclass(frozen=True)
class Certificate:
    """The facts of one certificate that matter here.

    Attributes:
        label: where it comes from.
        name: its common names, else its whole subject, for people; ``issuer_name`` likewise.
        encoded: DER.
        common_names: as in the subject, in order.
        usages: key usage bits by cryptography's names; None when it has no such extension.
        purposes: dotted extended key usages; None when it has no such extension.
        is_ca: basicConstraints says so.
        path_length: how many authorities may stand below it, None for any number.
        hash_name: digest of the issuer's signature, such as ``sha256``; "" when it is none apart.
        problem: a reason never to accept it in a chain, "" if there is none.
        not_before_s: seconds since 1970, as ``not_after_s``.
    """

    label: str
    name: str
    encoded: bytes
    parsed: "x509.Certificate"
    key: keys.PublicKey
    issuer_name: str
    subject_der: bytes
    issuer_der: bytes
    serial: int
    key_id: bytes | None
    issuer_key_id: bytes | None
    common_names: tuple[str, ...]
    usages: frozenset[str] | None
    purposes: frozenset[str] | None
    is_ca: bool
    path_length: int | None
    hash_name: str
    problem: str
    not_before_s: float
    not_after_s: float

    @property
    def self_issued(self) -> bool:
        """Whether subject and issuer have the same name."""
        return self.subject_der == self.issuer_der


@dataclass(frozen=True)
class RevocationList:
    """A certificate revocation list; times in seconds since 1970, ``next_update_s`` None when it never ends."""

    label: str
    parsed: "x509.CertificateRevocationList"
    issuer: "x509.Name"
    last_update_s: float
    next_update_s: float | None


def load_certificate(label: str, encoded: bytes) -> Certificate:
    """Take a certificate apart.

    Raises:
        ValueError: malformed, or with a key that we do not verify with.
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import NameOID

    try:  # around all of it: cryptography parses some parts only when they are asked for
        parsed = x509.load_der_x509_certificate(encoded)
        subject_der, issuer_der, key_info = _names(encoded)
        public = parsed.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            key = keys.PublicKey(label, rsa=public, pss_only=keys.is_pss_only(key_info))
        elif isinstance(public, ec.EllipticCurvePublicKey):
            key = keys.PublicKey(label, ec=public)
        else:
            raise ValueError("its key is neither RSA nor EC")
        keys.check_strength(key)
        hash_algorithm = parsed.signature_hash_algorithm
        found = {extension.oid.dotted_string: extension for extension in parsed.extensions}
        names = tuple(
            value if isinstance(value, str) else value.decode("utf-8", "replace")
            for value in (a.value for a in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME))
        )
        shown = _printable(", ".join(names) or parsed.subject.rfc4514_string()) or label
        issuer_name = _printable(parsed.issuer.rfc4514_string())
        not_before_s = parsed.not_valid_before_utc.timestamp()
        not_after_s = parsed.not_valid_after_utc.timestamp()
    except SettingsError as exc:
        raise ValueError(exc.message) from exc
    except (
        UnsupportedAlgorithm,
        TypeError,
        OverflowError,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as exc:
        raise ValueError(str(exc)) from exc
    problem = ""
    unknown = [oid for oid, extension in found.items() if extension.critical and oid not in _UNDERSTOOD]
    if "2.5.29.30" in found:
        problem = "has name constraints, which are not supported"
    elif unknown:
        problem = f"has the unknown critical extension {unknown[0]}"

    basic = found["2.5.29.19"].value if "2.5.29.19" in found else None
    usage = found["2.5.29.15"].value if "2.5.29.15" in found else None
    extended = found["2.5.29.37"].value if "2.5.29.37" in found else None
    key_id = found["2.5.29.14"].value if "2.5.29.14" in found else None
    issuer_key_id = found["2.5.29.35"].value if "2.5.29.35" in found else None
    return Certificate(
        label=label,
        name=shown,
        encoded=encoded,
        parsed=parsed,
        key=key,
        issuer_name=issuer_name,
        subject_der=subject_der,
        issuer_der=issuer_der,
        serial=parsed.serial_number,
        key_id=key_id.digest if isinstance(key_id, x509.SubjectKeyIdentifier) else None,
        issuer_key_id=issuer_key_id.key_identifier
        if isinstance(issuer_key_id, x509.AuthorityKeyIdentifier)
        else None,
        common_names=names,
        usages=frozenset(
            bit
            for bit in ("digital_signature", "content_commitment", "key_cert_sign", "crl_sign")
            if getattr(usage, bit)
        )
        if isinstance(usage, x509.KeyUsage)
        else None,
        purposes=frozenset(oid.dotted_string for oid in extended)
        if isinstance(extended, x509.ExtendedKeyUsage)
        else None,
        is_ca=isinstance(basic, x509.BasicConstraints) and basic.ca,
        path_length=basic.path_length if isinstance(basic, x509.BasicConstraints) else None,
        hash_name=hash_algorithm.name if hash_algorithm is not None else "",
        problem=problem,
        not_before_s=not_before_s,
        not_after_s=not_after_s,
    )


def load_trusted(certificates: Iterable[tuple[str, bytes]]) -> tuple[Certificate, ...]:
    """The certificates of the key files.

    Raises:
        SettingsError: one of them cannot be used.
    """
    loaded = []
    for label, encoded in certificates:
        try:
            loaded.append(load_certificate(label, encoded))
        except ValueError as exc:
            raise SettingsError(f"certificate {label} cannot be used: {exc}") from exc
    return tuple(loaded)


def load_crls(crl_path: str) -> tuple[RevocationList, ...]:
    """The revocation lists of a file: one in DER, or any number in PEM.

    Raises:
        SettingsError: unreadable, malformed, or of a kind that is not understood (delta, indirect, partial).
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    path = keys.path_of(crl_path)
    data = keys.read_file(crl_path, "revocation list")
    lists = []
    try:
        if b"-----BEGIN " in data:
            encoded = [block for label, block in keys.pem_blocks(data) if label == "X509 CRL"]
        else:
            encoded = [data]
        for item in encoded:
            parsed = x509.load_der_x509_crl(item)
            unknown = [
                e.oid.dotted_string
                for e in parsed.extensions
                if e.critical and e.oid.dotted_string not in _CRL_UNDERSTOOD
            ]
            if unknown:
                raise ValueError(f"unknown critical extension {unknown[0]}")
            next_update = parsed.next_update_utc
            lists.append(
                RevocationList(
                    path,
                    parsed,
                    parsed.issuer,
                    parsed.last_update_utc.timestamp(),
                    next_update.timestamp() if next_update else None,
                )
            )
    except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, x509.DuplicateExtension) as exc:
        raise SettingsError(f"revocation list {path} cannot be used: {exc}") from exc
    if not lists:
        raise SettingsError(
            f"revocation list {path} holds no X509 CRL", hint="give DER, or PEM blocks X509 CRL"
        )
    return tuple(lists)


def trusted_path(
    leaf: Certificate,
    trusted: Sequence[Certificate],
    carried: Sequence[Certificate],
    *,
    purpose: str,
    crls: Sequence[RevocationList] | None,
    now_s: float,
) -> tuple[Certificate, ...]:
    """The way from a signer's certificate to a trusted root.

    Args:
        leaf: the signer's certificate.
        trusted: certificates of the key files; only a self-signed one of them ends the way.
        carried: certificates of the signature, which may only stand between.
        purpose: ``emailProtection`` or ``codeSigning``.
        crls: lists that ``leaf`` is looked up in; None for no check.
        now_s: seconds since 1970.

    Returns:
        The certificates from ``leaf`` to the root.

    Raises:
        SignatureError: there is no way that the rules allow; says why the last one tried was refused.
    """
    reason = _unusable(leaf, now_s) or _unfit_leaf(leaf, purpose)
    if reason:
        raise SignatureError(f"certificate {leaf.name} {reason}", hint=_hint(reason))
    search = _Search(trusted, carried, purpose, now_s)
    path = search.extend((leaf,))
    if path is None:
        raise SignatureError(search.reason, hint=_hint(search.reason))
    if crls is not None:
        _check_revocation(leaf, path[1] if len(path) > 1 else leaf, crls, now_s)
    return path


def check_forced_name(certificate: Certificate, wanted: str) -> None:
    """Demand that every common name of a signer is ``wanted``.

    Raises:
        SignatureError: another one, or none.
    """
    if not certificate.common_names or any(name != wanted for name in certificate.common_names):
        has = certificate.name if certificate.common_names else "none"
        raise SignatureError(f"the signer's common name must be {wanted!r}, the certificate has {has}")


class _Search:
    """Depth-first, and bounded: a signature may carry certificates that are made to branch."""

    def __init__(
        self, trusted: Sequence[Certificate], carried: Sequence[Certificate], purpose: str, now_s: float
    ) -> None:
        self._trusted = {certificate.encoded for certificate in trusted}
        self._known = list({c.encoded: c for c in (*trusted, *carried)}.values())
        self._purpose = purpose
        self._now_s = now_s
        self._checks = 0
        self.reason = ""

    def extend(self, path: tuple[Certificate, ...]) -> tuple[Certificate, ...] | None:
        last = path[-1]
        if last.self_issued and self._signed_by(last, last):
            if last.encoded in self._trusted:
                return path
            self.reason = self.reason or f"the root {last.name} is not among the trusted certificates"
            return None
        if last.hash_name not in _ACCEPTED_HASHES:  # the signature of a trusted root does not matter
            self.reason = f"certificate {last.name} is signed with {last.hash_name or 'an unknown digest'}"
            return None
        if len(path) == DEPTH_MAX:
            self.reason = f"the chain of {path[0].name} is longer than {DEPTH_MAX} certificates"
            return None
        for issuer in self._known:
            if issuer.subject_der != last.issuer_der or issuer in path:
                continue
            if None not in (last.issuer_key_id, issuer.key_id) and last.issuer_key_id != issuer.key_id:
                continue
            below = sum(not certificate.self_issued for certificate in path[1:])
            reason = _unusable(issuer, self._now_s) or _unfit_issuer(issuer, self._purpose, below)
            if reason:
                self.reason = f"certificate {issuer.name}, which issued {last.name}, {reason}"
            elif self._signed_by(last, issuer):
                found = self.extend((*path, issuer))
                if found:
                    return found
            else:
                self.reason = f"certificate {last.name} was not signed by {issuer.name}, though it says so"
        if not self.reason:
            self.reason = (
                f"the chain of {path[0].name} is incomplete: no certificate of the issuer "
                f"{last.issuer_name} is known"
            )
        return None

    def _signed_by(self, certificate: Certificate, issuer: Certificate) -> bool:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

        self._checks += 1
        if self._checks > CHECKS_MAX:
            raise SignatureError(f"more than {CHECKS_MAX} certificate signatures to check")
        try:
            certificate.parsed.verify_directly_issued_by(issuer.parsed)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
            return False
        return True


def _unusable(certificate: Certificate, now_s: float) -> str:
    """Why a certificate may stand nowhere in a chain, "" if it may."""
    if not now_s >= certificate.not_before_s:  # written so that NaN is refused
        return f"is not valid before {_date(certificate.not_before_s)}, and it is {_date(now_s)}"
    if not now_s <= certificate.not_after_s:
        return f"has expired on {_date(certificate.not_after_s)}, and it is {_date(now_s)}"
    return certificate.problem


def _unfit_leaf(certificate: Certificate, purpose: str) -> str:
    if certificate.purposes is None:
        if purpose == "codeSigning":
            return "lacks the extended key usage codeSigning"
    elif _EKU[purpose] not in certificate.purposes:
        return f"is not made for {purpose}"
    if certificate.usages is not None and not certificate.usages & {
        "digital_signature",
        "content_commitment",
    }:
        return "may not sign (its key usage has neither digitalSignature nor nonRepudiation)"
    return ""


def _unfit_issuer(certificate: Certificate, purpose: str, authorities_below: int) -> str:
    if not certificate.is_ca:
        return "is no authority (basicConstraints does not say CA:TRUE)"
    if certificate.usages is not None and "key_cert_sign" not in certificate.usages:
        return "may not sign certificates (its key usage lacks keyCertSign)"
    if certificate.purposes is not None and _EKU[purpose] not in certificate.purposes:
        return f"is not made for {purpose}"
    if certificate.path_length is not None and authorities_below > certificate.path_length:
        return f"allows {certificate.path_length} authorities below it, there are {authorities_below}"
    return ""


def _check_revocation(
    leaf: Certificate, issuer: Certificate, crls: Sequence[RevocationList], now_s: float
) -> None:
    """Every list of the issuer that is in force must be silent about ``leaf``, and there must be one."""
    reason = f"no revocation list of {issuer.name} is known"
    in_force = False
    for crl in crls:
        if crl.issuer != issuer.parsed.subject or not _crl_signed_by(crl, issuer):
            continue
        if crl.parsed.get_revoked_certificate_by_serial_number(leaf.serial) is not None:
            raise SignatureError(f"certificate {leaf.name} is revoked (revocation list {crl.label})")
        if issuer.usages is not None and "crl_sign" not in issuer.usages:
            reason = f"{issuer.name} may not sign revocation lists (its key usage lacks cRLSign)"
        elif now_s < crl.last_update_s:
            reason = f"the revocation list of {issuer.name} is not valid before {_date(crl.last_update_s)}"
        elif crl.next_update_s is not None and now_s > crl.next_update_s:
            reason = f"the revocation list of {issuer.name} has expired on {_date(crl.next_update_s)}"
        else:
            in_force = True
    if not in_force:
        raise SignatureError(
            reason, hint="deliver a new revocation list" + (f"; {_CLOCK}" if "valid" in reason else "")
        )


def _crl_signed_by(crl: RevocationList, issuer: Certificate) -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm

    public = issuer.key.rsa or issuer.key.ec
    try:
        return public is not None and crl.parsed.is_signature_valid(public)
    except (UnsupportedAlgorithm, ValueError, TypeError):
        return False


_CLOCK = "if the date is wrong, set the clock"


def _hint(reason: str) -> str:
    if "expired" in reason or "not valid before" in reason:
        return _CLOCK
    return ""


def _date(time_s: float) -> str:
    import time

    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time_s))
    except (OverflowError, ValueError, OSError):
        return f"{time_s:.0f} s after 1970"


def _printable(text: str) -> str:
    """A name from outside, without what would steer a terminal, and not endless."""
    shown = "".join(character if character.isprintable() else "?" for character in text[:200])
    return shown if len(text) <= 200 else shown + "…"


def _names(encoded: bytes) -> tuple[bytes, bytes, bytes]:
    """Subject, issuer and SubjectPublicKeyInfo of a certificate as encoded (RFC 5280 §4.1)."""
    outer = der.Fields(der.read(encoded, der.SEQUENCE).body, "certificate")
    fields = der.Fields(outer.take(der.SEQUENCE).body, "certificate")
    fields.maybe(der.CONTEXT_0)  # version
    fields.take(der.INTEGER)  # serial number
    fields.take(der.SEQUENCE)  # signature algorithm
    issuer = fields.take(der.SEQUENCE).raw
    fields.take(der.SEQUENCE)  # validity
    subject = fields.take(der.SEQUENCE).raw
    return subject, issuer, fields.take(der.SEQUENCE).raw
