"""One image, encrypted for its way or opened again; plain bytes are in memory, or in the result, and nowhere else."""

from typing import TYPE_CHECKING, NamedTuple

from swagent.crypto.digest import same, sha256
from swagent.errors import HashError

from .encrypt import Encryptor, bare_key

if TYPE_CHECKING:
    from swagent.crypto.cipher import AesKey
    from swagent.model import Reader

BLOCK_BYTES = 1024 * 1024


class Ciphered(NamedTuple):
    """What came out.

    Attributes:
        plain_bytes: how many there are.
        stored_bytes: the same of the encrypted ones.
        sha256: of the encrypted ones, as sw-description wants it.
        ivt: the vector.
    """

    plain_bytes: int
    stored_bytes: int
    sha256: bytes
    ivt: bytes


def encrypt_image(source: "Reader", path: str, key: "AesKey", ivt: bytes) -> Ciphered:
    """Encrypt with AES-CBC; the result takes the place of ``path`` when all of it is there.

    Args:
        source: the plain image.
        path: of the result.
        key: AES key; its own vector is not used.
        ivt: 16 bytes, new for each image.

    Raises:
        DecryptError: a wrong length of key or vector.
        SettingsError: the key stays in a token.
        DeviceError: the image cannot be read, or the result written.
    """
    from swagent.store.atomic import open_replacement

    engine, digest = Encryptor(bare_key(key), ivt), sha256(b"")
    block = memoryview(bytearray(BLOCK_BYTES))
    plain_bytes = stored_bytes = 0
    with open_replacement(path) as file:
        while True:
            n = source.readinto(block)
            piece = engine.push(block[:n]) if n else memoryview(engine.finish())
            file.write(piece)
            digest.update(piece)
            plain_bytes, stored_bytes = plain_bytes + n, stored_bytes + len(piece)
            if not n:
                break
    return Ciphered(plain_bytes, stored_bytes, digest.digest(), ivt)


def decrypt_image(
    source: "Reader", path: str, key: "AesKey", ivt: bytes, expected: bytes | None = None
) -> Ciphered:
    """Open an encrypted image; the result takes the place of ``path`` when all of it is right, with mode 0600.

    Args:
        source: the encrypted image.
        path: of the result.
        key: AES key, or one in a token; its own vector is not used.
        ivt: the vector.
        expected: SHA-256 that the encrypted bytes must have, None when nobody says; the padding alone vouches for
            little.

    Raises:
        DecryptError: a wrong key or vector, or a damaged end.
        HashError: these are not the bytes that were expected.
        DeviceError: the image cannot be read, or the result written.
    """
    from swagent.store.atomic import open_replacement
    from swagent.stream.decrypt import Decryptor

    engine, digest = Decryptor(key.key, ivt), sha256(b"")
    block = memoryview(bytearray(BLOCK_BYTES))
    plain_bytes = stored_bytes = 0
    with open_replacement(path, mode=0o600) as file:
        while n := source.readinto(block):
            digest.update(block[:n])
            stored_bytes += n
            for piece in engine.push(block[:n]):
                plain_bytes += file.write(piece)
        found = digest.digest()
        if expected is not None and not same(found, expected):
            raise HashError(
                f"these are not the bytes that were expected: sha256 is {found.hex()}",
                hint="fetch the image again; if its own checksum is right, ask who encrypted it",
            )
        plain_bytes += file.write(engine.finish())
    return Ciphered(plain_bytes, stored_bytes, found, ivt)
