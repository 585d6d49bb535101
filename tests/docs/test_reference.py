"""Reference pages against the code that they describe."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from swagent import errors, handlers
from swagent.handlers import BUILT_INS
from swagent.handlers.options import describe_options

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


@pytest.mark.parametrize("page", ["cli", "handlers"])
def test_a_page_made_from_the_code_is_what_the_code_says(page: str) -> None:
    root = REFERENCE.parents[1]
    words = [sys.executable, str(root / "tools" / f"{page}-page")]
    made = subprocess.run(
        words, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(root)}
    ).stdout
    told = (REFERENCE / f"{page}.md").read_text(encoding="utf-8")
    assert told == made, "run `make docs`, and read what changed"


def test_the_page_of_handlers_has_them_all_with_their_properties() -> None:
    page = (REFERENCE / "handlers.md").read_text(encoding="utf-8")
    parts = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])
    registry = handlers.registry()
    for name, _ in BUILT_INS:
        handler = registry.get(name)
        assert handler is not None
        part = parts[handler.card.name]
        assert name == handler.card.name or f"`{name}`" in part
        told = re.findall(r"^\| `([a-zN0-9-]+)` \|", part, re.MULTILINE)
        assert told == [name for name, *_ in describe_options(handler.Options)]
