"""``swagent repo add``, ``remove``, ``delegate``, ``withdraw``, ``rotate``: changes; staged, without any key."""

from typing import Any

from swagent.errors import UsageError

from .options import Args, Command, Option
from .repo import JSON_OPTION, REPO_OPTION, ROLE_OPTION, open_repository, public_keys, say

NEXT = "Next: `swagent repo sign --keys DIR`, then `swagent repo publish`"
HARDWARE_OPTION = Option(
    "hardware-id", metavar="ID", repeat=True, help="for this hardware only; may be given several times"
)
THRESHOLD_OPTION = Option(
    "threshold", metavar="N", help="how many of the keys must sign; 1 unless said otherwise"
)
BY_OPTION = Option("by", metavar="ROLE", help="who delegates; targets unless said otherwise")
ADD = Command(
    name="repo add",
    summary="take an image in; one of the same name is replaced",
    target="repo_change:add",
    arguments=("FILE",),
    options=(
        REPO_OPTION,
        Option(
            "as", metavar="NAME", help="its name in the repository; that of the file unless said otherwise"
        ),
        ROLE_OPTION,
        HARDWARE_OPTION,
        Option("release-counter", metavar="N", help="vehicles go to a higher one, never to a lower"),
        Option("uri", metavar="URL", help="where else it can be had"),
        Option("custom", metavar="JSON", help="what else its description says, an object"),
        JSON_OPTION,
    ),
    examples=(
        "swagent repo add build/gateway-2.4.swu --as gateway.swu --hardware-id gateway --release-counter 24",
    ),
)
REMOVE = Command(
    name="repo remove",
    summary="describe an image no longer",
    target="repo_change:remove",
    arguments=("NAME",),
    options=(REPO_OPTION, ROLE_OPTION, JSON_OPTION),
    examples=("swagent repo remove gateway.swu",),
)
DELEGATE = Command(
    name="repo delegate",
    summary="let others describe some images; with several roles only what they agree on counts",
    target="repo_change:delegate",
    arguments=("ROLE=KEY[,KEY]...",),
    options=(
        REPO_OPTION,
        Option(
            "path", metavar="PATTERN", repeat=True, help="names of these images; may be given several times"
        ),
        Option("hash-prefix", metavar="HEX", repeat=True, help="instead: beginnings of the SHA-256 of names"),
        BY_OPTION,
        THRESHOLD_OPTION,
        Option(
            "agreement", metavar="N", help="how many of several roles must agree; all unless said otherwise"
        ),
        Option("terminating", help="nobody behind it is asked for these images"),
        Option("first", help="before all other delegations, not behind them"),
        HARDWARE_OPTION,
        JSON_OPTION,
    ),
    examples=(
        "swagent repo delegate tcu-supplier=supplier.pub --path 'tcu/*' --hardware-id tcu --terminating",
        "swagent repo delegate build=build.pub audit=a.pub,b.pub --path 'gateway/*'",
    ),
)
WITHDRAW = Command(
    name="repo withdraw",
    summary="take a delegation back",
    target="repo_change:withdraw",
    arguments=("ROLE",),
    options=(REPO_OPTION, BY_OPTION, JSON_OPTION),
    examples=("swagent repo withdraw tcu-supplier",),
)
ROTATE = Command(
    name="repo rotate",
    summary="give a role other keys, in the place of those it has",
    target="repo_change:rotate",
    arguments=("ROLE", "KEY..."),
    options=(REPO_OPTION, THRESHOLD_OPTION, JSON_OPTION),
    examples=(
        "swagent repo rotate timestamp keys/timestamp-2.pub",
        "swagent repo rotate root /media/stick/root-2.pub /media/safe/root-3.pub --threshold 2",
    ),
)


def add(args: Args) -> int:
    """Stage an image."""
    import os

    from .units import clean, size

    repository = open_repository(args)
    source = args.arguments[0]
    target = repository.add(
        source,
        args.get("as") or os.path.basename(source),
        role=args.get("role") or "targets",
        hardware_ids=args.all("hardware-id") or None,
        release_counter=_number(args, "release-counter"),
        uri=args.get("uri") or "",
        custom=_custom(args.get("custom")),
    )
    tree = {"name": target.path, "length": target.length_bytes, "hashes": dict(target.hashes)}
    say(
        args,
        tree,
        f"{clean(target.path)}  {size(target.length_bytes)}  sha256 {target.hashes['sha256']}\n{NEXT}",
    )
    return 0


def remove(args: Args) -> int:
    """Stage that an image is gone."""
    open_repository(args).remove(args.arguments[0], role=args.get("role") or "targets")
    say(args, {"removed": args.arguments[0]}, f"{args.arguments[0]} is described no longer\n{NEXT}")
    return 0


def delegate(args: Args) -> int:
    """Stage a delegation."""
    repository = open_repository(args)
    roles = {}
    for word in args.arguments:
        name, equals, files = word.partition("=")
        if not equals or not files:
            raise UsageError(
                f"{word!r} is no ROLE=KEY[,KEY]", hint="KEY is a file: `swagent repo key` makes one"
            )
        roles[name] = public_keys(files.split(","), repository.codec)
    paths, prefixes = args.all("path"), args.all("hash-prefix")
    if bool(paths) == bool(prefixes):
        raise UsageError("a delegation needs either --path or --hash-prefix")
    repository.delegate(
        roles,
        paths=paths or None,
        hash_prefixes=prefixes or None,
        by=args.get("by") or "targets",
        threshold=_number(args, "threshold") or 1,
        agreement=_number(args, "agreement") or 0,
        terminating=args.on("terminating"),
        hardware_ids=args.all("hardware-id") or None,
        first=args.on("first"),
    )
    say(args, {"delegated": list(roles)}, f"delegated to {', '.join(roles)}\n{NEXT}")
    return 0


def withdraw(args: Args) -> int:
    """Stage that a delegation is gone."""
    open_repository(args).withdraw(args.arguments[0], by=args.get("by") or "targets")
    say(args, {"withdrawn": args.arguments[0]}, f"{args.arguments[0]} describes nothing any more\n{NEXT}")
    return 0


def rotate(args: Args) -> int:
    """Stage other keys."""
    repository = open_repository(args)
    role, *files = args.arguments
    keys = public_keys(files, repository.codec)
    repository.rotate(role, keys, _number(args, "threshold") or 1)
    also = " (root must be signed by its old keys and the new ones)" if role == "root" else ""
    say(args, {"role": role, "keyids": [key.keyid for key in keys]}, f"{role} has other keys{also}\n{NEXT}")
    return 0


def _number(args: Args, name: str) -> int | None:
    text = args.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise UsageError(f"--{name} takes a number, not {text[:20]!r}")
    return int(text)


def _custom(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    from swagent.uptane.canonical import load

    try:
        tree = load(text.encode())
    except ValueError as exc:
        raise UsageError(f"--custom is no JSON: {exc}") from exc
    if not isinstance(tree, dict):
        raise UsageError("--custom is no JSON object")
    return tree
