"""A ``UniAuth.db`` that an image brings: read to memory before anybody is asked whether the image may be installed.

It is the first member behind the signature, and an entry of type ``dummy`` with a sha256. So it is covered by the
signature of sw-description, like everything else in the image.
"""

from collections.abc import Iterator

from swagent.authdb import FILE_NAME
from swagent.errors import ArchiveError, DescriptionError, SizeError
from swagent.model import Fate, Plan, Planned
from swagent.stream import Member, read_all

from .intake import SIGNATURE
from .members import Members
from .pieces import judge_size

DATABASE_BYTES_MAX = 16 * 1024 * 1024


def take_database(plan: Plan, rest: Iterator[Member], members: Members) -> Plan:
    """The plan with the image's database in it, if the image brings one; its entry is done with.

    Args:
        plan: what the description asks for.
        rest: the members behind sw-description and the signature that was asked for; the database is taken off it.
        members: opens them.

    Raises:
        DescriptionError: the entry says no sha256, or that the database is compressed or encrypted.
        ArchiveError: something else is the first member.
        SizeError, HashError: it is too long, or not what the description promises.
    """
    entry = next((p for p in plan.entries if p.fate is not Fate.SKIPPED and _is_database(p)), None)
    if entry is None:
        return plan
    art = entry.artifact
    if art.sha256 is None or art.compression.value or art.cipher:
        raise DescriptionError(
            f"{art.where}: a {FILE_NAME} needs a sha256, and is neither compressed nor encrypted",
            artifact=art.label,
        )
    member = next(rest, None)
    if member is not None and member.name == SIGNATURE:  # which nobody asked for
        member = next(rest, None)
    if member is None or member.name != FILE_NAME:
        raise ArchiveError(
            f"{art.where}: it must be the first member of the archive",
            artifact=art.label,
            hint="let its entry be the first one of sw-description",
        )
    if member.size_bytes > DATABASE_BYTES_MAX:
        raise SizeError(
            f"{art.where} has {member.size_bytes} bytes; {DATABASE_BYTES_MAX} are the most",
            artifact=art.label,
        )
    judge_size(art, member)
    database = read_all(members.open_stored(art, member), DATABASE_BYTES_MAX, what=FILE_NAME)
    done = entry._replace(fate=Fate.SKIPPED, reason="asked before anything is written")
    entries = tuple(done if planned is entry else planned for planned in plan.entries)
    return plan._replace(entries=entries, database=database)


def _is_database(planned: Planned) -> bool:
    return planned.artifact.filename == FILE_NAME and planned.artifact.type == "dummy"
