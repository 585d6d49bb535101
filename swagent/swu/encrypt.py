"""Encrypting members and descriptions, with vectors that follow from what is encrypted."""

from typing import TYPE_CHECKING

from swagent.errors import SettingsError

if TYPE_CHECKING:
    from swagent.crypto.cipher import AesKey


class Encryptor:
    """AES-CBC in the shape of a compressor.

    Args:
        key: 16, 24 or 32 bytes.
        iv: 16 bytes.
    """

    def __init__(self, key: bytes, iv: bytes) -> None:
        from swagent.crypto.cipher import OVERHEAD_BYTES, CbcEncryptor

        self._engine = CbcEncryptor(key, iv)
        self._overhead_bytes = OVERHEAD_BYTES
        self._target = memoryview(b"")

    def push(self, block: memoryview) -> memoryview:
        """Encrypted bytes; they are valid until the next call."""
        if len(self._target) < len(block) + self._overhead_bytes:
            self._target = memoryview(bytearray(len(block) + self._overhead_bytes))
        return self._target[: self._engine.update_into(block, self._target)]

    def finish(self) -> bytes:
        """The last 16 bytes."""
        return self._engine.finalize()


def bare_key(key: "AesKey") -> bytes:
    """The key itself, to encrypt with: the vectors made here follow from it, so a token is of no use.

    Raises:
        SettingsError: it stays in a token.
    """
    if isinstance(key.key, bytes):
        return key.key
    raise SettingsError(
        "to encrypt, the AES key itself is needed, not one that stays in a token",
        hint="build with a key file that holds the key; devices decrypt with the token",
    )


def encrypt_description(description: bytes, key: "AesKey") -> bytes:
    """The stored form of sw-description.

    The format leaves no place for a vector of its own, so it is the key file's (swu format §5.5).
    """
    engine = Encryptor(bare_key(key), key.iv)
    return bytes(engine.push(memoryview(description))) + engine.finish()


def decrypt_description(stored: bytes, key: "AesKey") -> bytes:
    """Back again.

    Raises:
        DecryptError: a wrong key, or not encrypted at all.
    """
    from swagent.crypto.cipher import OVERHEAD_BYTES, CbcDecryptor

    engine = CbcDecryptor(key.key, key.iv)
    target = memoryview(bytearray(len(stored) + OVERHEAD_BYTES))
    n_bytes = engine.update_into(memoryview(stored), target)
    return bytes(target[:n_bytes]) + engine.finalize()


def synthetic_ivt(key: bytes, name: str, sha256: bytes) -> bytes:
    """The initialisation vector of a member: a keyed digest of its name and content.

    CBC asks for a vector that nobody can predict and that does not repeat for different contents under one key. HMAC
    under the secret key is both: it repeats only for the same content under the same name, and then all that it tells
    is that these are equal. So the same input gives the same image.

    Args:
        key: the AES key; HMAC-SHA-256 and AES under one key do not weaken each other.
        name: of the member.
        sha256: of the bytes to encrypt.

    Returns:
        16 bytes.
    """
    from hmac import digest

    return digest(key, b"swagent ivt\0" + name.encode() + b"\0" + sha256, "sha256")[:16]
