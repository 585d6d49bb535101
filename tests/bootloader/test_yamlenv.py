"""fw_env.config in YAML: what it says, what is refused, and the environments that it describes."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from swagent.bootloader import uboot
from swagent.bootloader.fwenv import Layout, Place, parse_config
from swagent.bootloader.uboot import UBoot
from swagent.errors import BootEnvError, SettingsError

from .test_uboot import ENVS
from .tools import Board, need

DOCUMENTED = """
# the example of libubootenv's documentation, without the key that it refuses itself
uboot:
  size : 0x4000
  lockfile : /var/lock/fw_printenv.lock
  writelist:
    - var1:sw
    - var2:sw
    - var3:dw
  devices:
    - path : /dev/mtd0
      offset : 0xA0000
      sectorsize : 0x10000
    - path : /dev/mtd0
      offset : 0xB0000
      sectorsize : 0x10000
      disablelock : yes

appvar:
  size : 0x4000
  lockfile : /var/lock/appvar.lock

  devices:
    - path : /dev/mtd1
      offset : 0
      sectorsize : 0x10000
"""
ONE = "a: {size: 64, devices: [{path: /x}]}"


def test_the_documented_example() -> None:
    assert parse_config(DOCUMENTED.encode(), "c") == Layout(
        (
            Place("/dev/mtd0", 0xA0000, 0x4000, 0x10000),
            Place("/dev/mtd0", 0xB0000, 0x4000, 0x10000),
        ),
        "/var/lock/fw_printenv.lock",
        {"var1": "sw", "var2": "sw", "var3": "dw"},
    )
    assert parse_config(DOCUMENTED.encode(), "c", "appvar") == Layout(
        (Place("/dev/mtd1", 0, 0x4000, 0x10000),), "/var/lock/appvar.lock"
    )
    assert parse_config(DOCUMENTED.encode(), "c", suggested="appvar").lock_path == "/var/lock/appvar.lock"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (ONE, Place("/x", 0, 64)),
        ("{" + ONE + "}", Place("/x", 0, 64)),
        ("---\n" + ONE, Place("/x", 0, 64)),
        ("a : {size: '0x40', devices: [{path: /x, offset: -0x80}]}", Place("/x", -0x80, 64)),
        ("a: {size: 0100, devices: [{path: /x, offset: 010}]}", Place("/x", 8, 64)),
        ("a: {size: 64, devices: [{offset: 1, path: '/dev/ubi0:env'}]}", Place("/dev/ubi0:env", 1, 64)),
    ],
)
def test_numbers_and_notations(text: str, place: Place) -> None:
    assert parse_config(text.encode(), "c") == Layout((place,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:", "a namespace is no mapping"),
        ("---\n", "the file is no mapping"),
        ("a: {", "no YAML"),
        ("a: \x01", "no YAML"),
        ("{" * 20000, "no YAML"),
        (f"{ONE}\n{ONE}", "line 2: 'a' comes twice"),
        ("a: {size: 64}", "needs size and devices"),
        ("a: {devices: [{path: /x}]}", "needs size and devices"),
        ("a: {size: 4, devices: [{path: /x}]}", "size is 4 bytes"),
        ("a: {size: 0x2000000, devices: [{path: /x}]}", "size is 33554432 bytes"),
        ("a: {size: big, devices: [{path: /x}]}", "size is 'big'"),
        ("a: {size: [64], devices: [{path: /x}]}", "size is no single word"),
        ("a: {size: 64, devices: []}", "0 devices"),
        ("a: {size: 64, devices: [{path: /x}, {path: /y}, {path: /z}]}", "3 devices"),
        ("a: {size: 64, devices: {path: /x}}", "devices is no list"),
        ("a: {size: 64, devices: [/x]}", "a device is no mapping"),
        ("a: {size: 64, devices: [{offset: 4}]}", "a device needs path"),
        ("a: {size: 64, devices: [{path: env}]}", "a device needs path"),
        ("a: {size: 64, devices: [{path: /x, offset: 1k}]}", "offset is '1k'"),
        ("a: {size: 64, devices: [{path: /x, sectorsize: -1}]}", "sectorsize is negative"),
        ("a: {size: 64, devices: [{path: /x, disablelock: maybe}]}", "disablelock"),
        ("a: {size: 64, devices: [{path: /x, unlock: yes}]}", "unknown key 'unlock'"),
        ("a: {size: 64, sise: 3, devices: [{path: /x}]}", "unknown key 'sise'"),
        ("a: {size: 64, lockfile: here, devices: [{path: /x}]}", "lockfile"),
        ("a: {size: 64, devices: [{path: /x}], writelist: [b]}", "writelist is not name:flags"),
        ("a: {size: 64, devices: [{path: /x}], writelist: [b: sw]}", "writelist is no single word"),
        ("a: {size: 64, devices: [{path: /x}], writelist: ['b:zz']}", "writelist is not name:flags"),
        ("a: {size: 64, devices: [{path: /x}], writelist: ['b:sw', 'b:sr']}", "'b' comes twice"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parse_config(text.encode(), "c")


def test_a_namespace_that_is_not_there() -> None:
    with pytest.raises(SettingsError, match="no namespace 'app'") as caught:
        parse_config(ONE.encode(), "c", "app")
    assert caught.value.hint == "it has a"


def test_the_library_is_only_loaded_for_yaml(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("/dev/a 0 1000\n")
    (tmp_path / "yaml").write_text(ONE)
    script = "\n".join(
        (
            "import sys",
            "from swagent.bootloader.fwenv import read_config",
            "read_config('lines')",
            "assert 'yaml' not in sys.modules",
            "read_config('yaml')",
            "assert 'yaml' in sys.modules",
        )
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    from swagent.errors import RegistrationError

    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(RegistrationError, match="not installed") as caught:
        parse_config(ONE.encode(), "c")
    assert "swagent[yaml]" in caught.value.hint


# ---- environments


class Unit:
    """U-Boot's environment and one of an application, two copies each, in files; described in YAML.

    The lines that Debian's fw_printenv needs lie beside it.
    """

    def __init__(self, folder: Path, writelist: str = "[]") -> None:
        self.config = folder / "fw_env.yaml"
        self.boards = {}
        text = ""
        for name in ("uboot", "app"):
            (folder / name).mkdir(exist_ok=True)
            board = self.boards[name] = Board(folder / name, 2)
            board.fill({"who": name})
            text += f"{name}:\n  size: {board.size_bytes:#x}\n  lockfile: {folder / name / 'lock'}\n"
            text += f"  writelist: {writelist}\n" if name == "app" else ""
            text += "  devices:\n"
            for file in board.files:
                text += f"    - path: {file}\n      offset: {board.offset:#x}\n"
        self.config.write_text(text)

    def loader(self, namespace: str = "") -> UBoot:
        return UBoot({"fwenv-config-location": str(self.config), "fwenv-namespace": namespace})


def test_namespaces_do_not_touch_each_other(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.loader("app").set_many({"colour": "blue"})
    unit.loader().set_many({"slot": "b"})
    assert unit.loader("app").all() == {"who": "app", "colour": "blue"}
    assert unit.loader("uboot").all() == unit.loader().all() == {"who": "uboot", "slot": "b"}
    assert unit.boards["app"].flags() == unit.boards["uboot"].flags() == (1, 2)
    assert (tmp_path / "app" / "lock").exists()


def test_the_device_tree_names_the_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = Unit(tmp_path)
    (tmp_path / "property").write_bytes(b"app\0")
    monkeypatch.setattr(uboot, "NAMESPACE_PATH", str(tmp_path / "property"))
    assert unit.loader().get("who") == "app"
    assert unit.loader("uboot").get("who") == "uboot"
    (tmp_path / "property").write_bytes(b"nobody\0")
    with pytest.raises(SettingsError, match="'nobody'"):
        unit.loader().all()
    assert unit.boards["uboot"].loader.get("who") == "uboot"  # lines have no namespaces


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"colour": "blue", "size": "3"}, "'size' is not in the writelist"),
        ({"who": None}, "'who' is not in the writelist"),
        ({"count": "many"}, "'count' must be a decimal number by its entry in the writelist"),
        ({"fixed": "1"}, "'fixed' is read-only by its entry in the writelist"),
        ({"once": "2"}, "'once' is set once and for all"),
    ],
)
def test_the_writelist_is_obeyed(tmp_path: Path, changes: dict[str, str | None], said: str) -> None:
    unit = Unit(tmp_path, "['colour:sw', 'count:da', 'fixed:sr', 'once:so']")
    loader = unit.loader("app")
    loader.set_many({"colour": "red", "count": "1", "once": "1"})
    before = [file.read_bytes() for file in unit.boards["app"].files]
    for act in (loader.check, loader.set_many):
        with pytest.raises(BootEnvError, match=said):
            act(changes)
    assert [file.read_bytes() for file in unit.boards["app"].files] == before
    loader.set_many({"colour": None, "count": "2", "who": "app"})
    assert loader.all() == {"who": "app", "count": "2", "once": "1"}


# ---- against U-Boot's own tools


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stored=ENVS, changes=ENVS)
def test_fw_printenv_reads_what_was_written_by_way_of_yaml(
    tmp_path: Path, stored: dict[str, str], changes: dict[str, str]
) -> None:
    need("fw_printenv", "libubootenv-tool")
    unit = Unit(tmp_path)
    board = unit.boards["app"]
    board.fill(stored)
    unit.loader("app").set_many(changes)
    wanted = {name: value for name, value in (stored | changes).items() if value}
    assert board.fw_printenv() == wanted
    board.fw_setenv("back=1\n")
    assert unit.loader("app").all() == {**wanted, "back": "1"}


def test_libubootenv_s_own_reading_of_the_yaml(tmp_path: Path) -> None:
    """Needs 0.3.5 or newer, whose tools know namespaces."""
    need("fw_printenv", "libubootenv-tool")
    helped = subprocess.run(["fw_printenv", "--help"], capture_output=True, text=True)
    if "namespace" not in helped.stdout:
        pytest.skip("this fw_printenv knows no namespaces")
    unit = Unit(tmp_path, "['colour:sw', 'count:da']")
    config = str(unit.config)
    unit.loader("app").set_many({"colour": "blue"})
    argv = ["fw_printenv", "-c", config, "-m", "app"]
    assert "colour=blue" in subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    first = subprocess.run(argv[:3], capture_output=True, text=True, check=True).stdout
    assert "who=uboot" in first
    subprocess.run(["fw_setenv", "-c", config, "-m", "app", "count", "7"], check=True, capture_output=True)
    assert unit.loader("app").get("count") == "7"
    for name, value in (("size", "3"), ("count", "many")):
        done = subprocess.run(["fw_setenv", "-c", config, "-m", "app", name, value], capture_output=True)
        assert done.returncode != 0
        with pytest.raises(BootEnvError):
            unit.loader("app").set_many({name: value})
