"""How records are stored: the ciphers that a section's ``alg`` can name (authorization db §2, §4).

A cipher works on whole records of one length. Plain records have one length too, the shorter ones NULs behind them.
"""

import os
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple, Protocol

from swagent.errors import DecryptError, MetadataError, SettingsError

from .layout import Section

if TYPE_CHECKING:
    from swagent.crypto.uri import BlockKey

_KEY_BYTES = 32
_BLOCK_BYTES = 16
_BINDING = Struct("<16sIQQ")

Random = Callable[[int], bytes]


class Key(NamedTuple):
    """The key of encrypted records; never shown."""

    value: "bytes | BlockKey"

    def __repr__(self) -> str:
        return "Key(...)"


class RecordCipher(Protocol):
    """A kind of storage; instances know one key.

    Attributes:
        secret: whether nobody without the key can read the records.
    """

    secret: bool

    def stored_bytes(self, plain_bytes: int) -> int:
        """How long a plain record is when it is stored."""
        ...

    def plain_bytes(self, stored_bytes: int) -> int:
        """How long a stored record is at most when it is opened.

        Raises:
            MetadataError: no stored record has this length.
        """
        ...

    def seal(
        self, section: Section, first: int, block: bytes, width: int, random: Random = os.urandom
    ) -> bytes:
        """Store plain records.

        Args:
            section: the list that they belong to; ``entry`` may change later.
            first: number of the first one.
            block: the records, one behind the other.
            width: bytes of each.
            random: where nonces come from.

        Raises:
            SettingsError: the key cannot do it.
        """
        ...

    def open(self, section: Section, first: int, block: bytes) -> bytes:
        """Open whole stored records.

        Args:
            section: the list that they belong to.
            first: number of the first one.
            block: the records, one behind the other.

        Returns:
            As many plain records of ``plain_bytes`` each.

        Raises:
            DecryptError: they cannot be opened.
        """
        ...


class CipherClass(Protocol):
    """What the shelf ``swagent.authdb_ciphers`` holds: called with the key, None for none."""

    def __call__(self, key: Key | None) -> RecordCipher:
        """A cipher with its key.

        Raises:
            SettingsError: a key is needed, or one of another kind.
        """
        ...


class Plain:
    """``none``: as they are."""

    secret = False

    def __init__(self, key: Key | None = None) -> None:
        pass

    def stored_bytes(self, plain_bytes: int) -> int:
        """The same."""
        return plain_bytes

    def plain_bytes(self, stored_bytes: int) -> int:
        """The same."""
        return stored_bytes

    def seal(
        self, section: Section, first: int, block: bytes, width: int, random: Random = os.urandom
    ) -> bytes:
        """Nothing to do."""
        return block

    def open(self, section: Section, first: int, block: bytes) -> bytes:
        """Nothing to do."""
        return block


class Cbc:
    """``aes-256-cbc``: vector, then the padded record. Hides; whoever changes it is not noticed by this alone."""

    secret = True

    def __init__(self, key: Key | None) -> None:
        self._key = _of_256_bits(key, "aes-256-cbc")

    def stored_bytes(self, plain_bytes: int) -> int:
        """A vector more, and padding to the next block."""
        return _BLOCK_BYTES + (plain_bytes // _BLOCK_BYTES + 1) * _BLOCK_BYTES

    def plain_bytes(self, stored_bytes: int) -> int:
        """Without the vector and at least one byte of padding."""
        if stored_bytes < 2 * _BLOCK_BYTES or stored_bytes % _BLOCK_BYTES:
            raise MetadataError(f"no record by aes-256-cbc has {stored_bytes} bytes")
        return stored_bytes - _BLOCK_BYTES - 1

    def seal(
        self, section: Section, first: int, block: bytes, width: int, random: Random = os.urandom
    ) -> bytes:
        """All at once: as one stream, in which a random block becomes, encrypted, the next record's vector."""
        from swagent.crypto.cipher import encrypt_blocks

        if not isinstance(self._key, bytes):
            raise SettingsError("a key in a token only decrypts", hint="name a file with the key")
        n_padding = _BLOCK_BYTES - width % _BLOCK_BYTES
        padding = bytes([n_padding]) * n_padding
        stream = b"".join(
            random(_BLOCK_BYTES) + block[at : at + width] + padding for at in range(0, len(block), width)
        )
        return encrypt_blocks(self._key, random(_BLOCK_BYTES), stream)

    def open(self, section: Section, first: int, block: bytes) -> bytes:
        """All at once: as one stream, in which each vector is a block that decrypts to nothing of use."""
        from swagent.crypto.cipher import decrypt_blocks

        size, width = section.entity_size, self.plain_bytes(section.entity_size)
        plain = decrypt_blocks(self._key, bytes(_BLOCK_BYTES), block)
        return b"".join(
            _unpadded(plain[at + _BLOCK_BYTES : at + size], section).ljust(width, b"\0")
            for at in range(0, len(plain), size)
        )


class GcmRecords:
    """``aes-256-gcm``: nonce, record, tag. A record is bound to its list, and to its place and the number in it."""

    secret = True

    def __init__(self, key: Key | None) -> None:
        from swagent.crypto.gcm import NONCE_BYTES, TAG_BYTES, Gcm

        value = _of_256_bits(key, "aes-256-gcm")
        if not isinstance(value, bytes):
            raise SettingsError("a key in a token does not open aes-256-gcm", hint="name a file with the key")
        self._gcm = Gcm(value)
        self._nonce_bytes = NONCE_BYTES
        self._more_bytes = NONCE_BYTES + TAG_BYTES

    def stored_bytes(self, plain_bytes: int) -> int:
        """Nonce and tag more."""
        return plain_bytes + self._more_bytes

    def plain_bytes(self, stored_bytes: int) -> int:
        """Without nonce and tag."""
        if stored_bytes <= self._more_bytes:
            raise MetadataError(f"no record by aes-256-gcm has {stored_bytes} bytes")
        return stored_bytes - self._more_bytes

    def seal(
        self, section: Section, first: int, block: bytes, width: int, random: Random = os.urandom
    ) -> bytes:
        """Each under a nonce of its own."""
        sealed = []
        for index, at in enumerate(range(0, len(block), width), first):
            nonce = random(self._nonce_bytes)
            sealed += [nonce, self._gcm.seal(nonce, block[at : at + width], _binding(section, index))]
        return b"".join(sealed)

    def open(self, section: Section, first: int, block: bytes) -> bytes:
        """One by one."""
        size, nonce = section.entity_size, self._nonce_bytes
        opened = []
        for index, at in enumerate(range(0, len(block), size), first):
            try:
                opened.append(
                    self._gcm.open(
                        block[at : at + nonce], block[at + nonce : at + size], _binding(section, index)
                    )
                )
            except DecryptError as exc:
                raise DecryptError(f"record {index} of {section} cannot be decrypted: {exc.message}") from exc
        return b"".join(opened)


def _binding(section: Section, index: int) -> bytes:
    return _BINDING.pack(section.name.encode(), section.flags, section.entities, index)


def _of_256_bits(key: Key | None, name: str) -> "bytes | BlockKey":
    if key is None:
        raise SettingsError(
            f"{name} needs a key", hint="name its file: key-file in the group authorization, or --key"
        )
    size = len(key.value) if isinstance(key.value, bytes) else key.value.size_bytes
    if size != _KEY_BYTES:
        raise SettingsError(f"{name} needs a key of 256 bits, this one has {size * 8}")
    return key.value


def _unpadded(padded: bytes, section: Section) -> bytes:
    padding = padded[-1]
    if not 1 <= padding <= _BLOCK_BYTES or not padded.endswith(bytes([padding]) * padding):
        raise DecryptError(f"a record of {section} cannot be decrypted: wrong key, or it was changed")
    return padded[:-padding]


def read_key(key_file: str) -> Key:
    """The key in one of SWUpdate's key files: ``KEY IV`` in hexadecimal, or the URI of a key in a token and an IV.

    The vector is not used: each record brings its own.

    Raises:
        SettingsError: unreadable or malformed.
    """
    from swagent.crypto.cipher import read_key_file

    return Key(read_key_file(key_file).key)
