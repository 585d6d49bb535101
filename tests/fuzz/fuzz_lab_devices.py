"""What boards and their files say: any bytes are understood, or refused by one of our errors.

The first byte says which; of answers of devices the next one says how long each of them is.
"""

import gzip
import io
from collections.abc import Callable
from contextlib import suppress
from itertools import islice

from swagent.cli.emulator import Emulator
from swagent.errors import DeviceError, SwagentError
from swagent.lab import dfu, fastboot, rockusb
from swagent.lab.bmap import BlockMap, Range, mapped, read_map
from swagent.lab.junit import junit
from swagent.lab.plan import parse_plan
from swagent.lab.rockboot import read_boot_file
from swagent.lab.sparse import read_sparse, sparse_of
from swagent.lab.steps import Operation, Pause, Steps
from swagent.lab.talk import readable
from swagent.lab.trial import Report, Step
from tests.lab.test_images import text as bmap_text
from tests.lab.test_usb_protocols import boot_file

_OPERATIONS_MAX = 2000


class _Enough(Exception):
    """A device that always has one more thing to say."""


def _play(steps: Steps[object], answers: bytes) -> None:
    """Run a protocol against a device that says this, in pieces, and then nothing."""
    size = answers[0] % 70 + 1 if answers else 1
    said = io.BytesIO(answers[1:])

    def answer(operation: Operation) -> bytes:
        n_bytes = getattr(operation, "n_bytes", 0)
        return said.read(min(size, n_bytes)) if n_bytes else b""

    try:
        operation = next(steps)
        for count in range(_OPERATIONS_MAX):
            if not isinstance(operation, Pause) and count % 50 == 49:
                operation = steps.throw(DeviceError("unplugged", path="usb"))
            else:
                operation = steps.send(answer(operation))
    except StopIteration:
        return
    except SwagentError:
        return
    raise _Enough


def _dfu(data: bytes) -> None:
    device = dfu.functional(data)
    download = dfu.Download(0, 1, device or dfu.functional(b"\x09\x21\x0b\xff\x00\x00\x08\x10\x01"))  # type: ignore[arg-type]
    for steps in (
        download.begin(),
        download.write(b"x" * 5000),
        download.finish(),
        download.give_up(),
        dfu.leave(0),
    ):
        with suppress(_Enough):  # a busy device is given up after a time, which does not pass here
            _play(steps, data)


def _rockusb(data: bytes) -> None:
    loader = rockusb.Loader()
    for steps in (
        loader.flash_info(),
        loader.flash_id(),
        loader.read(0, 4),
        loader.write(1, bytes(512)),
        loader.reset(),
    ):
        _play(steps, data)


def _fastboot(data: bytes) -> None:
    for steps in (fastboot.limits(), fastboot.getvar("a"), fastboot.download(b"data"), fastboot.flash("a")):
        _play(steps, data)


def _boot_file(data: bytes) -> None:
    found = read_boot_file(data)
    assert all(one.delay_s <= 60 for one in (*found.programs_471, *found.programs_472))


def _sparse(data: bytes) -> None:
    size_bytes, pieces = read_sparse(io.BytesIO(data))
    for start, piece in islice(pieces, 50):
        assert 0 < len(piece) <= 1 << 20 and start + len(piece) <= size_bytes


def _bmap(data: bytes) -> None:
    found = read_map(data)
    after = 0
    for one in found.ranges:
        assert after <= one.start < one.end <= found.image_bytes
        after = one.end


def _mapped(data: bytes) -> None:
    ranges = (Range(10, 5000), Range(70_000, 90_000))
    for _, piece in mapped(io.BytesIO(data), BlockMap(100_000, ranges), "image"):
        assert piece


def _plan(data: bytes) -> None:
    assert parse_plan(data, "plan.yaml").install


def _console(data: bytes) -> None:
    shown = readable(data)
    assert all(char in "\n\t" or char.isprintable() for char in shown)
    assert junit(Report("board", shown[:20], (Step("boot", 1.0, shown),), (), data))


def _screen(data: bytes) -> None:
    emulator = Emulator(20, 5, 30, lambda said: None)
    for at in range(0, len(data), 37):
        emulator.feed(data[at : at + 37])
        emulator.scroll(at % 5 - 1)
    emulator.resize(9, 3)
    assert len(emulator.drawn()) == 3
    emulator.feed(b"\x1bc\x1b[2Jgoes on")
    emulator.look_at_now()
    assert "goes on" in "".join(emulator.drawn()).replace("\x1b[0m", "")


_LOOKS: tuple[Callable[[bytes], None], ...] = (
    _dfu, _rockusb, _fastboot, _boot_file, _sparse, _bmap, _mapped, _plan, _console, _screen,
)  # fmt: skip


def one_input(data: bytes) -> None:
    """As the one that its first byte names."""
    if data:
        with suppress(SwagentError):
            _LOOKS[data[0] % len(_LOOKS)](data[1:])


def seeds() -> list[bytes]:
    """Some of each."""
    bodies: dict[Callable[[bytes], None], list[bytes]] = {
        _dfu: [b"\x05\x00\x00\x00\x00\x02\x00" * 8, b"\x09\x21\x0b\xff\x00\x00\x08\x10\x01"],
        _rockusb: [b"\x0c" + b"USBS\x01\x00\x00\x00\x00\x00\x00\x00\x00" * 4],
        _fastboot: [
            b"\x20OKAYyes",
            b"\x20INFOpartition-size:a: 0x100",
            b"\x20DATA00000004OKAY",
            b"\x20FAILno",
        ],
        _boot_file: [boot_file([[("ddr", b"DDR", 1)], [("usbplug", b"PLUG", 0)], [("l", b"L", 0)]])],
        _sparse: [sparse_of(3, b"data" * 2000), sparse_of(0, b"")],
        _bmap: [bmap_text('<Range chksum="%s">0</Range><Range>2-2</Range>' % ("0" * 64)), bmap_text("")],
        _mapped: [gzip.compress(bytes(100_000), 9), bytes(2000)],
        _plan: [b"install: a {size}\nprompt: '# $'\nboot-timeout: 1m 30s\n"],
        _console: [b"\x1b[1;32mroot\x1b[0m\r\n\x1b]0;t\x07login: \xff"],
        _screen: [
            b"\x1b[1;5Hx\x1b[31;1m\x1b[6n\x1b[?25l\r\n",
            b"\x1b[?1;2r\x1b[38;5;300m\x1b(0q\x1b[99999999d",
        ],
    }
    return [bytes([number]) + body for number, look in enumerate(_LOOKS) for body in bodies[look]]
