"""Each update type has rules of its own, and says whether a reboot follows (swu format §6.6, §6.7)."""

import json
from pathlib import Path

import pytest

from swagent.installer.journal import Journal, State
from tests.faults.device import Device, Outcome
from tests.faults.images import Member, archive, described, entry, noise, signed

SETTINGS = """
globals : {
    no-downgrading = "1.0"; preupdatecmd = "echo default > PRE";
};
swagent : { state-directory = "STATE"; };
update-types : (
    { name = "app"; no-downgrading = "5.0"; max-version = "6.0"; no-reinstalling = "5.5"; reboot = "disabled";
      preupdatecmd = "echo app > PRE"; postupdatecmd = "echo app > POST"; },
    { name = "system"; reboot = "enabled"; postupdatecmd = "exit 3"; }
);
"""


class Unit(Device):
    """A device that knows three types of update."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.state = folder / "state"
        text = SETTINGS.replace("STATE", str(self.state))
        for word in ("PRE", "POST"):
            text = text.replace(f"> {word}", f"> {folder}/{word.lower()}")
        (folder / "swupdate.cfg").write_text(text)

    def try_(self, kind: str, *, version: str = "5.1", head: str = "", more: tuple[str, ...] = ()) -> Outcome:
        member = Member("rootfs.img", noise(3000))
        sections = {
            "images": [entry(member, device=f"{self.root}/slot-b.img")],
            "bootenv": ['{ name = "slot"; value = "b"; }'],
        }
        text = described(sections, version=version)
        kind = f'update-type = "{kind}";\n  ' if kind else ""
        text = text.replace(b"version", f"{kind}{head}version".encode(), 1)
        return self.install(archive(signed(text, member)), pipe=False, more=more)

    @property
    def last(self) -> State:
        record = Journal(str(self.state), "").read().last
        assert record is not None
        return record.state


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return Unit(tmp_path / "unit")


@pytest.mark.parametrize(
    ("kind", "version", "code", "said"),
    [
        ("app", "4.9", 31, "4.9 is lower than 5.0"),
        ("app", "6.1", 31, "6.1 is higher than 6.0"),
        ("app", "5.5", 31, "5.5 is installed already"),
        ("app", "6.0", 0, ""),
        ("", "0.9", 31, "0.9 is lower than 1.0"),
        ("", "4.9", 0, ""),
        ("default", "7", 0, ""),
        ("other", "5.1", 31, "'other' is not known here"),
    ],
)
def test_each_type_has_its_rules(unit: Unit, kind: str, version: str, code: int, said: str) -> None:
    before = unit.env()
    outcome = unit.try_(kind, version=version)
    assert outcome.code == code, outcome
    assert said in " ".join(outcome.stderr.split())
    assert (unit.env() == before) is bool(code)


def test_each_type_has_its_commands(unit: Unit) -> None:
    assert unit.try_("app").code == 0
    assert [(unit.folder / name).read_text() for name in ("pre", "post")] == ["app\n", "app\n"]
    (unit.folder / "post").unlink()
    assert unit.try_("default").code == 0
    assert (unit.folder / "pre").read_text() == "default\n"
    assert not (unit.folder / "post").exists()
    failed = unit.try_("system")
    assert failed.code == 42
    assert "the update is installed, but the post-update command ended with status 3" in failed.stdout
    assert unit.env()["slot"] == "b"


@pytest.mark.parametrize(
    ("kind", "head", "reboots"),
    [
        ("", "", True),
        ("app", "", False),
        ("app", "reboot = true; ", True),
        ("app", 'reboot = "enabled"; ', True),
        ("default", "reboot = false; ", False),
    ],
)
def test_who_says_whether_a_reboot_follows(unit: Unit, kind: str, head: str, reboots: bool) -> None:
    """The image, else its type, else it does; what needs none is confirmed at once."""
    outcome = unit.try_(kind, head=head, more=("--json",))
    assert outcome.code == 0
    events = [json.loads(line) for line in outcome.stdout.splitlines()]
    planned = next(event for event in events if event["event"] == "update.planned")
    assert planned["reboot"] is reboots
    assert events[-1]["next"] == ("reboot to use it" if reboots else "")
    assert unit.last is (State.COMMITTED if reboots else State.CONFIRMED)


def test_the_consent_command_is_told_too(unit: Unit) -> None:
    path = unit.folder / "swupdate.cfg"
    asked = f"consent-command = \"/bin/sh -c 'cat > {unit.folder}/plan'\"; state"
    path.write_text(path.read_text().replace("state", asked, 1))
    assert unit.try_("app").code == 0
    assert json.loads((unit.folder / "plan").read_text())["reboot"] is False
