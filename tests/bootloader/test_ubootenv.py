import pytest
from hypothesis import given
from hypothesis import strategies as st

from swagent.bootloader.ubootenv import build_copy, check_variable, newer, parse_variables, split_copy
from swagent.errors import BootEnvError
from tests.fuzz.fuzz_uboot_env import one_input, seeds

NAMES = st.text(st.characters(exclude_characters="=\0\n", codec="utf-8"), min_size=1, max_size=20)
VALUES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=40)


@given(st.dictionaries(NAMES, VALUES, max_size=10), st.none() | st.integers(0, 255))
def test_round_trip(variables: dict[str, str], flags: int | None) -> None:
    raw = build_copy(variables, 0x1000, flags=flags)
    assert len(raw) == 0x1000
    copy = split_copy(raw, redundant=flags is not None)
    assert copy is not None
    assert copy[0] == (flags or 0)
    assert parse_variables(copy[1]) == variables


def test_odd_bytes_survive() -> None:
    data = b"a=\xff\xfe\0\xc3\x28=x\0\0"
    variables = parse_variables(data)
    assert build_copy(variables, 64, flags=None)[4:].startswith(data)


@pytest.mark.parametrize(
    ("data", "variables"),
    [
        (b"\0\0", {}),
        (b"", {}),
        (b"a=1\0\0b=2\0", {"a": "1"}),
        (b"a=1\0noequals\0=noname\0b=\0a=2\0\0", {"a": "2", "b": ""}),
        (b"a=1\0b=to the end", {"a": "1", "b": "to the end"}),
        (b"a==b=c\0\0", {"a": "=b=c"}),
    ],
)
def test_parse(data: bytes, variables: dict[str, str]) -> None:
    assert parse_variables(data) == variables


def test_sorted_by_name() -> None:
    raw = build_copy({"b": "1", "B": "2", "a": "3", "_": "4", "ä": "5"}, 64, flags=None)
    assert raw[4:].startswith("B=2\0_=4\0a=3\0b=1\0ä=5\0\0".encode())


def test_full_to_the_last_byte() -> None:
    room_bytes = 64 - 5 - len("a=\0\0")
    assert split_copy(build_copy({"a": "x" * room_bytes}, 64, flags=1), redundant=True) is not None
    with pytest.raises(BootEnvError, match="room for 59 bytes, its variables need 60"):
        build_copy({"a": "x" * (room_bytes + 1)}, 64, flags=1)


@pytest.mark.parametrize("name", ["", "a=b", "a\0", "a\nb", "\ud800"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(BootEnvError):
        check_variable(name, "1")


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_values_that_cannot_be(value: str) -> None:
    with pytest.raises(BootEnvError):
        check_variable("a", value)


def test_damage_is_seen() -> None:
    raw = build_copy({"a": "1"}, 64, flags=1)
    for index in [*range(4), *range(5, 64)]:
        bad = bytearray(raw)
        bad[index] ^= 0x10
        assert split_copy(bytes(bad), redundant=True) is None
    assert split_copy(raw[:-1], redundant=True) is None
    assert split_copy(b"", redundant=True) is None
    assert split_copy(b"\xff" * 64, redundant=False) is None


@pytest.mark.parametrize(
    ("flags", "index"),
    [
        ((0, 0), 0),
        ((7, 7), 0),
        ((1, 0), 0),
        ((0, 1), 1),
        ((254, 255), 1),
        ((255, 0), 1),
        ((0, 255), 0),
        ((255, 1), 0),
        ((1, 255), 1),
    ],
)
def test_newer(flags: tuple[int, int], index: int) -> None:
    assert newer(*flags) == index


@given(st.sampled_from([b"c", b"l", b"1", b"2"]), st.binary(max_size=200))
def test_fuzz_target_on_any_bytes(kind: bytes, rest: bytes) -> None:
    one_input(kind + rest)


@given(st.sampled_from(seeds()), st.integers(0, 60), st.binary(min_size=1, max_size=3))
def test_fuzz_target_on_damaged_seeds(seed: bytes, at: int, patch: bytes) -> None:
    one_input(seed)
    one_input(seed[:at] + patch + seed[at + len(patch) :])
