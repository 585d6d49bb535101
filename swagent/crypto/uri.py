"""Where a key lives: a key is named by a path or a URI, and the URI's scheme says what opens it.

Schemes are plug-ins on the shelf ``swagent.key_schemes``; a class there is made without arguments and is a
``KeyScheme``. A name without a scheme is a path, and as in RFC 3986 §4.2 a path whose first part has a colon is
written ``./a:b``.
"""

from typing import TYPE_CHECKING, Protocol

from swagent.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from swagent.plugins import Registry

SHELF = "swagent.key_schemes"
BUILT_INS: tuple[tuple[str, str], ...] = (
    ("file", "keyfile:KeyFiles"),
    ("pkcs11", "token:TokenKeys"),
)


class SigningKey(Protocol):
    """A private key, wherever it lives.

    Attributes:
        where: how messages call it, such as ``key file /keys/release.key``; never with a PIN.
        kind: ``rsa`` or ``ec``.
    """

    where: str
    kind: str

    def sign(self, content: bytes, scheme: str) -> bytes:
        """The signature over the SHA-256 of ``content`` by ``rsa``, ``rsa-pss`` or ``ecdsa`` (DER).

        Raises:
            SettingsError: whoever holds the key refuses.
        """
        ...

    def public_der(self) -> bytes:
        """Its public half as SubjectPublicKeyInfo.

        Raises:
            SettingsError: whoever holds the key does not tell.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class BlockKey(Protocol):
    """An AES key that stays where it is and decrypts there. May be used from any thread.

    Attributes:
        size_bytes: 16, 24 or 32.
    """

    size_bytes: int

    def decrypt_blocks(self, iv: bytes, data: bytes) -> bytes:
        """AES-CBC without padding: as many bytes as ``data`` has, which is a multiple of 16.

        Raises:
            DecryptError: whoever holds the key refuses, or is gone.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class KeyScheme(Protocol):
    """What opens the keys of one URI scheme."""

    def signing_key(self, name: str, password: bytes | None) -> SigningKey:
        """The private key of this name.

        Raises:
            SettingsError: it cannot be used.
        """
        ...

    def aes_key(self, name: str) -> BlockKey:
        """The AES key of this name.

        Raises:
            SettingsError: it cannot be used.
        """
        ...

    def shown(self, name: str) -> str:
        """The name without anything secret, for messages."""
        ...


def registry() -> "Registry[Callable[[], KeyScheme]]":
    """A fresh registry with the built-ins on it; those of other packages are found by entry point."""
    from swagent.plugins import Registry

    shelf: Registry[Callable[[], KeyScheme]] = Registry(SHELF)
    shelf.add_built_ins(__package__, BUILT_INS)
    return shelf


def scheme_of(name: str) -> str:
    """The scheme in a key's name, "" when it is a path."""
    scheme, colon, _ = name.partition(":")
    if not colon or not scheme[:1].isalpha() or not scheme.isascii():
        return ""
    return scheme.lower() if all(c.isalnum() or c in "+-." for c in scheme) else ""


def find(name: str) -> KeyScheme:
    """What opens the key of this name.

    Raises:
        SettingsError: there is nothing for its scheme.
        RegistrationError: there is, but it cannot be loaded.
    """
    scheme = scheme_of(name) or "file"
    shelf = registry()
    factory = shelf.get(scheme)
    if factory is None:
        known = ", ".join(f"{known}:" for known in shelf.names())
        raise SettingsError(
            f"keys of the scheme {scheme}: are unknown, there are {known}",
            hint="a file whose name has a colon is written ./NAME",
        )
    return factory()


def shown(name: str) -> str:
    """A key's name without anything secret in it, for messages; that of an unknown scheme is cut behind it."""
    if not scheme_of(name):
        return name
    try:
        return find(name).shown(name)
    except SettingsError:
        return f"{scheme_of(name)}:…"
