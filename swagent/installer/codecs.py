"""How an entry's member becomes plain: sizes and keys looked up, so that the pipe need not know sw-description."""

from swagent.crypto.cipher import AesKey
from swagent.errors import DecryptError, SwagentError
from swagent.handlers.options import plain_size
from swagent.model import Artifact, Compression
from swagent.stream import Codec
from swagent.stream.chunks import ChunkTable
from swagent.stream.pipeline import Decoder


def codec_for(
    art: Artifact, stored_bytes: int, aes_key: AesKey | None, chunks: ChunkTable | None = None
) -> Codec:
    """The codec of an entry (swu format §5.4, §5.7).

    Args:
        art: the entry.
        stored_bytes: length of its member.
        aes_key: used where the entry has no key or iv of its own.
        chunks: the member's table.

    Raises:
        DecryptError: no key or no iv.
        DescriptionError: the key does not fit the cipher, or a size is no number.
        SizeError: the table does not fit the member.
    """
    plain = art.compression is Compression.NONE and not art.cipher
    plain_bytes = None if plain else plain_size(art)
    if chunks is not None:
        chunks.judge_fit(stored_bytes, stored_bytes if plain else plain_bytes, art.label)
        plain_bytes = chunks.plain_bytes
    codec = Codec(
        art.label, stored_bytes, art.sha256, art.compression, plain_bytes=plain_bytes, chunks=chunks
    )
    if not art.cipher:
        return codec
    key = art.aes_key or (aes_key.key if aes_key else None)
    iv = art.ivt or (aes_key.iv if aes_key else None)
    if key is None or iv is None:
        raise DecryptError(
            f"{art.where}: the artifact is encrypted, and there is no {'key' if key is None else 'ivt'} for it",
            artifact=art.label,
            hint="give the key file with -K",
        )
    from swagent.crypto.cipher import check_key

    try:
        check_key(art.cipher, key, iv)
    except SwagentError as exc:
        raise type(exc)(f"{art.where}: {exc.message}", artifact=art.label, hint=exc.hint) from exc

    def decryptor(vector: bytes) -> Decoder:
        from swagent.stream.decrypt import Decryptor

        return Decryptor(key, vector or iv)

    return codec._replace(decryptor=decryptor)
