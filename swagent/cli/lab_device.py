"""``swagent lab device``: a board as a whole."""

import sys
from typing import TYPE_CHECKING

from swagent.errors import UsageError

from .lab_console import REPLAY_OPTION, connect, show, tail
from .lab_parts import SERVER_OPTIONS, connected, one_of
from .lab_volume import TRANSFER_OPTIONS, use
from .options import Args, Command, Option

if TYPE_CHECKING:
    from swagent.lab.client import DeviceInfo, LabClient

_WRITES = ("write", "write-bmap", "write-aimg")
_STORAGE = ("read", *_WRITES, "commit", "erase")
VERBS = ("info", "mode", "reset", "lease", "release", "connect", "tail", "log", *_STORAGE)
COMMAND = Command(
    name="lab device",
    summary="info, mode NAME, reset (off, then on), lease, release, connect, tail, log; "
    "read, write, write-bmap, write-aimg, commit, erase VOLUME [TARGET] [FILE]",
    target="lab_device:run",
    arguments=("DEVICE", "VERB", "[WORD]", "[TARGET]", "[FILE]"),
    options=(
        Option("follow", "f", help="info: go on telling what changes"),
        Option("console", "", "NAME", "which of its consoles; default: the first one"),
        Option("wait", "w", help="wait for the volume to appear"),
        Option("commit", "", help="write…: have the board use it afterwards"),
        Option("for", "", "SECONDS", "lease: how long, default an hour; again for longer"),
        Option("reason", "", "TEXT", "lease: what others are told"),
        Option("force", "", help="lease, release: though it is somebody else's"),
        REPLAY_OPTION,
        *TRANSFER_OPTIONS,
        *SERVER_OPTIONS,
    ),
    examples=(
        "swagent lab device rpi info -f",
        "swagent lab device rpi mode on",
        "swagent lab device rpi lease --for 7200 --reason 'kernel 6.12'",
        "swagent lab device rk write -w usb EMMC image.img",
    ),
)


def run(args: Args) -> int:
    """Do one of its verbs."""
    from swagent.lab.items import ItemType

    word, verb, *rest = args.arguments
    one_of(verb, VERBS)
    wanted = {"mode": 1, "read": 3, **dict.fromkeys(_WRITES, 3), "commit": 1, "erase": 2}.get(verb, 0)
    if len(rest) != wanted:
        raise UsageError(f"{verb} takes {wanted} words behind it, not {len(rest)}", hint=COMMAND.summary)
    with connected(args) as client:
        number = client.find(ItemType.DEVICE, word)
        if verb == "info":
            _info(client, number, follow=args.on("follow"))
        elif verb == "mode":
            client.change_mode(number, rest[0])
        elif verb == "reset":
            client.change_mode(number, "off")
            client.change_mode(number, "on")
        elif verb == "lease":
            _lease(client, number, args)
        elif verb == "release":
            client.release(number, force=args.on("force"))
        elif verb in ("connect", "tail", "log"):
            console = console_of(next(client.device(number)), args.get("console"), word)
            if verb == "log":
                show(client.remembered(console))
            else:
                (connect if verb == "connect" else tail)(client, console, replay=args.on("replay"))
        else:
            volume = volume_of(client, number, rest[0], word, wait=args.on("wait"))
            use(client, volume, verb, rest[1:], args)
            if verb in _WRITES and args.on("commit"):
                client.commit(volume)
    return 0


def _info(client: "LabClient", device: int, *, follow: bool) -> None:
    from .table import print_table

    for state in client.device(device):
        rows = [("console", name, _there(number), "") for name, number in state.consoles.items()]
        rows += [("volume", name, _there(number), "") for name, number in state.volumes.items()]
        for name, (depends, available) in state.modes.items():
            how = (
                "now" if name == state.mode else "can be entered" if available else "its actuator is missing"
            )
            rows.append(("mode", name, how, f"only from {depends}" if depends else ""))
        print_table(sys.stdout, ("what", "name", "state", ""), rows)
        if not follow:
            return
        print(flush=True)


def _lease(client: "LabClient", device: int, args: Args) -> None:
    from .units import clean, utc

    text = args.get("for") or "3600"
    if not (text.isascii() and text.isdecimal() and int(text[:9]) > 0):
        raise UsageError(f"--for is a number of seconds, not {text!r}")
    owner, _, until_s = client.lease(
        device, seconds=int(text[:9]), reason=args.get("reason") or "", force=args.on("force")
    )
    print(f"It is {clean(owner)}'s until {utc(until_s)}.")


def _there(number: int | None) -> str:
    return "not there" if number is None else f"id {number}"


def console_of(state: "DeviceInfo", name: str | None, device: str) -> int:
    """The number of a console of a device, the first one without a name.

    Raises:
        UsageError: the device has no such console.
        Gone: it is not there.
    """
    if name is None:
        name = next(iter(state.consoles), "")
    if name not in state.consoles:
        raise UsageError(
            f"{device} has no console {name!r}", hint=f"it has {', '.join(state.consoles) or 'none'}"
        )
    number = state.consoles[name]
    if number is None:
        from swagent.lab.errors import Gone

        raise Gone(f"console {name} of {device} is not there now")
    return number


def volume_of(client: "LabClient", device: int, name: str, word: str, *, wait: bool) -> int:
    """The number of a volume of a device, once it is there.

    Raises:
        UsageError: the device has no such volume.
        Gone: it is not there, and shall not be waited for.
    """
    from swagent.lab.errors import Gone

    for state in client.device(device):
        if name not in state.volumes:
            raise UsageError(
                f"{word} has no volume {name!r}", hint=f"it has {', '.join(state.volumes) or 'none'}"
            )
        number = state.volumes[name]
        if number is not None:
            return number
        if not wait:
            break
    raise Gone(f"volume {name} of {word} is not there now", hint="--wait waits for it")
