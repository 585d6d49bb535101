"""Reference pages against the code that they describe."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

from swagent import errors, handlers
from swagent.handlers import BUILT_INS

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def classes(root: type[errors.SwagentError]) -> dict[str, int]:
    """Names and exit codes of a class and all below it, abstract families apart."""
    found = {root.__name__: root.exit_code} if "exit_code" in vars(root) else {}
    for below in root.__subclasses__():
        if below.__module__ == errors.__name__:
            found |= classes(below)
    return found


def test_every_error_is_on_the_page_with_its_exit_code() -> None:
    page = (REFERENCE / "exit-codes.md").read_text(encoding="utf-8")
    told = {name: int(code) for code, name in re.findall(r"^\| (\d+) \| `(\w+)` \|", page, re.MULTILINE)}
    real = {name: code for name, code in classes(errors.SwagentError).items() if name != "SwagentError"}
    assert told == real


def test_every_handler_is_on_the_page() -> None:
    page = (REFERENCE / "sw-description.md").read_text(encoding="utf-8")
    told = set(
        re.findall(r"^\| `([a-z]+)`", page.partition("## Handlers")[2].partition("\n## ")[0], re.MULTILINE)
    )
    assert told == {name for name, _ in BUILT_INS}


def test_the_command_line_page_is_what_the_commands_say() -> None:
    root = REFERENCE.parents[1]
    words = [sys.executable, str(root / "tools" / "cli-page")]
    made = subprocess.run(
        words, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(root)}
    ).stdout
    told = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    assert told == made, "run `make docs`, and read what changed"


def test_every_property_of_a_handler_is_on_the_page() -> None:
    page = (REFERENCE / "sw-description.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z]+)` \| (.*) \|$", page.partition("## Handlers")[2], re.MULTILINE))
    registry = handlers.registry()
    missing = []
    for name, _ in BUILT_INS:
        handler = registry.get(name)
        assert handler is not None
        options = handler.Options
        for field in dataclasses.fields(options) if dataclasses.is_dataclass(options) else ():
            if f"`{field.name.replace('_', '-')}`" not in rows[name]:
                missing.append(f"{name}: {field.name}")
    assert missing == []
