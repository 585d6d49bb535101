"""U-Boot's own tools, and files they work on."""

import shutil
import struct
import subprocess
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from swagent.bootloader.uboot import UBoot

SIZE_BYTES = 0x1000


def need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}: apt-get install {package}")


class Board:
    """A unit whose environment lies in one or two files.

    Args:
        folder: where they and fw_env.config are made.
        copies: 1 or 2.
    """

    def __init__(
        self, folder: Path, copies: int = 2, size_bytes: int = SIZE_BYTES, offset: int = 0x200
    ) -> None:
        self.config = folder / "fw_env.config"
        self.files = [folder / f"env{index}" for index in range(copies)]
        self.size_bytes = size_bytes
        self.offset = offset
        self.config.write_text(
            "# the environment\n" + "".join(f"{file} {offset:#x} {size_bytes:x}\n" for file in self.files)
        )
        self.loader = UBoot(
            {"fwenv-config-location": str(self.config), "fwenv-lockfile": str(folder / "lock")}
        )

    @property
    def redundant(self) -> bool:
        return len(self.files) == 2

    def raw(self, variables: Mapping[str, str] | list[bytes], flags: int = 1) -> bytes:
        """A copy, made here and not by the code under test."""
        if isinstance(variables, Mapping):
            variables = [f"{k}={v}".encode("utf-8", "surrogateescape") for k, v in variables.items()]
        data = b"".join(line + b"\0" for line in variables) + b"\0"
        header_bytes = 5 if self.redundant else 4
        data = data.ljust(self.size_bytes - header_bytes, b"\0")
        return struct.pack("=I", zlib.crc32(data)) + (bytes([flags]) if self.redundant else b"") + data

    def put(self, index: int, raw: bytes) -> None:
        self.files[index].write_bytes(b"\xee" * self.offset + raw)

    def take(self, index: int) -> bytes:
        return self.files[index].read_bytes()[self.offset :][: self.size_bytes]

    def flags(self) -> tuple[int, ...]:
        return tuple(self.take(index)[4] for index in range(len(self.files)))

    def fill(self, variables: Mapping[str, str] | list[bytes]) -> None:
        """Both copies valid, the first one in force."""
        for index in range(len(self.files)):
            self.put(index, self.raw(variables, flags=1 - index))

    def fw_printenv(self) -> dict[str, str] | None:
        """What U-Boot's tool reads; None when it sees no environment. It never shows ``.flags``."""
        done = subprocess.run(["fw_printenv", "-c", str(self.config)], capture_output=True)
        if done.returncode != 0:
            return None
        text = done.stdout.decode("utf-8", "surrogateescape")
        pairs = (line.partition("=") for line in text.split("\n")[:-1])
        return {name: value for name, _, value in pairs}

    def fw_setenv(self, script: str) -> None:
        file = self.config.with_name("script")
        file.write_text(script)
        subprocess.run(
            ["fw_setenv", "-c", str(self.config), "-s", str(file)], check=True, capture_output=True
        )
