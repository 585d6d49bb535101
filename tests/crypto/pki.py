"""Certificates with exactly the flaws that a test needs; signatures over them are made by the real ``openssl``."""

import itertools
import os
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

NOW_S = 1_750_000_000.0  # June 2025
DAY_S = 86400.0
EMAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION
CODE = ExtendedKeyUsageOID.CODE_SIGNING
TLS_SERVER = ExtendedKeyUsageOID.SERVER_AUTH
SIGN = ("digital_signature",)
AUTHORITY = ("key_cert_sign", "crl_sign")

_serials = itertools.count(1000)
_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def openssl(*words: str | os.PathLike[str], stdin: bytes = b"", ok: bool = True) -> bytes:
    """Run it; output, or with ``ok=False`` whatever it says."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl: apt-get install openssl")
    run = subprocess.run(["openssl", *words], input=stdin, capture_output=True)
    assert run.returncode == 0 or not ok, run.stderr.decode(errors="replace")
    return run.stdout


@cache
def rsa_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """One of a few RSA keys, made once per run."""
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(number: int = 0, curve: str = "SECP256R1") -> ec.EllipticCurvePrivateKey:
    """One of a few EC keys, made once per run."""
    return ec.generate_private_key(getattr(ec, curve)())


def private_pem(key: Key, password: bytes | None = None) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption(),
    )


def public_pem(key: Key) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def name(*common_names: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Works"),
            *(x509.NameAttribute(NameOID.COMMON_NAME, value) for value in common_names),
        ]
    )


def when(time_s: float) -> datetime:
    return datetime.fromtimestamp(time_s, UTC)


@dataclass
class Issued:
    """A certificate with its key."""

    key: Key
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def encoded(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)


@dataclass(frozen=True)
class Wish:
    """What a certificate shall look like; the defaults are those of a good signer."""

    names: tuple[str, ...] = ("release",)
    ca: bool | None = None
    path_length: int | None = None
    usages: tuple[str, ...] | None = SIGN
    purposes: tuple[x509.ObjectIdentifier, ...] | None = (EMAIL,)
    not_before_s: float = NOW_S - 100 * DAY_S
    not_after_s: float = NOW_S + 100 * DAY_S
    extras: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    identifiers: bool = True


def root_wish(*names: str) -> Wish:
    return Wish(names=names or ("root",), ca=True, usages=AUTHORITY, purposes=None)


def certify(wish: Wish, issuer: Issued | None = None, key: Key | None = None, serial: int = 0) -> Issued:
    """Make a certificate; without ``issuer`` it is self-signed."""
    serial = serial or next(_serials)
    key = key or ec_key(serial)
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(*wish.names))
        .issuer_name(issuer.certificate.subject if issuer else name(*wish.names))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(when(wish.not_before_s))
        .not_valid_after(when(wish.not_after_s))
    )
    if wish.identifiers:
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
        ).add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
    if wish.ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(wish.ca, wish.path_length), True)
    if wish.usages is not None:
        builder = builder.add_extension(x509.KeyUsage(*(usage in wish.usages for usage in _USAGES)), True)
    if wish.purposes is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(wish.purposes), False)
    for extra, critical in wish.extras:
        builder = builder.add_extension(extra, critical)
    return Issued(key, builder.sign(signer, hashes.SHA256()))


def crl(
    issuer: Issued,
    *revoked: Issued,
    key: Key | None = None,
    from_s: float = NOW_S - DAY_S,
    until_s: float = NOW_S + DAY_S,
) -> x509.CertificateRevocationList:
    """The issuer's revocation list; ``key`` signs it in the issuer's place."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(when(from_s))
        .next_update(when(until_s))
        .add_extension(x509.CRLNumber(1), False)
    )
    for item in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(item.certificate.serial_number)
            .revocation_date(when(from_s))
            .build()
        )
    return builder.sign(key or issuer.key, hashes.SHA256())


def write(path: Path, *parts: bytes) -> str:
    path.write_bytes(b"".join(parts))
    path.chmod(0o600)  # private keys are among them
    return str(path)


def cms_sign(
    folder: Path,
    content: bytes,
    *signers: Issued,
    carry: tuple[Issued, ...] = (),
    words: tuple[str, ...] = (),
) -> bytes:
    """``openssl cms -sign``, as the reference command does it."""
    source = write(folder / "content", content)
    command = ["cms", "-sign", "-in", source, "-outform", "DER", "-nosmimecap", "-binary", *words]
    for number, signer in enumerate(signers):
        command += ["-signer", write(folder / f"signer{number}.pem", signer.pem)]
        command += ["-inkey", write(folder / f"signer{number}.key", private_pem(signer.key))]
    if carry:
        command += ["-certfile", write(folder / "carry.pem", *(item.pem for item in carry))]
    return openssl(*command)


def cms_accepts(
    folder: Path, content: bytes, signature: bytes, roots: str, *, purpose: str = "", now_s: float = NOW_S
) -> bool:
    """The verdict of ``openssl cms -verify``, asked as SWUpdate asks its library."""
    words = ["cms", "-verify", "-binary", "-inform", "DER", "-in", write(folder / "verify.sig", signature)]
    words += [
        "-content",
        write(folder / "verify.content", content),
        "-CAfile",
        roots,
        "-no-CApath",
        "-no-CAstore",
    ]
    words += ["-attime", str(int(now_s)), "-out", "/dev/null"]
    if purpose:
        words += ["-purpose", purpose]
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl: apt-get install openssl")
    return subprocess.run(["openssl", *words], capture_output=True).returncode == 0
