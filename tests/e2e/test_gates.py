"""Gates as a user meets them: settings file in, exit status out."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.programs import PROJECT, Done, need, run, run_swagent

SETTINGS = 'globals : { loglevel = 3; }; versions : ( { name = "bootloader"; version = "1.3"; } );\n'


def build(folder: Path, text: str = "", properties: str = "") -> Path:
    (folder / "disk").write_bytes(b"old")
    (folder / "a").write_bytes(bytes(1_000_000))
    (folder / "sw-description").write_text(
        f'software = {{ version = "7"; {text} images: ( {{ filename = "a"; type = "raw"; '
        f'device = "{folder}/disk"; installed-directly = true; properties: {{ {properties} }}; }} ); }};'
    )
    made = run_swagent(["make", "-s", "sw-description", "-o", "update.swu", "--unsigned"], folder)
    assert made.ok, made.text
    return folder / "update.swu"


def install(update: Path, settings: str = "", *words: str) -> Done:
    (update.parent / "settings").write_text(SETTINGS + settings)
    return run_swagent(["-i", update, "--allow-unsigned", "-f", "settings", *words], update.parent)


def untouched(folder: Path) -> bool:
    return (folder / "disk").read_bytes() == b"old"


def test_requirements_survive_make_and_are_judged(tmp_path: Path) -> None:
    met = build(tmp_path, 'requires = { bootloader = ">=1.2,<2"; };')
    assert install(met).ok
    missing = build(tmp_path, 'requires = { bootloader = ">=1.4"; app = "2"; };')
    done = install(missing, "", "--json")
    assert done.code == 31, done.text
    verdict = json.loads(done.text.splitlines()[-1])
    assert "bootloader >=1.4 (1.3 is installed); app 2 (none is installed)" in verdict["message"]
    assert untouched(tmp_path)
    checked = run_swagent(["check", missing, "--allow-unsigned", "-f", "settings", "--json"], tmp_path)
    told = json.loads(checked.text.splitlines()[0])
    assert (told["gates"]["hardware"], told["gates"]["running-system"]) == ("yes", "yes")
    assert told["gates"]["requires"].startswith("no: the image requires bootloader >=1.4")


@pytest.mark.parametrize(("command", "code"), [("/bin/true", 0), ("/bin/false", 32), ("/none/such", 32)])
def test_a_program_decides(command: str, code: int, tmp_path: Path) -> None:
    done = install(build(tmp_path), f'swagent : {{ consent-command = "{command}"; }};')
    assert done.code == code, done.text
    assert untouched(tmp_path) == (code != 0)


def test_a_check_asks_no_program(tmp_path: Path) -> None:
    update = build(tmp_path)
    settings = 'swagent : { consent-command = "/bin/false"; };'
    assert install(update, settings, "-c").ok
    assert run_swagent(["check", update, "--allow-unsigned", "-f", "settings"], tmp_path).ok


def test_auto_needs_a_mapping(tmp_path: Path) -> None:
    done = install(build(tmp_path), "", "-e", "auto")
    assert done.code == 70, done.text
    assert "slots : (" in " ".join(done.text.split())
    assert untouched(tmp_path)


@pytest.mark.parametrize(
    ("properties", "settings", "words", "told"),
    [
        ('verify-write = "true";', "", (), True),
        ("", "swagent : { verify-write = true; };", (), True),
        ("", "", ("--verify-write",), True),
        ("", "", (), False),
    ],
)
def test_what_was_written_is_read_back(
    properties: str, settings: str, words: tuple[str, ...], told: bool, tmp_path: Path
) -> None:
    done = install(build(tmp_path, properties=properties), settings, "--json", *words)
    assert done.ok, done.text
    (event,) = [
        event for event in map(json.loads, done.text.splitlines()) if event["event"] == "artifact.done"
    ]
    assert event["message"] == ("verified, read back" if told else "verified")
    assert (tmp_path / "disk").read_bytes() == bytes(1_000_000)


def test_a_low_battery(tmp_path: Path) -> None:
    supplies = "/sys/class/power_supply"
    if os.geteuid() != 0 or not os.path.isdir(supplies):
        pytest.skip(f"needs root, and {supplies} to mount a battery of our own on")
    need("unshare")
    update = build(tmp_path)
    (tmp_path / "settings").write_text(SETTINGS + "swagent : { battery-min-percent = 30; };")
    battery = tmp_path / "supplies" / "BAT0"
    battery.mkdir(parents=True)
    for name, value in (("type", "Battery"), ("status", "Discharging"), ("capacity", "29")):
        (battery / name).write_text(f"{value}\n")
    mounted = 'mount --bind "$0" "$1" && shift && exec "$@"'
    inside = [
        sys.executable,
        "-m",
        "swagent",
        "-i",
        str(update),
        "--allow-unsigned",
        "-f",
        "settings",
        "--json",
    ]
    private = str(tmp_path / "tmp")
    env = {"PYTHONPATH": str(PROJECT), "TMPDIR": private, "RUNTIME_DIRECTORY": private}
    words = ["unshare", "-m", "sh", "-c", mounted, str(battery.parent), supplies, *inside]
    done = run(words, cwd=tmp_path, env=env)
    if done.code == 32:
        pytest.skip(f"needs the right to mount: {done.text}")
    assert done.code == 34, done.text
    assert "BAT0 is at 29 % and is discharging; an update needs 30 %" in done.text
    assert untouched(tmp_path)
    (battery / "capacity").write_text("30\n")
    assert run(words, cwd=tmp_path, env=env).ok
