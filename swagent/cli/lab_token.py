"""``swagent lab token``: tokens without an issuer."""

import sys

from swagent.errors import UsageError

from .options import Args, Command, Option

COMMAND = Command(
    name="lab token",
    summary="write a token to standard output, signed by a key that a server's key set has",
    target="lab_token:run",
    arguments=("NAME",),
    options=(
        Option("key", "k", "FILE", "the signing key; keep it from others"),
        Option("new", "", "FILE", "first make the key, and the key set that servers are given"),
        Option("days", "", "NUMBER", "how long the token is good for, default 90"),
    ),
    examples=(
        "swagent lab token alice --key lab.key --new keys.json > alice.token",
        "swagent lab token robot --key lab.key --days 7 > robot.token",
    ),
)
_DAYS_MAX = 3650


def run(args: Args) -> int:
    """One line: the token."""
    from swagent.clock import SystemClock
    from swagent.lab.tokens import make_key, make_token

    key_file, set_file, days = args.get("key"), args.get("new"), args.get("days") or "90"
    if key_file is None:
        raise UsageError("--key is missing")
    if not (days.isascii() and days.isdecimal() and 0 < int(days[:6]) <= _DAYS_MAX):
        raise UsageError(f"--days goes from 1 to {_DAYS_MAX}, not {days!r}")
    if set_file is not None:
        make_key(key_file, set_file)
    claims = {"sub": args.arguments[0]}
    sys.stdout.write(make_token(key_file, claims, now_s=SystemClock().now_s(), days=int(days)) + "\n")
    return 0
