"""``delta``: an image put together from what the device has and the few chunks of a zchunk file that it has not."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from swagent.errors import DeviceError, PreflightRefused, SizeError, UsageError
from swagent.model import Artifact, Compression, Data, Kind, Needs
from swagent.sizes import parse_size

from . import destination
from .api import Context, chunks, handler
from .basefile import BaseFile, open_source
from .chunkfinder import NOWHERE, ChunkFinder
from .filesystem import detected_bytes
from .rebuild import RebuiltReader
from .zchunk import HEADER_BYTES_MAX, Header, read_header

RANGES_MAX = 200
_OURS = frozenset(
    ("url", "zckfile", "source", "chain", "max-ranges", "source-size", "debug-chunks", "zckloglevel")
)


@handler("delta", kinds=Kind.IMAGE | Kind.FILE, streams=False, reads_back=True)
class Delta:
    """Rebuild an image from ``source`` and parts of a zchunk file on a server, and hand it to the handler ``chain``.

    The artifact is the header of the file that ``zck -u -h sha256`` makes. It names the digest of every chunk, so that
    nothing needs to be believed that comes from the server or lies in the source.
    """

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            source: file or block device with the old version; it is only read.
            chain: handler that receives the new version.
            url: where the whole zchunk file is.
            zckfile: name under which a URL is announced; not supported, there must be a url.
            max_ranges: how many parts one request asks for.
            source_size: how much of the source to look at: bytes, with K, M or G; detect takes the file system's word.
            debug_chunks: any value tells the log where each chunk comes from.
        """

        source: str
        chain: str
        url: str = ""
        zckfile: str = ""
        max_ranges: int = 10
        source_size: str = ""
        debug_chunks: str = ""

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether it makes sense and the chained handler can do its part; asks no server."""
        why = _why_not(art, opt, ctx)
        if why:
            raise PreflightRefused(f"{art.where or art.label}: {why}", artifact=art.label, handler="delta")
        try:
            ctx.parts(opt.url, 0, opt.max_ranges).close()
        except UsageError as exc:
            raise PreflightRefused(
                f"{art.where or art.label}: {exc.message}", artifact=art.label, handler="delta", hint=exc.hint
            ) from exc
        return ctx.preflight(_link_of(art, opt, None))

    def install(self, art: Artifact, opt: Options, data: Data, ctx: Context) -> None:
        """Look for the chunks, fetch the others, hand on."""
        header = read_header(_read_whole(art, data), art.label)
        link = _link_of(art, opt, header.plain_bytes)
        ctx.preflight(link)
        with _source(art, opt, ctx) as source:
            places = _places(art, opt, header, source, ctx)
            parts = ctx.parts(opt.url, header.file_bytes, opt.max_ranges)
            try:
                rebuilt = RebuiltReader(header, source, places, parts, opt.max_ranges, ctx.log, art.label)
                rebuilt.fetch_ahead()
                ctx.chain(link, rebuilt, header.plain_bytes)
            finally:
                parts.close()


def _why_not(art: Artifact, opt: Delta.Options, ctx: Context) -> str:
    """Why this cannot be done whatever the device holds; "" if it can."""
    if opt.chain == "delta":
        return "delta cannot be chained to itself"
    if opt.url in ("", "dynamic"):
        return "it has no url, and swagent has no way to be told one while it runs"
    if not 1 <= opt.max_ranges <= RANGES_MAX:
        return f"property max-ranges goes from 1 to {RANGES_MAX}, not {opt.max_ranges}"
    if opt.source_size not in ("", "detect"):
        try:
            parse_size(opt.source_size)
        except ValueError as exc:
            return f"property source-size: {exc}, nor detect"
    if art.device and ctx.hw.overlap(opt.source, art.device):
        return f"its source {opt.source} overlaps its target {art.device}"
    in_place = art.path and not destination.is_mounted(art) and ctx.hw.overlap(opt.source, art.path)
    if in_place and not (opt.chain == "rawfile" and art.prop("atomic-install") == "true"):
        return f"its source {opt.source} is its target, which only rawfile with atomic-install can replace"
    return ""


def _link_of(art: Artifact, opt: Delta.Options, size_bytes: int | None) -> Artifact:
    """The entry as the chained handler sees it: the new image, plain and without a digest."""
    return art._replace(
        type=opt.chain,
        size_bytes=size_bytes,
        compression=Compression.NONE,
        cipher="",
        sha256=None,
        properties={key: value for key, value in art.properties.items() if key not in _OURS},
    )


def _read_whole(art: Artifact, data: Data) -> bytes:
    whole = bytearray()
    for piece in chunks(data):
        whole += piece
        if len(whole) > HEADER_BYTES_MAX:
            raise SizeError(
                f"{art.label} has more than {HEADER_BYTES_MAX} bytes",
                hint="the artifact is the header of the zchunk file, not the file",
            )
    return bytes(whole)


@contextmanager
def _source(art: Artifact, opt: Delta.Options, ctx: Context) -> Iterator[BaseFile | None]:
    """The old version; None, with a warning, when there is none."""
    try:
        opened = open_source(opt.source)
    except DeviceError as exc:
        ctx.log("warn", f"{exc.message}; all of {art.label} is downloaded")
        yield None
        return
    with opened:
        yield opened


def _places(
    art: Artifact, opt: Delta.Options, header: Header, source: BaseFile | None, ctx: Context
) -> Sequence[int]:
    """Where in the source each chunk lies, as far as that can be told."""
    places: Sequence[int] = [NOWHERE] * len(header)
    if source is not None:
        try:
            finder = ChunkFinder(header, source, _size_bytes(opt, source, ctx), ctx.checkpoint)
            try:
                finder.find()
            finally:
                places = finder.places
        except (DeviceError, SizeError) as exc:
            ctx.log("warn", f"{exc.message}; what was not found until then is downloaded")
    fetched_bytes = 0
    for index, place in enumerate(places):
        chunk = header[index]
        if place == NOWHERE:
            fetched_bytes += chunk.stored_bytes
        if opt.debug_chunks:
            where = (
                f"from {place}"
                if place != NOWHERE
                else f"fetched, {chunk.stored_bytes} bytes from {chunk.offset}"
            )
            ctx.log("debug", f"{art.label}: chunk {index}, {chunk.plain_bytes} bytes: {where}")
    known = sum(place != NOWHERE for place in places)
    ctx.log(
        "info",
        f"{art.label}: {known} of {len(header)} chunks are in {opt.source}; {fetched_bytes} bytes are fetched "
        f"for an image of {header.plain_bytes}",
    )
    return places


def _size_bytes(opt: Delta.Options, source: BaseFile, ctx: Context) -> int:
    """How much of the source to look at."""
    size_bytes = source.size_bytes(ctx)
    if opt.source_size == "detect":
        found = detected_bytes(source, size_bytes)
        if found is None:
            ctx.log("warn", f"{opt.source} has no file system that is known here; all of it is looked at")
        return found or size_bytes
    return min(size_bytes, parse_size(opt.source_size)) if opt.source_size else size_bytes
