from collections.abc import Mapping

import pytest

from swagent.bootloader.none import NoBootloader
from swagent.errors import BootEnvError
from swagent.handlers.api import BootEnv
from swagent.installer.env import SessionEnv, Vars


class Recorder(NoBootloader):
    """Notes every step; ``broken`` makes the next ones fail."""

    def __init__(self, stored: dict[str, str] | None = None) -> None:
        super().__init__()
        super().set_many(stored or {})
        self.steps: list[dict[str, str | None]] = []
        self.broken = False

    def set_many(self, changes: Mapping[str, str | None]) -> None:
        if self.broken:
            raise BootEnvError("worn out")
        self.steps.append(dict(changes))
        super().set_many(changes)


def test_it_is_what_handlers_expect() -> None:
    env: BootEnv = SessionEnv(NoBootloader())
    env.stage("a", "1")
    assert env.get("a") is None


def test_success_is_one_step() -> None:
    loader = Recorder({"old": "1", "slot": "a"})
    env = SessionEnv(loader)
    env.begin()
    env.begin()
    assert loader.steps == [{"recovery_status": "in_progress", "ustate": "7"}]
    env.stage("slot", "b")
    env.stage("old", "")
    assert loader.all() == {"old": "1", "recovery_status": "in_progress", "slot": "a", "ustate": "7"}
    env.succeed()
    assert len(loader.steps) == 2
    assert loader.all() == {"slot": "b", "ustate": "1"}
    env.fail()
    assert len(loader.steps) == 2


def test_failure_drops_what_is_staged() -> None:
    loader = Recorder({"slot": "a"})
    env = SessionEnv(loader)
    env.begin()
    env.stage("slot", "b")
    env.fail()
    env.fail()
    assert loader.all() == {"slot": "a", "recovery_status": "failed", "ustate": "3"}
    assert len(loader.steps) == 2
    assert not env.pending


def test_failure_before_any_write_leaves_no_trace() -> None:
    loader = Recorder({"slot": "a"})
    env = SessionEnv(loader)
    env.stage("slot", "b")
    env.fail()
    assert loader.steps == []


def test_failed_commit_can_be_marked_as_failed() -> None:
    loader = Recorder({"slot": "a"})
    env = SessionEnv(loader)
    env.begin()
    env.stage("slot", "b")
    loader.broken = True
    with pytest.raises(BootEnvError):
        env.succeed()
    loader.broken = False
    env.fail()
    assert loader.all() == {"slot": "a", "recovery_status": "failed", "ustate": "3"}


def test_failed_begin_is_an_error() -> None:
    loader = Recorder()
    loader.broken = True
    env = SessionEnv(loader)
    with pytest.raises(BootEnvError):
        env.begin()


@pytest.mark.parametrize(
    ("transaction", "state", "begun", "after"),
    [
        (True, False, {"recovery_status": "in_progress"}, {}),
        (False, True, {"ustate": "7"}, {"ustate": "1"}),
        (False, False, {}, {}),
    ],
)
def test_each_marker_has_its_switch(
    transaction: bool, state: bool, begun: dict[str, str], after: dict[str, str]
) -> None:
    loader = Recorder()
    env = SessionEnv(loader, transaction_marker=transaction, state_marker=state)
    env.begin()
    assert loader.all() == begun
    env.succeed()
    assert loader.all() == after
    if not transaction and not state:
        assert loader.steps == []


def test_without_markers_staged_ustate_counts() -> None:
    loader = Recorder()
    env = SessionEnv(loader, state_marker=False)
    env.stage("ustate", "2")
    env.succeed()
    assert loader.get("ustate") == "2"
    env = SessionEnv(loader)
    env.stage("ustate", "2")
    env.succeed()
    assert loader.get("ustate") == "1"


def test_dry_run_stores_nothing() -> None:
    loader = Recorder({"slot": "a"})
    for end in ("succeed", "fail"):
        env = SessionEnv(loader, dry_run=True)
        env.begin()
        env.stage("slot", "b")
        getattr(env, end)()
    assert loader.steps == []


def test_override() -> None:
    env = SessionEnv(NoBootloader())
    env.stage("a", "1")
    env.stage("a", "2", override=False)
    env.stage("b", "3", override=False)
    assert env.pending == {"a": "1", "b": "3"}
    env.stage("a", "")
    env.stage("a", "4", override=False)
    assert env.pending == {"a": "", "b": "3"}


def test_without_boot_loader() -> None:
    env = SessionEnv(None)
    env.begin()
    assert env.get("slot") is None
    with pytest.raises(BootEnvError, match="no boot loader"):
        env.stage("slot", "b")
    with pytest.raises(BootEnvError, match="no boot loader"):
        env.require()
    env.succeed()
    env.fail()


def test_dry_run_needs_no_boot_loader() -> None:
    env = SessionEnv(None, dry_run=True)
    env.begin()
    env.stage("slot", "b")
    env.succeed()


def test_require_reads_once() -> None:
    SessionEnv(NoBootloader()).require()

    class Unreadable(NoBootloader):
        def all(self) -> dict[str, str]:
            raise BootEnvError("no valid copy")

    with pytest.raises(BootEnvError, match="no valid copy"):
        SessionEnv(Unreadable()).require()


# -- vars


def test_vars_are_stored_before_the_boot_environment() -> None:
    steps: list[str] = []

    class Noting(Recorder):
        def __init__(self, label: str, stored: dict[str, str]) -> None:
            super().__init__(stored)
            self.label = label

        def set_many(self, changes: Mapping[str, str | None]) -> None:
            steps.append(self.label)
            super().set_many(changes)

    app, loader = Noting("app", {"old": "1"}), Noting("boot", {"slot": "a"})
    env = SessionEnv(loader, variables=Vars(app, {"new": "2", "old": ""}))
    env.begin()
    env.stage("slot", "b")
    env.succeed()
    assert steps == ["boot", "app", "boot"]
    assert app.all() == {"new": "2"}


def test_vars_are_taken_back_when_the_switch_fails() -> None:
    app, loader = Recorder({"old": "1"}), Recorder({"slot": "a"})
    env = SessionEnv(loader, variables=Vars(app, {"new": "2", "old": ""}))
    env.begin()
    env.stage("slot", "b")
    loader.broken = True
    with pytest.raises(BootEnvError, match="worn out"):
        env.succeed()
    assert app.all() == {"old": "1"}


def test_vars_that_cannot_be_stored_leave_the_old_system() -> None:
    app, loader = Recorder({"old": "1"}), Recorder({"slot": "a"})
    app.broken = True
    env = SessionEnv(loader, variables=Vars(app, {"new": "2"}))
    env.begin()
    env.stage("slot", "b")
    with pytest.raises(BootEnvError, match="worn out"):
        env.succeed()
    env.fail()
    assert loader.all() == {"slot": "a", "recovery_status": "failed", "ustate": "3"}


def test_vars_need_no_boot_loader() -> None:
    app = Recorder()
    env = SessionEnv(None, variables=Vars(app, {"new": "2"}))
    env.check({})
    env.begin()
    env.succeed()
    assert app.all() == {"new": "2"}
