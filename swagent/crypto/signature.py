"""Who signed this? Raw RSA and ECDSA signatures, and CMS (swu format §5.2, §5.3).

The signer is never chosen by the signature alone: a raw signature is checked against public keys only, a CMS container
against certificates only, and with an explicit scheme nothing else is tried. Deliberately not like SWUpdate: all keys
of all files count instead of the first, bytes behind a signature are refused, RSA keys below 2048 bits are refused.
"""

from typing import TYPE_CHECKING, NamedTuple

from swagent.errors import SettingsError, SignatureError

from . import keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding

SIGNATURE_MAX_BYTES = 64 << 10
SCHEMES = ("auto", "rsa", "rsa-pss", "ecdsa", "cms")
PURPOSES = ("emailProtection", "codeSigning")

_PROVIDERS = {
    "opensslrsa": "rsa",
    "wolfsslrsa": "rsa",
    "mbedtlsrsa": "rsa",
    "opensslrsapss": "rsa-pss",
    "wolfsslrsapss": "rsa-pss",
    "mbedtlsrsapss": "rsa-pss",
    "opensslcms": "cms",
    "pkcs#7wolfssl": "cms",
    "pkcs#7mbedtls": "cms",
}
# ContentInfo: SEQUENCE, any length, then this OID (signedData, RFC 5652 §5.1)
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")


class Trust(NamedTuple):
    """Whose signatures are believed.

    Attributes:
        key_files: paths or ``file:`` URIs of PEM files, each with public keys and/or certificates; any one will do.
        scheme: ``auto``, or the only one accepted: ``rsa`` (PKCS#1 v1.5; EC keys verify ECDSA under this name too, as
            with SWUpdate's opensslRSA), ``rsa-pss``, ``ecdsa``, ``cms``. All with SHA-256; CMS also with SHA-384, -512.
        cert_purpose: CMS: ``emailProtection`` or ``codeSigning``.
        forced_signer_name: CMS: the common name that every signer's certificate must have; "" for any.
        crl_path: CMS: file with one DER or several PEM revocation lists; "" for no check.
    """

    key_files: tuple[str, ...]
    scheme: str = "auto"
    cert_purpose: str = "emailProtection"
    forced_signer_name: str = ""
    crl_path: str = ""


class Signer(NamedTuple):
    """Who made a signature, for people: ``release.pem`` or a common name; ``RSA``, ``ECDSA P-256``, ``CMS``."""

    label: str
    scheme: str


def scheme_of_provider(name: str) -> str:
    """Our scheme for a digest provider of SWUpdate, such as ``opensslCMS``; "" (none chosen) means ``auto``.

    Raises:
        SettingsError: unknown, or one that we do not have.
    """
    if not name:
        return "auto"
    scheme = _PROVIDERS.get(name.lower())
    if scheme is None:
        if name.lower() in ("gpg", "gpgme"):
            raise SettingsError("GPG signatures are not supported", hint="sign by certificate: opensslCMS")
        raise SettingsError(
            f"unknown digest provider {name!r}", hint="known are opensslRSA, opensslRSAPSS and opensslCMS"
        )
    return scheme


def check(trust: Trust) -> None:
    """Load everything that ``trust`` names, so that mistakes show at start-up and not with the first update.

    Raises:
        SettingsError: no key, a file that cannot be used, or nothing in the files that fits the scheme.
    """
    material = _load(trust)
    public = [keys.load_public_key(label, der) for label, der in material.public_keys]
    if trust.scheme == "cms" or (material.certificates and trust.scheme == "auto"):
        from . import certificate

        certificate.load_trusted(material.certificates)
        if trust.crl_path:
            certificate.load_crls(trust.crl_path)
    elif trust.scheme != "auto":
        _fitting(public, trust)


def verify(content: bytes, signature: bytes, trust: Trust, *, now_s: float) -> Signer:
    """Check that a trusted key signed ``content``.

    Args:
        content: what was signed, the plain sw-description.
        signature: raw, or CMS SignedData in DER.
        trust: the keys and rules.
        now_s: seconds since 1970, for the validity of certificates and revocation lists.

    Returns:
        The one whose signature it is.

    Raises:
        SignatureError: no trusted key signed it, or the rules forbid; says why and which keys were tried.
        SettingsError: a file that ``trust`` names cannot be used.
    """
    material = _load(trust)
    if not signature:
        raise SignatureError("the signature is empty")
    if len(signature) > SIGNATURE_MAX_BYTES:
        raise SignatureError(
            f"the signature has {len(signature)} bytes, at most {SIGNATURE_MAX_BYTES} are read"
        )
    if signature.startswith(b"-----BEGIN"):
        raise SignatureError(
            "the signature is PEM, it must be binary", hint="sign with openssl cms -sign -outform DER"
        )
    cms_shaped = looks_like_cms(signature)
    if trust.scheme == "cms" or (trust.scheme == "auto" and cms_shaped):
        if not cms_shaped:
            raise SignatureError(
                "the signature is not CMS SignedData in DER, and the scheme is cms",
                hint="sign with openssl cms -sign -outform DER -nosmimecap -binary",
            )
        if not material.certificates:
            raise SignatureError(
                "the signature is CMS, but the key files hold public keys only: "
                + ", ".join(label for label, _ in material.public_keys),
                hint="configure the certificate of the authority, or sign with a bare key",
            )
        from . import certificate, cms

        return Signer(
            cms.verify(
                content,
                signature,
                certificate.load_trusted(material.certificates),
                purpose=trust.cert_purpose,
                forced_signer_name=trust.forced_signer_name,
                crls=certificate.load_crls(trust.crl_path) if trust.crl_path else None,
                now_s=now_s,
            ),
            "CMS",
        )
    if not material.public_keys:
        raise SignatureError(
            "the signature is a bare one, but the key files hold certificates only: "
            + ", ".join(label for label, _ in material.certificates),
            hint="configure a public key (openssl x509 -in CERTIFICATE -pubkey -noout), or sign with openssl cms",
        )
    return _verify_raw(content, signature, trust, material)


def _load(trust: Trust) -> keys.Material:
    if trust.scheme not in SCHEMES:
        raise SettingsError(
            f"unknown signature scheme {trust.scheme!r}", hint=f"known are {', '.join(SCHEMES)}"
        )
    if trust.cert_purpose not in PURPOSES:
        raise SettingsError(
            f"unknown certificate purpose {trust.cert_purpose!r}", hint=f"known are {' and '.join(PURPOSES)}"
        )
    if not trust.key_files:
        raise SettingsError("no key to check signatures with", hint="give a public key or certificate")
    material = keys.load_material(trust.key_files)
    if trust.scheme == "cms" and not material.certificates:
        raise SettingsError(
            f"no certificate in {', '.join(trust.key_files)}, and the signature scheme is cms",
            hint="name the file with the certificate of your authority",
        )
    if trust.scheme not in ("cms", "auto") and not material.public_keys:
        raise SettingsError(
            f"no public key in {', '.join(trust.key_files)}, and the signature scheme is {trust.scheme}",
            hint="openssl x509 -in CERTIFICATE -pubkey -noout extracts the key of a certificate",
        )
    rule = "forced signer name" if trust.forced_signer_name else "revocation list" if trust.crl_path else ""
    if rule and trust.scheme != "cms" and material.public_keys:
        raise SettingsError(
            f"a {rule} is for certificates, and the bare public key {material.public_keys[0][0]} would go past it",
            hint="choose the signature scheme cms, or leave the rule out",
        )
    return material


def looks_like_cms(signature: bytes) -> bool:
    """Whether it begins as ContentInfo does; in BER too, so that the parser can say what is wrong with it."""
    if signature[:1] != b"\x30" or len(signature) < 2:
        return False
    length_bytes = signature[1] & 0x7F if signature[1] & 0x80 else 0
    return signature[2 + length_bytes :].startswith(_SIGNED_DATA)


def _fitting(public: list[keys.PublicKey], trust: Trust) -> list[keys.PublicKey]:
    """The keys that the scheme may use."""
    fitting = [
        key
        for key in public
        if trust.scheme == "auto"
        or (trust.scheme == "rsa" and not key.pss_only)
        or (trust.scheme == "rsa-pss" and key.rsa is not None)
        or (trust.scheme == "ecdsa" and key.ec is not None)
    ]
    if not fitting:
        raise SettingsError(
            f"no key for the signature scheme {trust.scheme}: "
            + ", ".join(f"{key.label} is {key.kind}" for key in public)
        )
    return fitting


def _verify_raw(content: bytes, signature: bytes, trust: Trust, material: keys.Material) -> Signer:
    public = _fitting([keys.load_public_key(label, der) for label, der in material.public_keys], trust)
    for key in public:
        scheme = made_by(key, content, signature, trust.scheme)
        if scheme:
            return Signer(key.label, scheme)
    tried = ", ".join(f"{key.label} ({key.kind})" for key in public)
    raise SignatureError(
        f"no trusted key made the signature; tried {tried}"
        + (f" with scheme {trust.scheme}" if trust.scheme != "auto" else ""),
        hint="the image was changed after signing, or signed by somebody else",
    )


def made_by(key: keys.PublicKey, content: bytes, signature: bytes, scheme: str) -> str:
    """Name of the scheme by which ``key`` made ``signature``, "" if it did not."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.hashes import SHA256

    if key.ec is not None:
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

        try:
            key.ec.verify(signature, content, ECDSA(SHA256()))
        except InvalidSignature:
            return ""
        return key.kind
    if key.rsa is None:
        return ""
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15

    paddings: list[tuple[str, AsymmetricPadding]] = []
    if scheme in ("auto", "rsa") and not key.pss_only:
        paddings.append(("RSA", PKCS1v15()))
    if scheme in ("auto", "rsa-pss"):
        paddings.append(("RSA-PSS", PSS(MGF1(SHA256()), PSS.AUTO)))
    for name, padding in paddings:
        try:
            key.rsa.verify(signature, content, padding, SHA256())
        except InvalidSignature:
            continue
        return name
    return ""
