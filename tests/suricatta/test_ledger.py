"""The ledger outlives the process, and what is damaged is told."""

import json
from pathlib import Path

import pytest

from swagent.errors import DeviceError
from swagent.suricatta.ledger import Entry, Ledger, Stage, Verdict, judge, read_entry

ENTRY = Entry("hawkbit host/t/unit", "12", Stage.INSTALLED, 1, 3, 2, noted="testing")


def test_what_was_put_is_there_for_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "ledger.json"
    first = Ledger(str(path))
    assert first.entry is None and not first.problem
    first.put(ENTRY)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Ledger(str(path)).entry == ENTRY
    closing = first.put(ENTRY.closing(success=False, details=("x" * 9000, *["y"] * 90)))
    assert (len(closing.details), len(closing.details[0])) == (50, 500)
    assert Ledger(str(path)).entry == closing
    first.clear()
    first.clear()
    assert Ledger(str(path)).entry is None


def test_without_a_path_it_lasts_as_long_as_the_process() -> None:
    ledger = Ledger("")
    ledger.put(ENTRY)
    assert ledger.entry == ENTRY
    ledger.clear()
    assert ledger.entry is None


def test_one_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError):
        Ledger(str(tmp_path / "file" / "ledger.json")).put(ENTRY)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"more": 1},
        {"stage": "lost"},
        {"position": -1},
        {"position": True},
        {"attempts": 2**31},
        {"server": 1},
        {"details": "text"},
        {"details": [1]},
        {"finished": "perhaps"},
        {"finished": "success"},
        {"stage": "closing"},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_damage(change: dict[str, object], tmp_path: Path) -> None:
    tree = {**ENTRY._asdict(), "stage": ENTRY.stage.value, "format": 1}
    assert read_entry(json.dumps(tree).encode()) == ENTRY
    with pytest.raises(ValueError):
        read_entry(json.dumps(tree | change).encode())


@pytest.mark.parametrize(
    ("stage", "attempts", "state", "verdict"),
    [
        (Stage.TAKEN, 1, "", Verdict.OPEN),
        (Stage.TAKEN, 1, "FAILED", Verdict.OPEN),
        (Stage.TAKEN, 1, "WRITING", Verdict.OPEN),
        (Stage.TAKEN, 1, "COMMITTED", Verdict.PENDING),
        (Stage.TAKEN, 1, "CONFIRMED", Verdict.GOOD),
        (Stage.TAKEN, 1, "ROLLED_BACK", Verdict.BAD),
        (Stage.INSTALLED, 1, "COMMITTED", Verdict.PENDING),
        (Stage.INSTALLED, 1, "TESTING", Verdict.PENDING),
        (Stage.INSTALLED, 1, "CONFIRMED", Verdict.GOOD),
        (Stage.INSTALLED, 1, "ROLLED_BACK", Verdict.BAD),
        (Stage.INSTALLED, 1, "FAILED", Verdict.BAD),
        (Stage.INSTALLED, 1, "", Verdict.BAD),
        (Stage.INSTALLED, 0, "", Verdict.PENDING),
    ],
)
def test_verdicts(stage: Stage, attempts: int, state: str, verdict: Verdict) -> None:
    assert judge(Entry("s", "1", stage, attempts=attempts), state) is verdict
