"""``rdiff_image`` and ``rdiff_file``: deltas of librsync, patched onto what the device has already."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from swagent.errors import PreflightRefused, SwagentError
from swagent.model import Artifact, Compression, Data, Kind, Needs

from . import destination
from .api import Context, handler
from .basefile import BaseFile, open_source
from .rdiffstream import PatchedReader
from .tree import Tree

_DIGEST = re.compile(r"([0-9a-fA-F]{64})?\Z")


@handler("rdiff_image", kinds=Kind.IMAGE, attributes=("device",), reads_back=True)
class RdiffImage:
    """Write to ``device`` what a delta makes of ``rdiffbase``, by the handler ``raw``. The two must not overlap."""

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            rdiffbase: file or block device that the delta was made for; it is only read.
            result_sha256: digest of what must come out, as a delta does not know its base.
        """

        rdiffbase: str
        result_sha256: str = ""

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether base and target are there, and apart."""
        why = hint = ""
        if art.offset_bytes:
            why = "rdiff_image has no use for offset"
        elif not _DIGEST.match(opt.result_sha256):
            why = "result-sha256 is no SHA-256"
        elif ctx.hw.overlap(opt.rdiffbase, art.device):
            why = f"its base {opt.rdiffbase} overlaps its target {art.device}"
            hint = "write to the other copy; for a file in place there is rdiff_file"
        if why:
            raise _refused(art, why, hint)
        _look_at_base(art, opt.rdiffbase, ctx)
        return ctx.preflight(_link_of(art, "raw"))

    def install(self, art: Artifact, opt: Options, data: Data, ctx: Context) -> None:
        """Patch; how much it will be is not known before its end."""
        with open_source(opt.rdiffbase) as base:
            ctx.chain(_link_of(art, "raw"), _patched(art, opt, data, base, ctx), None)


@handler("rdiff_file", kinds=Kind.FILE, attributes=("path",), reads_back=True)
class RdiffFile:
    """Replace the file ``path`` by what a delta makes of it: old or new, never half, as ``rawfile`` does it."""

    class Options(NamedTuple):
        """Its properties.

        Attributes:
            result_sha256: digest of what must come out, as a delta does not know its base.
        """

        result_sha256: str = ""

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether the place makes sense and the file is there."""
        if art.offset_bytes:
            raise _refused(art, "rdiff_file has no use for offset")
        if not _DIGEST.match(opt.result_sha256):
            raise _refused(art, "result-sha256 is no SHA-256")
        needs = ctx.preflight(_link_of(art, "rawfile"))
        if not destination.is_mounted(art):
            _look_at_base(art, art.path, ctx)
        return needs

    def install(self, art: Artifact, opt: Options, data: Data, ctx: Context) -> None:
        """Patch it into a temporary file beside it, and switch the names when that is durable."""
        with _base_path(art, ctx) as path, open_source(path) as base:
            ctx.chain(_link_of(art, "rawfile"), _patched(art, opt, data, base, ctx), None)


@contextmanager
def _base_path(art: Artifact, ctx: Context) -> Iterator[str]:
    """Where the file is found now, its device mounted if that is to be."""
    if not destination.is_mounted(art):
        yield art.path
        return
    with destination.mounted(art, ctx) as root:
        tree = Tree(root, own_root=True)
        try:
            folder, name = tree.place(os.fsencode(art.path), create=False)
            yield f"/proc/self/fd/{folder}/{os.fsdecode(name)}"
        finally:
            tree.close()


def _look_at_base(art: Artifact, path: str, ctx: Context) -> None:
    """Refuse what could not be read; what an earlier entry has yet to bring may be missing."""
    try:
        with open_source(path) as base:
            base.size_bytes(ctx)
    except SwagentError as exc:
        if art.installed_directly:
            raise _refused(art, exc.message, exc.hint) from exc
        ctx.log("warn", f"{exc.message}; it must be there when {art.label} is installed")


def _link_of(art: Artifact, chain: str) -> Artifact:
    """The entry as the handler that writes sees it: plain, of unknown size and without a digest."""
    properties = {
        key: value for key, value in art.properties.items() if key in ("verify-write", "allow-mounted")
    }
    if chain == "rawfile":
        properties["atomic-install"] = ("true",)
    return art._replace(
        type=chain,
        size_bytes=None,
        offset_bytes=0,
        compression=Compression.NONE,
        cipher="",
        sha256=None,
        properties=properties,
    )


def _patched(
    art: Artifact, opt: RdiffImage.Options | RdiffFile.Options, data: Data, base: BaseFile, ctx: Context
) -> PatchedReader:
    wanted = bytes.fromhex(opt.result_sha256) or None
    return PatchedReader(data, base, base.size_bytes(ctx), art.label, wanted)


def _refused(art: Artifact, why: str, hint: str = "") -> PreflightRefused:
    return PreflightRefused(
        f"{art.where or art.label}: {why}", artifact=art.label, handler=art.type, hint=hint
    )
