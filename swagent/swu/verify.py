"""Judging a whole image without installing it: its signature, and every byte of every member."""

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from swagent.errors import ArchiveError, HashError

from .contents import Content, Contents, drain
from .opened import DESCRIPTION, SIGNATURE, OpenedImage

if TYPE_CHECKING:
    from swagent.crypto.cipher import AesKey
    from swagent.crypto.signature import Signer, Trust


class Evidence(Enum):
    """What a member was judged by; the value is for people."""

    SHA256 = "sha256"
    CHECKSUM = "checksum only"
    NOTHING = "not checked: no digest, no checksum"


@dataclass(frozen=True)
class Judged:
    """A member that was found right.

    Attributes:
        evidence: by what.
        plain_bytes: length of its plain content; None when it is encrypted and there was no key to look inside.
    """

    content: Content
    evidence: Evidence
    plain_bytes: int | None


@dataclass(frozen=True)
class Verified:
    """An image in which nothing wrong was found.

    Attributes:
        signer: None when no signature was asked for.
        description: its text, plain.
        members: in the order of the archive, description and signature apart.
    """

    path: str
    size_bytes: int
    signer: "Signer | None"
    description: bytes
    members: tuple[Judged, ...]


def verify(
    path: str, *, trust: "Trust | None", aes_key: "AesKey | None" = None, now_s: float = 0.0
) -> Verified:
    """Read an image to its end and judge everything in it, for all boards and selections.

    Compressed members are decompressed, and encrypted ones decrypted if there is a key.

    Args:
        path: the image.
        trust: whose signature is believed; None for images without one.
        aes_key: opens the description and members that are encrypted.
        now_s: seconds since 1970, for the validity of certificates.

    Raises:
        ArchiveError: it is no sound archive, a member is missing, or its content is damaged.
        SignatureError: nobody who is trusted signed it.
        HashError: a member is not what the description promises, or a signed description has no digest for it.
        DescriptionError: the description makes no sense.
        DecryptError: no key, or not the right one.
    """
    with OpenedImage(path, aes_key) as image:
        # first the signature: before it, nothing in the description is worth an error message
        signer = image.verify_signature(trust, now_s=now_s) if trust is not None else None
        contents = Contents(image)
        if missing := contents.missing():
            raise ArchiveError(
                f"{path} lacks {', '.join(missing)}, which sw-description names", artifact=missing[0]
            )
        contents.check_sizes()
        judged = []
        for content in contents.all():
            if content.member.name == DESCRIPTION:
                continue
            if content.member.name == SIGNATURE and content.member is image.members[1]:
                continue
            judged.append(_judge(contents, content, signed=signer is not None))
        return Verified(
            path=path,
            size_bytes=image.archive.source.size_bytes or 0,
            signer=signer,
            description=image.description(),
            members=tuple(judged),
        )


def _judge(contents: Contents, content: Content, *, signed: bool) -> Judged:
    name = content.member.name
    if content.sha256 is not None:
        evidence = Evidence.SHA256
    elif signed and content.used:
        raise HashError(
            f"{name} has no sha256 in the signed description, so nobody vouches for it",
            artifact=name,
            hint="build the image with `swagent make`, which puts it in",
        )
    elif content.member.checksum is not None:
        evidence = Evidence.CHECKSUM
    else:
        evidence = Evidence.NOTHING
    plain = contents.can_open_plain(content)
    n_bytes = drain(contents.open(content, plain=plain))
    if content.table_name:
        contents.judge_table(content)
    return Judged(content, evidence, n_bytes if plain else None)
