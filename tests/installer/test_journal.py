import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swagent.bootloader.none import NoBootloader
from swagent.errors import DeviceError, SettingsError
from swagent.installer.journal import (
    HISTORY,
    Book,
    CheckVerdict,
    Journal,
    Record,
    Refusal,
    State,
    Transaction,
    kept_variables,
    kept_versions,
    raised,
    recover,
)

texts = st.text(max_size=20)
times_s = st.floats(0, 2**33, allow_nan=False)
records = st.builds(
    Record,
    session=texts,
    state=st.sampled_from(State),
    version=texts,
    selection=texts,
    digest=texts,
    signer=texts,
    started_s=times_s,
    boot_id=texts,
    targets=st.lists(texts, max_size=3).map(tuple),
    times=st.dictionaries(texts, times_s, max_size=3),
    variables=st.dictionaries(texts, texts, max_size=3),
    tested=st.booleans(),
    message=texts,
    below_floor=texts,
    checks=st.lists(
        st.builds(CheckVerdict, texts, st.booleans(), st.booleans(), times_s, texts), max_size=2
    ).map(tuple),
    over_unconfirmed=texts,
    versions=st.dictionaries(texts, st.lists(texts, max_size=2).map(tuple), max_size=3),
    versions_file=texts,
    before=st.dictionaries(texts, texts, max_size=3),
)
books = st.builds(Book, st.lists(records, max_size=HISTORY + 1).map(tuple), texts)


class Env(NoBootloader):
    """A boot environment that outlives its process, as far as the code can tell."""

    name = "fake"

    def __init__(self, **stored: str) -> None:
        super().__init__()
        self.set_many(stored)


class FixedClock:
    def now_s(self) -> float:
        return 1_800_000_000.0

    def monotonic_s(self) -> float:
        return 5.0


def journal_in(folder: Path, boot_id: str = "boot-1") -> Journal:
    return Journal(str(folder), boot_id)


# -- the file


@given(books)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, book: Book) -> None:
    folder = tmp_path_factory.getbasetemp() / "round-trip"
    folder.mkdir(exist_ok=True)
    journal_in(folder).write(book)
    again = journal_in(folder)
    assert again.read() == book
    assert again.problem == ""
    assert json.loads((folder / "journal.json").read_text())["format"] == 1


@given(st.data())
def test_damage_is_told_and_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damage"
    folder.mkdir(exist_ok=True)
    whole = Book((Record("s", State.WRITING, "1.0", variables={"slot": "b"}),), "0.9")
    journal_in(folder).write(whole)
    raw = bytearray((folder / "journal.json").read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    (folder / "journal.json").write_bytes(raw)
    (folder / "refused.json").write_bytes(raw)
    journal = journal_in(folder)
    if journal.read() == Book():
        assert "cannot be understood" in journal.problem
    journal.refusals()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 2, "floor": "", "updates": []}',
        '{"format": 1, "floor": "", "updates": [{}]}',
        '{"format": 1, "floor": null, "updates": []}',
        '{"format": 1, "floor": "", "updates": ' + "[" * 100_000,
        '{"format": 1, "floor": "' + "x" * 1024 * 1024 + '", "updates": []}',
        '{"format": 1, "floor": "", "updates": [' + "9" * 5000 + "]}",
        "\udc00",
    ],
)
def test_what_is_no_journal_is_unknown(tmp_path: Path, text: str) -> None:
    (tmp_path / "journal.json").write_text(text, errors="surrogatepass")
    journal = journal_in(tmp_path)
    assert journal.read() == Book()
    assert "cannot be understood" in journal.problem


def test_a_time_that_cannot_be_shown_is_damage(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.write(Book((Record("s", State.FAILED),)))
    for wrong in ("NaN", "1e300", "-1.0", '"now"', "true"):
        text = (tmp_path / "journal.json").read_text().replace('"started_s": 0.0', f'"started_s": {wrong}')
        (tmp_path / "other").mkdir(exist_ok=True)
        (tmp_path / "other" / "journal.json").write_text(text)
        other = journal_in(tmp_path / "other")
        assert other.read() == Book()
        assert other.problem


def test_a_damaged_journal_is_kept_for_people(tmp_path: Path) -> None:
    (tmp_path / "journal.json").write_text("garbage")
    journal = journal_in(tmp_path)
    journal.put(Record("s", State.WRITING))
    assert (tmp_path / "journal.json.damaged").read_text() == "garbage"
    assert [record.session for record in journal_in(tmp_path).read().updates] == ["s"]


def test_it_is_private(tmp_path: Path) -> None:
    journal = journal_in(tmp_path / "a" / "state")
    journal.prepare()
    journal.put(Record("s"))
    journal.refuse(Refusal("d", "1", 0.0))
    for name in ("journal.json", "refused.json"):
        assert os.stat(tmp_path / "a" / "state" / name).st_mode & 0o777 == 0o600
    assert os.stat(tmp_path / "a" / "state").st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot make the state folder"):
        journal_in(tmp_path / "file" / "state").prepare()
    with pytest.raises(DeviceError):
        journal_in(tmp_path / "nowhere").put(Record("s"))


# -- records


def test_the_newest_and_five_more_are_kept(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    for number in range(9):
        journal.put(Record(str(number), State.WRITING, variables={"slot": "b"}))
        journal.put(Record(str(number), State.CONFIRMED, variables={"slot": "b"}))
    updates = journal_in(tmp_path).read().updates
    assert [record.session for record in updates] == ["8", "7", "6", "5", "4", "3"]
    assert {record.state for record in updates} == {State.CONFIRMED}
    assert [bool(record.variables) for record in updates] == [True, *[False] * HISTORY]


def test_a_transaction_without_a_journal_stores_nothing(tmp_path: Path) -> None:
    transaction = Transaction(None, FixedClock(), "s")
    transaction.reached(State.WRITING)
    transaction.store()
    assert not list(tmp_path.iterdir())


def test_all_states_on_the_way_are_in_the_record(tmp_path: Path) -> None:
    transaction = Transaction(journal_in(tmp_path), FixedClock(), "s")
    way = (State.RECEIVED, State.VERIFIED, State.PLANNED, State.AUTHORIZED, State.PREFLIGHTED, State.WRITING)
    for state in way:
        transaction.reached(state)
    transaction.store()
    last = journal_in(tmp_path).read().last
    assert last is not None
    assert last.times == {state.value: 1_800_000_000.0 for state in way}
    assert last.boot_id == "boot-1"


def test_the_floor_stays_until_a_higher_one_comes(tmp_path: Path) -> None:
    assert raised("", "1.0") == "1.0"
    assert raised("1.10", "1.9") == "1.10"
    assert raised("1.9", "1.10") == "1.10"
    assert raised("1.0", "") == "1.0"
    journal = journal_in(tmp_path)
    journal.put(Record("1"), floor="3")
    journal.put(Record("2"))
    assert journal_in(tmp_path).read().floor == "3"


def test_long_variables_are_left_out() -> None:
    many = {f"v{number}": "x" for number in range(1000)}
    assert len(kept_variables(many)) == 256
    assert kept_variables({"long": "x" * 300, "slot": "b"}) == {"slot": "b"}


# -- what was cut


def test_nothing_was_cut(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    assert recover(journal, None, FixedClock()) is None
    for state in (State.COMMITTED, State.TESTING, State.CONFIRMED, State.FAILED, State.ROLLED_BACK):
        journal.put(Record("s", state))
        assert recover(journal_in(tmp_path), None, FixedClock()) is None


def test_cut_while_writing(tmp_path: Path) -> None:
    env = Env(recovery_status="in_progress", ustate="7", slot="a")
    record = Record("s", State.WRITING, "2.4.0", "stable,copy2", targets=("/dev/mmcblk0p3",))
    journal_in(tmp_path).put(record)
    found = recover(journal_in(tmp_path), env, FixedClock())
    assert found is not None
    assert found.message == "the last update, 2.4.0 of stable,copy2, was cut while writing to /dev/mmcblk0p3"
    assert env.all() == {"recovery_status": "failed", "ustate": "3", "slot": "a"}
    last = journal_in(tmp_path).read().last
    assert last is not None
    assert (last.state, last.message) == (State.FAILED, found.message)
    assert recover(journal_in(tmp_path), env, FixedClock()) is None


def test_markers_that_were_switched_off_stay_away(tmp_path: Path) -> None:
    env = Env(slot="a")
    journal_in(tmp_path).put(Record("s", State.WRITING))
    assert recover(journal_in(tmp_path), env, FixedClock())
    assert env.all() == {"slot": "a"}


@pytest.mark.parametrize(("tested", "state"), [(True, State.COMMITTED), (False, State.CONFIRMED)])
def test_cut_right_after_the_commit(tmp_path: Path, tested: bool, state: State) -> None:
    env = Env(slot="b", ustate="1")
    wanted = {"slot": "b", "recovery_status": "", "ustate": "1"}
    journal_in(tmp_path).put(Record("s", State.WRITTEN, "2.4.0", variables=wanted, tested=tested))
    found = recover(journal_in(tmp_path), env, FixedClock())
    assert found is not None
    assert found.record.state is state
    assert "it is installed" in found.message
    assert env.all() == {"slot": "b", "ustate": "1"}
    assert journal_in(tmp_path).read().floor == ("" if tested else "2.4.0")


def test_cut_right_before_the_commit(tmp_path: Path) -> None:
    env = Env(slot="a", ustate="7", recovery_status="in_progress")
    wanted = {"slot": "b", "recovery_status": "", "ustate": "1"}
    journal_in(tmp_path).put(Record("s", State.WRITTEN, "2.4.0", variables=wanted, tested=True))
    found = recover(journal_in(tmp_path), env, FixedClock())
    assert found is not None
    assert found.record.state is State.FAILED
    assert "cut while switching the boot loader" in found.message
    assert env.all() == {"slot": "a", "ustate": "3", "recovery_status": "failed"}


def test_a_commit_that_nobody_can_see_has_failed(tmp_path: Path) -> None:
    journal_in(tmp_path).put(Record("s", State.WRITTEN, variables={"slot": "b"}))
    found = recover(journal_in(tmp_path), None, FixedClock())
    assert found is not None
    assert found.record.state is State.FAILED


@pytest.mark.parametrize("slot", ["a", "b"])
def test_the_versions_of_what_was_cut_are_written_when_it_is_installed(tmp_path: Path, slot: str) -> None:
    file = tmp_path / "sw-versions"
    file.write_text("rootfs\t\t1.0\n")
    more = kept_versions(str(file), {"rootfs": ("2.0",), "app": ("1", "2")})
    journal_in(tmp_path).put(Record("s", State.WRITTEN, variables={"slot": "b"}, tested=True, **more))
    found = recover(journal_in(tmp_path), Env(slot=slot), FixedClock())
    assert found is not None
    new = "rootfs\t\t2.0\napp\t\t1\napp\t\t2\n"
    assert file.read_text() == (new if slot == "b" else "rootfs\t\t1.0\n")
    assert (found.record.versions, found.record.versions_file) == ({}, "")


def test_versions_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    more = kept_versions(str(tmp_path / "nowhere" / "sw-versions"), {"rootfs": ("2.0",)})
    journal_in(tmp_path).put(Record("s", State.WRITTEN, variables={"slot": "b"}, **more))
    found = recover(journal_in(tmp_path), Env(slot="b"), FixedClock())
    assert found is not None
    assert found.record.state is State.CONFIRMED
    assert "its versions could not be written" in found.message


def test_versions_are_kept_bounded_and_only_as_long_as_needed(tmp_path: Path) -> None:
    nothing = {"versions": {}, "versions_file": ""}
    assert kept_versions("", {"a": ("1",)}) == nothing
    assert kept_versions("/f", {f"c{number}": ("1",) for number in range(1001)}) == nothing
    assert kept_versions("/f", {"c": ("1" * 70_000,)}) == nothing
    journal = journal_in(tmp_path)
    journal.put(Record("1", State.WRITTEN, versions={"a": ("1",)}, versions_file="/f"))
    journal.put(Record("2"))
    older = journal_in(tmp_path).read().updates[1]
    assert (older.versions, older.versions_file) == ({}, "")


def test_a_journal_of_before_is_understood(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.put(Record("s", State.COMMITTED, "2.4.0"))
    journal.refuse(Refusal("d", "1", 7.0))
    for name in ("journal.json", "refused.json"):
        text = (tmp_path / name).read_text()
        for key in (
            ', "over_unconfirmed": ""',
            ', "versions": {}',
            ', "versions_file": ""',
            ', "before": {}',
            ', "reason": ""',
        ):
            text = text.replace(key, "")
        (tmp_path / name).write_text(text)
    again = journal_in(tmp_path)
    assert again.read().last == Record("s", State.COMMITTED, "2.4.0")
    assert again.refusals() == (Refusal("d", "1", 7.0),)
    assert again.problem == ""


# -- what is refused


def test_refusals_are_kept_once_and_bounded(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    assert journal.refusals() == ()
    for number in range(60):
        journal.refuse(Refusal(f"d{number}", "1", 0.0))
    journal.refuse(Refusal("d59", "1", 7.0))
    kept = journal_in(tmp_path).refusals()
    assert len(kept) == 50
    assert kept[0] == Refusal("d59", "1", 7.0)
    assert len({refusal.digest for refusal in kept}) == 50
    assert journal.clear() == 50
    assert journal.clear() == 0
    assert journal.refusals() == ()
