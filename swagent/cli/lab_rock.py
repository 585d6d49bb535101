"""``swagent lab rock``: boards with a chip of Rockchip."""

import sys
import time
from typing import TYPE_CHECKING

from swagent.errors import SettingsError, UsageError

from .lab_device import volume_of
from .lab_parts import SERVER_OPTIONS, connected, one_of
from .options import Args, Command, Option

if TYPE_CHECKING:
    from swagent.lab.client import LabClient

VERBS = ("download-boot",)
COMMAND = Command(
    name="lab rock",
    summary="download-boot FILE: have the mask ROM run the programs of a boot file, and wait until it has gone",
    target="lab_rock:run",
    arguments=("DEVICE", "VERB", "FILE"),
    options=(
        Option("wait", "w", help="wait for the volume to appear"),
        Option("volume", "v", "NAME", "which volume of the device; default: the only one"),
        *SERVER_OPTIONS,
    ),
    examples=("swagent lab rock rk download-boot -w rk3588_spl_loader.bin",),
)


def run(args: Args) -> int:
    """Send all that a boot file brings, in order."""
    import io

    from swagent.lab.items import ItemType
    from swagent.lab.rockboot import FILE_BYTES_MAX, read_boot_file

    from .units import clean, size

    word, verb, path = args.arguments
    one_of(verb, VERBS)
    try:
        with open(path, "rb") as file:
            boot = read_boot_file(file.read(FILE_BYTES_MAX))
    except OSError as exc:
        raise SettingsError(f"cannot read {path}: {exc.strerror}") from exc
    with connected(args) as client:
        device = client.find(ItemType.DEVICE, word)
        name = _name(client, device, args.get("volume"), word)
        volume = volume_of(client, device, name, word, wait=args.on("wait"))
        for target, programs in (("471", boot.programs_471), ("472", boot.programs_472)):
            for program in programs:
                client.write(volume, target, io.BytesIO(program.data), length_bytes=len(program.data))
                sys.stdout.write(f"{target} {clean(program.name)}: {size(len(program.data))}\n")
                sys.stdout.flush()
                time.sleep(program.delay_s)
        _until_gone(client, device, name, volume)
    return 0


def _name(client: "LabClient", device: int, name: str | None, word: str) -> str:
    known = next(client.device(device)).volumes
    if name is not None:
        return name
    if len(known) != 1:
        raise UsageError(
            f"{word} has {len(known)} volumes",
            hint=f"--volume says which: {', '.join(known)}" if known else "",
        )
    return next(iter(known))


def _until_gone(client: "LabClient", device: int, name: str, volume: int) -> None:
    """The mask ROM's volume goes when its program runs; a loader's may come in its place."""
    for state in client.device(device):
        if state.volumes.get(name) != volume:
            return
