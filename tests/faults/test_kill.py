"""SIGKILL at any moment of an update of two copies: what boots next is always complete, and the next update succeeds.

The boot environment is made by U-Boot's mkenvimage and judged by fw_printenv.
"""

import hashlib
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.programs import need

from .device import ENV_BYTES, Device
from .images import Member, described, entry, noise, signed

MIB = 1 << 20
IMAGE_BYTES = 32 * MIB
PROJECT = Path(__file__).parents[2]
OTHER = {"a": "b", "b": "a"}


class Unit:
    """A device with two copies of its system, and updates of either content for either copy."""

    def __init__(self, folder: Path, *, piped: bool) -> None:
        need("mkenvimage", "fw_printenv")
        self.device = Device(folder)
        self.piped = piped
        contents = [noise(IMAGE_BYTES, seed) for seed in (1, 2)]
        self.digests = {hashlib.sha256(content).hexdigest(): index for index, content in enumerate(contents)}
        root = self.device.root
        self.updates: dict[tuple[str, int], Path] = {}
        for index, content in enumerate(contents):
            member = Member("rootfs.img", content)
            for slot in "ab":
                text = described(
                    {
                        "images": [entry(member, device=f"{root}/slot-{slot}.img", installed_directly=True)],
                        "bootenv": [f'{{ name = "slot"; value = "{slot}"; }}'],
                    }
                )
                self.updates[slot, index] = path = folder / f"{slot}{index}.swu"
                with path.open("wb") as file:
                    for part in signed(text, member):
                        file.write(part.encode(b"070701"))
                    file.write(Member("TRAILER!!!", b"").encode(b"070701"))
        for slot in "ab":
            (root / f"slot-{slot}.img").write_bytes(contents[0])
        (folder / "env.txt").write_text("slot=a\nbootcount=0\n")
        made = ["mkenvimage", "-r", "-s", hex(ENV_BYTES), "-o", str(folder / "copy"), str(folder / "env.txt")]
        subprocess.run(made, check=True, capture_output=True)
        (root / "env.bin").write_bytes((folder / "copy").read_bytes() * 2)

    def slot(self) -> str:
        """What U-Boot would start, as fw_printenv tells; it must be complete."""
        config = str(self.device.root / "fw_env.config")
        done = subprocess.run(["fw_printenv", "-c", config], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "default" not in done.stderr.lower(), (
            done.stderr
        )  # it falls back to defaults without a valid copy
        variables = dict(line.split("=", 1) for line in done.stdout.splitlines())
        assert variables["bootcount"] == "0"
        return variables["slot"]

    def content(self, slot: str) -> int | None:
        """Which content a copy holds, None when it is neither."""
        with (self.device.root / f"slot-{slot}.img").open("rb") as file:
            return self.digests.get(hashlib.file_digest(file, "sha256").hexdigest())

    def start(self) -> tuple[subprocess.Popen[bytes], str, int]:
        """Begin an update of the copy that does not run, with a content that it does not have."""
        slot = OTHER[self.slot()]
        index = 0 if self.content(slot) == 1 else 1
        update = str(self.updates[slot, index])
        device = self.device
        env = {**os.environ, "TMPDIR": str(device.tmp), "RUNTIME_DIRECTORY": str(device.run)}
        how = ["install", "-"] if self.piped else ["-i", update]
        argv = [sys.executable, "-m", "swagent", *how, "--json", *device.options()]
        source = subprocess.Popen(["cat", update], stdout=subprocess.PIPE) if self.piped else None
        process = subprocess.Popen(
            argv,
            stdin=source.stdout if source else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            cwd=PROJECT,
        )
        if source is not None and source.stdout is not None:
            source.stdout.close()  # the pipe breaks when swagent dies, which ends cat
            self.source = source
        return process, slot, index

    def finish(self, process: subprocess.Popen[bytes]) -> list[str]:
        """Wait for its end; the names of the events that it told of."""
        assert process.stdout is not None
        with process.stdout as out:
            lines = out.read().decode().splitlines()
        process.wait()
        if self.piped:
            self.source.wait()
        return [line.split('"event": "', 1)[1].split('"', 1)[0] for line in lines if line.endswith("}")]

    def update(self) -> float:
        """A whole update; how many seconds it took."""
        begun_s = time.monotonic()
        process, slot, index = self.start()
        events = self.finish(process)
        assert process.returncode == 0, events
        assert (self.slot(), self.content(slot)) == (slot, index)
        return time.monotonic() - begun_s

    def judge(self) -> str:
        """What boots next is complete."""
        slot = self.slot()
        assert self.content(slot) is not None, f"copy {slot} boots next and is neither content"
        return slot


def reached(events: list[str]) -> str:
    """How far an update had come."""
    for event in ("update.verdict", "bootenv.done", "artifact.done", "artifact.started", "update.started"):
        if event in events:
            return event
    return "nothing"


def kill_at_random(unit: Unit, dice: random.Random, count: int) -> Counter[str]:
    """Kill ``count`` updates; how far they had come.

    Every other one is killed at any moment from its start on, the rest at any moment from when the image is begun:
    however slow the machine, half of the kills come while it is written or later.
    """
    usual_s = min(unit.update() for _ in range(2))
    stages: Counter[str] = Counter()
    for attempt in range(count):
        process, slot, index = unit.start()
        begun = ["update.started", "artifact.started"] if attempt % 2 else []
        if begun:
            wait_for(process, b'"artifact.started"')
        time.sleep(dice.uniform(0, usual_s * (0.6 if begun else 1.05)))
        process.kill()
        stages[reached([*begun, *unit.finish(process)])] += 1
        if unit.judge() == slot:
            assert unit.content(slot) == index
    unit.update()
    assert not list(unit.device.root.glob("*.tmp"))
    return stages


def kill_at_commit(unit: Unit, dice: random.Random, count: int) -> Counter[bool]:
    """Kill ``count`` updates when the image is almost or just written; which had switched."""
    switched: Counter[bool] = Counter()
    until_written_s = 0.0
    for attempt in range(count + 1):
        process, slot, index = unit.start()
        assert process.stdout is not None
        wait_for(process, b'"artifact.started"')
        begun_s = time.monotonic()
        if attempt == 0:
            wait_for(process, b'"artifact.done"')
            until_written_s = time.monotonic() - begun_s
            unit.finish(process)
            continue
        time.sleep(until_written_s * dice.uniform(0.8, 1.1))
        process.kill()
        unit.finish(process)
        now = unit.judge()
        switched[now == slot] += 1
        if now == slot:
            assert unit.content(slot) == index
    unit.update()
    return switched


def wait_for(process: subprocess.Popen[bytes], event: bytes) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if event in line:
            return
    raise AssertionError(f"{event!r} never came")


@pytest.mark.parametrize("piped", [False, True])
def test_killed_at_any_moment(tmp_path: Path, piped: bool) -> None:
    stages = kill_at_random(Unit(tmp_path / "unit", piped=piped), random.Random(f"kill {piped}"), 8)
    assert sum(stages.values()) - stages["nothing"] - stages["update.started"] >= 4, stages


def test_killed_at_the_commit(tmp_path: Path) -> None:
    assert sum(kill_at_commit(Unit(tmp_path / "unit", piped=False), random.Random("commit"), 6).values()) == 6


@pytest.mark.slow
@pytest.mark.parametrize("piped", [False, True])
def test_killed_at_many_moments(tmp_path: Path, piped: bool) -> None:
    stages = kill_at_random(Unit(tmp_path / "unit", piped=piped), random.Random(f"kills {piped}"), 60)
    assert stages["artifact.started"] >= 5, stages
    assert len(stages) >= 3, stages


@pytest.mark.slow
def test_killed_at_many_commits(tmp_path: Path) -> None:
    switched = kill_at_commit(Unit(tmp_path / "unit", piped=False), random.Random("commits"), 60)
    assert switched[True] and switched[False], f"all kills came on one side of the commit: {switched}"
