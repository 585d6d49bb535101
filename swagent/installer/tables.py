"""Chunk tables as sw-description names them: the properties ``chunk-table`` and ``chunk-table-sha256`` of an entry."""

from typing import NamedTuple

from swagent.errors import DescriptionError
from swagent.model import Artifact, Plan

TABLE, TABLE_SHA256 = "chunk-table", "chunk-table-sha256"


class TableRef(NamedTuple):
    """Which member is the table of an entry's member.

    Attributes:
        sha256: of the table, 32 bytes.
    """

    name: str
    sha256: bytes


def table_of(art: Artifact) -> TableRef | None:
    """The table of an entry, None when it has none.

    Raises:
        DescriptionError: one of the properties is missing or makes no sense.
    """
    name, digest = art.prop(TABLE), art.prop(TABLE_SHA256)
    if name is None and digest is None:
        return None
    why = ""
    if not name or not art.filename or "/" in name:
        why = f"property {TABLE} names no member"
    elif digest is None:
        why = f"property {TABLE} needs {TABLE_SHA256}"
    elif len(digest) != 64 or not digest.isalnum():
        why = f"property {TABLE_SHA256} is not 64 hex digits"
    else:
        try:
            return TableRef(name, bytes.fromhex(digest))
        except ValueError:
            why = f"property {TABLE_SHA256} is not 64 hex digits"
    raise DescriptionError(f"{art.where}: {why}", artifact=art.label, hint="`swagent make` fills them in")


def tables_of(plan: Plan) -> dict[str, TableRef]:
    """The tables that a plan needs, by name."""
    refs = (table_of(planned.artifact) for planned in plan.entries)
    return {ref.name: ref for ref in refs if ref is not None}
