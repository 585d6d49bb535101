"""Targets, scripts and surroundings that fail in the middle of an update: an error, no switch, nothing left behind."""

import fcntl
import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from .device import OLD_ENV, Device, Outcome
from .images import CRC, Image, Member, ab_image, described, entry, half_noise, noise, signed

pytestmark = pytest.mark.root
MIB = 1 << 20
FAILED = {**OLD_ENV, "recovery_status": "failed", "ustate": "3"}


@pytest.fixture(autouse=True)
def _as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: sudo")


@contextmanager
def small_filesystem(where: Path, *options: str) -> Iterator[Path]:
    """A tmpfs of 1 MiB."""
    where.mkdir(exist_ok=True)
    words = ",".join(["size=1m", *options])
    if subprocess.run(["mount", "-t", "tmpfs", "-o", words, "none", str(where)], check=False).returncode:
        pytest.skip("needs to mount a tmpfs: run outside of an unprivileged container")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


@contextmanager
def loop_device(backing: Path, *options: str) -> Iterator[str]:
    """A block device that is a file."""
    done = subprocess.run(
        ["losetup", *options, "--show", "-f", str(backing)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"needs a loop device: {done.stderr.strip()}")
    name = done.stdout.strip()
    try:
        yield name
    finally:
        subprocess.run(["losetup", "-d", name], check=True)


def switching(sections: dict[str, list[str]], *members: Member, **facts: object) -> Image:
    """An image that also switches the boot environment to slot b."""
    text = described({**sections, "bootenv": ['{ name = "slot"; value = "b"; }']})
    return Image("made", CRC, signed(text, *members), **facts)  # type: ignore[arg-type]  # facts are Image's fields


def raw_to(device: str, data: bytes, **attributes: str | int | bool) -> Image:
    member = Member("rootfs.img", data)
    return switching(
        {"images": [entry(member, device=device, installed_directly=True, **attributes)]}, member
    )


def refused(device: Device, outcome: Outcome, code: int, env: dict[str, str]) -> None:
    """An error with this code, no traceback, this boot environment, nothing left in the temporary folder."""
    assert outcome.code == code, outcome
    assert "Traceback" not in outcome.stderr
    assert device.env() == env, outcome
    assert list(device.tmp.iterdir()) == [], outcome


WAYS = [False, True]


# -- targets


@pytest.mark.parametrize("pipe", WAYS)
def test_a_device_too_small_is_refused_beforehand(device: Device, pipe: bool) -> None:
    backing = device.folder / "backing"
    backing.write_bytes(bytes(MIB))
    with loop_device(backing) as name:
        image = raw_to(name, noise(2 * MIB), size=2 * MIB)
        refused(device, device.install(image.raw, pipe=pipe), 34, OLD_ENV)
        assert backing.read_bytes() == bytes(MIB)


@pytest.mark.parametrize("pipe", WAYS)
def test_an_image_that_outgrows_its_device(device: Device, pipe: bool) -> None:
    """Compressed, and nobody says how long it becomes: found out when the device is full."""
    backing = device.folder / "backing"
    backing.write_bytes(bytes(MIB))
    with loop_device(backing) as name:
        image = raw_to(name, gzip.compress(half_noise(2 * MIB), 1), compressed="zlib")
        outcome = device.install(image.raw, pipe=pipe)
        refused(device, outcome, 23, FAILED)
        assert backing.stat().st_size == MIB


def test_a_filesystem_too_small_for_its_slot_file(device: Device) -> None:
    with small_filesystem(device.folder / "small") as small:
        slot = small / "slot.img"
        slot.write_bytes(b"old")
        image = raw_to(str(slot), noise(2 * MIB))
        refused(device, device.install(image.raw, pipe=False), 23, FAILED)
        assert slot.read_bytes() == b"old"


@pytest.mark.parametrize("pipe", WAYS)
def test_a_full_filesystem_keeps_the_old_file(device: Device, pipe: bool) -> None:
    with small_filesystem(device.folder / "small") as small:
        (small / "app.bin").write_bytes(b"old")
        member = Member("app.bin", noise(2 * MIB))
        image = switching(
            {"files": [entry(member, path=str(small / "app.bin"), atomic_install=True)]}, member
        )
        outcome = device.install(image.raw, pipe=pipe)
        assert outcome.code in (23, 34, 41), outcome
        refused(device, outcome, outcome.code, OLD_ENV if outcome.code == 34 else FAILED)
        assert [path.name for path in small.iterdir()] == ["app.bin"]
        assert (small / "app.bin").read_bytes() == b"old"


def test_a_device_that_fails_while_it_is_written(device: Device) -> None:
    """Its backing file has holes that nothing can fill: the kernel answers EIO or ENOSPC."""
    with small_filesystem(device.folder / "small") as small:
        backing = small / "backing"
        backing.touch()
        os.truncate(backing, 4 * MIB)
        with loop_device(backing) as name:
            image = raw_to(name, noise(4 * MIB))
            refused(device, device.install(image.raw, pipe=False), 41, FAILED)


def test_a_write_protected_device(device: Device) -> None:
    backing = device.folder / "backing"
    backing.write_bytes(bytes(MIB))
    with loop_device(backing, "-r") as name:
        outcome = device.install(raw_to(name, noise(MIB)).raw, pipe=False)
        refused(device, outcome, 41, FAILED)
        assert name in outcome.stderr


def test_a_read_only_filesystem(device: Device) -> None:
    with small_filesystem(device.folder / "small") as small:
        (small / "slot.img").write_bytes(b"old")
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        outcome = device.install(raw_to(str(small / "slot.img"), noise(1000)).raw, pipe=False)
        refused(device, outcome, 41, FAILED)
        assert "slot.img" in outcome.stderr


@pytest.mark.parametrize("pipe", WAYS)
def test_a_missing_target_is_refused_beforehand(device: Device, pipe: bool) -> None:
    outcome = device.install(raw_to(f"{device.root}/nothing.img", noise(1000)).raw, pipe=pipe)
    refused(device, outcome, 34, OLD_ENV)
    assert not (device.root / "nothing.img").exists()


@pytest.mark.parametrize("pipe", WAYS)
def test_a_missing_target_of_a_staged_image(device: Device, pipe: bool) -> None:
    """A pre-install script might have made it, so it is looked for when its turn comes."""
    member = Member("rootfs.img", noise(1000))
    image = switching({"images": [entry(member, device=f"{device.root}/nothing.img")]}, member)
    refused(device, device.install(image.raw, pipe=pipe), 41, FAILED)
    assert not (device.root / "nothing.img").exists()


def test_a_missing_boot_environment_is_refused_beforehand(device: Device) -> None:
    (device.root / "env.bin").write_bytes(bytes(0x4000))
    before = device.snapshot()
    image = ab_image(str(device.root))
    outcome = device.install(image.raw, image, pipe=False)
    assert outcome.code == 45, outcome
    assert device.snapshot() == before


# -- the temporary folder


def staged_image(root: str, size_bytes: int) -> Image:
    member = Member("rootfs.img", noise(size_bytes))
    script = Member("note.sh", b"#!/bin/sh\n")
    return switching(
        {
            "images": [entry(member, device=f"{root}/slot-b.img")],
            "scripts": [entry(script, type="shellscript")],
        },
        member,
        script,
    )


def test_no_room_to_stage(device: Device) -> None:
    image = staged_image(str(device.root), 2 * MIB)
    before = device.snapshot()
    with small_filesystem(device.tmp):
        outcome = device.install(image.raw, pipe=True)
        refused(device, outcome, 41, OLD_ENV)
        assert "TMPDIR" in outcome.stderr
    assert device.snapshot() == before


@pytest.mark.parametrize("inodes", range(1, 7))
@pytest.mark.parametrize("pipe", WAYS)
def test_the_temporary_folder_fills_at_any_step(device: Device, pipe: bool, inodes: int) -> None:
    """One more file or folder each time, until it is enough."""
    image = staged_image(str(device.root), 1000)
    before = device.snapshot()
    with small_filesystem(device.tmp, f"nr_inodes={inodes}"):
        outcome = device.install(image.raw, pipe=pipe)
        if outcome.code == 0:
            assert inodes >= 4
            return
        refused(device, outcome, 41, OLD_ENV)
    assert device.snapshot() == before


def test_no_temporary_folder(device: Device) -> None:
    device.tmp.rmdir()
    image = staged_image(str(device.root), 1000)
    outcome = device.install(image.raw, pipe=True)
    assert outcome.code == 41, outcome
    assert device.env() == OLD_ENV


# -- scripts


def scripted(device: Device, *, fails_in: str) -> Image:
    """A direct image, a file, and two scripts that note their phases; the first fails in one of them."""
    note = f'echo "$0 $1" | sed "s:.*/::" >> {device.root}/files/phases\n'
    first = Member("first.sh", f'#!/bin/sh\n{note}[ "$1" = {fails_in} ] && exit 7\nexit 0\n'.encode())
    second = Member("second.sh", f"#!/bin/sh\n{note}".encode())
    direct = Member("rootfs.img", noise(5000))
    file = Member("app.conf", b"colour = green\n")
    return switching(
        {
            "images": [entry(direct, device=f"{device.root}/slot-b.img", installed_directly=True)],
            "files": [entry(file, path=f"{device.root}/files/app.conf")],
            "scripts": [entry(first, type="shellscript"), entry(second, type="shellscript")],
        },
        first,
        direct,
        file,
        second,
    )


@pytest.mark.parametrize("pipe", WAYS)
@pytest.mark.parametrize(
    ("fails_in", "phases", "installed"),
    [
        ("preinst", ["first.sh preinst", "first.sh postfailure", "second.sh postfailure"], False),
        (
            "postinst",
            ["first.sh preinst", "second.sh preinst", "first.sh postinst", "first.sh postfailure",
             "second.sh postfailure"],
            True,
        ),
    ],
)  # fmt: skip
def test_a_script_fails(
    device: Device, pipe: bool, fails_in: str, phases: list[str], installed: bool
) -> None:
    outcome = device.install(scripted(device, fails_in=fails_in).raw, pipe=pipe)
    refused(device, outcome, 42, FAILED)
    assert (device.root / "files" / "phases").read_text().splitlines() == phases
    content = (device.root / "files" / "app.conf").read_bytes()
    assert content == (b"colour = green\n" if installed else b"colour = red\n")


def test_a_failing_postfailure_hides_nothing(device: Device) -> None:
    """The first script fails in both phases: the verdict is on the first failure, the second script is not asked."""
    image = scripted(device, fails_in='preinst ] || [ "$1" = postfailure')
    outcome = device.install(image.raw, pipe=False)
    refused(device, outcome, 42, FAILED)
    phases = (device.root / "files" / "phases").read_text().splitlines()
    assert phases == ["first.sh preinst", "first.sh postfailure"]


@pytest.mark.parametrize("option", ["-P", "-p"])
def test_a_failing_command_of_the_settings(device: Device, option: str) -> None:
    image = ab_image(str(device.root))
    outcome = device.install(image.raw, image, pipe=False, more=(option, "exit 3"))
    assert outcome.code == 42, outcome
    # before: nothing was written. After: the update is in force, only its sequel failed
    assert device.env() == (OLD_ENV if option == "-P" else {**OLD_ENV, "slot": "b", "ustate": "1"})


# -- the image changes under our hands


DATA = b"HERE BE DATA" + noise(MIB)
"""More than what a source keeps of the file once it has read its headers."""


def changing(device: Device, how: str) -> str:
    """A shell command that changes the image which is being installed."""
    swu = device.folder / "update.swu"
    at = '$(grep -abo "HERE BE DATA" "$f" | tail -1 | cut -d: -f1)'
    change = {
        "overwrite": f"at={at}; printf X | dd of=$f bs=1 seek=$((at + 500000)) conv=notrunc status=none",
        "truncate": f"at={at}; truncate -s $((at + 5000)) $f",
        "empty": "truncate -s 0 $f",
    }[how]
    return f"f={swu}; {change}"


@pytest.mark.parametrize(("how", "code"), [("overwrite", 21), ("truncate", 10), ("empty", 10)])
def test_the_file_changes_before_a_direct_image(device: Device, how: str, code: int) -> None:
    image = raw_to(f"{device.root}/slot-b.img", DATA)
    outcome = device.install(image.raw, pipe=False, more=("-P", changing(device, how)))
    refused(device, outcome, code, FAILED)


@pytest.mark.parametrize(("how", "code"), [("overwrite", 21), ("truncate", 10), ("empty", 10)])
def test_the_file_changes_before_a_staged_image(device: Device, how: str, code: int) -> None:
    """It was verified; a script changes it; it is verified again as it is written."""
    member = Member("rootfs.img", DATA)
    script = Member(
        "change.sh", f'#!/bin/sh\n[ "$1" = preinst ] || exit 0\n{changing(device, how)}\n'.encode()
    )
    image = switching(
        {
            "images": [entry(member, device=f"{device.root}/slot-b.img")],
            "scripts": [entry(script, type="shellscript")],
        },
        script,
        member,
    )
    outcome = device.install(image.raw, pipe=False)
    refused(device, outcome, code, FAILED)


@pytest.mark.parametrize("how", ["overwrite", "empty"])
def test_the_file_changes_before_a_file_is_replaced(device: Device, how: str) -> None:
    member = Member("app.conf", DATA)
    image = switching({"files": [entry(member, path=f"{device.root}/files/app.conf")]}, member)
    outcome = device.install(image.raw, pipe=False, more=("-P", changing(device, how)))
    refused(device, outcome, {"overwrite": 21, "empty": 10}[how], OLD_ENV)
    assert (device.root / "files" / "app.conf").read_bytes() == b"colour = red\n"
    assert sorted(path.name for path in (device.root / "files").iterdir()) == ["app.conf"]


# -- another process


class Running:
    """swagent in a process of its own, reading standard input."""

    def __init__(self, device: Device, argv: list[str]) -> None:
        env = {**os.environ, "TMPDIR": str(device.tmp), "RUNTIME_DIRECTORY": str(device.run)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "swagent", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=Path(__file__).parents[2],
        )

    def feed(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def end(self) -> Outcome:
        """Wait for its end; standard input stays open meanwhile."""
        assert self.process.stdin is not None
        code = self.process.wait(timeout=20)
        self.process.stdin.close()
        assert self.process.stdout is not None and self.process.stderr is not None
        with self.process.stdout as out, self.process.stderr as err:
            return Outcome(code, out.read().decode(), err.read().decode())

    def until(self, condition: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline_s, "it never came so far"
            assert self.process.poll() is None, self.end()
            time.sleep(0.01)


@pytest.fixture
def started() -> Iterator[Callable[[Device, list[str]], Running]]:
    runs: list[Running] = []

    def start(device: Device, argv: list[str]) -> Running:
        runs.append(Running(device, argv))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.end()


Start = Callable[[Device, list[str]], Running]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("compressed", [False, True])
def test_stopped_while_the_stream_stalls(
    device: Device, started: Start, number: signal.Signals, compressed: bool
) -> None:
    """Half of the image has come, and no more does: a signal still ends the update at once."""
    plain = half_noise(6 * MIB)
    image = ab_image(str(device.root), plain=plain)
    if not compressed:
        image = raw_to(f"{device.root}/slot-b.img", plain)
    raw = image.raw
    script = Member("note.sh", f'#!/bin/sh\necho "$1" >> {device.root}/files/phases\n'.encode())
    text = described(
        {
            "images": [
                entry(image.members[2], device=f"{device.root}/slot-b.img", installed_directly=True,
                      **({"compressed": "zlib"} if compressed else {}))
            ],
            "scripts": [entry(script, type="shellscript")],
            "bootenv": ['{ name = "slot"; value = "b"; }'],
        }
    )  # fmt: skip
    raw = replace(image, members=signed(text, script, image.members[2])).raw
    run = started(device, ["install", "-", *device.options()])
    run.feed(raw[: len(raw) // 2])
    run.until(lambda: (device.root / "slot-b.img").stat().st_size > MIB)
    run.process.send_signal(number)
    begun_s = time.monotonic()
    outcome = run.end()
    assert time.monotonic() - begun_s < 3
    refused(device, outcome, 80, FAILED)
    assert (device.root / "files" / "phases").read_text() == "postfailure\n"


def test_stopped_before_anything_came(device: Device, started: Start) -> None:
    """It waits for the first byte; nothing was touched."""
    before = device.snapshot()
    run = started(device, ["install", "-", *device.options()])
    run.until(lambda: (device.run / "swagent.lock").exists())
    time.sleep(0.3)
    run.process.send_signal(signal.SIGTERM)
    refused(device, run.end(), 80, OLD_ENV)
    assert device.snapshot() == before


def test_only_one_at_a_time(device: Device) -> None:
    image = ab_image(str(device.root))
    before = device.snapshot()
    with (device.run / "swagent.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        outcome = device.install(image.raw, image, pipe=False)
        refused(device, outcome, 75, OLD_ENV)
        assert device.snapshot() == before
        # looking does not disturb
        assert device.install(image.raw, image, pipe=False, more=("-c",)).code == 0
    assert device.install(image.raw, image, pipe=False).code == 0


def test_the_environment_is_locked_by_fw_setenv(device: Device, started: Start) -> None:
    """Whoever holds the boot environment for a moment delays the update, and does not fail it."""
    if shutil.which("fw_printenv") is None:
        pytest.skip("needs fw_printenv: apt-get install libubootenv-tool")
    image = ab_image(str(device.root))
    with Path("/var/lock/fw_printenv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run = started(device, ["install", "-", *device.options()])
        run.feed(image.raw)
        assert run.process.stdin is not None
        run.process.stdin.close()
        time.sleep(0.5)
        assert run.process.poll() is None
    assert run.end().code == 0
    assert device.env() == {**OLD_ENV, "slot": "b", "ustate": "1"}
