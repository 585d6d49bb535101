"""``swagent authdb verify``: judge a database as a whole."""

from .authdb import KEY_OPTION, TRUST_OPTION
from .options import Args, Command

COMMAND = Command(
    name="authdb verify",
    summary="check structure, checksum, signature and every record; encrypted ones when their key is given",
    target="authdb_verify:run",
    arguments=("FILE",),
    options=(TRUST_OPTION, KEY_OPTION),
    examples=(
        "swagent authdb verify UniAuth.db -k db.pem",
        "swagent authdb verify UniAuth.db -k db.pem -K aes.key",
    ),
)


def run(args: Args) -> int:
    """Verify, and say what was not looked into."""
    from swagent.authdb.layout import Matching
    from swagent.authdb.matching import compiler
    from swagent.authdb.reader import open_database
    from swagent.authdb.records import plain_records
    from swagent.authdb.signing import load_trust

    from .authdb_show import key_of, summary

    path = args.arguments[0]
    key = key_of(args)
    closed = 0
    with open_database(path, load_trust(args.all("key"))) as database:
        for section in database.sections:
            if section.alg != "none" and key is None:
                closed += 1
                continue
            test = compiler() if section.matching is Matching.REGULAR else None
            for record in plain_records(database, section, key):
                if test is not None:
                    test(record)
        print(summary(path, database))
    looked = f"; {closed} encrypted list{'' if closed == 1 else 's'} not looked into" if closed else ""
    print(f"It is right{looked}.")
    return 0
