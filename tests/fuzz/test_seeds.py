"""Every fuzz target on its seeds, its kept corpus and mutations of both; `tools/fuzz` does it at length."""

import importlib
import random
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
NAMES = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))
MUTATIONS = 200


def target(name: str) -> ModuleType:
    return importlib.import_module(f"tests.fuzz.fuzz_{name}")


def mutated(seeds: list[bytes], dice: random.Random) -> bytes:
    """A seed with a few bytes flipped, cut, doubled, overwritten or taken from another seed."""
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(data) + 1)
        until = min(len(data), at + dice.randint(1, 16))
        match dice.randrange(6):
            case 0 if at < len(data):
                data[at] ^= 1 << dice.randrange(8)
            case 1:
                del data[at:until]
            case 2:
                data[at:at] = data[at:until]
            case 3:
                data[at:until] = dice.choice(
                    [b"\0", b"\xff" * 4, b"FFFFFFFF", b"-1", b"\n", b'"', b"{", b"\xed\xa0\x80"]
                )
            case 4:
                del data[at:]
            case _:
                other = dice.choice(seeds)
                data[at:] = other[len(other) * at // (len(data) + 1) :]
    return bytes(data)


def test_there_are_targets() -> None:
    assert NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_target_holds(name: str) -> None:
    module = target(name)
    kept = [path.read_bytes() for path in sorted((HERE / "corpus" / name).glob("*"))]
    seeds = [*module.seeds(), *kept]
    assert module.seeds()
    dice = random.Random(name)
    for data in [b"", *seeds, *(mutated(seeds, dice) for _ in range(MUTATIONS))]:
        try:
            module.one_input(data)
        except Exception as exc:
            raise AssertionError(f"{name} does not hold on {data[:400]!r}") from exc
