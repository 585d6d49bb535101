"""``swagent authdb diff``: what two databases do not share."""

from collections import Counter
from typing import TYPE_CHECKING

from .authdb import KEY_OPTION
from .options import Args, Command
from .units import clean

if TYPE_CHECKING:
    from swagent.authdb.ciphers import Key

COMMAND = Command(
    name="authdb diff",
    summary="say which records two databases do not share; exit code 0 whether or not there are any",
    target="authdb_diff:run",
    arguments=("OLD", "NEW"),
    options=(KEY_OPTION,),
    examples=("swagent authdb diff old.db UniAuth.db",),
)


def run(args: Args) -> int:
    """A line a difference: ``-`` only in OLD, ``+`` only in NEW."""
    from .authdb_show import key_of

    key = key_of(args)
    old, new = (_records(path, key) for path in args.arguments)
    for sign, only in (("-", old - new), ("+", new - old)):
        for row in sorted(only.elements()):
            print(f"{sign} {clean(' '.join(row).rstrip())}")
    return 0


def _records(path: str, key: "Key | None") -> "Counter[tuple[str, ...]]":
    """Every record with its list; an empty list counts as one without a record."""
    from swagent.authdb.reader import open_database
    from swagent.authdb.records import plain_records

    found: Counter[tuple[str, ...]] = Counter()
    with open_database(path) as database:
        for section in database.sections:
            about = (section.effect, section.name, section.matching.name.lower())
            if not section.entities:
                found[(*about, "(empty)")] += 1
            found.update((*about, record) for record in plain_records(database, section, key))
    return found
