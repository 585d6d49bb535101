"""U-Boot's environment: its settings file, one or two copies, a list of variables, and what is written back."""

import struct
import zlib

from swagent.bootloader import envflags, fwenv, ubootenv
from swagent.errors import SwagentError
from swagent.handlers.bootenv import parse_list
from swagent.model import Artifact, Kind

_ART = Artifact(Kind.IMAGE, "uboot", filename="vars.txt")


def one_input(data: bytes) -> None:
    """First byte: what the rest is read as."""
    kind, rest = data[:1], data[1:]
    try:
        if kind == b"c":
            layout = fwenv.parse_config(rest, "fw_env.config")
            assert 1 <= len(layout.places) <= 2
            assert all(0 < place.size_bytes <= fwenv.MAX_ENVSIZE_BYTES for place in layout.places)
        elif kind == b"l":
            for name, value in parse_list(rest, _ART):
                ubootenv.check_variable(name, value)
        else:
            _copy(rest, redundant=kind == b"2")
    except SwagentError:
        return


def _copy(rest: bytes, *, redundant: bool) -> None:
    """A copy is tried as it is, and with its checksum made right."""
    ubootenv.split_copy(rest, redundant=redundant)
    body = rest[4 + redundant :]
    right = struct.pack("=I", zlib.crc32(body)) + rest[4 : 4 + redundant] + body
    copy = ubootenv.split_copy(right, redundant=redundant)
    if copy is None:
        assert len(right) <= 4 + redundant
        return
    variables = ubootenv.parse_variables(copy[1])
    envflags.check(variables.get(".flags", ""), {}, dict.fromkeys(variables, "1"))
    again = ubootenv.split_copy(
        ubootenv.build_copy(variables, len(right) + 2, flags=copy[0] if redundant else None),
        redundant=redundant,
    )
    assert again is not None
    assert ubootenv.parse_variables(again[1]) == variables


def seeds() -> list[bytes]:
    """One of each kind."""
    return [
        b"c# env\n/dev/mmcblk0 0x80000 0x2000 0x200 1 0\n/dev/mmcblk0 -0x2000 2000\n",
        b"cuboot:\n  size: 0x4000\n",
        b"cuboot:\n  size : 0x4000\n  lockfile : /run/l\n  writelist:\n    - a:sw\n    - b:dr\n  devices:\n"
        b"    - path : /dev/mtd0\n      offset : 0xA0000\n      sectorsize : 0x10000\n"
        b"    - path : /dev/ubi0:env\n      disablelock : yes\napp: { size: 16, devices: [ { path: /a } ] }\n",
        b"c{a: &a {size: 64, devices: [{path: /x, offset: -0x40}]}, b: *a}",
        b"la=1\n# c\nb==2\nc=x=y\r\ngone\n",
        b"1\0\0\0\0a=1\0b=2\0\0\0\0\0",
        b"2\0\0\0\0\x07.flags=a:dr,b:sc\0a=1\0b=\xff\0\0\0\0",
    ]
