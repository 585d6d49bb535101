"""CMS SignedData, the container of signatures by certificate (RFC 5652 §5, swu format §5.3).

Only the parts that vouch for sw-description: content type id-data, detached or attached and equal. The container is
read by ``der``, strictly; certificates and signatures are checked by ``cryptography``.
"""

from typing import TYPE_CHECKING, NamedTuple

from swagent.errors import SignatureError

from . import der
from .certificate import Certificate, RevocationList, load_certificate
from .chain import check_forced_name, trusted_path
from .digest import same

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.hashes import HashAlgorithm

SIGNERS_MAX = 8
CERTIFICATES_MAX = 32

DATA = "1.2.840.113549.1.7.1"
SIGNED_DATA = "1.2.840.113549.1.7.2"
CONTENT_TYPE = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
SIGNING_TIME = "1.2.840.113549.1.9.5"
RSA = "1.2.840.113549.1.1.1"
_RSA_PSS = "1.2.840.113549.1.1.10"
_MGF1 = "1.2.840.113549.1.1.8"
_DIGESTS = {
    "2.16.840.1.101.3.4.2.1": "SHA256",
    "2.16.840.1.101.3.4.2.2": "SHA384",
    "2.16.840.1.101.3.4.2.3": "SHA512",
}
# signature algorithms that name their digest
_RSA_WITH = {
    "1.2.840.113549.1.1.11": "SHA256",
    "1.2.840.113549.1.1.12": "SHA384",
    "1.2.840.113549.1.1.13": "SHA512",
}
_ECDSA_WITH = {
    "1.2.840.10045.4.3.2": "SHA256",
    "1.2.840.10045.4.3.3": "SHA384",
    "1.2.840.10045.4.3.4": "SHA512",
}
ECDSA_SHA256 = "1.2.840.10045.4.3.2"
SHA256 = "2.16.840.1.101.3.4.2.1"


class SignerInfo(NamedTuple):
    """One signature in the container (RFC 5652 §5.3).

    Attributes:
        issuer: the certificate issuer's name in DER, None when the certificate is named by ``key_id``.
        serial: of the certificate; 0 when it is named by ``key_id``.
        key_id: subject key identifier, None when named by issuer and serial.
        digest: ``SHA256``, ``SHA384`` or ``SHA512``.
        attributes: signed attributes in DER as they are hashed, None without.
        message_digest: what the signed attributes say about the content; None without attributes.
        algorithm: object identifier of the signature algorithm.
        salt_bytes: of RSA-PSS; 0 for others.
        signature: the signature's octets.
    """

    issuer: bytes | None
    serial: int
    key_id: bytes | None
    digest: str
    attributes: bytes | None
    message_digest: bytes | None
    algorithm: str
    salt_bytes: int
    signature: bytes


class SignedData(NamedTuple):
    """What the container holds; ``content`` is None when detached, ``certificates`` are in DER."""

    signers: tuple[SignerInfo, ...]
    certificates: tuple[bytes, ...]
    content: bytes | None


def parse(blob: bytes) -> SignedData:
    """Read a ContentInfo with SignedData.

    Raises:
        SignatureError: malformed, or something in it that we do not accept.
    """
    try:
        return _parse(blob)
    except ValueError as exc:
        raise SignatureError(
            f"the CMS signature is malformed: {exc}",
            hint="it must be DER, as openssl cms -sign -outform DER makes",
        ) from exc


def verify(
    content: bytes,
    blob: bytes,
    trusted: "Sequence[Certificate]",
    *,
    purpose: str,
    forced_signer_name: str,
    crls: "Sequence[RevocationList] | None",
    now_s: float,
) -> str:
    """Check that every signer in ``blob`` is trusted and signed ``content``.

    Args:
        content: what was signed.
        blob: CMS SignedData in DER.
        trusted: certificates of the trust files.
        purpose: ``emailProtection`` or ``codeSigning``.
        forced_signer_name: common name demanded of every signer; "" for any.
        crls: revocation lists for the signers' certificates; None for no check.
        now_s: seconds since 1970.

    Returns:
        The signers' names.

    Raises:
        SignatureError: why not.
    """
    signed = parse(blob)
    if signed.content is not None and not same(signed.content, content):
        raise SignatureError("the content inside the CMS signature is not what it is to vouch for")
    carried = []
    for number, encoded in enumerate(signed.certificates, 1):
        try:
            carried.append(load_certificate(f"certificate {number} of the signature", encoded))
        except ValueError as exc:
            raise SignatureError(f"certificate {number} of the CMS signature is malformed: {exc}") from exc
    names = []
    for signer in signed.signers:
        certificate = _signer_certificate(signer, [*carried, *trusted], content)
        trusted_path(certificate, trusted, carried, purpose=purpose, crls=crls, now_s=now_s)
        if forced_signer_name:
            check_forced_name(certificate, forced_signer_name)
        names.append(certificate.name)
    return ", ".join(dict.fromkeys(names))


def _signer_certificate(signer: SignerInfo, known: "Sequence[Certificate]", content: bytes) -> Certificate:
    """The certificate that the signer names and whose key made the signature."""
    named = [
        certificate
        for certificate in known
        if (
            certificate.key_id == signer.key_id
            if signer.key_id is not None
            else (certificate.issuer_der, certificate.serial) == (signer.issuer, signer.serial)
        )
    ]
    if not named:
        raise SignatureError(
            "the certificate of a signer is neither in the signature nor in the key files",
            hint="sign without -nocerts, or deploy the signer's certificate",
        )
    if signer.attributes is not None:
        if not same(_digest(signer.digest, content), signer.message_digest or b""):
            raise SignatureError(
                f"{named[0].name} signed something else (the message digest differs)",
                hint="the image was changed after signing",
            )
        signed = signer.attributes
    else:
        # Without this, signed attributes could be passed off as content that was signed without attributes.
        if content[:1] == b"\x31" and _is_one_set(content):
            raise SignatureError("the content looks like signed attributes, and the signature has none")
        signed = content
    why: SignatureError | None = None
    for certificate in named:
        try:
            _check_signature(signer, certificate, signed)
        except SignatureError as exc:
            why = exc
        else:
            return certificate
    raise why or SignatureError("no certificate of a signer")


def _check_signature(signer: SignerInfo, certificate: Certificate, signed: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15

    key = certificate.key
    name = certificate.name
    algorithm = _hash(signer.digest)
    try:
        if signer.algorithm in _ECDSA_WITH:
            if key.ec is None:
                raise SignatureError(f"the signature says ECDSA, but {name} has an RSA key")
            key.ec.verify(signer.signature, signed, ECDSA(algorithm))
        elif key.rsa is None:
            raise SignatureError(f"the signature says RSA, but {name} has an EC key")
        elif signer.algorithm == _RSA_PSS:
            key.rsa.verify(signer.signature, signed, PSS(MGF1(algorithm), signer.salt_bytes), algorithm)
        elif key.pss_only:
            raise SignatureError(f"the key of {name} is for RSA-PSS only, and the signature is PKCS#1 v1.5")
        else:
            key.rsa.verify(signer.signature, signed, PKCS1v15(), algorithm)
    except InvalidSignature as exc:
        raise SignatureError(
            f"the signature was not made by the key of {name}",
            hint="the image was changed after signing, or signed with another key of the same name",
        ) from exc


def _is_one_set(content: bytes) -> bool:
    try:
        der.read(content, der.SET)
    except ValueError:
        return False
    return True


def _hash(name: str) -> "HashAlgorithm":
    from cryptography.hazmat.primitives import hashes

    algorithm: HashAlgorithm = getattr(hashes, name)()
    return algorithm


def _digest(name: str, content: bytes) -> bytes:
    import hashlib

    return hashlib.new(name, content).digest()


def _parse(blob: bytes) -> SignedData:
    info = der.Fields(der.read(blob, der.SEQUENCE).body, "ContentInfo")
    kind = der.oid(info.take(der.OID).body)
    if kind != SIGNED_DATA:
        raise ValueError(f"content type {kind} instead of signedData")
    wrapped = info.take(der.CONTEXT_0)
    info.end()
    data = der.Fields(der.read(wrapped.body, der.SEQUENCE).body, "SignedData")
    version = der.integer(data.take(der.INTEGER).body)
    if version not in (1, 3, 4, 5):
        raise ValueError(f"version {version} of SignedData")
    data.take(der.SET)  # digestAlgorithms: a hint for one-pass readers; each signer names its own
    inner = der.Fields(data.take(der.SEQUENCE).body, "EncapsulatedContentInfo")
    kind = der.oid(inner.take(der.OID).body)
    if kind != DATA:
        raise ValueError(f"signed content of type {kind} instead of data")
    attached = inner.maybe(der.CONTEXT_0)
    inner.end()
    certificates = data.maybe(der.CONTEXT_0)
    data.maybe(der.CONTEXT_1)  # revocation lists: only those that the device was given count
    signers = der.Fields(data.take(der.SET).body, "SignerInfos").rest()
    data.end()
    if not 1 <= len(signers) <= SIGNERS_MAX:
        raise ValueError(f"{len(signers)} signers, 1 to {SIGNERS_MAX} are accepted")
    chosen = der.Fields(certificates.body, "certificates").rest() if certificates else []
    if len(chosen) > CERTIFICATES_MAX:
        raise ValueError(f"{len(chosen)} certificates, at most {CERTIFICATES_MAX} are accepted")
    return SignedData(
        tuple(_parse_signer(signer) for signer in signers),
        tuple(item.raw for item in chosen if item.tag == der.SEQUENCE),
        der.read(attached.body, der.OCTET_STRING).body if attached else None,
    )


def _parse_signer(element: der.Element) -> SignerInfo:
    if element.tag != der.SEQUENCE:
        raise ValueError("a signer is no sequence")
    info = der.Fields(element.body, "SignerInfo")
    version = der.integer(info.take(der.INTEGER).body)
    issuer, serial = None, 0
    key_id = info.maybe(der.CONTEXT_0_PRIMITIVE)
    if key_id is None:
        by_issuer = der.Fields(info.take(der.SEQUENCE).body, "IssuerAndSerialNumber")
        issuer = by_issuer.take(der.SEQUENCE).raw
        serial = der.integer(by_issuer.take(der.INTEGER).body)
        by_issuer.end()
    if version != (1 if key_id is None else 3):
        raise ValueError(f"version {version} of SignerInfo")
    digest = _digest_name(info.take(der.SEQUENCE))
    attributes = info.maybe(der.CONTEXT_0)
    algorithm, salt_bytes = _signature_algorithm(info.take(der.SEQUENCE), digest)
    signature = info.take(der.OCTET_STRING).body
    info.maybe(der.CONTEXT_1)  # unsigned attributes vouch for nothing
    info.end()
    return SignerInfo(
        issuer,
        serial,
        key_id.body if key_id else None,
        digest,
        # hashed as SET OF, though carried as [0] (RFC 5652 §5.4)
        der.write(der.SET, attributes.body) if attributes else None,
        _message_digest(attributes) if attributes else None,
        algorithm,
        salt_bytes,
        signature,
    )


def _message_digest(attributes: der.Element) -> bytes:
    values: dict[str, der.Element] = {}
    for attribute in der.Fields(attributes.body, "signed attributes").rest():
        if attribute.tag != der.SEQUENCE:
            raise ValueError("a signed attribute is no sequence")
        fields = der.Fields(attribute.body, "signed attribute")
        kind = der.oid(fields.take(der.OID).body)
        value = fields.take(der.SET)
        fields.end()
        if kind in values:
            raise ValueError(f"signed attribute {kind} occurs twice")
        values[kind] = value
    for kind, name in ((CONTENT_TYPE, "content type"), (MESSAGE_DIGEST, "message digest")):
        if kind not in values:
            raise ValueError(f"the signed attributes lack the {name}")
    content_type = der.oid(der.read(values[CONTENT_TYPE].body, der.OID).body)
    if content_type != DATA:
        raise ValueError(f"the signed content type is {content_type}, not data")
    return der.read(values[MESSAGE_DIGEST].body, der.OCTET_STRING).body


def _algorithm(element: der.Element) -> tuple[str, der.Element | None]:
    fields = der.Fields(element.body, "AlgorithmIdentifier")
    name = der.oid(fields.take(der.OID).body)
    parameters = fields.rest()
    if len(parameters) > 1:
        raise ValueError(f"algorithm {name} with several parameters")
    return name, parameters[0] if parameters else None


def _plain(parameters: der.Element | None, name: str) -> None:
    if parameters is not None and parameters.raw != b"\x05\x00":
        raise ValueError(f"algorithm {name} with parameters")


def _digest_name(element: der.Element) -> str:
    name, parameters = _algorithm(element)
    _plain(parameters, name)
    if name not in _DIGESTS:
        raise ValueError(f"digest algorithm {name}; SHA-256, SHA-384 and SHA-512 are accepted")
    return _DIGESTS[name]


def _signature_algorithm(element: der.Element, digest: str) -> tuple[str, int]:
    """The algorithm, and the salt's length for RSA-PSS; refused unless it goes with ``digest``."""
    name, parameters = _algorithm(element)
    if name == _RSA_PSS:
        return name, _pss_salt_bytes(parameters, digest)
    _plain(parameters, name)
    if name != RSA and (_RSA_WITH | _ECDSA_WITH).get(name) != digest:
        raise ValueError(f"signature algorithm {name} with {digest}; RSA, RSA-PSS and ECDSA are accepted")
    return name, 0


def _pss_salt_bytes(parameters: der.Element | None, digest: str) -> int:
    """RSASSA-PSS-params (RFC 4055 §3.1); its defaults mean SHA-1, so hash and mask must be given."""
    if parameters is None or parameters.tag != der.SEQUENCE:
        raise ValueError("RSA-PSS without parameters")
    fields = der.Fields(parameters.body, "RSA-PSS parameters")
    if _digest_name(der.read(fields.take(der.CONTEXT_0).body, der.SEQUENCE)) != digest:
        raise ValueError("RSA-PSS with another digest than the signer's")
    mask, inner = _algorithm(der.read(fields.take(der.CONTEXT_1).body, der.SEQUENCE))
    if mask != _MGF1 or inner is None or inner.tag != der.SEQUENCE or _digest_name(inner) != digest:
        raise ValueError("RSA-PSS with another mask than MGF1 of the signer's digest")
    salt = fields.maybe(der.CONTEXT_0 + 2)
    salt_bytes = der.integer(der.read(salt.body, der.INTEGER).body) if salt else 20
    trailer = fields.maybe(der.CONTEXT_0 + 3)
    if trailer and der.integer(der.read(trailer.body, der.INTEGER).body) != 1:
        raise ValueError("RSA-PSS with an unknown trailer")
    fields.end()
    if not 0 <= salt_bytes <= 2048:
        raise ValueError(f"RSA-PSS with a salt of {salt_bytes} bytes")
    return salt_bytes
