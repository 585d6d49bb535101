"""AES-GCM for small records: encrypted, and vouched for together with what they belong to (NIST SP 800-38D)."""

from swagent.errors import DecryptError

NONCE_BYTES = 12
TAG_BYTES = 16


class Gcm:
    """One key.

    Args:
        key: 16, 24 or 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._aes = AESGCM(key)

    def seal(self, nonce: bytes, plain: bytes, bound_to: bytes) -> bytes:
        """Encrypt under a nonce of 12 bytes that this key has never seen; the result is 16 bytes longer."""
        return self._aes.encrypt(nonce, plain, bound_to)

    def open(self, nonce: bytes, sealed: bytes, bound_to: bytes) -> bytes:
        """Decrypt.

        Raises:
            DecryptError: another key made it, or for something else, or it was changed.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._aes.decrypt(nonce, sealed, bound_to)
        except InvalidTag as exc:
            raise DecryptError("wrong key, or it was changed") from exc
