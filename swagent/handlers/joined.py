"""``joined``: an image of several members, for what one cpio member cannot hold (its size has 32 bits).

The members are joined by the installer while they are read; the handler named in ``chain`` gets the whole. It is a type
of its own so that an installer that does not know it refuses the image instead of installing the first part.
"""

from typing import NamedTuple

from swagent.errors import DescriptionError
from swagent.model import Artifact, Data, Kind, Needs
from swagent.sizes import parse_size

from .api import Context, handler

TYPE = "joined"
_OURS = frozenset({"parts", "parts-sha256", "parts-size", "chain"})


class Part(NamedTuple):
    """One member of several.

    Attributes:
        sha256: of the member as stored.
    """

    name: str
    size_bytes: int
    sha256: bytes


@handler(TYPE, kinds=Kind.IMAGE | Kind.FILE, reads_back=True)
class Joined:
    """Install several members, joined, by the handler named in ``chain``. ``swagent make`` splits large ones."""

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            parts: members in their order; they follow each other in the archive, and the first one is the filename.
            parts_sha256: the digest of each as stored.
            parts_size: the length of each as stored.
            chain: handler that receives the whole.
        """

        parts: tuple[str, ...]
        parts_sha256: tuple[str, ...]
        parts_size: tuple[str, ...]
        chain: str

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether the chained handler can do it."""
        return ctx.preflight(_link_of(art, opt))

    def install(self, art: Artifact, opt: Options, data: Data, ctx: Context) -> None:
        """Pass it on."""
        ctx.chain(_link_of(art, opt), data, data.size_bytes)


def parts_of(art: Artifact) -> tuple[Part, ...]:
    """The members of a joined entry; none for any other.

    Raises:
        DescriptionError: they are not what they should be.
    """
    if art.type != TYPE:
        return ()
    names, digests, sizes = (art.properties.get(key, ()) for key in ("parts", "parts-sha256", "parts-size"))
    if not len(names) == len(digests) == len(sizes) > 0:
        raise _wrong(art, f"{len(names)} parts have {len(digests)} digests and {len(sizes)} sizes")
    if len(set(names)) < len(names):
        raise _wrong(art, "a part is named twice")
    if names[0] != art.filename:
        raise _wrong(art, f"its filename is {art.filename}, its first part {names[0]}")
    try:
        found = tuple(
            Part(name, parse_size(size), bytes.fromhex(digest))
            for name, size, digest in zip(names, sizes, digests, strict=True)
        )
    except ValueError as exc:
        raise _wrong(art, f"a digest or size of its parts makes no sense: {exc}") from exc
    if any(len(part.sha256) != 32 for part in found):
        raise _wrong(art, "a digest of its parts has not 64 hex digits")
    if art.sha256 not in (None, found[0].sha256):
        raise _wrong(art, "sha256 and the digest of the first part differ")
    return found


def _link_of(art: Artifact, opt: Joined.Options) -> Artifact:
    """The entry as the chained handler sees it: one member, as long as all parts."""
    if opt.chain == TYPE:
        raise _wrong(art, "joined cannot be chained to itself")
    return art._replace(
        type=opt.chain,
        size_bytes=sum(part.size_bytes for part in parts_of(art)),
        properties={key: value for key, value in art.properties.items() if key not in _OURS},
    )


def _wrong(art: Artifact, why: str) -> DescriptionError:
    return DescriptionError(
        f"{art.where or art.label}: {why}",
        artifact=art.label,
        handler=TYPE,
        hint="`swagent make` splits members",
    )
