"""swagent on a system whose root file system is on a loop device: it writes the other copy, and never its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import PROJECT, Done, must, need, run, run_swagent

MIB = 1 << 20
CONTENT = os.urandom(MIB)

# a root file system of its own, with everything of this machine mounted into it, in a mount namespace of its own
ENTER = """
set -e
mount "$1" "$2"
for d in /*; do
    if [ -L "$d" ]; then cp -P "$d" "$2/"
    elif [ -d "$d" ]; then mkdir -p "$2$d"; mount --rbind "$d" "$2$d"
    fi
done
folder=$3
root=$2
shift 3
exec chroot "$root" sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
"""


class TwoCopies:
    """A running copy on a loop device, and an idle one."""

    def __init__(self, folder: Path, running: str, image: Path, idle: Path) -> None:
        self.folder = folder
        self.running = running
        self.image = image
        self.idle = idle

    def swagent(self, *words: str) -> Done:
        """Run it on the running copy."""
        private = self.folder / "tmp"
        env = {"PYTHONPATH": str(PROJECT), "TMPDIR": str(private), "RUNTIME_DIRECTORY": str(private)}
        inside = [sys.executable, "-m", "swagent", *words, "-f", "settings"]
        script = ["unshare", "-m", "sh", "-c", ENTER, "sh", self.running, str(self.folder / "root")]
        return run([*script, str(self.folder), *inside], env=env)


@pytest.fixture
def copies(tmp_path: Path) -> Iterator[TwoCopies]:
    if os.geteuid() != 0:
        pytest.skip("needs root for loop devices and namespaces")
    need("unshare", "mkfs.ext4", "losetup", "chroot")
    for name in ("root", "tmp"):
        (tmp_path / name).mkdir()
    image, idle = tmp_path / "copy1.img", tmp_path / "copy2.img"
    for path in (image, idle):
        with path.open("wb") as file:
            file.truncate(8 * MIB)
    must(["mkfs.ext4", "-q", image])
    made = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"needs loop devices: {made.stderr.strip()}")
    running = made.stdout.strip()
    (tmp_path / "rootfs").write_bytes(CONTENT)
    modes = {"copy1": running, "copy2": str(idle), "behind": str(image)}
    inner = " ".join(
        f'{mode}: {{ images: ( {{ filename = "rootfs"; type = "raw"; device = "{device}"; }} ); }};'
        for mode, device in modes.items()
    )
    (tmp_path / "sw-description").write_text(f'software = {{ version = "7"; stable: {{ {inner} }}; }};')
    slots = ", ".join(
        f'{{ selection = "stable,{mode}"; device = "{modes[mode]}"; }}' for mode in ("copy1", "copy2")
    )
    (tmp_path / "settings").write_text(f"globals : {{ }}; swagent : {{ slots : ( {slots} ); }};")
    built = run_swagent(["make", "-s", "sw-description", "-o", "update.swu", "--unsigned"], tmp_path)
    assert built.ok, built.text
    yield TwoCopies(tmp_path, running, image, idle)
    subprocess.run(["losetup", "-d", running], check=True)


def test_auto_is_the_copy_that_does_not_run(copies: TwoCopies) -> None:
    checked = copies.swagent("check", "update.swu", "--allow-unsigned", "-e", "auto")
    assert checked.ok, checked.text
    assert "selection stable,copy2 (auto: the copy that does not run)" in checked.text
    done = copies.swagent("-i", "update.swu", "--allow-unsigned", "-e", "auto", "--verify-write")
    assert done.ok, done.text
    assert copies.idle.read_bytes() == CONTENT + bytes(7 * MIB)


@pytest.mark.parametrize(
    ("mode", "message"),
    [("copy1", "{running} holds the running system"), ("behind", "{image} is the file behind {running}")],
)
def test_the_copy_that_runs_is_refused(mode: str, message: str, copies: TwoCopies) -> None:
    done = copies.swagent("-i", "update.swu", "--allow-unsigned", "-e", f"stable,{mode}", "--json")
    assert done.code == 34, done.text
    told = message.format(running=copies.running, image=copies.image)
    assert told in json.loads(done.text.splitlines()[-1])["message"]
