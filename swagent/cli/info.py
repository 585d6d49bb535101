"""``swagent info``: what is in an image, believed or not; without one, how this device stands."""

import sys

from swagent.app import read_contents
from swagent.errors import UsageError
from swagent.sources import open_update, warnings_of

from .install import (
    BOOTLOADER_OPTIONS,
    SELECTION_OPTIONS,
    SERVER_OPTIONS,
    STATE_OPTION,
    TRUST_OPTIONS,
    settings_of,
)
from .options import Args, Command, Option
from .table import print_table
from .units import clean, size

COMMAND = Command(
    "info",
    "Say what is in an update: version, boards, selections, members. With a key, also who signed it. Without a file: "
    "what is installed on this device, and what its last updates came to.",
    "info:run",
    options=(
        *TRUST_OPTIONS,
        *SELECTION_OPTIONS[:1],
        *SERVER_OPTIONS,
        STATE_OPTION,
        *BOOTLOADER_OPTIONS,
        Option("json", help="as one JSON object, for programs"),
    ),
    arguments=("[FILE]",),
    examples=("swagent info update.swu", "swagent info update.swu -k release.pem", "swagent info"),
)


def run(args: Args) -> int:
    """Print it; nothing is judged but what must be judged to read it."""
    if not args.arguments:
        from .device import show_device

        return show_device(args, settings_of(args)[0])
    path = args.arguments[0]
    if path == "-":
        raise UsageError("info needs a file, not a stream")
    settings, _ = settings_of(args)
    source = open_update(path, settings, look_only=True)
    contents = read_contents(settings, source)
    outline = contents.outline
    signed = f"signed by {contents.signer.label} ({contents.signer.scheme})" if contents.signer else (
        "signed, not verified: give a key with -k" if contents.has_signature else "not signed"
    )  # fmt: skip
    if args.on("json"):
        import json

        sys.stdout.write(
            json.dumps(
                {
                    "version": outline.version,
                    "description": outline.description,
                    "signed": contents.has_signature,
                    "signer": contents.signer.label if contents.signer else None,
                    "boards": outline.boards,
                    "selections": outline.selections,
                    "members": [{"name": m.name, "bytes": m.size_bytes} for m in contents.members],
                }
            )
            + "\n"
        )
        return 0
    about = f'  "{clean(outline.description)}"' if outline.description else ""
    sys.stdout.write(f"{clean(source.name)}   {clean(outline.version) or 'no version'}{about}   {signed}\n")
    if outline.boards:
        sys.stdout.write(f"boards       {clean(', '.join(outline.boards))}\n")
    if outline.selections:
        sys.stdout.write(f"selections   {clean('  '.join(outline.selections))}\n")
    sys.stdout.write("\n")
    print_table(sys.stdout, ("member", "size"), [(m.name, size(m.size_bytes)) for m in contents.members])
    for warning in warnings_of(path, settings):
        sys.stdout.write(f"warning: {warning}\n")
    return 0
