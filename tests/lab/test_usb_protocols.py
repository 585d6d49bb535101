"""DFU, rockusb, fastboot, boot files and sparse images, without a bus."""

import errno
import io
import random
import struct
from binascii import crc_hqx

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swagent.errors import DeviceError, FormatError
from swagent.lab import dfu, fastboot, rockusb
from swagent.lab.errors import Failed, OutOfRange
from swagent.lab.rockboot import read_boot_file
from swagent.lab.sparse import BLOCK_BYTES, read_sparse, sparse_of
from swagent.lab.steps import BulkIn, BulkOut, Operation, carry_out

from .usbmodels import DfuModel, FakeBus, FastbootModel, RockModel

# -- DFU

ABOUT = dfu.Functional(can_download=True, tolerant=False, will_detach=False, transfer_bytes=1024)


def load(bus: FakeBus, data: bytes, *, tolerant: bool = False, alternate: int = 1, pieces: int = 700) -> None:
    download = dfu.Download(0, alternate, ABOUT._replace(tolerant=tolerant))
    carry_out(download.begin(), bus)
    for at in range(0, len(data), pieces):
        carry_out(download.write(data[at : at + pieces]), bus)
    carry_out(download.finish(), bus)


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize("size", [1, 1023, 1024, 1025, 10_240])
def test_a_download(tolerant: bool, size: int) -> None:
    model, data = DfuModel(tolerant=tolerant), random.Random(size).randbytes(size)
    load(FakeBus(model), data, tolerant=tolerant)
    assert model.manifested == {"system": data}
    assert model.resets == (0 if tolerant else 1)
    if tolerant:
        load(FakeBus(model), b"again", tolerant=True, alternate=0)
        assert model.manifested == {"system": data, "boot": b"again"}


def test_block_numbers_begin_anew_after_65535(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    model = DfuModel(transfer_bytes=1)
    download = dfu.Download(0, 0, ABOUT._replace(transfer_bytes=1))
    carry_out(download.begin(), FakeBus(model))
    carry_out(download.write(bytes(65_600)), FakeBus(model))
    carry_out(download.finish(), FakeBus(model))
    assert model.manifested == {"boot": bytes(65_600)}


@pytest.mark.parametrize("block", [0, 3, 10])
def test_a_device_that_refuses_says_why(block: int) -> None:
    model = DfuModel(refuses=block)
    with pytest.raises(Failed, match="cannot write its memory"):
        load(FakeBus(model), bytes(10_240))
    assert not model.manifested
    model._refuses = None
    load(FakeBus(model), b"next")  # out of the error that was left
    assert model.manifested == {"system": b"next"}


def test_a_download_that_is_given_up_is_not_manifested() -> None:
    model = DfuModel()
    bus, download = FakeBus(model), dfu.Download(0, 0, ABOUT)
    carry_out(download.begin(), bus)
    carry_out(download.write(bytes(5000)), bus)
    carry_out(download.give_up(), bus)
    assert (model.manifested, model.aborts) == ({}, 1)
    load(bus, b"next")
    assert model.manifested == {"system": b"next"}


def test_a_download_that_was_left_behind_is_aborted_first() -> None:
    model = DfuModel()
    bus, download = FakeBus(model), dfu.Download(0, 0, ABOUT)
    carry_out(download.begin(), bus)
    carry_out(download.write(bytes(5000)), bus)
    load(bus, b"next")
    assert model.manifested == {"system": b"next"}


@pytest.mark.parametrize("at", range(0, 24, 3))
def test_a_device_that_goes_away(at: int) -> None:
    """Wherever that is, it is an error, or what had been manifested was whole."""
    model, left = DfuModel(), at

    def fail(operation: Operation) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise DeviceError("gone", path="bus", errno=errno.ENODEV)

    data = bytes(3000)
    try:
        load(FakeBus(model, fail), data)
    except (DeviceError, Failed):
        assert at < 20
        return
    assert model.manifested == {"system": data}


def test_a_device_that_is_busy_for_ever_is_not_waited_for() -> None:
    steps = dfu.Download(0, 0, ABOUT._replace(transfer_bytes=4)).write(b"data")
    next(steps)
    steps.send(b"")
    with pytest.raises(Failed, match="busy for too long"):
        while True:
            steps.send(bytes((0, 0xFF, 0xFF, 0x00, 4, 0)))
            steps.send(b"")


@pytest.mark.parametrize("data", [b"", b"12345", b"1234567"])
def test_a_status_of_the_wrong_size(data: bytes) -> None:
    with pytest.raises(Failed, match="instead of 6"):
        dfu.read_status(data)


@given(st.binary(max_size=60))
def test_functional_descriptors(noise: bytes) -> None:
    dfu.functional(noise)
    whole = b"\x05\x24\x00\x10\x01" + struct.pack("<BBBHHH", 9, 0x21, 0x0D, 255, 4096, 0x0110) + noise
    assert dfu.functional(whole) == dfu.Functional(True, True, True, 4096)


def test_leaving() -> None:
    model = DfuModel()
    carry_out(dfu.leave(0), FakeBus(model))
    assert model.resets == 1


# -- rockusb


@pytest.mark.parametrize("size", [0, 1, 4093, 4094, 4095, 4096, 4097, 8190, 8191, 8192, 1 << 20])
def test_programs_arrive_whole(size: int) -> None:
    model, data = RockModel(), random.Random(size).randbytes(size)
    carry_out(rockusb.send_program(0x471, data), FakeBus(model))
    assert model.programs[0x471].rstrip(b"\0") == data.rstrip(b"\0")
    assert len(model.programs[0x471]) - size in (0, 1)
    assert all(len(piece) <= 4096 for piece in rockusb.pieces(data))


def test_the_checksum() -> None:
    assert crc_hqx(b"123456789", 0xFFFF) == 0x29B1
    assert rockusb.pieces(b"123456789") == [b"123456789\x29\xb1"]
    with pytest.raises(OutOfRange):
        rockusb.pieces(bytes((1 << 20) + 1))


def test_a_loader() -> None:
    storage = bytearray(random.Random(1).randbytes(512 * 1000))
    bus, loader = FakeBus(RockModel(storage)), rockusb.Loader()
    assert carry_out(loader.flash_info(), bus).size_bytes == len(storage)
    assert carry_out(loader.flash_id(), bus) == "EMMC"
    assert carry_out(loader.read(10, 128), bus) == storage[5120 : 5120 + 65536]
    carry_out(loader.write(999, b"x" * 512), bus)
    assert storage[-512:] == b"x" * 512
    carry_out(loader.erase(0, 2), bus)
    assert storage[:1024] == b"\xff" * 1024
    with pytest.raises(Failed, match="refuses"):
        carry_out(loader.read(999, 2), bus)
    assert carry_out(loader.read(999, 1), bus) == b"x" * 512  # and goes on afterwards
    with pytest.raises(DeviceError):
        carry_out(rockusb.Loader().flash_info(), FakeBus(RockModel()))


def test_a_command_to_the_byte() -> None:
    steps = rockusb.Loader().read(0x01020304, 0x0005)
    command = next(steps)
    assert isinstance(command, BulkOut)
    length = (5 * 512).to_bytes(4, "little")
    wanted = b"USBC" + b"\0\0\0\1" + length + b"\x80\0\x0a\x14\0" + b"\1\2\3\4" + b"\0\0\5"
    assert command.data == wanted + bytes(7)


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_a_loader_may_answer_anything(answers: list[bytes]) -> None:
    steps = rockusb.Loader().flash_info()
    next(steps)
    with pytest.raises((Failed, StopIteration)):
        steps.send(b"")
        for answer in answers:
            steps.send(answer)
        steps.throw(Failed("it says no more"))


# -- fastboot


def test_fastboot() -> None:
    model = FastbootModel()
    bus = FakeBus(model)
    assert carry_out(fastboot.limits(), bus) == fastboot.Limits("0.4", 1 << 16, {"boot": 0x4000000})
    carry_out(fastboot.download(b"kernel"), bus)
    carry_out(fastboot.flash("boot"), bus)
    assert model.flashed == {"boot": [b"kernel"]}
    carry_out(fastboot.erase("userdata"), bus)
    carry_out(fastboot.go_on(), bus)
    assert model.said[-2:] == ["erase:userdata", "continue"]
    with pytest.raises(Failed, match="unknown variable"):
        carry_out(fastboot.getvar("secret"), bus)


@given(st.lists(st.binary(max_size=70), max_size=8))
def test_a_board_may_answer_anything(answers: list[bytes]) -> None:
    steps = fastboot.limits()
    next(steps)
    with pytest.raises((Failed, DeviceError, StopIteration)):
        operation: Operation = steps.send(b"")
        for answer in answers:
            while not isinstance(operation, BulkIn):
                operation = steps.send(b"")
            operation = steps.send(answer)
        steps.throw(DeviceError("it says no more", path="bus"))


def test_endless_lines_are_not_collected() -> None:
    steps = fastboot.ask("getvar:all")
    next(steps)
    with pytest.raises(Failed, match="does not end"):
        steps.send(b"")
        while True:
            steps.send(b"INFOmore")


@pytest.mark.parametrize(
    ("text", "number"), [("0x10", 16), ("0X1f", 31), ("16", None), ("0x", None), ("0xg", None), ("", None)]
)
def test_sizes(text: str, number: int | None) -> None:
    assert fastboot.number_of(text) == number


# -- files


def boot_file(programs: list[list[tuple[str, bytes, int]]]) -> bytes:
    """A boot file: for each code the programs with their pauses in ms."""
    tables, entries, data = b"", b"", b""
    at = 102 + 57 * sum(map(len, programs))
    offset = 102
    for group in programs:
        tables += struct.pack("<BIB", len(group), offset, 57)
        for name, program, delay_ms in group:
            text = name.encode("utf-16-le").ljust(40, b"\0")
            entries += struct.pack("<BI40sIII", 57, 1, text, at + len(data), len(program), delay_ms)
            data += program
            offset += 57
    head = b"LDR " + struct.pack("<HII7s4s", 102, 0x100, 0, bytes(7), b"RK35") + tables
    return head.ljust(102, b"\0") + entries + data


def test_a_boot_file() -> None:
    found = read_boot_file(
        boot_file([[("ddr", b"DDR", 1)], [("usbplug", b"PLUG", 0)], [("loader", b"L", 0)]])
    )
    assert [(one.name, one.data, one.delay_s) for one in found.programs_471] == [("ddr", b"DDR", 0.001)]
    assert [one.data for one in found.programs_472] == [b"PLUG"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda data: b"PK\3\4" + data[4:], "no boot file"),
        (lambda data: data[:50], "within its header"),
        (lambda data: data[:120], "within its table"),
        (lambda data: data[:-8], "within a program"),
        (lambda data: data[:30] + b"\x10" + data[31:], "instead of 57"),
    ],
)
def test_boot_files_that_are_damaged(change: object, complaint: str) -> None:
    data = boot_file([[("ddr", b"DDR" * 9, 1)], [("usbplug", b"PLUG", 0)], []])
    with pytest.raises(FormatError, match=complaint):
        read_boot_file(change(data))  # type: ignore[operator]


@given(st.binary(max_size=300))
def test_any_bytes_as_a_boot_file(data: bytes) -> None:
    for prefix in (b"", b"BOOT", b"LDR "):
        try:
            read_boot_file(prefix + data)
        except FormatError:
            continue


@given(st.integers(0, 3000), st.binary(min_size=1, max_size=9000))
def test_sparse_images_round_trip(start_block: int, data: bytes) -> None:
    size, pieces = read_sparse(io.BytesIO(sparse_of(start_block, data)))
    made = bytearray(size)
    for at, piece in pieces:
        made[at : at + len(piece)] = piece
    assert made[start_block * BLOCK_BYTES :].rstrip(b"\0") == data.rstrip(b"\0")
    assert not any(made[: start_block * BLOCK_BYTES])


def test_fills_and_holes() -> None:
    image = struct.pack("<IHHHHIIII", 0xED26FF3A, 1, 0, 28, 12, 4096, 6, 4, 0)
    image += struct.pack("<HHII", 0xCAC2, 0, 2, 16) + b"abcd"
    image += struct.pack("<HHII", 0xCAC3, 0, 3, 12)
    image += struct.pack("<HHII", 0xCAC4, 0, 0, 16) + b"CRC!"
    image += struct.pack("<HHII", 0xCAC1, 0, 1, 12 + 4096) + bytes(4096)
    size, pieces = read_sparse(io.BytesIO(image))
    assert (size, list(pieces)) == (6 * 4096, [(0, b"abcd" * 2048), (5 * 4096, bytes(4096))])


@given(st.binary(max_size=200))
def test_any_bytes_as_a_sparse_image(noise: bytes) -> None:
    head = struct.pack("<IHHHHIIII", 0xED26FF3A, 1, 0, 28, 12, 4096, 8, 4, 0)
    for data in (noise, head + noise, head[: len(noise) % 28] + noise):
        try:
            for _ in read_sparse(io.BytesIO(data))[1]:
                pass
        except FormatError:
            continue
