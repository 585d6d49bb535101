"""Every line of ``--json`` is as docs/reference/events.md promises, whatever the end."""

import gzip
import json
from pathlib import Path

from tests.cli.event_schema import problems
from tests.programs import run_swagent


def image(folder: Path, script_status: int = 0) -> Path:
    (folder / "disk").write_bytes(b"")
    (folder / "rootfs").write_bytes(gzip.compress(bytes(3_000_000)))
    (folder / "hook").write_text(f"#!/bin/sh\necho seen; exit {script_status}\n")
    (folder / "sw-description").write_text(
        f"""software = {{ version = "1.0";
        images: ( {{ filename = "rootfs"; type = "raw"; device = "{folder}/disk"; compressed = "zlib";
                     installed-directly = true; }},
                  {{ filename = "rootfs"; type = "raw"; device = "{folder}/other"; compressed = "zlib";
                     name = "app"; version = "1"; install-if-different = true; }} );
        scripts: ( {{ filename = "hook"; type = "shellscript"; }} ); }};
        """
    )
    (folder / "settings.cfg").write_text(
        'globals: { loglevel = 4; }; versions: ( { name = "app"; version = "1"; } );'
    )
    made = run_swagent(["make", "-s", "sw-description", "-o", "update.swu", "--unsigned"], folder)
    assert made.ok, made.text
    return folder / "update.swu"


def install(folder: Path, *words: str | Path) -> tuple[int, list[dict[str, object]]]:
    done = run_swagent([*words, "--json", "-f", "settings.cfg"], folder)
    lines = done.text.splitlines()
    for line in lines:
        assert not problems(line), line
    return done.code, [json.loads(line) for line in lines]


def test_an_install(tmp_path: Path) -> None:
    code, events = install(tmp_path, "-i", image(tmp_path), "--allow-unsigned")
    names = [event["event"] for event in events]
    assert code == 0
    assert names[0] == "update.started"
    assert names[-1] == "update.verdict"
    assert names.count("update.verdict") == 1
    assert {
        "description.unsigned",
        "update.planned",
        "artifact.skipped",
        "artifact.done",
        "script.done",
        "log",
    } <= set(names)
    assert events[-1]["result"] == "installed"
    assert (tmp_path / "disk").stat().st_size == 3_000_000


def test_a_failure(tmp_path: Path) -> None:
    code, events = install(tmp_path, "-i", image(tmp_path, script_status=3), "--allow-unsigned")
    assert code == 42
    assert events[-1]["result"] == "failed"
    assert events[-1]["exit_code"] == 42
    assert "script.failed" in [event["event"] for event in events]


def test_refusals_before_and_in_the_image(tmp_path: Path) -> None:
    path = image(tmp_path)
    code, events = install(tmp_path, "-i", path)
    assert (code, [event["event"] for event in events]) == (70, ["update.verdict"])
    path.write_bytes(path.read_bytes()[:-700])
    code, events = install(tmp_path, "-i", path, "--allow-unsigned")
    assert code == 10
    assert events[-1]["result"] == "refused"
