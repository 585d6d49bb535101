"""Update authorization: ``UniAuth.db`` says which units may be updated to what (authorization db §1 to §4).

No policy lives in this room's core: what kinds of lists there are, and how records are stored, stands on two shelves.
"""

from typing import TYPE_CHECKING

from swagent.plugins import Registry

if TYPE_CHECKING:
    from .ciphers import CipherClass
    from .lists import ListType

FILE_NAME = "UniAuth.db"
LIST_BUILT_INS: tuple[tuple[str, str], ...] = (
    ("activation_code", "lists:ACTIVATION_CODE"),
    ("date", "lists:DATE"),
    ("host_serial", "lists:HOST_SERIAL"),
    ("image_version", "lists:IMAGE_VERSION"),
    ("model_number", "lists:MODEL_NUMBER"),
    ("msn", "lists:MSN"),
    ("time", "lists:TIME"),
)
CIPHER_BUILT_INS: tuple[tuple[str, str], ...] = (
    ("aes-256-cbc", "ciphers:Cbc"),
    ("aes-256-gcm", "ciphers:GcmRecords"),
    ("none", "ciphers:Plain"),
)


def known_lists() -> "Registry[ListType]":
    """A fresh registry of the list types there are; other packages' are found by entry point."""
    shelf: Registry[ListType] = Registry("swagent.authdb_sections")
    shelf.add_built_ins(__name__, LIST_BUILT_INS)
    return shelf


def known_ciphers() -> "Registry[CipherClass]":
    """A fresh registry of the record ciphers there are."""
    shelf: Registry[CipherClass] = Registry("swagent.authdb_ciphers")
    shelf.add_built_ins(__name__, CIPHER_BUILT_INS)
    return shelf
