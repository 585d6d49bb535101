"""An update over its whole life, in processes of their own: cut, failed, committed, rebooted, confirmed, rolled back.

A reboot is another boot id: that in the journal is changed. fw_printenv reads the boot environment.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.device import Device
from tests.faults.images import CRC, Member, ab_image, archive, described, entry, noise, signed
from tests.programs import PROJECT, Done, need, run, run_swagent

ON_PASS = "upgrade_available=0 bootcount=0"


class Unit:
    """A device with two copies, of which ``a`` runs."""

    def __init__(self, folder: Path) -> None:
        need("fw_printenv")
        self.device = Device(folder / "unit")
        self.folder = folder
        self.state = folder / "state"
        self.checks = folder / "checks"
        self.checks.mkdir()

    def options(self) -> list[str]:
        return self.device.options()

    def swagent(self, *words: str | Path, stdin: bytes | None = None, **env: str) -> Done:
        env = {"STATE_DIRECTORY": str(self.state), "SWAGENT_CONFIRM_BOOTENV": ON_PASS, **env}
        return run_swagent(words, self.folder, stdin=stdin, **env)

    def image(
        self, version: str = "2.4.0", sections: dict[str, list[str]] | None = None, *members: Member
    ) -> Path:
        """An image for copy ``b``, or one with these sections."""
        path = self.folder / f"{version}.swu"
        if sections is None:
            path.write_bytes(ab_image(str(self.device.root), version=version).raw)
        else:
            path.write_bytes(archive(signed(described(sections, version=version), *members), CRC))
        return path

    def install(self, path: Path, *more: str, **env: str) -> Done:
        return self.swagent("-i", path, *self.options(), *more, stdin=None, **env)

    def confirm(self, *more: str | Path, **env: str) -> Done:
        loader: list[str | Path] = ["-B", "uboot", "--fwenv-config", self.device.root / "fw_env.config"]
        return self.swagent("confirm", "--dir", self.checks, *loader, *more, stdin=None, **env)

    def confirmed_once(self) -> None:
        """Updates are confirmed here: one has been."""
        assert self.install(self.image("2.3.0")).ok
        self.reboot()
        assert self.confirm().ok

    def info(self) -> dict[str, object]:
        loader: list[str | Path] = ["-B", "uboot", "--fwenv-config", self.device.root / "fw_env.config"]
        done = self.swagent("info", "--json", *loader)
        assert done.ok, done.text
        facts: dict[str, object] = json.loads(done.text)
        return facts

    def reboot(self) -> None:
        path = self.state / "journal.json"
        path.write_text(re.sub(r'"boot_id": "[^"]*"', '"boot_id": "the boot before"', path.read_text()))

    def check(self, name: str, script: str) -> None:
        path = self.checks / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def env(self) -> dict[str, str]:
        done = run(["fw_printenv", "-c", self.device.root / "fw_env.config"])
        assert done.ok, done.text
        return dict(line.split("=", 1) for line in done.text.splitlines())

    def markers(self) -> tuple[str | None, str | None]:
        env = self.env()
        return env.get("recovery_status"), env.get("ustate")

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        env = {
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "TMPDIR": str(self.device.tmp),
            "RUNTIME_DIRECTORY": str(self.device.run),
            "STATE_DIRECTORY": str(self.state),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "swagent", *words, *self.options()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
        )


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return Unit(tmp_path)


def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it never came so far")


def states(unit: Unit) -> list[str]:
    updates = unit.info()["updates"]
    assert isinstance(updates, list)
    return [update["verdict"] for update in updates]


# -- the good way


def test_confirmed_after_the_reboot(unit: Unit) -> None:
    unit.check("10-network", "exit 0")
    assert unit.install(unit.image()).ok
    assert unit.markers() == (None, "1")
    assert unit.info()["pending"] is True
    waits = unit.confirm()
    assert waits.ok and "waits for its first boot" in waits.text
    unit.reboot()
    done = unit.confirm()
    assert done.ok, done.text
    assert "10-network  passed" in done.text
    assert unit.env() == {
        "slot": "b",
        "ustate": "0",
        "upgrade_available": "0",
        "bootcount": "0",
    }
    facts = unit.info()
    assert (facts["state"], facts["floor"]) == ("CONFIRMED 2.4.0", "2.4.0")
    assert "nothing to confirm" in unit.confirm().text


def test_without_a_switch_it_is_confirmed_at_once(unit: Unit) -> None:
    member = Member("app.conf", b"colour = blue\n")
    path = unit.image("3.0", {"files": [entry(member, path=f"{unit.device.root}/files/app.conf")]}, member)
    assert unit.install(path).ok
    assert unit.info()["state"] == "CONFIRMED 3.0"
    assert unit.markers() == (None, "1")
    assert "swagent_floor" not in unit.env()


# -- rolled back


def test_a_failing_check_and_what_follows(unit: Unit) -> None:
    unit.check("10-good", "exit 0")
    unit.check("20-network", "echo no carrier; exit 4")
    path = unit.image()
    assert unit.install(path).ok
    unit.reboot()
    bad = unit.confirm(SWAGENT_CONFIRM_FAIL_BOOTENV="bootcount=99")
    assert bad.code == 81
    assert "20-network" in bad.text
    assert (unit.env()["ustate"], unit.env()["bootcount"]) == ("3", "99")
    why = unit.confirm("--why")
    assert why.ok
    assert re.search(r"20-network +failed .*last said: no carrier", why.text)
    again = unit.install(path)
    assert again.code == 81
    assert "was rolled back here before" in again.text
    assert unit.swagent("check", path, "--as", "board:1.0", "-k", unit.device.folder / "public.pem").ok
    assert unit.install(unit.image("2.4.1")).ok, "another image is welcome"
    assert unit.confirm("--clear").ok
    assert unit.install(path).ok


def test_the_boot_loader_went_back(unit: Unit) -> None:
    assert unit.install(unit.image()).ok
    unit.reboot()
    config = str(unit.device.root / "fw_env.config")
    need("fw_setenv")
    assert run(["fw_setenv", "-c", config, "slot", "a"]).ok
    unit.check("10-good", f"touch {unit.folder}/was-run")
    done = unit.confirm()
    assert done.code == 81
    assert "slot is 'a', no longer 'b'" in unit.confirm("--why").text
    assert not (unit.folder / "was-run").exists()
    assert states(unit) == ["ROLLED_BACK"]
    assert unit.env()["slot"] == "a"


def test_a_folder_that_holds_no_check_confirms_nothing(unit: Unit) -> None:
    assert unit.install(unit.image()).ok
    unit.reboot()
    (unit.checks / "10-forgot-to-chmod").write_text("#!/bin/sh\nexit 1\n")
    assert unit.confirm().code == 70
    (unit.checks / "10-forgot-to-chmod").unlink()
    assert unit.confirm("--dir", unit.folder / "nowhere").code == 70
    assert unit.confirm("-B", "none").code == 70
    assert unit.info()["pending"] is True


def test_a_check_from_a_settings_file_is_killed_in_time(unit: Unit) -> None:
    (unit.checks / "10-slow.cfg").write_text('check: { command = "sleep 50"; deadline = 0.3; };\n')
    assert unit.install(unit.image()).ok
    unit.reboot()
    done = unit.confirm()
    assert done.code == 81
    assert "took longer than 0.3 s" in unit.confirm("--why").text


# -- cut


def test_killed_while_writing(unit: Unit) -> None:
    path = unit.image()
    raw = path.read_bytes()
    process = unit.start("install", "-")
    assert process.stdin is not None
    process.stdin.write(raw[: len(raw) // 2])
    process.stdin.flush()
    until(lambda: unit.markers() == ("in_progress", "7"))
    process.kill()
    process.communicate()
    assert unit.markers() == ("in_progress", "7")
    facts = unit.info()
    assert "it was cut" in str(facts["state"])
    again = unit.install(path)
    assert again.ok, again.text
    assert "the last update, 2.4.0, was cut while writing to" in " ".join(again.text.split())
    assert states(unit) == ["COMMITTED", "FAILED"]
    assert "was cut" not in unit.install(unit.image("2.5.0")).text


def test_cut_updates_are_marked_even_if_the_next_one_is_refused(unit: Unit) -> None:
    raw = unit.image().read_bytes()
    process = unit.start("install", "-")
    assert process.stdin is not None
    process.stdin.write(raw[: len(raw) // 2])
    process.stdin.flush()
    until(lambda: unit.markers() == ("in_progress", "7"))
    process.kill()
    process.communicate()
    (unit.folder / "junk.swu").write_bytes(b"junk")
    assert unit.install(unit.folder / "junk.swu").code == 10
    assert unit.markers() == ("failed", "3")
    assert states(unit) == ["FAILED"]


def test_running_is_not_cut(unit: Unit) -> None:
    raw = unit.image().read_bytes()
    process = unit.start("install", "-")
    assert process.stdin is not None
    process.stdin.write(raw[: len(raw) // 2])
    process.stdin.flush()
    until(lambda: unit.markers() == ("in_progress", "7"))
    run_folder = str(unit.device.run)
    assert unit.confirm(RUNTIME_DIRECTORY=run_folder).code == 75
    assert "WRITING 2.4.0 now" in unit.swagent("info", RUNTIME_DIRECTORY=run_folder).text
    process.stdin.write(raw[len(raw) // 2 :])
    process.communicate()
    assert process.returncode == 0
    assert unit.markers() == (None, "1")


# -- markers at each moment (swu format, 6.3)


def script_image(unit: Unit, *, bad_phase: str) -> Path:
    script = Member(
        "note.sh", f'#!/bin/sh\necho "$1" >> {unit.folder}/phases\n[ "$1" != {bad_phase} ]\n'.encode()
    )
    image = Member("rootfs.img", noise(3000))
    sections = {
        "images": [entry(image, device=f"{unit.device.root}/slot-b.img", installed_directly=True)],
        "scripts": [entry(script, type="shellscript")],
    }
    return unit.image("5.0", sections, script, image)


@pytest.mark.parametrize("bad_phase", ["preinst", "postinst"])
def test_markers_when_a_script_fails(unit: Unit, bad_phase: str) -> None:
    assert unit.install(script_image(unit, bad_phase=bad_phase)).code == 42
    assert unit.markers() == ("failed", "3")
    assert (unit.folder / "phases").read_text().splitlines()[-1] == "postfailure"
    assert states(unit) == ["FAILED"]


@pytest.mark.parametrize("piped", [False, True])
def test_markers_when_the_stream_is_bad(unit: Unit, piped: bool) -> None:
    """A direct member with a wrong digest; the script in front of it has arrived, and is told of the failure."""
    raw = script_image(unit, bad_phase="none").read_bytes()
    at = raw.rindex(noise(3000)[-100:])
    raw = raw[:at] + bytes(100) + raw[at + 100 :]
    if piped:
        done = unit.swagent("install", "-", *unit.options(), stdin=raw)
    else:
        (unit.folder / "bad.swu").write_bytes(raw)
        done = unit.install(unit.folder / "bad.swu")
    assert done.code in (10, 21), done.text
    assert unit.markers() == ("failed", "3")
    assert (unit.folder / "phases").read_text() == "postfailure\n"


def test_a_script_that_has_not_arrived_is_passed_over(unit: Unit) -> None:
    script = Member("late.sh", f'#!/bin/sh\necho "$1" >> {unit.folder}/phases\n'.encode())
    early = Member("early.sh", f'#!/bin/sh\necho "early $1" >> {unit.folder}/phases\n'.encode())
    image = Member("rootfs.img", noise(3000))
    sections = {
        "images": [entry(image, device=f"{unit.device.root}/slot-b.img", installed_directly=True)],
        "scripts": [entry(script, type="shellscript"), entry(early, type="shellscript")],
    }
    raw = bytearray(unit.image("5.0", sections, early, image, script).read_bytes())
    at = raw.index(noise(3000)[:100])
    raw[at : at + 100] = bytes(100)
    done = unit.swagent("install", "-", "--json", *unit.options(), stdin=bytes(raw))
    assert done.code in (10, 21), done.text
    assert "late.sh had not arrived yet" in done.text
    assert (unit.folder / "phases").read_text() == "early postfailure\n"
    assert unit.markers() == ("failed", "3")


def test_markers_stay_away_before_any_write_and_in_a_dry_run(unit: Unit) -> None:
    path = unit.image()
    assert unit.install(path, "--max-version", "1.0").code == 31
    assert unit.install(path, "-n").ok
    assert unit.markers() == (None, None)
    assert not unit.state.exists() or not list(unit.state.iterdir())


def test_markers_that_are_switched_off(unit: Unit) -> None:
    assert unit.install(unit.image(), "-M", "-m").ok
    unit.reboot()
    assert unit.confirm().ok
    assert unit.markers() == (None, None)


# -- the floor


def test_the_version_floor(unit: Unit) -> None:
    asks = {"SWAGENT_VERSION_FLOOR": "true"}
    new, old = unit.image("2.4.0"), unit.image("2.3.0")
    assert unit.install(new, **asks).ok
    unit.reboot()
    assert unit.confirm(**asks).ok
    assert unit.env()["swagent_floor"] == "2.4.0"
    assert unit.install(old).ok, "nobody asked for the floor"
    (unit.state / "journal.json").unlink()
    refused = unit.install(old, **asks)
    assert refused.code == 31
    assert "2.3.0 is below 2.4.0" in " ".join(refused.text.split())
    assert unit.install(old, "--below-floor", " ", **asks).code == 2
    assert unit.install(old, "--below-floor", "no floor here").code == 2
    forced = unit.install(old, "--below-floor", "field trial 7", **asks)
    assert forced.ok
    assert "field trial 7" in forced.text
    updates = unit.info()["updates"]
    assert isinstance(updates, list)
    assert updates[0]["why"] == "below the floor: field trial 7"
    unit.reboot()
    assert unit.confirm(**asks).ok
    assert unit.info()["floor"] == "2.4.0"
    assert unit.env()["swagent_floor"] == "2.4.0"


# -- where the journal is


def test_a_journal_that_cannot_be_kept_is_a_refusal(unit: Unit) -> None:
    (unit.folder / "file").write_text("")
    folder = str(unit.folder / "file" / "state")
    refused = unit.install(unit.image(), "--state-directory", folder)
    assert refused.code == 70
    assert unit.markers() == (None, None)
    assert unit.install(unit.image(), "--state-directory", "none").ok
    assert unit.confirm("--state-directory", "none").code == 70


def test_a_damaged_journal_stops_no_update(unit: Unit) -> None:
    unit.state.mkdir()
    (unit.state / "journal.json").write_text("{")
    (unit.state / "refused.json").write_text("[]")
    done = unit.install(unit.image())
    assert done.ok
    told = " ".join(done.text.split())
    assert "journal.json cannot be understood" in told
    assert "refused.json cannot be understood" in told
    assert states(unit) == ["COMMITTED"]


# -- over an update that is not confirmed


def test_an_unconfirmed_update_is_not_installed_over(unit: Unit) -> None:
    unit.confirmed_once()
    assert unit.install(unit.image()).ok
    assert unit.install(unit.image("2.4.1")).ok, "before its first boot it may be replaced"
    unit.reboot()
    later = unit.image("2.5.0")
    before = unit.device.snapshot()
    refused = unit.install(later)
    assert refused.code == 34
    assert "2.4.1, has not been confirmed" in " ".join(refused.text.split())
    assert unit.device.snapshot() == before
    assert unit.install(later, "-n").ok, "a dry run asks nobody"
    assert unit.install(later, "--over-unconfirmed", " ").code == 2
    forced = unit.install(later, "--over-unconfirmed", "field trial 8")
    assert forced.ok
    assert "2.4.1 has not been confirmed: field trial 8" in " ".join(forced.text.split())
    updates = unit.info()["updates"]
    assert isinstance(updates, list)
    assert updates[0]["why"] == "over an unconfirmed one: field trial 8"
    unit.reboot()
    assert unit.confirm().ok
    assert unit.install(unit.image("2.6.0"), "--over-unconfirmed", "for nothing").ok
    updates = unit.info()["updates"]
    assert isinstance(updates, list)
    assert updates[0]["why"] == ""


def test_an_update_that_is_replaced_before_its_first_boot_is_not_booted_meanwhile(unit: Unit) -> None:
    assert unit.install(unit.image()).ok
    assert unit.env()["slot"] == "b"
    raw = unit.image("2.4.1").read_bytes()
    process = unit.start("install", "-")
    assert process.stdin is not None
    process.stdin.write(raw[: len(raw) // 2])
    process.stdin.flush()
    until(lambda: unit.markers() == ("in_progress", "7"))
    assert unit.env()["slot"] == "a"
    process.stdin.write(raw[len(raw) // 2 :])
    process.communicate()
    assert process.returncode == 0
    assert (unit.env()["slot"], unit.markers()) == ("b", (None, "1"))


def test_one_that_others_have_confirmed_is(unit: Unit) -> None:
    need("fw_setenv")
    assert unit.install(unit.image()).ok
    unit.reboot()
    assert run(["fw_setenv", "-c", unit.device.root / "fw_env.config", "ustate", "0"]).ok
    assert unit.install(unit.image("2.5.0")).ok


def test_a_unit_that_never_confirms_goes_on_updating(unit: Unit) -> None:
    for version in ("2.4.0", "2.5.0", "2.6.0"):
        assert unit.install(unit.image(version)).ok
        unit.reboot()


def test_check_tells_of_that_gate(unit: Unit) -> None:
    unit.confirmed_once()
    assert unit.install(unit.image()).ok
    unit.reboot()
    told = unit.swagent(
        "check", unit.image("2.5.0"), "-H", "board:1.0", "-k", unit.device.folder / "public.pem",
        SWAGENT_BOOTLOADER="uboot", SWAGENT_FWENV_CONFIG_LOCATION=str(unit.device.root / "fw_env.config"),
    )  # fmt: skip
    assert told.code == 34
    assert re.search(r"fallback +no: the last update, 2\.4\.0, has not been confirmed", told.text)


# -- why


def test_why_tells_each_verdict_and_changes_nothing(unit: Unit) -> None:
    def why() -> str:
        before = unit.device.snapshot()
        done = unit.confirm("--why")
        assert done.ok
        assert unit.device.snapshot() == before
        return done.text.strip()

    assert why() == "no update is known"
    assert unit.install(unit.image()).ok
    assert why() == "2.4.0 is COMMITTED, and waits for its first boot"
    unit.reboot()
    assert why() == "2.4.0 is COMMITTED, and not confirmed yet: run `swagent confirm`"
    unit.check("10-network", "exit 0")
    assert unit.confirm().ok
    assert re.fullmatch(r"check +verdict +took\n10-network +passed +.*\n\n2\.4\.0 is CONFIRMED", why())
    script_image(unit, bad_phase="postinst")
    assert unit.install(unit.folder / "5.0.swu").code == 42
    assert re.match(r"5\.0 is FAILED: .*note\.sh", why())
