"""Signatures of databases: a final section whose single record vouches for every other byte (authorization db §9).

What is signed is a domain prefix and the SHA-256 of the file without that record. Behind the signature the record has
its own CRC-16, so that it adds nothing to the CRC of the file, which the signature covers as well.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from swagent.errors import SettingsError, SignatureError

from .crc16 import crc16
from .layout import Section

if TYPE_CHECKING:
    from swagent.crypto.schemes import PrivateKey, PublicKey

DOMAIN = b"swagent authorization db v1\0"
CRC_BYTES = 2
_ALGS = {"ed25519": "ed25519", "ecdsa": "ecdsa", "rsa": "rsa-pss"}
ALGS = tuple(_ALGS.values())
_ECDSA_MAX_BYTES = {
    "ecdsa-sha2-nistp256": 72,
    "ecdsa-sha2-nistp384": 104,
}  # DER; shorter ones get NULs behind


def algorithm(key: "PrivateKey | PublicKey") -> str:
    """What the section of this key's signature says as ``alg``."""
    from swagent.crypto.schemes import SCHEMES

    return _ALGS[SCHEMES[key.scheme][0]]


def record_bytes(key: "PrivateKey") -> int:
    """Length of the record with this key's signature."""
    return (_ECDSA_MAX_BYTES.get(key.scheme) or len(key.sign(DOMAIN))) + CRC_BYTES


def sign(key: "PrivateKey", digest: bytes) -> bytes:
    """The record for a file of this digest."""
    signature = key.sign(DOMAIN + digest).ljust(record_bytes(key) - CRC_BYTES, b"\0")
    return signature + crc16(signature).to_bytes(CRC_BYTES, "little")


def load_trust(key_files: Iterable[str]) -> "tuple[PublicKey, ...]":
    """Public keys in PEM, by path or ``file:`` URI: Ed25519, ECDSA P-256 or P-384, RSA.

    Raises:
        SettingsError: unreadable, or none of these.
    """
    from swagent.crypto import keys, schemes

    loaded = []
    for name in key_files:
        try:
            kind, value = schemes.kind_of_pem(keys.read_file(name))
            loaded.append(_load(kind, value))
        except ValueError as exc:
            raise SettingsError(
                f"{name} is no key that a database can be signed with: {exc}",
                hint="name a public key in PEM: Ed25519, ECDSA P-256 or P-384, RSA",
            ) from exc
    return tuple(loaded)


def _load(kind: str, value: str) -> "PublicKey":
    from swagent.crypto import schemes

    if kind == "ed25519":
        return schemes.load(schemes.ED25519, value)
    if kind == "rsa":
        return schemes.load(schemes.RSA_PSS, value)
    try:
        return schemes.load(schemes.ECDSA_P256, value)
    except ValueError:
        return schemes.load("ecdsa-sha2-nistp384", value)


def verify(trust: "tuple[PublicKey, ...]", section: Section | None, record: bytes, digest: bytes) -> str:
    """Who of ``trust`` signed a file of this digest; returns the algorithm.

    Raises:
        SignatureError: nobody did.
    """
    if section is None:
        raise SignatureError("it is not signed", hint="sign it with `swagent authdb sign`")
    signature = record[:-CRC_BYTES]
    for key in trust:
        if algorithm(key) != section.alg:
            continue
        made = _der(signature) if section.alg == "ecdsa" else signature
        if key.made(made, DOMAIN + digest):
            return section.alg
    raise SignatureError(
        "no trusted key made its signature", hint="it was changed, or signed by somebody else"
    )


def _der(padded: bytes) -> bytes:
    """A DER signature without the NULs behind it; with them, so that it fits nothing, where they are none."""
    length = 2 + padded[1] if len(padded) > 1 else 0
    return padded[:length] if not padded[length:].strip(b"\0") else padded
