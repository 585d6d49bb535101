"""``swagent uptane provision``: what a vehicle must have before its first cycle."""

from .options import Args, Command, Option
from .uptane_parts import DIALECT_OPTION, STATE_OPTION, WHO, needed

COMMAND = Command(
    name="uptane provision",
    summary="give a vehicle the roots and keys that it begins with",
    target="uptane_provision:run",
    options=(
        STATE_OPTION,
        DIALECT_OPTION,
        Option("director-root", metavar="FILE", group=WHO, help="root of the Director repository"),
        Option("image-root", metavar="FILE", group=WHO, help="root of the Image repository"),
        Option("time-key", metavar="FILE", group=WHO, help="public key of the Time server: PEM or JSON"),
        Option("replace", group=WHO, help="replace roots that are there already"),
    ),
    examples=(
        "swagent uptane provision --state /var/lib/swagent/uptane --director-root d/root.json "
        "--image-root i/root.json",
    ),
)


def run(args: Args) -> int:
    """Judge what is given, then put it in its place."""
    from swagent.errors import UsageError
    from swagent.uptane.codecs import codec
    from swagent.uptane.rules import BY_DIALECT
    from swagent.uptane_client.provision import provision

    dialect = args.get("dialect") or "tuf1"
    given = [name for name in ("director-root", "image-root", "time-key") if args.get(name)]
    if not given:
        raise UsageError("nothing is given: --director-root, --image-root or --time-key")
    state = needed(args, "state")
    provision(
        state,
        codec(dialect),
        BY_DIALECT[dialect],
        director_root=args.get("director-root"),
        image_root=args.get("image-root"),
        time_key=args.get("time-key"),
        replace_roots=args.on("replace"),
    )
    print(f"{state} now has: {', '.join(given)}")
    return 0
