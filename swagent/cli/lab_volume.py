"""``swagent lab volume``: storage of a board."""

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO

from swagent.errors import SettingsError, UsageError

from .lab_parts import SERVER_OPTIONS, connected, one_of, transfer
from .options import Args, Command, Option

if TYPE_CHECKING:
    from swagent.lab.client import LabClient

_WRITES = ("write", "write-bmap", "write-aimg")
VERBS = ("info", "read", *_WRITES, "commit", "erase")
TRANSFER_OPTIONS = (
    Option("offset", "o", "BYTES", "where to begin in the target"),
    Option("length", "l", "BYTES", "how much to read; default: to the end"),
)
COMMAND = Command(
    name="lab volume",
    summary="info, read TARGET FILE, write TARGET FILE, write-bmap TARGET FILE (only what its block map says), "
    "write-aimg TARGET FILE (an Android sparse image), commit, or erase TARGET; FILE may be -, but for write-bmap",
    target="lab_volume:run",
    arguments=("VOLUME", "VERB", "[TARGET]", "[FILE]"),
    options=(*TRANSFER_OPTIONS, *SERVER_OPTIONS),
    examples=(
        "swagent lab volume disk info",
        "swagent lab volume disk write emmc image.img",
        "swagent lab volume disk write-bmap emmc image.wic.gz",
        "swagent lab volume disk read emmc - | sha256sum",
    ),
)


def run(args: Args) -> int:
    """Do one of the five."""
    from swagent.lab.items import ItemType

    word, verb, *rest = args.arguments
    one_of(verb, VERBS)
    with connected(args) as client:
        use(client, client.find(ItemType.VOLUME, word), verb, rest, args)
    return 0


def use(client: "LabClient", volume: int, verb: str, rest: list[str], args: Args) -> None:
    """Do a verb with a volume; ``rest`` is what stands behind the verb.

    Raises:
        UsageError: too much or too little does.
    """
    wanted = {"read": 2, **dict.fromkeys(_WRITES, 2), "erase": 1}.get(verb, 0)
    if len(rest) != wanted:
        raise UsageError(f"{verb} takes {('nothing', 'TARGET', 'TARGET FILE')[wanted]}")
    if verb == "info":
        _info(client, volume)
    elif verb == "commit":
        client.commit(volume)
    elif verb == "erase":
        client.erase(volume, rest[0])
    elif verb == "write":
        _write(client, volume, rest[0], rest[1], _number(args, "offset") or 0)
    elif verb == "write-bmap":
        _write_mapped(client, volume, rest[0], rest[1])
    elif verb == "write-aimg":
        _write_sparse(client, volume, rest[0], rest[1])
    else:
        _read(client, volume, rest[0], rest[1], _number(args, "offset") or 0, _number(args, "length"))


def _info(client: "LabClient", volume: int) -> None:
    from .table import print_table
    from .units import size

    targets, exhaustive = client.targets(volume)
    rows = [
        (
            one.name,
            size(one.size_bytes) if one.size_bytes is not None else "",
            str(one.block_bytes or ""),
            " ".join(
                word
                for word, can in (("read", one.readable), ("write", one.writable), ("seek", one.seekable))
                if can
            ),
        )
        for one in targets
    ]
    print_table(sys.stdout, ("target", "size", "block", "can"), rows)
    if not exhaustive:
        print("There may be others.")


def _write(client: "LabClient", volume: int, target: str, path: str, offset_bytes: int) -> None:
    from swagent.lab.client import size_of

    from .units import size

    with ExitStack() as stack:
        file: BinaryIO = sys.stdin.buffer if path == "-" else stack.enter_context(_open(path, "rb"))
        total = size_of(file)
        with transfer(path, f"→ {target}", total) as progress:
            n_bytes = client.write(
                volume, target, file, length_bytes=total, offset_bytes=offset_bytes, progress=progress
            )
    print(f"Wrote {size(n_bytes)} to {target}.")


def _write_mapped(client: "LabClient", volume: int, target: str, path: str) -> None:
    from swagent.lab.bmap import FILE_BYTES_MAX, find_map, mapped, read_map

    from .units import size

    map_path = find_map(path)
    if map_path is None:
        raise SettingsError(
            f"there is no block map of {path}", hint="it stands beside the image, as image.img.bmap"
        )
    with _open(map_path, "rb") as file:
        found = read_map(file.read(FILE_BYTES_MAX + 1))
    with _open(path, "rb") as file, transfer(path, f"→ {target}", found.mapped_bytes) as progress:
        pieces = mapped(file, found, path)
        n_bytes = client.write_pieces(
            volume, target, pieces, length_bytes=found.image_bytes, progress=progress
        )
    print(f"Wrote {size(n_bytes)} of {size(found.image_bytes)} to {target}, as {map_path} says.")


def _write_sparse(client: "LabClient", volume: int, target: str, path: str) -> None:
    from swagent.lab.sparse import read_sparse

    from .units import size

    with ExitStack() as stack:
        file: BinaryIO = sys.stdin.buffer if path == "-" else stack.enter_context(_open(path, "rb"))
        image_bytes, pieces = read_sparse(file)
        with transfer(path, f"→ {target}", image_bytes) as progress:
            n_bytes = client.write_pieces(volume, target, pieces, length_bytes=image_bytes, progress=progress)
    print(f"Wrote {size(n_bytes)} of {size(image_bytes)} to {target}.")


def _read(
    client: "LabClient", volume: int, target: str, path: str, offset_bytes: int, length_bytes: int | None
) -> None:
    from .units import size

    with ExitStack() as stack:
        file: BinaryIO = sys.stdout.buffer if path == "-" else stack.enter_context(_open(path, "wb"))
        total = length_bytes
        if total is None:
            sizes = {one.name: one.size_bytes for one in client.targets(volume)[0]}
            whole = sizes.get(target)
            total = max(whole - offset_bytes, 0) if whole is not None else None
        with transfer(target, f"→ {path}", total) as progress:
            n_bytes = client.read(
                volume, target, file, length_bytes=length_bytes, offset_bytes=offset_bytes, progress=progress
            )
        file.flush()
    if path != "-":
        print(f"Read {size(n_bytes)} from {target}.")


def _open(path: str, mode: str) -> BinaryIO:
    try:
        return open(path, mode)  # type: ignore[return-value]  # both modes are binary
    except OSError as exc:
        raise SettingsError(f"cannot open {path}: {exc.strerror}") from exc


def _number(args: Args, option: str) -> int | None:
    text = args.get(option)
    if text is None:
        return None
    from swagent.sizes import parse_size

    try:
        return parse_size(text)
    except ValueError as exc:
        raise UsageError(f"--{option}: {exc}") from exc
