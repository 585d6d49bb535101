"""What other packages put on a shelf, and what that costs those who do not use it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from swagent import handlers
from swagent.cli.main import main
from swagent.errors import RegistrationError
from swagent.handlers.options import load
from swagent.plugins import Registry

GOOD = """
from swagent.handlers.api import handler
from swagent.handlers.options import NoOptions
from swagent.model import Kind

@handler("anything", kinds=Kind.SCRIPT)
class Handler:
    Options = NoOptions

    def run(self, art, opt, phase, ctx):
        pass
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with packages that can be imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def package(
    site: Path, name: str, entries: dict[str, str], source: str = GOOD, *, shelf: str = handlers.SHELF
) -> None:
    """A package that is installed: a module, and what it puts on a shelf."""
    sys.modules.pop(name, None)  # that of a test before
    (site / f"{name}.py").write_text(source)
    info = site / f"{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    lines = "".join(f"{key} = {name}:{attribute}\n" for key, attribute in entries.items())
    (info / "entry_points.txt").write_text(f"[{shelf}]\n{lines}")


def refusal(shelf: Registry[Any], name: str) -> str:
    with pytest.raises(RegistrationError) as caught:
        load(shelf, name)
    return caught.value.message


def listed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    assert main(["handlers", "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_handler_of_a_package(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package(site, "acme_one", {"acme-one": "Handler"})
    assert load(handlers.registry(), "acme-one") is not None
    (row,) = (row for row in listed(capsys) if row["handler"] == "acme-one")
    assert (row["origin"], row["sections"], row["unavailable"]) == ("package acme_one 1.2", "script", "")


@pytest.mark.parametrize(
    ("source", "attribute", "says"),
    [
        ("import no_such_library", "Handler", "No module named 'no_such_library'"),
        ("def broken(:", "Handler", "SyntaxError"),
        ("raise ValueError('on a Tuesday')", "Handler", "ValueError: on a Tuesday"),
        ("import sys; sys.exit('no licence')", "Handler", "SystemExit: no licence"),
        ("", "Handler", "has no attribute 'Handler'"),
        ("Handler = 5", "Handler", "has no card"),
        (GOOD.replace("def run", "def walk"), "Handler", "serves Kind.SCRIPT but has no run"),
        (GOOD.replace("Options = NoOptions", ""), "Handler", "has no Options class"),
    ],
)
def test_one_that_is_broken_costs_only_itself(
    site: Path, source: str, attribute: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    package(site, "acme_broken", {"acme-broken": attribute}, source)
    package(site, "acme_good", {"acme-good": "Handler"})
    shelf = handlers.registry()
    assert load(shelf, "acme-good") is not None
    assert load(shelf, "raw") is not None
    assert says in refusal(shelf, "acme-broken")
    rows = {row["handler"]: row for row in listed(capsys)}
    assert says in rows["acme-broken"]["unavailable"]
    assert rows["acme-good"]["unavailable"] == rows["raw"]["unavailable"] == ""


def test_two_packages_with_one_name(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package(site, "acme_first", {"modem": "Handler", "acme-first": "Handler"})
    package(site, "acme_other", {"modem": "Handler", "acme-other": "Handler"})
    shelf = handlers.registry()
    told = refusal(shelf, "modem")
    assert "package acme_first 1.2" in told
    assert "package acme_other 1.2" in told
    for name in ("acme-first", "acme-other", "raw"):
        assert load(shelf, name) is not None
    rows = [row for row in listed(capsys) if row["handler"] == "modem"]
    assert {row["origin"] for row in rows} == {"package acme_first 1.2", "package acme_other 1.2"}
    assert [row["unavailable"] for row in rows] == [told, told]


def test_a_built_in_keeps_its_name(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package(site, "acme_greedy", {"raw": "Handler", "acme-greedy": "Handler"})
    shelf = handlers.registry()
    assert load(shelf, "acme-greedy") is not None
    raw = load(shelf, "raw")
    assert raw is not None
    assert raw.__module__ == "swagent.handlers.raw"
    ours, theirs = (row for row in listed(capsys) if row["handler"] == "raw")
    assert (ours["origin"], ours["unavailable"]) == ("built-in swagent.handlers.raw", "")
    assert (
        "the name 'raw' of package acme_greedy 1.2 is taken by built-in swagent.handlers.raw"
        in theirs["unavailable"]
    )


def test_other_shelves_follow_the_same_rules(site: Path) -> None:
    from swagent import bootloader
    from swagent.crypto import uri

    shelves: list[Registry[Any]] = [bootloader.registry(), uri.registry()]
    for number, shelf in enumerate(shelves):
        package(site, f"acme_shelf{number}", {"acme": "Handler"}, shelf=shelf.shelf)
        package(site, f"acme_bad{number}", {"acme-bad": "Handler"}, "raise ValueError", shelf=shelf.shelf)
        assert shelf.get("acme") is not None
        assert {"acme", "acme-bad"} <= set(shelf.names())
        with pytest.raises(RegistrationError, match="cannot be loaded: ValueError"):
            shelf.get("acme-bad")
