from pathlib import Path

import pytest

from swagent.errors import HandlerError, HashError, PreflightRefused
from swagent.model import Artifact, Kind, Reader
from swagent.testing import FakeContext, FakeData, FakeHardware, install

FIRMWARE = b"firmware" * 1000


def image(**properties: str) -> Artifact:
    values = {name: (value,) for name, value in {"bank": "1", "tool": "/bin/true", **properties}.items()}
    return Artifact(Kind.IMAGE, "acme-modem", "modem.bin", properties=values)


class Modem:
    """Stands in for the vendor's tool."""

    def __init__(self, status: int = 0) -> None:
        self.status = status
        self.got = b""

    def __call__(self, argv: list[str], stdin: Reader | None) -> int:
        assert argv == ["/bin/true", "--bank", "1"]
        buffer = memoryview(bytearray(4096))
        while stdin is not None and (n := stdin.readinto(buffer)):
            self.got += buffer[:n]
        return self.status


def test_the_tool_gets_the_firmware(tmp_path: Path) -> None:
    modem = Modem()
    install(image(), FakeData(FIRMWARE), FakeContext(str(tmp_path), hw=FakeHardware(program=modem)))
    assert modem.got == FIRMWARE


def test_the_tool_fails(tmp_path: Path) -> None:
    ctx = FakeContext(str(tmp_path), hw=FakeHardware(program=Modem(status=3)))
    with pytest.raises(HandlerError, match="status 3"):
        install(image(), FakeData(FIRMWARE), ctx)


def test_firmware_that_was_tampered_with_fails(tmp_path: Path) -> None:
    ctx = FakeContext(str(tmp_path), hw=FakeHardware(program=Modem()))
    with pytest.raises(HashError):
        install(image(), FakeData(FIRMWARE, verdict=HashError("not what was signed")), ctx)


@pytest.mark.parametrize("wrong", [{"bank": "2"}, {"tool": "/no/such/tool"}])
def test_what_is_refused_before_anything_is_written(wrong: dict[str, str], tmp_path: Path) -> None:
    hw = FakeHardware(program=Modem())
    with pytest.raises(PreflightRefused):
        install(image(**wrong), FakeData(FIRMWARE), FakeContext(str(tmp_path), hw=hw))
    assert hw.ran == []
