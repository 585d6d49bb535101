"""What one certificate or revocation list says; `chain` decides whether it may be believed.

Everything is taken out when it is loaded: ``cryptography`` parses some parts only when they are asked for, and what is
malformed shall show at once. Understood extensions: those that `chain` judges, and those that only narrow what is not
used here (policies, further names).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from swagent.errors import SettingsError

from . import der, keys

if TYPE_CHECKING:
    from cryptography import x509

NAME_MAX = 200

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


class Certificate(NamedTuple):
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


class RevocationList(NamedTuple):
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

    try:
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
        if parsed.serial_number < 0:
            raise ValueError("its serial number is negative")
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


def _printable(text: str) -> str:
    """A name from outside, without what would steer a terminal, and not endless."""
    shown = "".join(character if character.isprintable() else "?" for character in text[:NAME_MAX])
    return shown if len(text) <= NAME_MAX else shown + "…"


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
