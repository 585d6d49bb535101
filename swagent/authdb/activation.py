"""Activation codes: 64 or 128 hexadecimal digits that a key's owner makes for one serial number.

A record of a list ``activation_code`` is ``ed25519:`` and a public key, or ``hmac-sha256:`` and a secret of 32 bytes,
both in hexadecimal. The secret could make codes for everybody, so it counts in encrypted lists only.
"""

from typing import TYPE_CHECKING

from swagent.errors import MetadataError, SettingsError

if TYPE_CHECKING:
    from swagent.crypto.schemes import Signing

DOMAIN = b"swagent activation v1\0"
_SECRET_BYTES = 32


def made_by(record: str, code: str, serial: str, *, secret_kept: bool) -> bool:
    """Whether the key in ``record`` made ``code`` for ``serial``.

    Args:
        record: as it stands in the list.
        code: hexadecimal; what is none was made by nobody.
        serial: of the unit.
        secret_kept: whether the list is encrypted.

    Raises:
        MetadataError: the record holds no key, or a secret that everybody can read.
    """
    kind, _, value = record.partition(":")
    try:
        given = bytes.fromhex(code)
    except ValueError:
        return False
    message = _message(serial)
    try:
        if kind == "ed25519":
            from swagent.crypto import schemes

            return schemes.load(schemes.ED25519, value).made(given, message)
        if kind == "hmac-sha256":
            return _hmac_fits(value, given, message, secret_kept=secret_kept)
    except ValueError as exc:
        raise MetadataError(f"{kind}: {exc}") from exc
    raise MetadataError(
        f"{kind[:40]!r} is no kind of activation", hint="records are ed25519:HEX or hmac-sha256:HEX"
    )


def _hmac_fits(value: str, given: bytes, message: bytes, *, secret_kept: bool) -> bool:
    import hmac

    from swagent.crypto.digest import same

    if not secret_kept:
        raise ValueError("the secret stands in a list that is not encrypted")
    secret = bytes.fromhex(value)
    if len(secret) != _SECRET_BYTES:
        raise ValueError(f"a secret has {_SECRET_BYTES} bytes")
    return same(hmac.digest(secret, message, "sha256"), given)


class KeyMaker:
    """Makes codes by an Ed25519 key; whoever reads the list cannot.

    Args:
        key: the private key.

    Attributes:
        record: what stands in the list ``activation_code``.

    Raises:
        SettingsError: a key of another kind.
    """

    def __init__(self, key: "Signing") -> None:
        if key.kind != "ed25519":
            raise SettingsError(
                f"activation codes are made by an Ed25519 key, and this one is {key.kind}",
                hint="openssl genpkey -algorithm ed25519 makes one",
            )
        self._key = key
        self.record = f"ed25519:{key.public}"

    def code(self, serial: str) -> str:
        """The code for one unit."""
        return self._key.sign(_message(serial)).hex()


class SecretMaker:
    """Makes shorter codes by a secret, which the list holds too and must therefore be encrypted.

    Args:
        secret: 32 bytes.

    Attributes:
        record: what stands in the list ``activation_code``.

    Raises:
        SettingsError: another length.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) != _SECRET_BYTES:
            raise SettingsError(f"a secret has {_SECRET_BYTES} bytes, this one has {len(secret)}")
        self._secret = secret
        self.record = f"hmac-sha256:{secret.hex()}"

    def code(self, serial: str) -> str:
        """The code for one unit."""
        import hmac

        return hmac.digest(self._secret, _message(serial), "sha256").hex()


def _message(serial: str) -> bytes:
    return DOMAIN + serial.encode()
