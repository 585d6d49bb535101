"""The plain records of a list, one by one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from swagent.errors import MetadataError

from . import known_ciphers
from .layout import Section
from .matching import texts

if TYPE_CHECKING:
    from swagent.plugins import Registry

    from .ciphers import CipherClass, Key
    from .reader import Database


def plain_blocks(
    database: "Database", section: Section, ciphers: "Registry[CipherClass]", key: "Key | None"
) -> tuple[Iterator[bytes], int, bool]:
    """A list's plain records in blocks, how many bytes each record has, and whether they are secret in the file.

    Raises:
        MetadataError: the cipher is not known, or no record of it has this length.
        SettingsError: the key is missing, or cannot be used.
    """
    found = ciphers.get(section.alg)
    if found is None:
        raise MetadataError(
            f"{section} is encrypted by {section.alg!r}, which is not known here",
            hint=f"known are {', '.join(ciphers.names())}",
        )
    cipher = found(key)
    if not section.entities:
        return iter(()), 1, cipher.secret

    def opened() -> Iterator[bytes]:
        first = 0
        for block in database.blocks(section):
            yield cipher.open(section, first, block)
            first += len(block) // section.entity_size

    return opened(), cipher.plain_bytes(section.entity_size), cipher.secret


def plain_records(database: "Database", section: Section, key: "Key | None") -> Iterator[str]:
    """A list's records as text.

    Raises:
        MetadataError: one is none, or they changed since they were verified.
        DecryptError, SettingsError: they cannot be decrypted.
    """
    blocks, width, _ = plain_blocks(database, section, known_ciphers(), key)
    for block in blocks:
        yield from texts(block, width)
