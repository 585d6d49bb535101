"""Metadata as a Primary hands it on: one zip archive with the files of both repositories (uptane §5.5).

Names are ``<repository>/metadata/<role>.<ext>`` with the reference's folder names; beside the present root the chain of
roots ``N.root.<ext>`` may be there, for ECUs that are several behind. Whoever receives it takes these names and no
others, and nothing is ever written under a name that came from outside.
"""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from swagent.errors import EndlessDataError
from swagent.uptane.errors import InvalidMetadata
from swagent.uptane.metadata import DIRECTOR, IMAGE, TOP_LEVEL
from swagent.uptane.paths import judge
from swagent.uptane.rules import Caps

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

FOLDERS = {DIRECTOR: "director", IMAGE: "imagerepo"}
ARCHIVE_MAX_BYTES = 32 * 1024 * 1024
ENTRIES_MAX = 1024
_STORED, _DEFLATED = 0, 8

Files = Mapping[str, Mapping[str, bytes]]
"""Repository to file name (``timestamp.json``, ``2.root.json``, ``supplier.json``) to contents."""


def pack(files: Files) -> bytes:
    """An archive of these files; the same files give the same bytes."""
    from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

    out = io.BytesIO()
    with ZipFile(out, "w", ZIP_DEFLATED) as archive:
        for repository, folder in FOLDERS.items():
            for name, raw in sorted(files.get(repository, {}).items()):
                entry = ZipInfo(f"{folder}/metadata/{name}", (1980, 1, 1, 0, 0, 0))
                entry.compress_type = ZIP_DEFLATED
                archive.writestr(entry, raw)
    return out.getvalue()


def unpack(raw: bytes, extension: str, caps: Caps) -> dict[str, dict[str, bytes]]:
    """What an archive holds.

    Args:
        raw: the archive.
        extension: of metadata files, without the dot.
        caps: how long they may be.

    Raises:
        InvalidMetadata: no archive, a name that has no business in it, a link, or a name twice.
        EndlessDataError: the archive or a file in it is too long.
    """
    from zipfile import BadZipFile, ZipFile

    if len(raw) > ARCHIVE_MAX_BYTES:
        raise EndlessDataError(f"the metadata archive has {len(raw)} bytes", role="archive")
    found: dict[str, dict[str, bytes]] = {DIRECTOR: {}, IMAGE: {}}
    try:
        with ZipFile(io.BytesIO(raw)) as archive:
            entries = archive.infolist()
            if len(entries) > ENTRIES_MAX:
                raise EndlessDataError(f"the metadata archive has {len(entries)} entries", role="archive")
            for entry in entries:
                place = _place(entry, extension)
                if place is None:
                    continue
                repository, name = place
                if name in found[repository]:
                    raise InvalidMetadata(
                        f"the metadata archive has {entry.filename[:80]} twice", role="archive"
                    )
                found[repository][name] = _take(archive, entry, _cap(name, caps))
    except (BadZipFile, NotImplementedError, ValueError, RuntimeError, EOFError, OSError) as exc:
        raise InvalidMetadata(f"the metadata archive cannot be understood: {exc}", role="archive") from exc
    except Exception as exc:
        if type(exc).__module__ != "zlib":
            raise
        raise InvalidMetadata(f"the metadata archive is damaged: {exc}", role="archive") from exc
    return found


def _place(entry: "ZipInfo", extension: str) -> tuple[str, str] | None:
    """Repository and file name of an entry; None for what is passed over."""
    name = entry.filename
    parts = name.split("/")
    if parts[0] == "__MACOSX" or parts[-1].startswith(".") or (entry.is_dir() and len(parts) <= 3):
        return None
    kind = entry.external_attr >> 28  # the file type of Unix modes
    if kind not in (0, 0o10):
        raise InvalidMetadata(f"the metadata archive holds a link or a device, {name[:80]!r}", role="archive")
    judge(name)
    for repository, folder in FOLDERS.items():
        if parts[:-1] == [folder, "metadata"] and parts[-1].endswith("." + extension):
            return repository, parts[-1]
    raise InvalidMetadata(
        f"the metadata archive holds {name[:80]!r}, which has no place there", role="archive"
    )


def _take(archive: "ZipFile", entry: "ZipInfo", most: int) -> bytes:
    if entry.compress_type not in (_STORED, _DEFLATED):
        raise InvalidMetadata(f"{entry.filename[:80]} is compressed in an unknown way", role="archive")
    with archive.open(entry) as file:
        raw = file.read(most + 1)
    if len(raw) > most:
        raise EndlessDataError(
            f"{entry.filename[:80]} has more than {most} bytes",
            role=entry.filename[:80],
            expected=f"{most} bytes",
        )
    return raw


def _cap(name: str, caps: Caps) -> int:
    stem = name.rpartition(".")[0]
    role = stem.partition(".")[2] if stem.partition(".")[0].isdigit() else stem
    return int(getattr(caps, role)) if role in TOP_LEVEL else caps.targets
