"""Each check of the core is missed by a test when it is turned off: all of them, and a few in every run."""

import subprocess
import sys
from pathlib import Path

import pytest

from .mutants import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent.parent
SAMPLE = "2"


def mutate(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "mutate-uptane"), *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_check_is_there(mutant: Mutant) -> None:
    """So that a check that moved is not forgotten here."""
    source = (ROOT / "swagent" / mutant.file).read_text()
    assert source.count(mutant.check) == 1


def test_a_sample() -> None:
    mutate("--sample", SAMPLE, "7")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all() -> None:
    mutate()
