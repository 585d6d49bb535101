"""``swagent uptane tuf``: one plain TUF repository, as conformance suites drive a client."""

import sys

from swagent.errors import SwagentError

from .options import Args, Command, Option

COMMAND = Command(
    name="uptane tuf",
    summary="use a plain TUF repository: init FILE, refresh, or download; the exit code is 0 or 1",
    target="uptane_tuf:run",
    arguments=("VERB", "[FILE]"),
    options=(
        Option("metadata-dir", metavar="DIR", help="where trusted metadata lies, under unversioned names"),
        Option("metadata-url", metavar="URL", help="where the repository's metadata is"),
        Option("target-name", metavar="NAME", repeat=True, help="an image to download; may be repeated"),
        Option("target-base-url", metavar="URL", help="where the repository's images are"),
        Option("target-dir", metavar="DIR", help="where to put images, under their quoted names"),
    ),
    examples=(
        "swagent uptane tuf --metadata-dir md init root.json",
        "swagent uptane tuf --metadata-dir md --metadata-url https://host/metadata refresh",
        "swagent uptane tuf --metadata-dir md --metadata-url https://host/metadata --target-name app.swu "
        "--target-base-url https://host/targets --target-dir . download",
    ),
)


def run(args: Args) -> int:
    """Do one of the three; every error is exit code 1, as the suites want it."""
    try:
        _run(args)
    except SwagentError as exc:
        from .refusal import refusal_text

        sys.stderr.write(refusal_text(exc, 80, colour=False))
        return 1
    return 0


def _run(args: Args) -> None:
    from swagent.clock import SystemClock
    from swagent.errors import UsageError
    from swagent.uptane_client.tuf import TufClient, begin

    verb, *files = args.arguments
    if verb not in ("init", "refresh", "download") or (len(files) == 1) != (verb == "init"):
        raise UsageError("say init FILE, refresh or download")
    metadata_dir = _needed(args, "metadata-dir")
    if verb == "init":
        begin(metadata_dir, files[0])
        return
    client = TufClient(metadata_dir, _needed(args, "metadata-url"), SystemClock())
    if verb == "refresh":
        client.refresh()
        return
    names = args.all("target-name")
    if not names:
        raise UsageError("--target-name is missing")
    for name in names:
        place, fetched = client.download(name, _needed(args, "target-dir"), _needed(args, "target-base-url"))
        print(place if fetched else f"{place} is there already")


def _needed(args: Args, name: str) -> str:
    value = args.get(name)
    if value is None:
        from swagent.errors import UsageError

        raise UsageError(f"--{name} is missing")
    return value
