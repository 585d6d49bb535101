"""The conformance suite for TUF clients drives ``swagent uptane tuf``, where it is checked out; it is no package."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import PROJECT, need

VARIABLE = "TUF_CONFORMANCE"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_of_it(tmp_path: Path) -> None:
    checkout = os.environ.get(VARIABLE)
    if not checkout:
        pytest.skip(f"needs theupdateframework/tuf-conformance: set {VARIABLE} to a checkout of it")
    need("faketime")
    pytest.importorskip("tuf", reason="needs python-tuf: pip install tuf")
    client = tmp_path / "client"
    client.write_text(
        f'#!/bin/sh\nexec env PYTHONPATH={PROJECT} {sys.executable} -m swagent uptane tuf "$@"\n'
    )
    client.chmod(0o755)
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n0", "tuf_conformance"]
    done = subprocess.run(
        [*words, "--entrypoint", str(client)], cwd=checkout, capture_output=True, text=True, timeout=3500
    )
    passed = re.search(r"([0-9]+) passed", done.stdout)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert passed is not None
    print(f"{passed[1]} tests of the suite")
