"""Where a unit's data come from."""

from pathlib import Path
from typing import cast

import pytest

from swagent.authdb.sources import UnitFacts
from swagent.bootloader import Bootloader
from swagent.clock import SystemClock
from swagent.errors import DeviceError, ScriptError, SettingsError
from swagent.hw import process
from swagent.hw.firmware import device_tree_property, dmi_field
from swagent.model import Artifact, Description, Kind

DESCRIPTION = Description(
    "3.0",
    images=(Artifact(Kind.IMAGE, "raw", name="app", version="7"), Artifact(Kind.IMAGE, "raw", name="two")),
    files=(Artifact(Kind.FILE, "raw", name="two", version="1"),),
)


class Loader:
    def get(self, name: str) -> str | None:
        return {"serial#": "SN-ENV"}.get(name)


def value(source: str, name: str = "msn", *, bootloader: bool = True) -> str:
    facts = UnitFacts(
        {name: source},
        DESCRIPTION,
        bootloader=cast(Bootloader, Loader()) if bootloader else None,
        run=process.run,
        clock=SystemClock(),
    )
    return facts.value(name)


def test_sources(tmp_path: Path) -> None:
    (tmp_path / "sn").write_bytes(b" SN-FILE \r\n")
    assert value(f"file:{tmp_path}/sn") == value(f"{tmp_path}/sn") == "SN-FILE"
    assert value("bootenv:serial#") == "SN-ENV"
    assert value("cmd:/bin/echo 'SN  CMD'") == "SN  CMD"
    assert value("text:SN-TEXT") == "SN-TEXT"
    assert value("", "image_version") == value("sw-description:") == "3.0"
    assert value("sw-description:app") == "7"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("", SettingsError),
        ("serial", SettingsError),
        ("smoke:x", SettingsError),
        ("file:/nonexistent", SettingsError),
        ("file:/dev/zero", SettingsError),
        ("dt:acme,none", DeviceError),
        ("dmi:none", DeviceError),
        ("bootenv:none", SettingsError),
        ("cmd:/bin/false", ScriptError),
        ("cmd:/nonexistent", ScriptError),
        ("cmd:", SettingsError),
        ("cmd:'", SettingsError),
        ("cmd:/usr/bin/printf 'one\\ntwo\\n'", SettingsError),
        ("sw-description:two", SettingsError),
        ("sw-description:none", SettingsError),
        ("text: ", SettingsError),
        ("text:" + "x" * 257, SettingsError),
    ],
)
def test_sources_that_tell_nothing(source: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        value(source)


def test_without_a_boot_loader() -> None:
    with pytest.raises(SettingsError, match="no boot loader"):
        value("bootenv:serial#", bootloader=False)


def test_firmware(tmp_path: Path) -> None:
    (tmp_path / "serial-number").write_bytes(b"SN-DT\0")
    assert device_tree_property("/serial-number", str(tmp_path)) == "SN-DT\0"
    assert dmi_field("serial-number", str(tmp_path)) == "SN-DT\0"
    with pytest.raises(DeviceError):
        dmi_field("none", str(tmp_path))
