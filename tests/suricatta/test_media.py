"""Media: which file counts, what is written back, and what a pulled stick or a restart leaves."""

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from swagent.clock import SystemClock
from swagent.errors import DeviceError, HashError
from swagent.hw.media import FILESYSTEMS, Medium, mount_medium
from swagent.settings import InstallSettings
from swagent.suricatta.api import Known, Tools
from swagent.suricatta.ledger import Ledger
from swagent.suricatta.media import Media
from tests.hw.test_block import loop

from .bench import DeskInstaller, Killed

__all__ = ["loop"]

SWU, OTHER = (random.Random(seed).randbytes(300_000) for seed in (11, 12))
THERE, NEW = Medium("/dev/stick"), Medium("/dev/stick", is_new=True)


@dataclass
class Desk:
    """A unit, and a folder that is the stick."""

    folder: Path
    installer: DeskInstaller = field(default_factory=DeskInstaller)
    log: list[str] = field(default_factory=list)
    read_only: bool = False

    @property
    def stick(self) -> Path:
        return self.folder / "stick"

    @contextmanager
    def mount(self, medium: Medium, *, read_only: bool) -> Iterator[str]:
        if self.read_only and not read_only:
            raise DeviceError("cannot mount /dev/stick as vfat: it is write-protected", path="/dev/stick")
        yield str(self.stick)

    def plug(self, *media: Medium, present: tuple[Medium, ...] = ()) -> None:
        """A fresh process that sees these media, and ends."""
        waiting = list(media)

        class Watch:
            def present(self) -> list[Medium]:
                return list(present)

            def wait(self, seconds: float) -> Medium | None:
                return waiting.pop(0)

        tools = Tools(
            settings=InstallSettings(identify=(("serial", "7"),)),
            words={},
            installer=self.installer,
            ledger=Ledger(str(self.folder / "ledger.json")),
            clock=SystemClock(),
            log=lambda level, line: self.log.append(line),
            waiting=lambda: None,
            random=bytes,
        )
        Media(tools, Watch(), self.mount, lambda: not waiting).run()

    def results(self, name: str = "update.swu") -> list[list[str]]:
        path = self.stick / f"{name}.results.txt"
        return [line.split("\t")[1:] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "stick").mkdir()
    return Desk(tmp_path)


def test_the_one_file_is_installed_and_the_result_written_back(desk: Desk) -> None:
    (desk.stick / "Update.SWU").write_bytes(SWU)
    (desk.stick / "._Update.SWU").write_bytes(b"left by another system")
    (desk.stick / "notes.txt").write_text("x")
    desk.plug(NEW)
    assert desk.installer.whole == [SWU]
    request = desk.installer.requests[0]
    assert (request.name, request.length_bytes, request.origin) == ("Update.SWU", len(SWU), "local")
    assert desk.results("Update.SWU") == [["serial=7", "installed", "a reboot completes it"]]


def test_of_several_none_is_installed(desk: Desk) -> None:
    for name in ("b.swu", "a.swu"):
        (desk.stick / name).write_bytes(SWU)
    desk.plug(NEW)
    assert not desk.installer.requests
    assert desk.results("a.swu") == [["serial=7", "refused", "several .swu files lie on it: a.swu, b.swu"]]


@pytest.mark.parametrize("what", ["nothing", "folder", "link", "below"])
def test_what_is_no_file_in_the_root_folder_does_not_count(desk: Desk, what: str) -> None:
    (desk.folder / "secret").write_bytes(SWU)
    if what == "folder":
        (desk.stick / "update.swu").mkdir()
    elif what == "link":
        (desk.stick / "update.swu").symlink_to(desk.folder / "secret")
    elif what == "below":
        (desk.stick / "x").mkdir()
        (desk.stick / "x" / "update.swu").write_bytes(SWU)
    desk.plug(NEW)
    assert not desk.installer.requests and not desk.results()


def test_a_failure_is_written_back(desk: Desk) -> None:
    (desk.stick / "update.swu").write_bytes(SWU)
    desk.installer.failure = HashError("not what was\tsigned", hint="copy it\nagain")
    desk.plug(NEW)
    assert desk.results() == [["serial=7", "failed", "not what was signed (copy it again)"]]


def test_what_stays_in_its_slot_is_installed_once(desk: Desk) -> None:
    (desk.stick / "update.swu").write_bytes(SWU)
    desk.plug(present=(THERE,))
    desk.plug(present=(THERE,))
    desk.plug(THERE, present=(THERE,))  # a change that is none
    assert len(desk.installer.requests) == 1
    desk.plug(NEW)
    assert len(desk.installer.requests) == 2, "plugged in again, it is wanted again"
    (desk.stick / "update.swu").write_bytes(OTHER)
    desk.plug(present=(THERE,))
    assert desk.installer.whole == [SWU, SWU, OTHER]


def test_a_stick_that_cannot_be_written_is_told_of(desk: Desk) -> None:
    (desk.stick / "update.swu").write_bytes(SWU)
    desk.read_only = True
    desk.plug(NEW)
    assert desk.installer.whole == [SWU]
    assert any("write-protected" in line for line in desk.log)


def test_results_do_not_go_through_a_link(desk: Desk) -> None:
    (desk.stick / "update.swu").write_bytes(SWU)
    (desk.folder / "victim").write_text("as it was")
    (desk.stick / "update.swu.results.txt").symlink_to(desk.folder / "victim")
    desk.plug(NEW)
    assert (desk.folder / "victim").read_text() == "as it was"
    assert any("result cannot be written" in line for line in desk.log)


@pytest.mark.parametrize("when", ["begun", "installed"])
def test_killed_and_started_again(desk: Desk, when: str) -> None:
    (desk.stick / "update.swu").write_bytes(SWU)

    def die(done: int = 0) -> None:
        desk.installer.during, desk.installer.after = lambda done: None, lambda: None
        raise Killed

    if when == "begun":
        desk.installer.during = die
    else:
        desk.installer.after = die
    with pytest.raises(Killed):
        desk.plug(NEW)
    assert not desk.results()
    desk.plug(present=(THERE,))
    assert desk.installer.whole == [SWU]
    assert [line[1] for line in desk.results()] == ["installed"]


def test_killed_again_and_again(desk: Desk) -> None:
    (desk.stick / "update.swu").write_bytes(SWU)

    def die(done: int) -> None:
        raise Killed

    desk.installer.during = die
    for _ in range(3):
        with pytest.raises(Killed):
            desk.plug(present=(THERE,))
    desk.plug(present=(THERE,))
    assert desk.results() == [["serial=7", "failed", "given up after 3 attempts"]]


def test_what_became_of_it_is_told_later(desk: Desk) -> None:
    (desk.stick / "update.swu").write_bytes(SWU)

    def die() -> None:
        raise Killed

    desk.installer.after = die
    with pytest.raises(Killed):
        desk.plug(NEW)
    desk.installer.states[list(desk.installer.states)[-1]] = Known("ROLLED_BACK", "check x failed")
    desk.plug(present=(THERE,))
    assert desk.results() == [["serial=7", "failed", "check x failed"]]


@pytest.mark.root
@pytest.mark.parametrize("kind", ["ext4", "vfat"])
def test_a_real_medium(loop: str, tmp_path: Path, kind: str) -> None:
    subprocess.run(
        ["mkfs.ext4", "-q", loop] if kind == "ext4" else ["mkfs.vfat", loop], check=True, capture_output=True
    )
    desk = Desk(tmp_path)
    medium = Medium(loop, is_new=True)
    below = tmp_path / "mounts"
    below.mkdir()
    try:
        with mount_medium(medium, below=str(below), read_only=False) as folder:
            Path(folder, "update.swu").write_bytes(SWU)
    except DeviceError as exc:
        pytest.skip(f"no {kind} here: {exc.message}")
    desk.mount = lambda medium, *, read_only: mount_medium(medium, below=str(below), read_only=read_only)  # type: ignore[method-assign]
    desk.plug(medium)
    assert desk.installer.whole == [SWU]
    with mount_medium(medium, below=str(below), read_only=True) as folder:
        assert "\tinstalled\t" in Path(folder, "update.swu.results.txt").read_text()
        assert os.statvfs(folder).f_flag & os.ST_NOEXEC and os.statvfs(folder).f_flag & os.ST_NOSUID
    assert list(below.iterdir()) == []


@pytest.mark.root
def test_a_medium_without_a_file_system_is_told_of(loop: str, tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.mount = lambda medium, *, read_only: mount_medium(medium, below=str(tmp_path), read_only=read_only)  # type: ignore[method-assign]
    desk.plug(Medium(loop, is_new=True))
    assert "cannot mount" in desk.log[0]
    assert FILESYSTEMS[-1] in desk.log[0]
