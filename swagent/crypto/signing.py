"""Signing sw-description on the build host (swu format §5.2).

What comes out is what the reference commands make: ``openssl dgst -sha256 -sign`` (with ``rsa_padding_mode:pss`` for
RSA-PSS) and ``openssl cms -sign -outform DER -nosmimecap -binary``. Same input, same bytes: with ``rsa``, with ``cms``
by an RSA key at a fixed or no signing time, and with EC keys where OpenSSL can (RFC 6979, OpenSSL 3.2 or newer);
never with ``rsa-pss``, whose salt is random.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from swagent.errors import SettingsError

from . import der, keys
from .digest import sha256

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from .certificate import Certificate

SCHEMES = ("auto", "rsa", "rsa-pss", "ecdsa", "cms")


def sign(
    content: bytes,
    *,
    key_file: str,
    scheme: str = "auto",
    certificate_file: str = "",
    extra_certificate_files: Sequence[str] = (),
    password: bytes | None = None,
    signing_time_s: float | None = None,
) -> bytes:
    """Sign ``content`` with SHA-256.

    Args:
        content: what to sign, the plain sw-description.
        key_file: PEM private key, a path or ``file:`` URI.
        scheme: ``rsa``, ``rsa-pss``, ``ecdsa``, ``cms``; ``auto`` takes ``cms`` when there is a certificate, else
            ``ecdsa`` or ``rsa`` by the kind of key.
        certificate_file: PEM, the signer's certificate first; further ones in it are carried along. Only for CMS.
        extra_certificate_files: PEM files with more certificates to carry along. Only for CMS.
        password: of the key file, None if it has none.
        signing_time_s: seconds since 1970 for CMS; None leaves the time out.

    Returns:
        The contents of ``sw-description.sig``.

    Raises:
        SettingsError: a file cannot be used, or the scheme does not go with the key.
    """
    if scheme not in SCHEMES:
        raise SettingsError(f"unknown signature scheme {scheme!r}", hint=f"known are {', '.join(SCHEMES)}")
    key = keys.load_private_key(key_file, password)
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    path = keys.path_of(key_file)
    if scheme == "auto":
        scheme = "cms" if certificate_file else "rsa" if isinstance(key, RSAPrivateKey) else "ecdsa"
    if scheme == "cms":
        return _sign_cms(content, key, path, certificate_file, extra_certificate_files, signing_time_s)
    if certificate_file or extra_certificate_files:
        raise SettingsError(f"certificates have no place in a signature of scheme {scheme}", hint="use cms")
    if isinstance(key, RSAPrivateKey):
        if scheme == "rsa":
            return _sign_rsa(content, key)
        if scheme == "rsa-pss":
            return _sign_pss(content, key)
        raise SettingsError(f"key file {path} is RSA, scheme {scheme} needs an EC key")
    if scheme != "ecdsa":
        raise SettingsError(f"key file {path} is EC, scheme {scheme} needs an RSA key")
    return _sign_ecdsa(content, key)


def _sign_rsa(content: bytes, key: "RSAPrivateKey") -> bytes:
    """RSASSA-PKCS1-v1_5 with SHA-256."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    return key.sign(content, PKCS1v15(), SHA256())


def _sign_ecdsa(content: bytes, key: "EllipticCurvePrivateKey") -> bytes:
    """ECDSA with SHA-256, deterministic where OpenSSL can."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        return key.sign(content, ECDSA(SHA256(), deterministic_signing=True))
    except (TypeError, UnsupportedAlgorithm):  # cryptography before 43, OpenSSL before 3.2
        return key.sign(content, ECDSA(SHA256()))


def _sign_pss(content: bytes, key: "RSAPrivateKey") -> bytes:
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
    from cryptography.hazmat.primitives.hashes import SHA256

    # The salt is as long as the digest (RFC 8017 §9.1); SWUpdate takes any length.
    return key.sign(content, PSS(MGF1(SHA256()), SHA256.digest_size), SHA256())


def _sign_cms(
    content: bytes,
    key: "RSAPrivateKey | EllipticCurvePrivateKey",
    path: str,
    certificate_file: str,
    extra_certificate_files: Sequence[str],
    signing_time_s: float | None,
) -> bytes:
    from .certificate import load_trusted

    if not certificate_file:
        raise SettingsError("scheme cms needs the signer's certificate", hint="give a certificate file")
    material = keys.load_material((certificate_file, *extra_certificate_files))
    if material.public_keys:
        raise SettingsError(f"{material.public_keys[0][0]} is a public key where a certificate is due")
    certificate, *others = load_trusted(material.certificates)
    own = certificate.key.rsa or certificate.key.ec
    if own is None or own.public_numbers() != key.public_key().public_numbers():
        raise SettingsError(
            f"certificate {certificate.label} does not belong to key {path}",
            hint="the signer's certificate comes first in its file",
        )
    if certificate.key.pss_only:
        raise SettingsError(
            f"certificate {certificate.label} is for RSA-PSS only, CMS is signed with PKCS#1 v1.5"
        )
    return _signed_data(content, key, certificate, others, signing_time_s=signing_time_s)


def _signed_data(
    content: bytes,
    key: "RSAPrivateKey | EllipticCurvePrivateKey",
    certificate: "Certificate",
    others: "Sequence[Certificate]",
    *,
    signing_time_s: float | None,
) -> bytes:
    """Sign ``content`` with SHA-256: a detached SignedData in DER with one signer.

    Args:
        content: what to sign.
        key: the signer's private key; the caller has checked that it belongs to ``certificate``.
        certificate: the signer's, carried along.
        others: further certificates to carry along, intermediates of the chain.
        signing_time_s: seconds since 1970 for the attribute signingTime; None leaves it out, so that an RSA signature
            of the same content is the same.
    """
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from . import cms

    digest_algorithm = der.write(der.SEQUENCE, der.write_oid(cms.SHA256))
    attributes = [
        _attribute(cms.CONTENT_TYPE, der.write_oid(cms.DATA)),
        _attribute(cms.MESSAGE_DIGEST, der.write(der.OCTET_STRING, sha256(content).digest())),
    ]
    if signing_time_s is not None:
        attributes.append(_attribute(cms.SIGNING_TIME, _time(signing_time_s)))
    attributes.sort()  # SET OF in DER (X.690 §11.6)
    to_sign = der.write(der.SET, *attributes)
    if isinstance(key, RSAPrivateKey):
        signature = _sign_rsa(to_sign, key)
        algorithm = der.write(der.SEQUENCE, der.write_oid(cms.RSA), der.write(der.NULL))
    else:
        signature = _sign_ecdsa(to_sign, key)
        algorithm = der.write(der.SEQUENCE, der.write_oid(cms.ECDSA_SHA256))
    signer = der.write(
        der.SEQUENCE,
        der.write_integer(1),
        der.write(der.SEQUENCE, certificate.issuer_der, der.write_integer(certificate.serial)),
        digest_algorithm,
        der.write(der.CONTEXT_0, *attributes),
        algorithm,
        der.write(der.OCTET_STRING, signature),
    )
    carried = dict.fromkeys([certificate.encoded, *(other.encoded for other in others)])
    data = der.write(
        der.SEQUENCE,
        der.write_integer(1),
        der.write(der.SET, digest_algorithm),
        der.write(der.SEQUENCE, der.write_oid(cms.DATA)),
        der.write(der.CONTEXT_0, *sorted(carried)),
        der.write(der.SET, signer),
    )
    return der.write(der.SEQUENCE, der.write_oid(cms.SIGNED_DATA), der.write(der.CONTEXT_0, data))


def _attribute(kind: str, value: bytes) -> bytes:
    return der.write(der.SEQUENCE, der.write_oid(kind), der.write(der.SET, value))


def _time(time_s: float) -> bytes:
    """UTCTime until 2049, GeneralizedTime after (RFC 5652 §11.3)."""
    import time

    try:
        moment = time.gmtime(time_s)
    except (OverflowError, ValueError, OSError) as exc:
        raise SettingsError(f"signing time {time_s} is out of range") from exc
    if 1950 <= moment.tm_year <= 2049:
        return der.write(der.UTC_TIME, time.strftime("%y%m%d%H%M%SZ", moment).encode())
    return der.write(der.GENERALIZED_TIME, time.strftime("%Y%m%d%H%M%SZ", moment).encode())
