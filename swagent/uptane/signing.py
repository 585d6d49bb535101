"""Keys that sign metadata and reports: a private key, and the name that the metadata gives it."""

from swagent.crypto.schemes import Signing

from .codecs.base import Codec
from .metadata import Key


class Signer:
    """A key that signs; a ``codecs.base.SigningPair``.

    Args:
        private: the private key.
        codec: the encoding whose identifier the key has.
    """

    def __init__(self, private: Signing, codec: Codec) -> None:
        self._private = private
        named = Key("", private.kind, private.scheme, private.public)
        self.key = named._replace(keyid=codec.keyid(named))

    def sign(self, message: bytes) -> bytes:
        """The signature over ``message``."""
        return self._private.sign(message)
