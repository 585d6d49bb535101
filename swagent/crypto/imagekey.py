"""Keys that open images which were encrypted for one ECU (Uptane Standard §5.4.3.4): AES, or RSA around AES."""

from binascii import Error, unhexlify
from typing import TYPE_CHECKING

from swagent.errors import DecryptError, SettingsError

from . import keys
from .cipher import KEY_SIZES_BYTES

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

KINDS = {"aes128": 16, "aes192": 24, "aes256": 32}
"""Kinds of wrapped keys, and their lengths in bytes."""


class ImageKey:
    """One ECU's key for images.

    Args:
        aes: 16, 24 or 32 bytes that images are encrypted with directly; empty where the ECU has an RSA key.
        rsa: what images' own keys are wrapped with, by OAEP with SHA-256.
    """

    def __init__(self, *, aes: bytes = b"", rsa: "RSAPrivateKey | None" = None) -> None:
        self._aes = aes
        self._rsa = rsa

    def __repr__(self) -> str:
        return "ImageKey(...)"

    def content_key(self, kind: str, wrapped: bytes) -> bytes:
        """The AES key of one image.

        Args:
            kind: one of ``KINDS``; "" for an image that the ECU's own key opens.
            wrapped: the image's key; empty with that.

        Raises:
            DecryptError: this key does not open it.
        """
        if not kind:
            if not self._aes:
                raise DecryptError("it is encrypted with an AES key, and this ECU's key is RSA")
            return self._aes
        if self._rsa is None:
            raise DecryptError("its key is wrapped with RSA, and this ECU's key is AES")
        from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            key = self._rsa.decrypt(wrapped, OAEP(MGF1(SHA256()), SHA256(), None))
        except ValueError as exc:
            raise DecryptError("its key was not wrapped for this ECU, or is damaged") from exc
        if len(key) != KINDS.get(kind):
            raise DecryptError(f"its key has {len(key)} bytes, {kind[:20]} has another length")
        return key


def load_image_key(name: str) -> ImageKey:
    """A key from a file that only its owner may read: 32, 48 or 64 hexadecimal digits, or an RSA key in PEM.

    Raises:
        SettingsError: unreadable, open to others, or neither.
    """
    data = keys.read_secret_file(name, "key file")
    path = keys.path_of(name)
    if b"-----BEGIN" in data:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

        key = keys.load_private_key(name, None)
        if not isinstance(key, RSAPrivateKey):
            raise SettingsError(f"key file {path} holds an EC key", hint="image keys are RSA or AES")
        return ImageKey(rsa=key)
    try:
        aes = unhexlify(data.strip())
    except (Error, ValueError):
        aes = b""  # without its cause, so that no trace of the key reaches a log
    if len(aes) not in KEY_SIZES_BYTES:
        raise SettingsError(
            f"key file {path} holds no image key",
            hint="32, 48 or 64 hexadecimal digits, or an RSA key in PEM",
        )
    return ImageKey(aes=aes)


def wrap(public_pem: str, key: bytes) -> bytes:
    """An image's key, for the owner of an RSA key.

    Raises:
        ValueError: no RSA public key.
    """
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    public = load_pem_public_key(public_pem.encode())
    if not isinstance(public, RSAPublicKey):
        raise ValueError("no RSA public key")
    return public.encrypt(key, OAEP(MGF1(SHA256()), SHA256(), None))
