"""Gates on the unit's state, and the ones that ask."""

import json
import stat
from pathlib import Path

import pytest

from swagent.errors import AuthorizationRefused, DeviceError, PreflightRefused, SettingsError
from swagent.hw import Hardware as RealHardware
from swagent.hw.power import Power
from swagent.installer.gates.consent import AskGate, CommandGate
from swagent.installer.gates.passing import PassingGate
from swagent.installer.gates.unit import PowerGate, RunningSystemGate
from swagent.model import Artifact, Description, Fate, Hardware, Kind, Plan, Planned, Unit

UNIT = Unit(Hardware("gateway", "1.3"))


def plan_of(*artifacts: Artifact, fate: Fate = Fate.DIRECT) -> Plan:
    entries = tuple(Planned(art, fate, stored_bytes=7) for art in artifacts if art.kind is not Kind.SCRIPT)
    scripts = tuple(Planned(art, Fate.SCRIPT) for art in artifacts if art.kind is Kind.SCRIPT)
    return Plan(Description("2.4.0"), entries, scripts)


# -- the running system


def in_use(path: str) -> str:
    if path == "/dev/missing":
        raise DeviceError("cannot find it", path=path)
    return {"/dev/root": "/dev/root holds the running system"}.get(path, "")


ROOT = Artifact(Kind.IMAGE, "raw", "rootfs.img", device="/dev/root")


@pytest.mark.parametrize(
    "art",
    [
        ROOT,
        ROOT._replace(kind=Kind.FILE),
        ROOT._replace(type="a-plugin's"),
        ROOT._replace(kind=Kind.SCRIPT, type="copy"),
        ROOT._replace(properties={"allow-mounted": ("false",)}),
    ],
)
def test_the_running_system_is_not_written_whatever_the_handler(art: Artifact) -> None:
    with pytest.raises(PreflightRefused, match="holds the running system") as caught:
        RunningSystemGate(in_use).check(plan_of(art), UNIT)
    assert caught.value.artifact == "rootfs.img"


@pytest.mark.parametrize(
    "art",
    [
        ROOT._replace(device="/dev/other"),
        ROOT._replace(device="/dev/missing"),  # its handler judges that
        ROOT._replace(device=""),
        ROOT._replace(properties={"allow-mounted": ("true",)}),
        ROOT._replace(type="archive", path="/", filesystem="ext4"),  # written through the kernel
        ROOT._replace(kind=Kind.PARTITION, type="diskpart"),
    ],
)
def test_other_targets_are_written(art: Artifact) -> None:
    RunningSystemGate(in_use).check(plan_of(art), UNIT)


def test_a_handler_that_does_not_write_the_device_as_a_whole_judges_for_itself() -> None:
    plan = plan_of(ROOT)
    entries = tuple(planned._replace(overwrites=False) for planned in plan.entries)
    RunningSystemGate(in_use).check(plan._replace(entries=entries), UNIT)


def test_what_is_skipped_is_not_looked_at() -> None:
    RunningSystemGate(in_use).check(plan_of(ROOT, fate=Fate.SKIPPED), UNIT)


# -- power


@pytest.mark.parametrize(
    ("power", "passes"),
    [
        (Power(), True),
        (Power("BAT0", 5, discharging=False), True),
        (Power("BAT0", 30, discharging=True), True),
        (Power("BAT0", 29, discharging=True), False),
        (Power("BAT0", None, discharging=True), False),
    ],
)
def test_a_discharging_battery_must_have_enough(power: Power, passes: bool) -> None:
    gate = PowerGate(30, lambda: power)
    if passes:
        gate.check(plan_of(), UNIT)
        return
    with pytest.raises(PreflightRefused, match=r"BAT0 .* needs 30 %"):
        gate.check(plan_of(), UNIT)


# -- consent


def test_a_person_decides() -> None:
    seen: list[tuple[Plan, Unit]] = []
    plan = plan_of(ROOT)

    def ask(plan: Plan, unit: Unit) -> bool:
        seen.append((plan, unit))
        return len(seen) == 1

    AskGate(ask).check(plan, UNIT)
    with pytest.raises(AuthorizationRefused, match="nobody agreed"):
        AskGate(ask).check(plan, UNIT)
    assert seen == [(plan, UNIT)] * 2


def program(folder: Path, text: str) -> Path:
    path = folder / "ask.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def gate(command: str, folder: Path, log: list[str] | None = None, deadline_s: float = 20.0) -> CommandGate:
    lines = log if log is not None else []
    return CommandGate(
        command, RealHardware(str(folder)), lambda level, line: lines.append(line), deadline_s=deadline_s
    )


def test_a_program_reads_the_plan_and_agrees(tmp_path: Path) -> None:
    asked = program(tmp_path, f'cat > "{tmp_path}/$1"')
    gate(f"{asked} 'the plan.json'", tmp_path).check(plan_of(ROOT), UNIT)
    told = json.loads((tmp_path / "the plan.json").read_text())
    assert (told["version"], told["hardware"]) == ("2.4.0", "gateway rev 1.3")
    assert told["entries"] == [
        {"artifact": "rootfs.img", "handler": "raw", "fate": "direct", "reason": "", "target": "/dev/root",
         "stored_bytes": 7}
    ]  # fmt: skip


def test_a_program_that_reads_nothing_may_agree(tmp_path: Path) -> None:
    gate("/bin/true", tmp_path).check(plan_of(*[ROOT] * 5000), UNIT)


def test_any_other_status_is_a_no(tmp_path: Path) -> None:
    log: list[str] = []
    asked = program(tmp_path, "echo not today >&2; exit 3")
    with pytest.raises(AuthorizationRefused, match="did not agree to this update: it ended with status 3"):
        gate(str(asked), tmp_path, log).check(plan_of(), UNIT)
    assert log == ["not today"]


def test_what_cannot_be_asked_has_not_agreed(tmp_path: Path) -> None:
    with pytest.raises(AuthorizationRefused, match="could not be asked"):
        gate(str(tmp_path / "missing"), tmp_path).check(plan_of(), UNIT)
    with pytest.raises(AuthorizationRefused, match="did not end within"):
        gate("/bin/sleep 10", tmp_path, deadline_s=0.2).check(plan_of(), UNIT)
    with pytest.raises(AuthorizationRefused, match="status -1"):
        gate(str(program(tmp_path, "kill -9 $$")), tmp_path).check(plan_of(), UNIT)


def test_no_shell_reads_the_command(tmp_path: Path) -> None:
    with pytest.raises(AuthorizationRefused):
        gate(f"/bin/false; touch {tmp_path}/made", tmp_path).check(plan_of(), UNIT)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("command", ["", "  ", "'unclosed"])
def test_a_command_that_is_none(command: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="consent-command"):
        gate(command, tmp_path)


# -- what is written before the verdict on the whole


class Running:
    """A system that runs from one device, or nobody knows from which."""

    def __init__(self, device: str) -> None:
        self._device = device

    def root(self) -> str:
        return "8:1" if self._device else ""

    def runs_from(self, path: str) -> bool:
        return path == self._device


SECOND = ROOT._replace(device="/dev/second")


@pytest.mark.parametrize(
    ("art", "why"),
    [
        (ROOT, "the running system is on /dev/root"),
        (SECOND._replace(properties={"allow-mounted": ("true",)}), "allow-mounted"),
        (Artifact(Kind.FILE, "rawfile", "file", path="/etc/file"), "into the running system"),
        (Artifact(Kind.IMAGE, "swuforward", "for-others.swu"), "cannot be told"),
        (ROOT._replace(kind=Kind.PARTITION, type="diskpart"), "the running system is on"),
    ],
)
@pytest.mark.parametrize("fate", [Fate.DIRECT, Fate.APPLY])
def test_nothing_that_runs_is_written_before_the_verdict(art: Artifact, why: str, fate: Fate) -> None:
    with pytest.raises(PreflightRefused, match=why) as caught:
        PassingGate(Running("/dev/root")).check(plan_of(art, fate=fate), UNIT)
    assert "--no-store" in caught.value.hint
    for later in (Fate.STAGED, Fate.SKIPPED):
        PassingGate(Running("/dev/root")).check(plan_of(art, fate=later), UNIT)
    first = art._replace(properties={**art.properties, "verify-first": ("true",)})
    PassingGate(Running("/dev/root")).check(plan_of(first, fate=fate), UNIT)


def test_a_system_that_cannot_be_told_may_be_anywhere() -> None:
    with pytest.raises(PreflightRefused, match="cannot be told"):
        PassingGate(Running("")).check(plan_of(SECOND), UNIT)


@pytest.mark.parametrize(
    "art",
    [
        SECOND,
        SECOND._replace(path="/etc", filesystem="ext4"),
        Artifact(Kind.IMAGE, "ubivol", "rootfs.ubifs", volume="rootfs_b", device="/dev/mtd4"),
        Artifact(Kind.IMAGE, "flash", "kernel", mtdname="kernel-b"),
    ],
)
def test_the_other_copy_is_written_before_the_verdict(art: Artifact) -> None:
    PassingGate(Running("/dev/root")).check(plan_of(art), UNIT)
