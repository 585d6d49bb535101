"""Private keys in the files of Uptane's reference implementation: sealed with a password (uptane §1.6).

Five fields joined by ``@@@@``: salt, rounds of PBKDF2, HMAC-SHA256 of the ciphertext, initial counter, ciphertext; hex,
but for the rounds. Inside is the key as JSON, with ``keyval.private`` beside its public value.
"""

import hmac
import json
import os
from hashlib import pbkdf2_hmac
from typing import Any

from . import schemes

MARK = b"@@@@"
ROUNDS = 100_000
_ROUNDS_MAX = 10_000_000  # some seconds; the file is not yet believed when they are spent
_SALT_BYTES, _COUNTER_BYTES, _KEY_BYTES = 16, 16, 32
_FIELDS = 5


def is_sealed(data: bytes) -> bool:
    """Whether a key file has this form."""
    return data.count(MARK) == _FIELDS - 1


def unseal(data: bytes, password: bytes) -> schemes.PrivateKey:
    """The key in a file.

    Raises:
        ValueError: malformed, another password, or a key that cannot be used.
    """
    fields = data.strip().split(MARK)
    if len(fields) != _FIELDS:
        raise ValueError(f"{len(fields)} fields instead of {_FIELDS}")
    salt, tag, counter, sealed = (bytes.fromhex(fields[i].decode("ascii")) for i in (0, 2, 3, 4))
    if not fields[1].isdigit() or not 1 <= int(fields[1][:9]) <= _ROUNDS_MAX:
        raise ValueError("the number of rounds makes no sense")
    if len(counter) != _COUNTER_BYTES:
        raise ValueError("the initial counter does not have 16 bytes")
    key = pbkdf2_hmac("sha256", password, salt, int(fields[1]), _KEY_BYTES)
    if not hmac.compare_digest(hmac.digest(key, sealed, "sha256"), tag):
        raise ValueError("wrong password, or the file is damaged")
    return _key(_ctr(key, counter, sealed))


def seal(seed: bytes, password: bytes, rounds: int = ROUNDS) -> bytes:
    """A file that holds the Ed25519 key of a seed of 32 bytes."""
    plain = json.dumps(
        {
            "keytype": "ed25519",
            "keyid_hash_algorithms": ["sha256", "sha512"],
            "keyval": {"public": schemes.from_seed(seed).public, "private": seed.hex()},
        }
    ).encode()
    salt, counter = os.urandom(_SALT_BYTES), os.urandom(_COUNTER_BYTES)
    key = pbkdf2_hmac("sha256", password, salt, rounds, _KEY_BYTES)
    sealed = _ctr(key, counter, plain)
    tag = hmac.digest(key, sealed, "sha256")
    return MARK.join(
        [
            salt.hex().encode(),
            b"%d" % rounds,
            tag.hex().encode(),
            counter.hex().encode(),
            sealed.hex().encode(),
        ]
    )


def _ctr(key: bytes, counter: bytes, data: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CTR

    cipher = Cipher(AES(key), CTR(counter)).encryptor()
    return cipher.update(data) + cipher.finalize()


def _key(plain: bytes) -> schemes.PrivateKey:
    try:
        tree: Any = json.loads(plain)
        kind, private = str(tree["keytype"]).lower(), str(tree["keyval"]["private"])
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise ValueError("there is no key inside") from exc
    if kind != "ed25519":
        raise ValueError(f"a key of type {kind[:20]!r} is inside, not ed25519")
    return schemes.from_seed(bytes.fromhex(private))
