"""Signing sw-description on the build host (swu format §5.2).

What comes out is what the reference commands make: ``openssl dgst -sha256 -sign`` (with ``rsa_padding_mode:pss`` for
RSA-PSS) and ``openssl cms -sign -outform DER -nosmimecap -binary``. Same input, same bytes: with ``rsa``, with ``cms``
by an RSA key at a fixed or no signing time, and with EC keys where OpenSSL can (RFC 6979, OpenSSL 3.2 or newer);
never with ``rsa-pss``, whose salt is random.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from swagent.errors import SettingsError

from . import der, keys, uri
from .digest import sha256
from .signature import made_by

if TYPE_CHECKING:
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
        key_file: PEM private key, a path or ``file:`` URI; or a URI of another key scheme, such as ``pkcs11:``.
        scheme: ``rsa``, ``rsa-pss``, ``ecdsa``, ``cms``; ``auto`` takes ``cms`` when there is a certificate, else
            ``ecdsa`` or ``rsa`` by the kind of key.
        certificate_file: PEM, the signer's certificate first; further ones in it are carried along. Only for CMS.
        extra_certificate_files: PEM files with more certificates to carry along. Only for CMS.
        password: of the key file, or PIN of the token; None if there is none, or the URI names it.
        signing_time_s: seconds since 1970 for CMS; None leaves the time out.

    Returns:
        The contents of ``sw-description.sig``.

    Raises:
        SettingsError: a file cannot be used, or the scheme does not go with the key.
    """
    if scheme not in SCHEMES:
        raise SettingsError(f"unknown signature scheme {scheme!r}", hint=f"known are {', '.join(SCHEMES)}")
    key = uri.find(key_file).signing_key(key_file, password)
    try:
        if scheme == "auto":
            scheme = "cms" if certificate_file else "rsa" if key.kind == "rsa" else "ecdsa"
        if scheme == "cms":
            return _sign_cms(content, key, certificate_file, extra_certificate_files, signing_time_s)
        if certificate_file or extra_certificate_files:
            raise SettingsError(
                f"certificates have no place in a signature of scheme {scheme}", hint="use cms"
            )
        if key.kind == "rsa" and scheme == "ecdsa":
            raise SettingsError(f"{key.where} is RSA, scheme {scheme} needs an EC key")
        if key.kind == "ec" and scheme != "ecdsa":
            raise SettingsError(f"{key.where} is EC, scheme {scheme} needs an RSA key")
        return key.sign(content, scheme)
    finally:
        key.close()


def _sign_cms(
    content: bytes,
    key: uri.SigningKey,
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
    if certificate.key.pss_only:
        raise SettingsError(
            f"certificate {certificate.label} is for RSA-PSS only, CMS is signed with PKCS#1 v1.5"
        )
    return _signed_data(content, key, certificate, others, signing_time_s=signing_time_s)


def _signed_data(
    content: bytes,
    key: uri.SigningKey,
    certificate: "Certificate",
    others: "Sequence[Certificate]",
    *,
    signing_time_s: float | None,
) -> bytes:
    """Sign ``content`` with SHA-256: a detached SignedData in DER with one signer.

    Args:
        content: what to sign.
        key: the signer's private key; that it belongs to ``certificate`` is checked by what it signs.
        certificate: the signer's, carried along.
        others: further certificates to carry along, intermediates of the chain.
        signing_time_s: seconds since 1970 for the attribute signingTime; None leaves it out, so that an RSA signature
            of the same content is the same.
    """
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
    signature = b""
    if (key.kind == "rsa") == (certificate.key.rsa is not None):
        signature = key.sign(to_sign, "rsa" if key.kind == "rsa" else "ecdsa")
    if not made_by(certificate.key, to_sign, signature, "auto"):
        raise SettingsError(
            f"certificate {certificate.label} does not belong to {key.where}",
            hint="the signer's certificate comes first in its file",
        )
    if key.kind == "rsa":
        algorithm = der.write(der.SEQUENCE, der.write_oid(cms.RSA), der.write(der.NULL))
    else:
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
