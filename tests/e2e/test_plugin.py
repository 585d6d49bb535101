"""The tutorial's package: built, installed into a fresh environment, tested there, and used by an update."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.programs import PROJECT, Done, must, run

TUTORIAL = PROJECT / "docs" / "tutorial"
PACKAGE = TUTORIAL / "acme-handlers"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the libraries of this one, and the package installed from a copy of its folder."""
    folder = tmp_path_factory.mktemp("plugin")
    venv.create(folder / "venv", symlinks=True)
    interpreter = folder / "venv" / "bin" / "python"
    libraries = next(entry for entry in sys.path if entry.endswith("site-packages"))
    (own,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (own / "libraries.pth").write_text(f"import site; site.addsitedir({libraries!r})\n{PROJECT}\n")
    shutil.copytree(PACKAGE, folder / "acme-handlers", ignore=shutil.ignore_patterns("__pycache__"))
    must(
        [sys.executable, "-m", "pip", "--python", interpreter, "install", "--quiet", "--no-deps", "--no-index",
         "--no-build-isolation", "--disable-pip-version-check", folder / "acme-handlers"]
    )  # fmt: skip
    return interpreter


def swagent(python: Path, folder: Path, *words: str | Path) -> Done:
    (folder / "tmp").mkdir(exist_ok=True)
    env = {"TMPDIR": str(folder / "tmp"), "RUNTIME_DIRECTORY": str(folder / "tmp")}
    return run([python, "-m", "swagent", *words], cwd=folder, env=env)


def test_it_is_listed(python: Path, tmp_path: Path) -> None:
    done = swagent(python, tmp_path, "handlers", "--json")
    rows = {row["handler"]: row for row in map(json.loads, done.text.splitlines())}
    assert rows["acme-modem"] == {
        "handler": "acme-modem",
        "sections": "image",
        "streams": "yes",
        "properties": "bank tool time-limit",
        "origin": "package acme-handlers 1.0",
        "unavailable": "",
    }


def test_its_own_tests_pass(python: Path, tmp_path: Path) -> None:
    tests = python.parents[2] / "acme-handlers" / "tests"
    done = run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests], cwd=tmp_path)
    assert done.ok, done.text
    assert "5 passed" in done.text


def test_an_update_uses_it(python: Path, tmp_path: Path) -> None:
    tool = tmp_path / "modem-flash"
    tool.write_text(f"#!/bin/sh\necho writing bank $2 >&3\ncat > {tmp_path}/bank$2\n")
    tool.chmod(0o755)
    firmware = os.urandom(300_000)
    (tmp_path / "modem.bin").write_bytes(firmware)
    done = install(python, tmp_path, f'bank = "1"; tool = "{tool}";')
    assert done.code == 0, done.text
    assert "writing bank 1" in done.text
    assert (tmp_path / "bank1").read_bytes() == firmware
    done = install(python, tmp_path, f'bank = "2"; tool = "{tool}";')
    assert done.code == 34, done.text
    assert "the modem has no bank 2" in done.text
    done = install(python, tmp_path, f'tool = "{tool}";')
    assert done.code == 11, done.text
    assert "needs the property bank" in done.text
    without = swagent(Path(sys.executable), tmp_path, "-i", "update.swu", "--allow-unsigned")
    assert without.code == 11, without.text
    assert "there is no handler named 'acme-modem'" in without.text


def install(python: Path, folder: Path, properties: str) -> Done:
    (folder / "sw-description").write_text(
        'software = { version = "1.0"; images: ( { filename = "modem.bin"; type = "acme-modem"; '
        f"installed-directly = true; properties: {{ {properties} }}; }} ); }};\n"
    )
    made = swagent(python, folder, "make", "-s", "sw-description", "-o", "update.swu", "--unsigned")
    assert made.ok, made.text
    return swagent(python, folder, "-i", "update.swu", "--allow-unsigned", "--json")


def test_the_page_shows_the_code_that_is_tested() -> None:
    blocks = (TUTORIAL / "write-a-handler.md").read_text().split("```")[1::2]
    code = (PACKAGE / "acme_handlers" / "modem.py").read_text()
    shown = [block.removeprefix("python\n") for block in blocks if block.startswith("python\n")]
    assert len(shown) == 2
    assert all(block in code for block in shown)
    assert any(block.removeprefix("toml\n") in (PACKAGE / "pyproject.toml").read_text() for block in blocks)


def test_the_package_is_sound() -> None:
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, str(PACKAGE)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout
