"""``swagent authdb code``: activation codes, each bound to one serial number."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from swagent.errors import SettingsError, UsageError

from .options import Args, Command, Option

if TYPE_CHECKING:
    from swagent.authdb.activation import KeyMaker, SecretMaker

COMMAND = Command(
    name="authdb code",
    summary="make activation codes: a line each, the code and the serial number that it is for",
    target="authdb_code:run",
    arguments=("[SERIAL...]",),
    options=(
        Option("key", short="k", metavar="FILE", help="private Ed25519 key in PEM that makes them"),
        Option("secret", metavar="FILE", help="file with 64 hexadecimal digits that makes them instead"),
        Option("msn-list", metavar="FILE", help="serial numbers, one a line, or a column of a .csv"),
        Option("record", help="print the record for the list activation_code, and no codes"),
    ),
    examples=(
        "swagent authdb code -k sales.key SN0001 SN0002",
        "swagent authdb code -k sales.key --msn-list sold.csv > codes",
        'swagent authdb build --activation_code "$(swagent authdb code -k sales.key --record)" -o UniAuth.db',
    ),
)


def run(args: Args) -> int:
    """Print them as they are made: a list may be long."""
    from swagent.authdb.facts import fit

    maker = _maker(args)
    listed = args.get("msn-list")
    if args.on("record"):
        if args.arguments or listed is not None:
            raise UsageError("--record makes no codes", hint="leave the serial numbers out")
        print(maker.record)
        return 0
    if not args.arguments and listed is None:
        raise UsageError("no serial numbers", hint="name them, or a file of them with --msn-list")
    for text in _serials(args.arguments, listed):
        serial = fit("serial number", text)  # as the unit will know it
        sys.stdout.write(f"{maker.code(serial)}  {serial}\n")
    return 0


def _serials(named: list[str], listed: str | None) -> Iterator[str]:
    yield from named
    if listed is not None:
        from swagent.authdb.listfiles import check_file, records

        check_file(listed)
        yield from (record.decode() for record in records(listed, "msn"))


def _maker(args: Args) -> "KeyMaker | SecretMaker":
    from swagent.authdb.activation import KeyMaker, SecretMaker

    key, secret = args.get("key"), args.get("secret")
    if (key is None) == (secret is None):
        raise UsageError("say what makes the codes: --key or --secret")
    if key is not None:
        from swagent.crypto.schemes import load_private

        return KeyMaker(load_private(key))
    from swagent.crypto.keys import read_secret_file

    text = read_secret_file(secret or "", "secret").strip()
    try:
        return SecretMaker(bytes.fromhex(text.decode("ascii")))
    except ValueError:
        # without its cause, so that nothing of the secret reaches a log
        raise SettingsError("the secret is not hexadecimal", hint="openssl rand -hex 32 makes one") from None
