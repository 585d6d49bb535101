"""What is in an image, believed or not: for ``swagent info``."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from swagent.crypto.cipher import AesKey
from swagent.crypto.signature import Signer, Trust
from swagent.parser import Outline, outline
from swagent.stream import Archive, Member, Source

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
    source: Source,
    trust: Trust | None,
    aes_key: AesKey | None,
    *,
    size_max_bytes: int,
    now_s: Callable[[], float],
) -> Contents:
    """Read headers and description (of a stream, to its end); verifies the signature if there is somebody to trust.

    Raises:
        SwagentError: it cannot be read, or the signature is none that is trusted.
    """
    archive = _Noting(source)
    members = archive.index() if source.seekable else archive.noted
    intake = take_in(archive, trust, aes_key, size_max_bytes=size_max_bytes, now_s=now_s)
    outlined = outline(intake.text)
    for _ in intake.rest if not source.seekable else ():
        pass
    signed = any(member.name == SIGNATURE for member in members)
    return Contents(outlined, intake.signer, signed, tuple(members))


class _Noting(Archive):
    """Remembers what it gave out: a stream can be walked only once."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.noted: list[Member] = []

    def members(self) -> Iterator[Member]:
        for member in super().members():
            self.noted.append(member)
            yield member
