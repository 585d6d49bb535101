"""What signs metadata and reports: a private key with the name that the metadata gives it, or who signed before."""

from swagent.crypto.schemes import Signing

from .codecs.base import Codec
from .metadata import Key, Signature


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


class Made:
    """A signature that was made before, to write the same file again; a ``codecs.base.SigningPair``.

    Args:
        key: whose it is; what the signature itself says where that is all that is known.
        signature: the signature.
    """

    def __init__(self, signature: Signature, key: Key | None = None) -> None:
        self.key = key or Key(signature.keyid, "", signature.method, "")
        self._value = signature.value

    def sign(self, message: bytes) -> bytes:
        """What was signed then, whatever the message is now."""
        return self._value
