"""The demo is the first thing that people try: it runs, tells the truth, and leaves nothing behind."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "tools" / "demo"


def test_the_demo(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl: apt-get install openssl")
    env = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "PYTHONPATH": str(DEMO.parents[1])}
    run = subprocess.run(
        [sys.executable, DEMO],
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert list(tmp_path.iterdir()) == []
    told = iter(run.stdout.splitlines())
    for words in (
        "boots next: copy1",
        "Built update.swu",
        "Installed 2.4.0",
        "boots next: copy2",
        "changed: kernel-b.img, rootfs-b.img, uboot-env.bin",
        "exit 20",
        "nothing changed",
        "exit 21",
        "nothing changed",
        "exit 21",
        "copy1 is incomplete",
    ):
        assert any(words in line for line in told), (
            f"{words!r} is not there, or not in its place:\n{run.stdout}"
        )
