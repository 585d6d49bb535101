"""The units of Uptane's services that are shipped, as systemd judges them."""

import subprocess
from pathlib import Path

import pytest

from tests.programs import need

UNITS = Path(__file__).parents[2] / "systemd"


@pytest.mark.parametrize("name", ["swagent-uptane.service", "swagent-director.service"])
def test_it_is_hardened(name: str) -> None:
    need("systemd-analyze")
    run = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(UNITS / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr
