"""``swagent authdb check``: may a unit be updated?"""

from swagent.errors import UsageError

from .authdb import KEY_OPTION, TRUST_OPTION
from .options import Args, Command, Option
from .units import clean

COMMAND = Command(
    name="authdb check",
    summary="say whether a unit may be updated, by what is given of it",
    target="authdb_check:run",
    arguments=("FILE",),
    options=(
        Option(
            "as",
            metavar="KEY=VALUE,…",
            help="what the unit and its image tell; may be given several times",
            repeat=True,
        ),
        TRUST_OPTION,
        KEY_OPTION,
    ),
    examples=("swagent authdb check UniAuth.db --as msn=SN1,model_number=M1 --as image_version=1.2",),
)


def run(args: Args) -> int:
    """Ask list by list; the first no is the answer."""
    from swagent.authdb import known_ciphers, known_lists
    from swagent.authdb.facts import Given
    from swagent.authdb.judge import Judge, Step
    from swagent.authdb.reader import open_database
    from swagent.authdb.signing import load_trust
    from swagent.clock import SystemClock

    from .authdb_show import key_of

    def tell(step: Step) -> None:
        if step.event == "checking":
            print(f"{clean(step.list)} {clean(step.datum)}")

    facts = Given(_pairs(args.all("as")), SystemClock())
    with open_database(args.arguments[0], load_trust(args.all("key"))) as database:
        Judge(known_lists(), known_ciphers(), key_of(args), facts, tell).check(database)
    print("Authorized.")
    return 0


def _pairs(words: list[str]) -> dict[str, str]:
    found = {}
    for word in words:
        for pair in word.split(","):
            name, equals, value = pair.partition("=")
            if not (name and equals and value):
                raise UsageError(f"--as takes KEY=VALUE, not {pair!r}")
            found[name] = value
    return found
