"""The stage that decrypts AES-CBC block by block."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from swagent.crypto.cipher import CbcDecryptor

if TYPE_CHECKING:
    from swagent.crypto.uri import BlockKey

# what update_into may need beyond the size of its input
_SPARE_BYTES = 64


class Decryptor:
    """A ``pipeline.Decoder`` over ``crypto``'s decryptor, with one buffer that is used again.

    Args:
        key: 16, 24 or 32 bytes, or one that stays in a token.
        iv: 16 bytes.
    """

    def __init__(self, key: "bytes | BlockKey", iv: bytes) -> None:
        self._cipher = CbcDecryptor(key, iv)
        self._scratch = memoryview(b"")

    def push(self, block: memoryview) -> Iterator[memoryview]:
        """The plain bytes that a block brings, valid until the next call."""
        if len(self._scratch) < len(block) + _SPARE_BYTES:
            self._scratch = memoryview(bytearray(len(block) + _SPARE_BYTES))
        n = self._cipher.update_into(block, self._scratch)
        if n:
            yield self._scratch[:n]

    def finish(self) -> bytes:
        """The last block without its padding.

        Raises:
            DecryptError: the padding is wrong, or the length is no multiple of the block size.
        """
        return self._cipher.finalize()
