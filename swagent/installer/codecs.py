"""How an entry's member becomes plain: sizes and keys looked up, so that the pipe need not know sw-description."""

from swagent.crypto.cipher import AesKey
from swagent.errors import DecryptError, DescriptionError, SwagentError
from swagent.handlers.options import parse_size
from swagent.model import Artifact, Compression
from swagent.stream import Codec
from swagent.stream.pipeline import Decoder


def codec_for(art: Artifact, stored_bytes: int, aes_key: AesKey | None) -> Codec:
    """The codec of an entry (swu format §5.4, §5.7).

    Args:
        art: the entry.
        stored_bytes: length of its member.
        aes_key: used where the entry has no key or iv of its own.

    Raises:
        DecryptError: no key or no iv.
        DescriptionError: the key does not fit the cipher, or a size is no number.
    """
    plain_bytes = None
    if art.compression is not Compression.NONE:
        plain_bytes = _size(art, "decompressed-size")
    elif art.cipher:
        plain_bytes = _size(art, "decrypted-size")
    if not art.cipher:
        return Codec(art.label, stored_bytes, art.sha256, art.compression, None, plain_bytes)
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

    def decryptor() -> Decoder:
        from swagent.stream.decrypt import Decryptor

        return Decryptor(key, iv)

    return Codec(art.label, stored_bytes, art.sha256, art.compression, decryptor, plain_bytes)


def _size(art: Artifact, key: str) -> int | None:
    text = art.prop(key)
    if text is None:
        return None
    try:
        return parse_size(text)
    except ValueError as exc:
        raise DescriptionError(
            f"{art.where}: property {key} is no size: {text!r}", artifact=art.label
        ) from exc
