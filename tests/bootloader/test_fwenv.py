from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swagent.bootloader.fwenv import Place, parse_config, read_config
from swagent.errors import SettingsError


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("/dev/mmcblk0 0x80000 0x2000", Place("/dev/mmcblk0", 0x80000, 0x2000)),
        ("/dev/mmcblk0 4096 2000 # hexadecimal", Place("/dev/mmcblk0", 4096, 0x2000)),
        ("  /dev/mmcblk0\t010\t0X20 ", Place("/dev/mmcblk0", 8, 0x20)),
        ("/boot/uboot.env 0 4000 0x4000 1 1", Place("/boot/uboot.env", 0, 0x4000, 0x4000, 1)),
        ("/dev/mtd1 0 4000 20000 a", Place("/dev/mtd1", 0, 0x4000, 0x20000, 10)),
        ("/dev/mmcblk0 -0x4000 4000", Place("/dev/mmcblk0", -0x4000, 0x4000)),
        ("/dev/mmcblk0 0 1000000", Place("/dev/mmcblk0", 0, 16 << 20)),
        ("/dev/mmcblk0 0 20\r", Place("/dev/mmcblk0", 0, 32)),
    ],
)
def test_line(line: str, place: Place) -> None:
    assert parse_config(f"# head\n\n{line}\n".encode(), "c").places == (place,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no device"),
        ("# nothing\n", "no device"),
        ("/dev/a 0\n", "line 1: 2 words"),
        ("/dev/a 0 20 0 0 0 0\n", "7 words"),
        ("env 0 20\n", "no absolute path"),
        ("\n/dev/a zero 20\n", "line 2: offset"),
        ("/dev/a 08 20\n", "offset"),
        ("/dev/a 0x 20\n", "offset"),
        ("/dev/a - 20\n", "offset"),
        ("/dev/a 0xffffffffffffffff 20\n", "beyond"),
        ("/dev/a 0 0xg\n", "envsize"),
        ("/dev/a 0 -20\n", "envsize"),
        ("/dev/a 0 0\n", "envsize is 0"),
        ("/dev/a 0 1000001\n", "envsize is 16777217"),
        ("/dev/a 0 ffffffffffffffffffffffff\n", "envsize"),
        ("/dev/a 0 20 q\n", "sectorsize"),
        ("/dev/a 0 20 20 q\n", "envsectors"),
        ("/dev/a 0 20 20 1 yes\n", "disable_lock"),
        ("/dev/a 0 20\n/dev/b 0 40\n", "differ in size"),
        ("/dev/a 0 20\n/dev/b 0 20\n/dev/c 0 20\n", "3 copies"),
    ],
)
def test_refused(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parse_config(text.encode(), "c")


def test_missing_and_huge_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        read_config(str(tmp_path / "missing"))
    (tmp_path / "huge").write_bytes(b"#" * 1_000_000)
    with pytest.raises(SettingsError, match="longer"):
        read_config(str(tmp_path / "huge"))


def test_lines_have_no_namespaces() -> None:
    with pytest.raises(SettingsError, match="no namespace 'app'"):
        parse_config(b"/dev/a 0 20\n", "c", "app")
    assert parse_config(b"/dev/a 0 20\n", "c", suggested="app").places


@given(st.binary(max_size=200) | st.text(alphabet="/dev x0123-#\n:\t", max_size=80).map(str.encode))
def test_any_bytes(text: bytes) -> None:
    try:
        layout = parse_config(text, "c")
    except SettingsError:
        return
    assert 1 <= len(layout.places) <= 2
