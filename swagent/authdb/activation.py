"""Activation codes: 64 or 128 hexadecimal digits that a key's owner makes for one serial number.

A record of a list ``activation_code`` is ``ed25519:`` and a public key, or ``hmac-sha256:`` and a secret of 32 bytes,
both in hexadecimal. The secret could make codes for everybody, so it counts in encrypted lists only.
"""

from swagent.errors import MetadataError

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
    message = DOMAIN + serial.encode()
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
