"""``swagent extract``: list or unpack an image."""

from .make import AES_OPTION
from .options import Args, Command, Option

COMMAND = Command(
    name="extract",
    summary="list or unpack an update; its signature is not looked at (see verify)",
    target="extract:run",
    arguments=("UPDATE", "[MEMBER...]"),
    options=(
        Option("list", short="l", group="what to do", help="list the members, write nothing"),
        Option("plain", short="p", group="what to do", help="decrypt and decompress"),
        Option(
            "directory",
            short="d",
            metavar="DIR",
            group="what to do",
            help="where to; created if it is not there; else the current folder",
        ),
        Option("force", short="f", group="what to do", help="replace files that are there already"),
        AES_OPTION,
    ),
    examples=(
        "swagent extract -l update.swu",
        "swagent extract update.swu -d unpacked",
        "swagent extract update.swu rootfs.ext4 --plain -K aes.key -d unpacked",
    ),
)


def run(args: Args) -> int:
    """List or unpack."""
    from swagent.errors import UsageError
    from swagent.swu.extract import contents_of, extract

    from .units import clean, columns, pad, size

    aes_key_file = args.get("key-aes")
    aes_key = None
    if aes_key_file is not None:
        from swagent.crypto.cipher import read_key_file

        aes_key = read_key_file(aes_key_file)
    path, *names = args.arguments
    if args.on("list"):
        for name in ("plain", "force"):
            if args.on(name):
                raise UsageError(f"--{name} does not go with --list")
        if args.get("directory") is not None or names:
            raise UsageError("--list takes the update alone")
        found = contents_of(path, aes_key=aes_key)
        width = max(columns(clean(content.member.name)) for content in found)
        print(f"{pad('member', width)}       size   how it is stored")
        for content in found:
            notes = [content.compression.value] if content.compression.value else []
            notes += [content.cipher] if content.cipher else []
            notes += [] if content.used else ["no entry names it"]
            line = f"{pad(clean(content.member.name), width)}  {size(content.member.size_bytes):>9}   "
            print((line + ", ".join(notes)).rstrip())
        return 0
    written = extract(
        path,
        args.get("directory") or ".",
        names=names,
        plain=args.on("plain"),
        overwrite=args.on("force"),
        aes_key=aes_key,
    )
    for extracted in written:
        print(f"{clean(extracted.path)}   {size(extracted.size_bytes)}")
    return 0
