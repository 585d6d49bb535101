"""The unit that is shipped, as systemd judges it."""

import subprocess
from pathlib import Path

from tests.programs import need

UNIT = Path(__file__).parents[2] / "systemd" / "swagent-uptane.service"


def test_it_is_hardened() -> None:
    need("systemd-analyze")
    run = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr
