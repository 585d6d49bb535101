"""The head of an archive: sw-description and its signature, read, decrypted and verified before they mean anything."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from swagent.crypto.cipher import AesKey
from swagent.crypto.signature import Signer, Trust
from swagent.errors import ArchiveError, DecryptError, SignatureError
from swagent.stream import Archive, Member, read_all

DESCRIPTION = "sw-description"
SIGNATURE = "sw-description.sig"
SIGNATURE_BYTES_MAX = 64 * 1024
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")


class Intake(NamedTuple):
    """A description that may be believed.

    Attributes:
        text: plain sw-description.
        signer: who signed it, None when nobody asked.
        rest: the members behind it; of a stream, they must be taken in order.
    """

    text: bytes
    signer: Signer | None
    rest: Iterator[Member]


def take_in(
    archive: Archive,
    trust: Trust | None,
    aes_key: AesKey | None,
    *,
    size_max_bytes: int,
    now_s: Callable[[], float],
) -> Intake:
    """Read the head of an archive (swu format §1.3, §5.2, §5.5).

    Args:
        archive: at its first member.
        trust: whom to believe; None to ask for no signature (then one that is there is passed over).
        aes_key: opens an encrypted description; a plain one is accepted too, as its signature covers the plain text.
        size_max_bytes: for the description.
        now_s: gives seconds since the epoch; asked only when there are certificates to judge.

    Raises:
        ArchiveError: the members are not there, not in this order, or damaged.
        SignatureError: nobody who is trusted signed it.
        DecryptError: it looks encrypted, and the key does not open it or is missing.
    """
    members = archive.members()
    text = _take(archive, members, DESCRIPTION, size_max_bytes)
    text = _decrypted(text, aes_key)
    if trust is None:
        return Intake(text, None, members)
    signature = _take(archive, members, SIGNATURE, SIGNATURE_BYTES_MAX)
    from swagent.crypto.signature import looks_like_cms, verify

    time_s = now_s() if looks_like_cms(signature) else 0.0  # at which no certificate is valid
    return Intake(text, verify(text, signature, trust, now_s=time_s), members)


def _take(archive: Archive, members: Iterator[Member], name: str, size_max_bytes: int) -> bytes:
    member = next(members, None)
    if member is None or member.name != name:
        found = "its end" if member is None else repr(member.name)
        if name == SIGNATURE:
            raise SignatureError(
                f"{archive.source.name} is not signed: {found} stands where {name} belongs",
                hint="sign it with `swagent sign`, or allow unsigned images with --allow-unsigned",
            )
        raise ArchiveError(f"{archive.source.name} must begin with {name}, but {found} comes first")
    if member.size_bytes > size_max_bytes:
        raise ArchiveError(f"{name} has {member.size_bytes} bytes, more than the {size_max_bytes} allowed")
    return read_all(archive.open(member, verify_sum=True), size_max_bytes, what=name)


def _decrypted(text: bytes, aes_key: AesKey | None) -> bytes:
    if _is_text(text):
        return text
    if aes_key is None:
        raise DecryptError(
            f"{DESCRIPTION} is encrypted or no text", hint="give the key file with -K if it is encrypted"
        )
    from swagent.stream.decrypt import Decryptor

    decryptor = Decryptor(aes_key.key, aes_key.iv)
    try:
        plain = b"".join(bytes(piece) for piece in decryptor.push(memoryview(text))) + decryptor.finish()
    except DecryptError as exc:
        raise DecryptError(f"{DESCRIPTION}: {exc.message}", hint=exc.hint) from exc
    return plain


def _is_text(text: bytes) -> bool:
    """Ciphertext of more than a few blocks is never UTF-8 without control characters."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return _CONTROL.search(text) is None
