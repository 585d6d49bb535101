"""``swagent authdb show``: what is in a database."""

import sys
from typing import TYPE_CHECKING

from .authdb import KEY_OPTION, TRUST_OPTION
from .options import Args, Command, Option
from .table import print_table
from .units import clean, size

if TYPE_CHECKING:
    from swagent.authdb.ciphers import Key
    from swagent.authdb.reader import Database

COMMAND = Command(
    name="authdb show",
    summary="say what is in a database",
    target="authdb_show:run",
    arguments=("FILE",),
    options=(
        TRUST_OPTION,
        KEY_OPTION,
        Option("records", help="every record too, one a line: effect, list, record"),
    ),
    examples=("swagent authdb show UniAuth.db", "swagent authdb show UniAuth.db --records -K aes.key"),
)


def run(args: Args) -> int:
    """Print head and lists; with --records these alone, for other programs."""
    from swagent.authdb.reader import open_database
    from swagent.authdb.records import plain_records
    from swagent.authdb.signing import load_trust

    path = args.arguments[0]
    with open_database(path, load_trust(args.all("key"))) as database:
        if args.on("records"):
            key = key_of(args)
            for section in database.sections:
                for record in plain_records(database, section, key):
                    print(f"{section.effect} {clean(section.name)} {clean(record)}")
            return 0
        print(summary(path, database))
        rows = [
            (
                section.effect,
                section.name,
                str(section.entities),
                section.matching.name.lower(),
                section.alg,
                str(section.entity_size),
            )
            for section in database.sections
        ]
        if rows:
            print()
            print_table(sys.stdout, ("effect", "list", "records", "compared", "cipher", "record bytes"), rows)
    return 0


def summary(path: str, database: "Database") -> str:
    """One line about a database."""
    lists = len(database.sections)
    signature = database.signature
    parts = [
        f"{clean(path)}: {lists} list{'' if lists == 1 else 's'}",
        f"project {clean(database.header.project)}" if database.header.project else "",
        database.abi.name,
        size(database.size_bytes),
        "not signed"
        if signature is None
        else f"signed ({signature.alg})" + ("" if database.signer else ", not verified"),
    ]
    return ", ".join(part for part in parts if part)


def key_of(args: Args) -> "Key | None":
    """The key of encrypted records, as it was named."""
    from swagent.authdb.ciphers import read_key

    name = args.get("key-aes")
    return read_key(name) if name is not None else None
