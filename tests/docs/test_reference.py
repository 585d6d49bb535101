"""Reference pages against the code that they describe."""

import re
from pathlib import Path

from swagent import errors
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
