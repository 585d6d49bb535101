"""USB devices made of Python: one in DFU mode, a Rockchip board, one in fastboot. Tests hold protocols against them
directly, and hang them on a real kernel's bus (tests/hardware/usbip.py)."""

import errno
import os
import struct
from binascii import crc_hqx
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from swagent.errors import DeviceError
from swagent.lab.steps import BulkIn, BulkOut, ControlIn, ControlOut, Operation, Reset, Select

BULK_OUT, BULK_IN = 0x01, 0x82


class Stall(Exception):
    """The device refuses a transfer."""


class Face(NamedTuple):
    """One setting of interface 0."""

    kind: tuple[int, int, int]
    name: str = ""
    has_bulk: bool = False


class Model:
    """A device: its descriptors, and what it does; subclasses answer.

    Args:
        vendor, product: its numbers.
        faces: the settings of its one interface.
        extra: a descriptor behind the last setting.
    """

    def __init__(self, vendor: int, product: int, faces: list[Face], extra: bytes = b"") -> None:
        self._vendor, self._product, self._faces, self._extra = vendor, product, faces, extra
        self._strings = ["Model", *(face.name for face in faces)]
        self.selected = 0
        self.resets = 0
        self.answers: deque[bytes] = deque()
        self.leave: Callable[[], None] = lambda: None
        """Called when the device leaves the bus by itself."""

    # -- for buses

    def control(self, kind: int, request: int, value: int, index: int, data: bytes, n_bytes: int) -> bytes:
        """A control transfer; the standard ones are answered here."""
        if kind == 0x80 and request == 6:
            return self._descriptor(value >> 8, value & 0xFF)[:n_bytes]
        if (kind, request) in ((0x00, 9), (0x00, 5), (0x02, 1)):  # configuration, address, clear a halt
            return b""
        if (kind, request) == (0x01, 11):
            self.selected = value
            return b""
        if kind in (0x80, 0x81, 0x82) and request == 0:
            return b"\0\0"
        return self.own(kind, request, value, data, n_bytes)

    def own(self, kind: int, request: int, value: int, data: bytes, n_bytes: int) -> bytes:
        """A control transfer of its own. Raises Stall."""
        raise Stall

    def bulk_out(self, data: bytes) -> None:
        """A bulk transfer to it. Raises Stall."""
        raise Stall

    def bulk_in(self, n_bytes: int) -> bytes | None:
        """A bulk transfer from it; None when it has nothing to say yet."""
        if not self.answers:
            return None
        found = self.answers.popleft()
        if len(found) > n_bytes:
            self.answers.appendleft(found[n_bytes:])
        return found[:n_bytes]

    def reset(self) -> None:
        """The bus resets it."""
        self.resets += 1
        self.selected = 0

    def _descriptor(self, kind: int, index: int) -> bytes:
        if kind == 1:
            return struct.pack(
                "<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0, 0, 0, 64, self._vendor, self._product, 0x0100, 0, 1, 0, 1
            )
        if kind == 2:
            body = b""
            for number, face in enumerate(self._faces):
                ends = 2 if face.has_bulk else 0
                body += bytes((9, 4, 0, number, ends, *face.kind, number + 2 if face.name else 0))
                if face.has_bulk:
                    body += b"".join(
                        struct.pack("<BBBBHB", 7, 5, end, 2, 512, 0) for end in (BULK_OUT, BULK_IN)
                    )
            body += self._extra
            return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 1, 1, 0, 0x80, 50) + body
        if kind == 3:
            if index == 0:
                return b"\x04\x03\x09\x04"
            if index <= len(self._strings):
                text = self._strings[index - 1].encode("utf-16-le")
                return bytes((len(text) + 2, 3)) + text
        raise Stall


class FakeBus:
    """Carries operations out on a model. Args: model; fail: told each operation, may raise."""

    def __init__(self, model: Model, fail: Callable[[Operation], None] = lambda operation: None) -> None:
        self.model = model
        self._fail = fail

    def carry(self, operation: Operation) -> bytes:
        self._fail(operation)
        model = self.model
        try:
            match operation:
                case ControlOut(kind, request, value, index, data):
                    model.control(kind, request, value, index, data, 0)
                case ControlIn(kind, request, value, index, n_bytes):
                    return model.control(kind, request, value, index, b"", n_bytes)
                case BulkOut(data):
                    model.bulk_out(data)
                case BulkIn(n_bytes):
                    found = model.bulk_in(n_bytes)
                    if found is None:
                        raise DeviceError("it says nothing", path="bus", errno=errno.ETIMEDOUT)
                    return found
                case Select(_, alternate):
                    model.selected = alternate
                case Reset():
                    model.reset()
        except Stall as exc:
            raise DeviceError(os.strerror(errno.EPIPE), path="bus", errno=errno.EPIPE) from exc
        return b""


class DfuModel(Model):
    """A device in DFU mode, with two memories.

    Args:
        tolerant: it goes on after it has manifested.
        transfer_bytes: the most it takes at once.
        refuses: the block that it fails at, None for none.

    Attributes:
        manifested: memory to the firmware that it would run.
    """

    def __init__(
        self, *, tolerant: bool = False, transfer_bytes: int = 1024, refuses: int | None = None
    ) -> None:
        extra = struct.pack("<BBBHHH", 9, 0x21, 0x05 if tolerant else 0x01, 1000, transfer_bytes, 0x0110)
        faces = [Face((0xFE, 1, 2), "boot"), Face((0xFE, 1, 2), "system")]
        super().__init__(0x1209, 0xDF00, faces, extra)
        self._tolerant, self._limit, self._refuses = tolerant, transfer_bytes, refuses
        self._state, self._status, self._blocks = 2, 0, 0
        self._got = bytearray()
        self.manifested: dict[str, bytes] = {}
        self.aborts = 0

    def own(self, kind: int, request: int, value: int, data: bytes, n_bytes: int) -> bytes:
        if (kind, request) == (0xA1, 3):
            self._advance()
            return bytes((self._status, 1, 0, 0, self._state, 0))
        if kind != 0x21:
            raise Stall
        if request == 1:
            self._download(value, data)
        elif request == 4 and self._state == 10:
            self._state, self._status, self._got, self._blocks = 2, 0, bytearray(), 0
        elif request == 6 and self._state != 10:
            self._state, self._got, self._blocks = 2, bytearray(), 0
            self.aborts += 1
        else:
            self._state, self._status = 10, 0x0F
            raise Stall
        return b""

    def _advance(self) -> None:
        following = {3: 4, 4: 5, 6: 7}
        if self._state == 7 and self._tolerant:
            self._state = 2
        self._state = following.get(self._state, self._state)
        if self._state == 7:
            self.manifested[self._faces[self.selected].name] = bytes(self._got)
            self._got, self._blocks = bytearray(), 0

    def _download(self, number: int, data: bytes) -> None:
        if self._state not in (2, 5) or len(data) > self._limit or (data and number != self._blocks & 0xFFFF):
            self._state, self._status = 10, 0x0F
            raise Stall
        if self._blocks == self._refuses:
            self._state, self._status = 10, 3
            return
        if not data:
            self._state = 6
            return
        self._got += data
        self._blocks += 1
        self._state = 3

    def reset(self) -> None:
        super().reset()
        self._state, self._status, self._got, self._blocks = 2, 0, bytearray(), 0
        if self.manifested and not self._tolerant:
            self.leave()


class RockModel(Model):
    """A board of Rockchip: its mask ROM takes programs; with the second one it is a loader, which has a storage.

    Attributes:
        programs: what it was sent, by code.
        storage: the loader's; None in the mask ROM.
    """

    def __init__(self, storage: bytearray | None = None) -> None:
        super().__init__(0x2207, 0x350A, [Face((0xFF, 6, 5), has_bulk=True)])
        self.storage = storage
        self.programs: dict[int, bytes] = {}
        self._coming: dict[int, bytes] = {}
        self._waiting: tuple[bytes, int, int] | None = None
        self.boots = 0

    def own(self, kind: int, request: int, value: int, data: bytes, n_bytes: int) -> bytes:
        raise Stall

    def control(self, kind: int, request: int, value: int, index: int, data: bytes, n_bytes: int) -> bytes:
        if (kind, request) != (0x40, 0x0C):
            return super().control(kind, request, value, index, data, n_bytes)
        if self.storage is not None or len(data) > 4096:
            raise Stall
        self._coming[index] = self._coming.get(index, b"") + data
        if len(data) < 4096:
            whole = self._coming.pop(index)
            if len(data) == 1 and len(whole) % 4096 == 1:
                whole = whole[:-1]
            if crc_hqx(whole[:-2], 0xFFFF).to_bytes(2, "big") != whole[-2:]:
                raise Stall
            self.programs[index] = whole[:-2]
            if index == 0x472:
                self.leave()
        return b""

    def bulk_out(self, data: bytes) -> None:
        if self.storage is None:
            raise Stall
        if self._waiting is not None:
            tag, at, n_bytes = self._waiting
            self._waiting = None
            self.storage[at : at + n_bytes] = data
            self._answer(tag)
            return
        signature, tag, n_bytes, _, _, _, opcode = struct.unpack_from("<4s4sIBBBB", data)
        assert signature == b"USBC" and len(data) == 31
        address, sectors = int.from_bytes(data[17:21], "big"), int.from_bytes(data[22:24], "big")
        match opcode:
            case 0x1A:
                self.answers.append(struct.pack("<IHBBBBB", len(self.storage) // 512, 1024, 0, 0, 0, 0, 0))
            case 0x01:
                self.answers.append(b"EMMC ")
            case 0x14 if sectors <= 128 and (address + sectors) * 512 <= len(self.storage):
                self.answers.append(bytes(self.storage[address * 512 : (address + sectors) * 512]))
            case 0x15 if sectors <= 128 and n_bytes == sectors * 512:
                self._waiting = tag, address * 512, n_bytes
                return
            case 0x25:
                self.storage[address * 512 : (address + sectors) * 512] = b"\xff" * (sectors * 512)
            case 0xFF:
                self.boots += 1
            case _:
                self._answer(tag, 1)
                return
        self._answer(tag)

    def _answer(self, tag: bytes, status: int = 0) -> None:
        self.answers.append(struct.pack("<4s4sIB", b"USBS", tag, 0, status))


class FastbootModel(Model):
    """A board in fastboot.

    Attributes:
        flashed: partition to what was flashed, as it was sent.
        said: all commands.
    """

    def __init__(self, download_bytes: int = 1 << 16, refuses: str = "") -> None:
        super().__init__(0x18D1, 0xD00D, [Face((0xFF, 0x42, 3), has_bulk=True)])
        self._limit, self._refuses = download_bytes, refuses
        self._left, self._got = 0, b""
        self.flashed: dict[str, list[bytes]] = {}
        self.said: list[str] = []

    def bulk_out(self, data: bytes) -> None:
        if self._left:
            self._got += data
            self._left -= len(data)
            if not self._left:
                self.answers.append(b"OKAY")
            return
        command = data.decode()
        self.said.append(command)
        name, _, argument = command.partition(":")
        if self._refuses and command.startswith(self._refuses):
            self.answers.append(b"FAILlocked")
        elif command == "getvar:all":
            self.answers += [b"INFOpartition-size:boot: 0x4000000", b"INFOother: 1", b"OKAY"]
        elif command == "getvar:max-download-size":
            self.answers.append(f"OKAY{self._limit:#x}".encode())
        elif command == "getvar:version":
            self.answers.append(b"OKAY0.4")
        elif name == "getvar":
            self.answers.append(b"FAILunknown variable")
        elif name == "download":
            self._left, self._got = int(argument, 16), b""
            assert self._left <= self._limit
            self.answers.append(f"DATA{argument}".encode())
        elif name == "flash":
            self.flashed.setdefault(argument, []).append(self._got)
            self.answers += [b"INFOwriting", b"OKAY"]
        else:
            self.answers.append(b"OKAY")
