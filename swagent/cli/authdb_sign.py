"""``swagent authdb sign``: sign or re-sign a database."""

from swagent.errors import UsageError

from .options import Args, Command, Option

COMMAND = Command(
    name="authdb sign",
    summary="sign or re-sign a database; its lists stay as they are",
    target="authdb_sign:run",
    arguments=("FILE",),
    options=(
        Option(
            "key", short="k", metavar="FILE", help="private key in PEM: Ed25519, ECDSA P-256 or P-384, RSA"
        ),
        Option("output", short="o", metavar="FILE", help="the result; else FILE is replaced"),
    ),
    examples=("swagent authdb sign UniAuth.db -k db.key",),
)


def run(args: Args) -> int:
    """Sign, and say what came out."""
    from swagent.authdb.reader import open_database
    from swagent.authdb.writer import rewrite
    from swagent.crypto.schemes import load_private

    from .authdb_show import summary

    key = args.get("key")
    if key is None:
        raise UsageError("--key is missing", hint="name the private key with -k")
    path = args.arguments[0]
    output = args.get("output") or path
    with open_database(path) as database:
        rewrite(output, database, signer=load_private(key))
    with open_database(output) as database:
        print(summary(output, database))
    return 0
