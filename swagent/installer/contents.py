"""What is in an image, believed or not: for ``swagent info``."""

from typing import NamedTuple

from swagent.crypto.cipher import AesKey
from swagent.crypto.signature import Signer, Trust
from swagent.parser import Outline, outline
from swagent.stream import Archive, FileSource, Member

from .intake import SIGNATURE, take_in


class Contents(NamedTuple):
    """What an image holds.

    Attributes:
        signer: who signed it; None when no key was given.
        has_signature: whether there is a signature at all.
    """

    outline: Outline
    signer: Signer | None
    has_signature: bool
    members: tuple[Member, ...]


def read_contents(
    source: FileSource, trust: Trust | None, aes_key: AesKey | None, *, size_max_bytes: int, now_s: float
) -> Contents:
    """Read a file's headers and its description; verifies the signature when there is somebody to trust.

    Raises:
        SwagentError: it cannot be read, or the signature is none that is trusted.
    """
    archive = Archive(source)
    members = archive.index()
    intake = take_in(archive, trust, aes_key, size_max_bytes=size_max_bytes, now_s=now_s)
    signed = any(member.name == SIGNATURE for member in members)
    return Contents(outline(intake.text), intake.signer, signed, tuple(members))
