"""Images that were encrypted for one ECU: AES-CBC, its vector in the first 16 bytes, opened where they are installed.

What was encrypted is judged as it travels (length and hashes of that form), and what comes out of it once more, by what
both repositories signed. CBC vouches for nothing by itself.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from swagent.crypto.cipher import BLOCK_BYTES
from swagent.errors import DecryptError, SettingsError
from swagent.model import Reader
from swagent.uptane.errors import TargetHashMismatch
from swagent.uptane.images import JudgedImage
from swagent.uptane.metadata import Target

if TYPE_CHECKING:
    from swagent.crypto.imagekey import ImageKey

PIECE_BYTES = 256 * 1024


def opened(source: Reader, target: Target, key: "ImageKey | None") -> Reader:
    """The plain image.

    Args:
        source: the form in which it travelled, judged as it is read.
        target: what was signed of it.
        key: the ECU's, None where it has none.

    Returns:
        ``source`` itself for an image that is not encrypted; else the plain bytes, judged with the last read.

    Raises:
        SettingsError: the image is encrypted, and there is no key.
        TargetHashMismatch: the key does not open it.
    """
    form = target.encrypted
    if form is None:
        return source
    if key is None:
        raise SettingsError(
            f"{target.path} is encrypted for this ECU, and there is no key to open it", hint="see --image-key"
        )
    try:
        content_key = key.content_key(form.key_kind, form.key)
    except DecryptError as exc:
        raise _closed(target, exc) from exc
    return JudgedImage(
        _Decrypted(source, target, content_key), target.path, target.length_bytes, target.hashes
    )


class _Decrypted:
    """A ``Reader`` of plain bytes around one of encrypted ones."""

    def __init__(self, source: Reader, target: Target, key: bytes) -> None:
        self._source = source
        self._target = target
        self._key = key
        self._pieces = self._decrypt()
        self._left = memoryview(b"")

    def readinto(self, buffer: memoryview) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        n = min(len(buffer), len(self._left))
        buffer[:n] = self._left[:n]
        self._left = self._left[n:]
        return n

    def _decrypt(self) -> Iterator[memoryview]:
        from swagent.stream.decrypt import Decryptor

        try:
            decryptor = Decryptor(self._key, self._vector())
            block = memoryview(bytearray(PIECE_BYTES))
            while n := self._source.readinto(block):
                yield from decryptor.push(block[:n])
            yield memoryview(decryptor.finish())
        except DecryptError as exc:
            raise _closed(self._target, exc) from exc

    def _vector(self) -> bytes:
        vector = memoryview(bytearray(BLOCK_BYTES))
        done = 0
        while done < BLOCK_BYTES:
            n = self._source.readinto(vector[done:])
            if not n:
                raise DecryptError("it is shorter than its initialization vector")
            done += n
        return bytes(vector)


def _closed(target: Target, exc: DecryptError) -> TargetHashMismatch:
    return TargetHashMismatch(
        f"{target.path} cannot be decrypted: {exc.message}",
        artifact=target.path,
        expected="an image that this ECU's key opens",
        hint="was it encrypted for another ECU?",
    )
