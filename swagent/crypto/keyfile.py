"""Private keys in PEM files: the key scheme ``file``."""

from typing import TYPE_CHECKING

from swagent.errors import SettingsError

from . import keys
from .uri import BlockKey, SigningKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


class KeyFiles:
    """Opens keys that are files."""

    def signing_key(self, name: str, password: bytes | None) -> SigningKey:
        """A private key from a PEM file that nobody else may read.

        Raises:
            SettingsError: unreadable, readable by others, wrong password, too weak, or neither RSA nor EC.
        """
        return FileKey(f"key file {keys.path_of(name)}", keys.load_private_key(name, password))

    def aes_key(self, name: str) -> BlockKey:
        """Refused: an AES key that is no token's stands in the key file itself.

        Raises:
            SettingsError: always.
        """
        raise SettingsError(
            f"an AES key file cannot name another file ({name})",
            hint="write the key itself, as hexadecimal digits, or a pkcs11: URI",
        )

    def shown(self, name: str) -> str:
        """The name as it is; a path is no secret."""
        return name


class FileKey:
    """A private key in memory; implements ``uri.SigningKey``."""

    def __init__(self, where: str, key: "RSAPrivateKey | EllipticCurvePrivateKey") -> None:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

        self.where = where
        self._key = key
        self._rsa = key if isinstance(key, RSAPrivateKey) else None
        self._ec = key if not isinstance(key, RSAPrivateKey) else None
        self.kind = "rsa" if self._rsa is not None else "ec"

    def sign(self, content: bytes, scheme: str) -> bytes:
        """Sign; ``rsa`` always, and ``ecdsa`` where OpenSSL can, give the same bytes for the same content."""
        if self._rsa is not None and scheme == "rsa":
            return _sign_rsa(content, self._rsa)
        if self._rsa is not None and scheme == "rsa-pss":
            return _sign_pss(content, self._rsa)
        if self._ec is not None and scheme == "ecdsa":
            return _sign_ecdsa(content, self._ec)
        raise SettingsError(f"{self.where} cannot sign by {scheme}")

    def public_der(self) -> bytes:
        """Its public half."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def close(self) -> None:
        """Nothing to let go of."""


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
