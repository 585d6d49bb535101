"""The verbs that only look: handlers, config, info, check; each as it is typed."""

import json
from pathlib import Path

import pytest

from tests.programs import PROJECT, Done, run_swagent

DESCRIPTION = """software = { version = "2.0"; description = "spring"; hardware-compatibility: [ "1.3" ];
  stable: {
    copy1: { images: ( { filename = "rootfs"; type = "raw"; device = "/nowhere/a"; } ); };
    copy2: { images: ( { filename = "rootfs"; type = "raw"; device = "/nowhere/b"; },
                       { filename = "app"; type = "raw"; device = "/nowhere/c"; name = "app"; version = "1";
                         install-if-different = true; } ); };
  }; };
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rootfs").write_bytes(bytes(5000))
    (tmp_path / "app").write_bytes(b"app")
    (tmp_path / "sw-description").write_text(DESCRIPTION)
    (tmp_path / "settings.cfg").write_text('globals: { }; versions: ( { name = "app"; version = "1"; } );')
    made = run_swagent(["make", "-s", "sw-description", "-o", "update.swu", "--unsigned"], tmp_path)
    assert made.ok, made.text
    return tmp_path


def look(folder: Path, *words: str) -> Done:
    return run_swagent([*words, "-f", "settings.cfg"], folder)


def plug_in(folder: Path, name: str, code: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(code)
    info = folder / f"{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[swagent.handlers]\n{name} = {name}:Handler\n")


def test_check_says_what_and_why(folder: Path) -> None:
    done = look(
        folder, "check", "update.swu", "--allow-unsigned", "--as", "gateway:1.3", "-e", "stable,copy2"
    )
    assert done.ok, done.text
    rows = [line.split() for line in done.text.splitlines()]
    assert ["rootfs", "raw", "install", "4.9", "KiB", "/nowhere/b"] in rows
    assert next(row for row in rows if row[:3] == ["app", "raw", "skip"])
    assert ["hardware", "yes"] in rows
    assert "/nowhere/a" not in done.text


def test_check_refuses_with_the_gate_s_exit_code(folder: Path) -> None:
    words = ("check", "update.swu", "--allow-unsigned", "--as", "gateway:2.0", "-e", "stable,copy1")
    done = look(folder, *words)
    assert done.code == 30
    assert "hardware  no: " in done.text
    facts = json.loads(look(folder, *words, "--json").text)
    assert facts["exit_code"] == 30
    assert facts["artifacts"][0]["target"] == "/nowhere/a"


def test_check_names_the_selections_there_are(folder: Path) -> None:
    done = look(
        folder, "check", "update.swu", "--allow-unsigned", "--as", "gateway:1.3", "-e", "stable,copy3"
    )
    assert done.code == 33
    assert "stable,copy1" in done.text


def test_info_needs_no_key(folder: Path) -> None:
    facts = json.loads(look(folder, "info", "update.swu", "--json").text)
    assert (facts["version"], facts["signed"], facts["signer"]) == ("2.0", False, None)
    assert facts["selections"] == ["stable,copy1", "stable,copy2"]
    assert {"name": "rootfs", "bytes": 5000} in facts["members"]
    text = look(folder, "info", "update.swu").text
    assert "not signed" in text
    assert "spring" in text


def test_config_tells_who_set_what(folder: Path) -> None:
    (folder / "settings.cfg").write_text(
        'globals: { select = "stable,copy1"; }; logcolors: { error = "red"; };'
    )
    done = run_swagent(
        ["config", "--origins", "-f", "settings.cfg", "-N", "1.0"], folder, SWAGENT_BOOTLOADER="none"
    )
    assert done.ok, done.text
    rows = [line.split() for line in done.text.splitlines()]
    assert ["select", "stable,copy1", "settings.cfg:globals.select"] in rows
    assert ["bootloader", "none", "SWAGENT_BOOTLOADER"] in rows
    assert next(row for row in rows if row[0] == "no-downgrading")[1:] == [
        "1.0",
        "command",
        "line",
        "--no-downgrading",
    ]
    assert "ignored: settings.cfg: logcolors is not used" in done.text


def test_handlers_of_other_packages_and_why_one_is_not(folder: Path) -> None:
    plug_in(folder / "plugins", "acme", ACME)
    plug_in(folder / "plugins", "broken", "import a_library_that_nobody_has\n")
    done = run_swagent(["handlers", "--json"], folder, PYTHONPATH=f"{PROJECT}:{folder}/plugins")
    rows = {row["handler"]: row for row in map(json.loads, done.text.splitlines())}
    assert rows["acme"]["origin"] == "package acme 1.2"
    assert rows["acme"]["unavailable"] == ""
    assert "a_library_that_nobody_has" in rows["broken"]["unavailable"]
    assert rows["raw"]["origin"] == "built-in swagent.handlers.raw"


def test_a_handler_of_another_package_installs(folder: Path) -> None:
    plug_in(folder / "plugins", "acme", ACME)
    (folder / "sw-description").write_text(
        f'software = {{ version = "1"; images: ( {{ filename = "app"; type = "acme"; path = "{folder}/out"; }} ); }};'
    )
    assert run_swagent(["make", "-s", "sw-description", "-o", "acme.swu", "--unsigned"], folder).ok
    done = run_swagent(
        ["-i", "acme.swu", "--allow-unsigned", "-f", "settings.cfg"],
        folder,
        PYTHONPATH=f"{PROJECT}:{folder}/plugins",
    )
    assert done.ok, done.text
    assert (folder / "out").read_bytes() == b"APP"
    without = run_swagent(["-i", "acme.swu", "--allow-unsigned", "-f", "settings.cfg"], folder)
    assert without.code == 11
    assert "no handler named 'acme'" in without.text


ACME = '''
"""A handler as another package would have it."""
from swagent.handlers.api import chunks, handler
from swagent.handlers.options import NoOptions
from swagent.model import Kind


@handler("acme", kinds=Kind.IMAGE, attributes=("path",))
class Handler:
    Options = NoOptions

    def install(self, art, opt, data, ctx):
        with open(art.path, "wb") as out:
            for piece in chunks(data):
                out.write(bytes(piece).upper())
            out.flush()
            ctx.sync.later(out.fileno())
'''
