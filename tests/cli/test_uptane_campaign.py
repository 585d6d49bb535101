"""``swagent uptane campaign`` against a back end."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swagent.cli.main import main
from swagent.errors import MetadataError
from swagent.uptane_client.campaigns import Campaign, read_campaigns
from swagent.uptane_client.vehicle import Vehicle
from tests.uptane_client.backoffice import BackOffice, back_office

from .event_schema import problems

LISTED = {
    "campaigns": [
        {
            "id": "C1",
            "name": "July update",
            "size": 3 << 20,
            "metadata": [
                {"type": "DESCRIPTION", "value": "Faster.\nAnd \x1b[31msafer."},
                {"type": "ESTIMATED_INSTALLATION_DURATION", "value": "300"},
                {"type": "ESTIMATED_PREPARATION_DURATION", "value": "60"},
                {"type": "of another kind", "value": ""},
            ],
        },
        {"id": "C2", "name": "quiet", "autoAccept": True},
        {"name": "without an id"},
    ]
}


@pytest.fixture
def office() -> Iterator[BackOffice]:
    with back_office() as office:
        office.gives["/campaigner/campaigns"] = json.dumps(LISTED).encode()
        yield office


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    Vehicle(str(folder / "vehicle.sqlite")).close()
    return folder


def campaign(state: Path, office: BackOffice, *words: str) -> int:
    return main(["uptane", "campaign", *words, "--state", str(state), "--server", office.url])


def test_check(state: Path, office: BackOffice, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign(state, office, "check") == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "C1: July update (3.0 MiB, about 60 s to prepare, about 300 s to install, waits for an answer)",
        "    Faster.",
        "    And \\x1b[31msafer.",
        "C2: quiet (accepted by itself)",
    ]
    assert shown.err == "warn: 1 more make no sense\n"
    assert office.taken == []


def test_check_for_programs(state: Path, office: BackOffice, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign(state, office, "check", "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert problems(line) == []
    told = json.loads(line)
    assert told["name"] == "CampaignCheckComplete"
    assert [one["id"] for one in told["campaigns"]] == ["C1", "C2"]
    assert told["campaigns"][0]["installation_s"] == 300


@pytest.mark.parametrize(
    ("verb", "kind"),
    [("accept", "campaign_accepted"), ("decline", "campaign_declined"), ("postpone", "campaign_postponed")],
)
def test_answers(
    state: Path, office: BackOffice, verb: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert campaign(state, office, verb, "C1") == 0
    (event,) = office.taken
    assert event["eventType"] == {"id": kind, "version": 0}
    assert event["event"] == {"campaignId": "C1"}
    assert capsys.readouterr().out == "handed in\n"
    assert campaign(state, office, verb, "C1", "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert problems(line) == []
    assert json.loads(line)["name"] == f"Campaign{verb.capitalize()}Complete"


def test_an_answer_that_is_not_taken_is_kept(
    state: Path, office: BackOffice, capsys: pytest.CaptureFixture[str]
) -> None:
    office.answer = lambda asked: 503
    assert campaign(state, office, "accept", "C1") == 50
    assert "the next cycle hands it in" in " ".join(capsys.readouterr().err.split())
    office.answer = lambda asked: 200
    assert campaign(state, office, "postpone", "C2") == 0
    assert office.kinds == ["campaign_accepted", "campaign_postponed"]


@pytest.mark.parametrize(
    "words", [(), ("accept",), ("check", "C1"), ("refuse", "C1"), ("accept", ""), ("accept", "x" * 300)]
)
def test_refused(state: Path, office: BackOffice, words: tuple[str, ...]) -> None:
    assert campaign(state, office, *words) == 2
    assert office.asked == []


def test_no_vehicle_no_answer(tmp_path: Path, office: BackOffice) -> None:
    assert campaign(tmp_path / "nothing", office, "accept", "C1") == 70
    assert office.asked == []


def test_a_server_without_campaigns(state: Path, office: BackOffice) -> None:
    office.answer = lambda asked: 404
    assert campaign(state, office, "check") == 50


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"campaigns": {}}', b"\xff", b"[" * 100_000, b'{"campaigns": null}']
)
def test_no_list(raw: bytes) -> None:
    with pytest.raises(MetadataError):
        read_campaigns(raw)


@pytest.mark.parametrize(
    "odd",
    [
        None,
        {"id": "", "name": "n"},
        {"id": 7, "name": "n"},
        {"id": "x" * 257, "name": "n"},
        {"id": "i"},
        {"id": "i", "name": "n", "size": -1},
        {"id": "i", "name": "n", "size": True},
        {"id": "i", "name": "n", "size": 1 << 70},
        {"id": "i", "name": "n", "autoAccept": "yes"},
        {"id": "i", "name": "n", "metadata": {}},
        {"id": "i", "name": "n", "metadata": [7]},
        {"id": "i", "name": "n", "metadata": [{"type": "DESCRIPTION", "value": "a"}] * 2},
        {"id": "i", "name": "n", "metadata": [{"type": "ESTIMATED_INSTALLATION_DURATION", "value": "-1"}]},
        {"id": "i", "name": "n", "metadata": [{"type": "ESTIMATED_PREPARATION_DURATION", "value": "9" * 99}]},
    ],
)
def test_one_that_makes_no_sense_is_passed_over(odd: Any) -> None:
    found = read_campaigns(json.dumps({"campaigns": [odd, {"id": "i", "name": "n"}]}).encode())
    assert found == ((Campaign("i", "n"),), 1)
