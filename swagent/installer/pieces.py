"""Which members of the archive an entry is made of: one, unless it is joined."""

from typing import NamedTuple

from swagent.errors import ArchiveError, SizeError
from swagent.handlers.joined import parts_of
from swagent.model import Artifact
from swagent.stream import Member


class Piece(NamedTuple):
    """A member of an entry.

    Attributes:
        size_bytes: promised length as stored, None when none is promised.
        sha256: promised digest as stored, None when none is.
    """

    name: str
    size_bytes: int | None
    sha256: bytes | None


def pieces_of(art: Artifact) -> tuple[Piece, ...]:
    """The members of an entry with data, in order.

    Raises:
        DescriptionError: it is joined, and its parts are not what they should be.
    """
    parts = parts_of(art)
    return tuple(Piece(*part) for part in parts) or (Piece(art.filename, art.size_bytes, art.sha256),)


def piece_of(art: Artifact, member: Member) -> Piece:
    """The piece of an entry that a member is."""
    return next(piece for piece in pieces_of(art) if piece.name == member.name)


def judge_size(art: Artifact, member: Member) -> None:
    """Hold a member against the promised size.

    Raises:
        SizeError: it is another.
    """
    promised = piece_of(art, member).size_bytes
    if promised is not None and promised != member.size_bytes:
        raise SizeError(
            f"{art.where}: the member {member.name} has {member.size_bytes} bytes, sw-description promises {promised}",
            artifact=art.label,
        )


def judge_first(art: Artifact, member: Member) -> None:
    """Whether a member that came in a stream is the first of its entry.

    Raises:
        ArchiveError: it is a later one.
    """
    if member.name != art.filename:
        raise ArchiveError(
            f"{art.where}: its part {member.name} comes before its first one, {art.filename}",
            artifact=art.label,
            hint="the image was put together wrongly",
        )


def judge_order(art: Artifact, names: list[str]) -> None:
    """Whether the parts of a joined entry follow each other in the archive.

    Raises:
        ArchiveError: one is missing, or somewhere else.
    """
    wanted = [piece.name for piece in pieces_of(art)]
    for name in wanted:
        if name not in names:
            raise ArchiveError(
                f"{art.where}: the archive has no member {name!r}",
                artifact=art.label,
                hint="the image was put together wrongly",
            )
    at = names.index(wanted[0])
    if names[at : at + len(wanted)] != wanted:
        raise ArchiveError(
            f"{art.where}: its parts do not follow each other in the archive",
            artifact=art.label,
            hint="the image was put together wrongly",
        )
