"""Signing: the description's signature, and putting it into an image that is there already."""

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from swagent.errors import ArchiveError, DeviceError

from .opened import SIGNATURE, OpenedImage
from .writer import BLOCK_BYTES, CRC_MAGIC, MODE, PAD_BYTES, TRAILER, header

if TYPE_CHECKING:
    from swagent.crypto.cipher import AesKey

_HEADER_BYTES = 110
_MTIME = slice(46, 54)


@dataclass(frozen=True)
class SigningSpec:
    """How to sign.

    Attributes:
        key_file: PEM file with the private key, or the URI of a key elsewhere, such as ``pkcs11:``.
        scheme: ``auto``, ``rsa``, ``rsa-pss``, ``ecdsa`` or ``cms``.
        certificate_file: PEM file with the signer's certificate first; only for ``cms``.
        extra_certificate_files: PEM files with further certificates to carry along; only for ``cms``.
        password: opens an encrypted key file, or PIN of a token.
        signing_time_s: seconds since 1970 that ``cms`` notes as the time of signing; None for no note.
    """

    key_file: str = field(repr=False)
    scheme: str = "auto"
    certificate_file: str = ""
    extra_certificate_files: tuple[str, ...] = ()
    password: bytes | None = field(default=None, repr=False)
    signing_time_s: float | None = None

    @property
    def key_shown(self) -> str:
        """The key's name without a PIN."""
        from swagent.crypto.uri import shown

        return shown(self.key_file)


@dataclass(frozen=True)
class Signed:
    """A signed image.

    Attributes:
        path: where it is.
        size_bytes: of the whole.
        replaced: whether there was one before.
    """

    path: str
    size_bytes: int
    replaced: bool


def make_signature(description: bytes, signing: SigningSpec) -> bytes:
    """The content of ``sw-description.sig`` for a plain description.

    Raises:
        SettingsError: a key or certificate cannot be used.
    """
    from swagent.crypto.signing import sign as sign_content

    return sign_content(
        description,
        key_file=signing.key_file,
        scheme=signing.scheme,
        certificate_file=signing.certificate_file,
        extra_certificate_files=signing.extra_certificate_files,
        password=signing.password,
        signing_time_s=signing.signing_time_s,
    )


def sign(path_in: str, path_out: str, signing: SigningSpec, *, aes_key: "AesKey | None" = None) -> Signed:
    """Sign an image, or replace its signature; every other byte stays as it is, but for the padding at the end.

    Nothing is hashed again: what the digests in the description say is what gets signed.

    Args:
        path_in: an image, signed or not.
        path_out: the result; may be ``path_in``.
        signing: how.
        aes_key: opens an encrypted description, since the signature is over the plain text.

    Raises:
        ArchiveError: it is no sound image.
        DecryptError: the description is encrypted, and the key is missing or wrong.
        SettingsError: a key or certificate cannot be used.
        DeviceError: a file cannot be read or written.
    """
    from swagent.store.atomic import open_replacement

    with OpenedImage(path_in, aes_key) as image:
        members = image.members
        names = [member.name for member in members]
        if SIGNATURE in names[2:]:
            raise ArchiveError(
                f"{path_in} has {SIGNATURE} as member {names.index(SIGNATURE) + 1}; it belongs second",
                hint="build the image again",
            )
        signature = make_signature(image.description(), signing)
        replaced = names[1:2] == [SIGNATURE]
        head_end = _aligned(members[0].offset + members[0].size_bytes)
        rest_start = _aligned(members[1].offset + members[1].size_bytes) if replaced else head_end
        rest_end = _aligned(members[-1].offset + members[-1].size_bytes) + _trailer_bytes()
        with open_replacement(path_out) as file:
            _copy(image.fd, 0, head_end, file.fileno(), path_in)
            first = os.pread(image.fd, _HEADER_BYTES, 0)
            check_sum = sum(signature) if first.startswith(CRC_MAGIC) else 0
            written = header(
                first[:6],
                SIGNATURE,
                inode=len(members) + (not replaced),
                mode=MODE,
                mtime_s=int(first[_MTIME], 16),
                size_bytes=len(signature),
                check_sum=check_sum,
            )
            written += signature + bytes(-len(signature) % 4)
            os.write(file.fileno(), written)
            _copy(image.fd, rest_start, rest_end, file.fileno(), path_in)
            size_bytes = head_end + len(written) + rest_end - rest_start
            os.write(file.fileno(), bytes(-size_bytes % PAD_BYTES))
            size_bytes += -size_bytes % PAD_BYTES
    return Signed(path_out, size_bytes, replaced)


def _trailer_bytes() -> int:
    return _aligned(_HEADER_BYTES + len(TRAILER) + 1)


def _aligned(offset: int) -> int:
    return offset + (-offset % 4)


def _copy(source_fd: int, start: int, end: int, target_fd: int, name: str) -> None:
    while start < end:
        block = os.pread(source_fd, min(BLOCK_BYTES, end - start), start)
        if not block:
            raise DeviceError(f"{name} became shorter while it was read", path=name)
        done = 0
        while done < len(block):
            done += os.write(target_fd, block[done:])
        start += len(block)
