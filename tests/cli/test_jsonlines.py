import io
import json

import pytest

from swagent.cli.jsonlines import JsonLines, as_object, line
from swagent.events import Event

from . import event_schema
from .sessions import failing, installing


@pytest.mark.parametrize("session", [installing, failing])
def test_every_line_follows_the_page(session: object) -> None:
    assert callable(session)
    lines = [line(event) for event in session()]
    assert [event_schema.problems(each) for each in lines] == [[] for _ in lines]
    assert json.loads(lines[-1])["event"] == "update.verdict"


def test_the_schema_check_can_fail() -> None:
    verdict = list(failing())[-1]
    assert event_schema.problems(line(verdict._replace(facts={**verdict.facts, "extra": 1})))
    assert event_schema.problems(line(verdict._replace(facts={**verdict.facts, "exit_code": "21"})))
    assert event_schema.problems(line(verdict._replace(facts={**verdict.facts, "exit_code": True})))
    assert event_schema.problems(line(verdict._replace(facts={**verdict.facts, "error": {"class": "X"}})))
    assert event_schema.problems(line(verdict._replace(event="update.unheard-of")))
    without = {key: value for key, value in verdict.facts.items() if key != "next"}
    assert event_schema.problems(line(verdict._replace(facts=without)))


def test_a_line_is_one_line_of_ascii_whatever_the_names_are() -> None:
    text = line(Event("log", 0.0, "s", "a\nb\u2028c\udcff.bin", message='"\x1b[2J'))
    assert text.isascii() and "\n" not in text and "\x1b" not in text
    assert json.loads(text)["artifact"] == "a\nb\u2028c\udcff.bin"


def test_time_is_utc_with_milliseconds() -> None:
    assert as_object(Event("log", 1_751_371_200.9996))["time"] == "2025-07-01T12:00:01.000Z"
    assert as_object(Event("log", 1_751_371_200.25))["time"] == "2025-07-01T12:00:00.250Z"


def test_facts_cannot_overwrite_who_and_when() -> None:
    assert (
        as_object(Event("log", 0.0, "s", facts={"event": "update.verdict", "session": "x"}))["event"] == "log"
    )


def test_an_unknown_total_is_null_and_known_bytes_are_there() -> None:
    record = as_object(Event("artifact.progress", 0.0, "s", "a", "raw", 5, None, 1, 2))
    assert (record["bytes"], record["total"], record["step"], record["steps"]) == (5, None, 1, 2)


def test_a_reader_that_goes_away_does_not_stop_the_update() -> None:
    out = io.StringIO()
    lines = JsonLines(out)
    lines.show(Event("log"))
    assert out.getvalue().count("\n") == 1
    out.close()
    lines.show(Event("log"))
    lines.show(Event("log"))
    lines.close()
