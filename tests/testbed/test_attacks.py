"""Each row of the table of attacks on a whole testbed; most of them slow tests, a steady sample in each run."""

import json
from typing import Any

import pytest

from swagent.cli.main import main
from swagent.testbed.attack_rows import ROWS
from swagent.testbed.attacks import HARMLESS, INSTALLED, Attack, perform
from swagent.testbed.bench import Bench

from .test_script import Silent

DIALECTS = ("tuf1", "ref-json", "ref-der")
ALWAYS = {"director-alone": "ref-der", "primary-taken-over": "tuf1", "ecu-manifest-changed": "ref-json"}
CASES = [
    pytest.param(
        row,
        dialect,
        id=f"{row.name}-{dialect}",
        marks=[] if ALWAYS.get(row.name) == dialect else [pytest.mark.slow],
    )
    for row in ROWS
    for dialect in DIALECTS
]


@pytest.mark.parametrize(("row", "dialect"), CASES)
def test_it_comes_out_as_it_must(row: Attack, dialect: str) -> None:
    verdict = perform(row, dialect, Silent())
    assert verdict.good, verdict


def test_every_row_of_the_table_is_there() -> None:
    assert [row.number for row in ROWS] == list(range(1, 36))
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert {word for row in ROWS for word in row.by} == {
        "primary",
        "secondary",
        "director",
        HARMLESS,
        INSTALLED,
    }


def test_an_attack_that_nobody_notices_is_told() -> None:
    """The verdict can be bad: an honest order is no attack, so nobody notices it, and the image is another one."""

    def play(bench: Bench) -> None:
        bench.order()
        bench.both()

    verdict = perform(Attack(0, "none", "nothing", ("primary",), play), "tuf1", Silent())
    assert not verdict.good
    assert not verdict.kept
    assert verdict.noticed == ()
    assert verdict.recovered


def test_as_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["testbed", "attack"]) == 0
    assert "rollback" in capsys.readouterr().out
    assert main(["testbed", "attack", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(ROWS)
    assert main(["testbed", "attack", "rolback"]) == 2
    assert "rollback" in capsys.readouterr().err
    assert main(["testbed", "attack", "7", "--json"]) == 0
    verdict: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert verdict["event"] == "testbed.verdict"
    assert verdict["noticed"][0]["error"] == "MixAndMatch"
    assert verdict["name"] == "snapshot-mixed"
    assert verdict["kept"] is verdict["recovered"] is verdict["good"] is True
