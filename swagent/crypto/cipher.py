"""AES-CBC with PKCS#7 padding, block by block, and SWUpdate's key file (swu format §5.4).

CBC vouches for nothing: the SHA-256 of the encrypted bytes does. Padding errors are told only at the very end.
"""

from typing import TYPE_CHECKING, NamedTuple

from swagent.errors import DecryptError, DescriptionError, SettingsError

from . import keys

if TYPE_CHECKING:
    from typing import Protocol

    from .uri import BlockKey

    class _Context(Protocol):
        """What decrypts whole blocks, as ``cryptography``'s contexts do."""

        def update_into(self, data: memoryview, buf: memoryview) -> int: ...

        def finalize(self) -> bytes: ...


BLOCK_BYTES = 16
OVERHEAD_BYTES = 32  # how much larger than the input an output buffer must be
KEY_SIZES_BYTES = (16, 24, 32)

_CIPHERS = {"aes-cbc": None, "aes-cbc-128": 16, "aes-cbc-192": 24, "aes-cbc-256": 32}


_KEY_HINT = "a key file holds KEY IV: 32, 48 or 64 hexadecimal digits, and 32"


class AesKey(NamedTuple):
    """Key of 16, 24 or 32 bytes, or one that stays in a token, and vector of 16 bytes; neither is shown."""

    key: "bytes | BlockKey"
    iv: bytes

    def __repr__(self) -> str:
        return "AesKey(...)"


def cipher_key_size(name: str) -> int | None:
    """Length of the key in bytes that a cipher's name demands, None for any.

    Raises:
        DescriptionError: a cipher that we do not have.
    """
    if name in _CIPHERS:
        return _CIPHERS[name]
    if name.startswith("aes-ctr"):
        raise DescriptionError(
            f"cipher {name} is not supported",
            hint="SWUpdate itself uses CBC under this name; encrypt with AES-CBC and say aes-cbc",
        )
    raise DescriptionError(f"unknown cipher {name!r}", hint=f"known are {', '.join(_CIPHERS)}")


def check_key(name: str, key: "bytes | BlockKey", iv: bytes) -> None:
    """Refuse a key or vector that does not go with the cipher.

    Raises:
        DescriptionError: a cipher that we do not have.
        DecryptError: a wrong length.
    """
    size_bytes = cipher_key_size(name)
    has_bytes = len(key) if isinstance(key, bytes) else key.size_bytes
    if size_bytes is not None and has_bytes != size_bytes:
        raise DecryptError(
            f"{name} needs a key of {size_bytes * 8} bits, this one has {has_bytes * 8}",
            hint="name the right key, or say aes-cbc, which goes by the key",
        )
    if has_bytes not in KEY_SIZES_BYTES:
        raise DecryptError(f"an AES key has 128, 192 or 256 bits, this one has {has_bytes * 8}")
    if len(iv) != BLOCK_BYTES:
        raise DecryptError(f"an initialization vector has {BLOCK_BYTES} bytes, this one has {len(iv)}")


def read_key_file(key_file: str) -> AesKey:
    """SWUpdate's key file: hexadecimal key, hexadecimal initialization vector, in words.

    Instead of the key there may be the URI of one in a token (swu format §5.6). Words behind
    them are ignored, as SWUpdate does: old releases wrote a salt there.

    Raises:
        SettingsError: unreadable or malformed, or the token refuses; never shows what it read.
        RegistrationError: what opens such URIs cannot be loaded.
    """
    if key_file.startswith("pkcs11:"):
        raise SettingsError(
            "an AES key needs a file with an initialization vector beside it",
            hint="write a file with the URI and 32 hexadecimal digits, and name that",
        )
    path = keys.path_of(key_file)
    words = keys.read_file(key_file).split()
    if len(words) < 2:
        raise SettingsError(f"key file {path} has {len(words)} words instead of two", hint=_KEY_HINT)
    return parse_key(words[0], words[1], where=path)


def parse_key(key_word: bytes, iv_word: bytes, *, where: str) -> AesKey:
    """A key and its initialization vector as SWUpdate writes them; arguments and errors as ``read_key_file``.

    Args:
        key_word: hexadecimal digits, or a URI.
        iv_word: hexadecimal digits.
        where: for messages.
    """
    iv = _unhex(iv_word, f"the initialization vector in {where}", _KEY_HINT)
    key: bytes | BlockKey
    if b":" in key_word:
        key = _key_elsewhere(key_word)
    else:
        key = _unhex(key_word, f"the key in {where}", _KEY_HINT)
        if len(key) not in KEY_SIZES_BYTES:
            raise SettingsError(f"the key in {where} has {len(key_word)} digits", hint=_KEY_HINT)
    if len(iv) != BLOCK_BYTES:
        raise SettingsError(f"the initialization vector in {where} has {len(iv_word)} digits", hint=_KEY_HINT)
    return AesKey(key, iv)


def _key_elsewhere(word: bytes) -> "BlockKey":
    from . import uri

    name = word.decode("utf-8", "replace")
    return uri.find(name).aes_key(name)


def _unhex(word: bytes, what: str, hint: str) -> bytes:
    from binascii import Error, unhexlify

    try:
        return unhexlify(word)
    except Error:
        # without its cause, so that no trace of the key reaches a log
        raise SettingsError(f"{what} is not hexadecimal", hint=hint) from None


class _Elsewhere:
    """CBC by a key that is elsewhere, one call for each run of blocks: the last one encrypted is the next vector."""

    def __init__(self, key: "BlockKey", iv: bytes) -> None:
        self._key = key
        self._iv = iv
        self._rest = b""

    def update_into(self, data: memoryview, buf: memoryview) -> int:
        whole = (len(self._rest) + len(data)) // BLOCK_BYTES * BLOCK_BYTES
        blocks = b"".join((self._rest, data))
        self._rest = blocks[whole:]
        if whole:
            blocks = blocks[:whole]
            buf[:whole] = self._key.decrypt_blocks(self._iv, blocks)
            self._iv = blocks[-BLOCK_BYTES:]
        return whole

    def finalize(self) -> bytes:
        if self._rest:
            raise ValueError("the last block is not whole")
        return b""


class CbcDecryptor:
    """Decrypts a stream; the last block is held back until ``finalize``, which takes the padding off.

    Args:
        key: 16, 24 or 32 bytes, or a key that decrypts where it is.
        iv: 16 bytes.

    Raises:
        DecryptError: a wrong length.
    """

    def __init__(self, key: "bytes | BlockKey", iv: bytes) -> None:
        check_key("aes-cbc", key, iv)
        self._held = b""
        self._context: _Context
        if not isinstance(key, bytes):
            self._context = _Elsewhere(key, iv)
            return
        from cryptography.hazmat.primitives.ciphers import Cipher
        from cryptography.hazmat.primitives.ciphers.algorithms import AES
        from cryptography.hazmat.primitives.ciphers.modes import CBC

        self._context = Cipher(AES(key), CBC(iv)).decryptor()

    def update_into(self, source: memoryview, target: memoryview) -> int:
        """Decrypt ``source``, of any length, to the front of ``target``.

        Args:
            source: encrypted bytes.
            target: another buffer, at least ``OVERHEAD_BYTES`` larger; what lies behind the result is overwritten.

        Returns:
            Number of plain bytes in ``target``; may be 0.
        """
        held = len(self._held)
        target[:held] = self._held
        end = held + self._context.update_into(source, target[held:])
        if end < BLOCK_BYTES:
            return 0
        self._held = bytes(target[end - BLOCK_BYTES : end])
        return end - BLOCK_BYTES

    def finalize(self) -> bytes:
        """The last plain bytes, 0 to 15 of them.

        Raises:
            DecryptError: the input was empty or no multiple of 16 bytes, or the padding is wrong.
        """
        try:
            self._context.finalize()
        except ValueError as exc:
            raise DecryptError(
                "the encrypted data is no multiple of 16 bytes", hint="it was cut short, or is not encrypted"
            ) from exc
        if not self._held:
            raise DecryptError("the encrypted data is empty", hint="even nothing encrypts to 16 bytes")
        padding = self._held[-1]
        if not 1 <= padding <= BLOCK_BYTES or self._held[-padding:] != bytes([padding]) * padding:
            raise DecryptError("the padding of the decrypted data is wrong", hint="wrong key or vector?")
        return self._held[:-padding]


class CbcEncryptor:
    """Encrypts a stream; ``finalize`` adds the padding.

    Args:
        key: 16, 24 or 32 bytes.
        iv: 16 bytes; to be random and new for every artifact.

    Raises:
        DecryptError: a wrong length.
    """

    def __init__(self, key: bytes, iv: bytes) -> None:
        check_key("aes-cbc", key, iv)
        from cryptography.hazmat.primitives.ciphers import Cipher
        from cryptography.hazmat.primitives.ciphers.algorithms import AES
        from cryptography.hazmat.primitives.ciphers.modes import CBC

        self._context = Cipher(AES(key), CBC(iv)).encryptor()
        self._size_bytes = 0

    def update_into(self, source: memoryview, target: memoryview) -> int:
        """Encrypt ``source`` to the front of ``target``, which is at least ``OVERHEAD_BYTES`` larger."""
        self._size_bytes += len(source)
        return self._context.update_into(source, target)

    def finalize(self) -> bytes:
        """The last 16 encrypted bytes."""
        padding = BLOCK_BYTES - self._size_bytes % BLOCK_BYTES
        return self._context.update(bytes([padding]) * padding) + self._context.finalize()


def decrypt_blocks(key: "bytes | BlockKey", iv: bytes, blocks: bytes) -> bytes:
    """AES-CBC without padding: as many bytes as ``blocks`` has, which is a multiple of 16.

    Raises:
        DecryptError: a wrong length, or whoever holds the key refuses.
    """
    check_key("aes-cbc", key, iv)
    if not isinstance(key, bytes):
        return key.decrypt_blocks(iv, blocks)
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CBC

    return Cipher(AES(key), CBC(iv)).decryptor().update(blocks)


def encrypt_blocks(key: bytes, iv: bytes, blocks: bytes) -> bytes:
    """The reverse of ``decrypt_blocks``.

    Raises:
        DecryptError: a wrong length.
    """
    check_key("aes-cbc", key, iv)
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CBC

    return Cipher(AES(key), CBC(iv)).encryptor().update(blocks)
