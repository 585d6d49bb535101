"""Temporary folders: of a session, and those that killed sessions left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swagent.errors import DeviceError
from swagent.hw.mount import mount_points
from swagent.installer.workspace import Workspace
from tests.faults.device import Device
from tests.faults.images import Member, described, entry, noise, signed
from tests.programs import PROJECT

ONE, OTHER = "0123456789ab", "ba9876543210"


def test_only_when_it_is_needed(tmp_path: Path) -> None:
    space = Workspace(str(tmp_path), ONE)
    space.remove()
    assert list(tmp_path.iterdir()) == []
    assert space.path() == space.path() == str(tmp_path / f"swagent-{ONE}")
    assert (tmp_path / f"swagent-{ONE}").stat().st_mode & 0o777 == 0o700
    space.remove()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DeviceError, match="temporary folder"):
        Workspace(str(tmp_path / "missing"), ONE).path()


def test_what_is_held_or_not_ours_stays(tmp_path: Path) -> None:
    held = Workspace(str(tmp_path), OTHER)
    held.path()
    for name in ("swagent-notes", "swagent-0123", f"other-{ONE}"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "swagent-aaaaaaaaaaaa").write_text("a file")
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "swagent-bbbbbbbbbbbb").symlink_to("elsewhere")
    (tmp_path / "swagent-cccccccccccc").mkdir(mode=0o755)
    before = sorted(tmp_path.iterdir())
    space = Workspace(str(tmp_path), ONE)
    assert space.remove_stale() == []
    assert sorted(tmp_path.iterdir()) == before
    held.remove()


def test_what_nobody_holds_goes(tmp_path: Path) -> None:
    stale = tmp_path / f"swagent-{OTHER}"
    (stale / "staged").mkdir(mode=0o700, parents=True)
    stale.chmod(0o700)
    (stale / "staged" / "rootfs.img").write_bytes(b"half")
    assert Workspace(str(tmp_path), ONE).remove_stale() == [str(stale)]
    assert not stale.exists()
    assert Workspace(str(tmp_path / "missing"), ONE).remove_stale() == []


def test_mount_points(tmp_path: Path) -> None:
    (tmp_path / "info").write_text(
        "22 1 8:2 / / rw - ext4 /dev/sda2 rw\n23 22 0:5 / /tmp/a\\040b rw - tmpfs none rw\n"
    )
    assert mount_points(str(tmp_path / "info")) == ["/", "/tmp/a b"]
    assert "/proc" in mount_points()


@pytest.mark.root
def test_what_something_is_mounted_on_stays(tmp_path: Path) -> None:
    inner = tmp_path / f"swagent-{OTHER}" / "mnt"
    inner.mkdir(parents=True)
    inner.parent.chmod(0o700)
    subprocess.run(["mount", "-t", "tmpfs", "none", str(inner)], check=True)
    try:
        (inner / "precious").write_text("not ours")
        assert Workspace(str(tmp_path), ONE).remove_stale() == []
        assert (inner / "precious").exists()
    finally:
        subprocess.run(["umount", str(inner)], check=True)


def test_a_kill_while_a_stream_is_staged_leaves_nothing_for_ever(tmp_path: Path) -> None:
    device = Device(tmp_path / "unit")
    member = Member("rootfs.img", noise(3 << 20))
    text = described({"images": [entry(member, device=f"{device.root}/slot-b.img")]})
    parts = signed(text, member)
    raw = b"".join(part.encode(b"070701") for part in parts)
    process = subprocess.Popen(
        [sys.executable, "-m", "swagent", "install", "-", *device.options()],
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(device.tmp), "RUNTIME_DIRECTORY": str(device.run)},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    process.stdin.write(raw[: 2 << 20])
    process.stdin.flush()
    deadline_s = time.monotonic() + 20
    while not list(device.tmp.glob("swagent-*/staged/rootfs.img")):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    assert list(device.tmp.glob("swagent-*"))
    image = device.install(raw + Member("TRAILER!!!", b"").encode(b"070701"), pipe=True)
    assert image.code == 0, image
    assert list(device.tmp.iterdir()) == []
