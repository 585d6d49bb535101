"""Damaged metadata in every encoding: a typed refusal or the same meaning, soon and in little memory."""

import random
import resource
from time import process_time

import pytest

from swagent.uptane.codecs import NAMES
from tests.fuzz import fuzz_uptane
from tests.fuzz.test_seeds import mutated

SAMPLE, WHOLE = 1_000, 100_000


def run(dialect: str, count: int) -> None:
    number = NAMES.index(dialect)
    seeds = [seed for seed in fuzz_uptane.seeds() if seed[0] % 4 == number]
    dice = random.Random(f"mutations of {dialect}")
    slowest_s = 0.0
    for _ in range(count):
        data = mutated(seeds, dice)
        data = bytes([data[0] // 4 * 4 % 16 + number]) + data[1:] if data else b""
        begun_s = process_time()
        fuzz_uptane.one_input(data)
        slowest_s = max(slowest_s, process_time() - begun_s)
    assert slowest_s < 2.0


@pytest.mark.parametrize("dialect", NAMES)
def test_a_sample(dialect: str) -> None:
    run(dialect, SAMPLE)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("dialect", NAMES)
def test_all(dialect: str) -> None:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(dialect, WHOLE)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 64 * 1024
