import pytest
from hypothesis import given
from hypothesis import strategies as st

from swagent.versions import compare, read_constraint

NUMBERS = st.lists(st.integers(0, 65535), min_size=1, max_size=4)
IDENTIFIERS = st.lists(st.from_regex(r"\A[0-9A-Za-z]{1,4}\Z"), min_size=1, max_size=3).map(".".join)
VERSIONS = st.one_of(
    NUMBERS.map(lambda fields: ".".join(map(str, fields))),
    st.from_regex(r"\A[0-9]{1,3}(\.[0-9]{1,3}){0,3}(-[a-z0-9.]{1,5})?(\+[a-z0-9]{1,3})?\Z"),
    st.text(max_size=6),
)


def sign(number: int) -> int:
    return (number > 0) - (number < 0)


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("1.2-rc10", "1.2-rc9"),  # one identifier with letters: compared as text
        ("1.2-rc.9", "1.2-rc.10"),
        ("v1.10", "v1.9"),  # neither numbers nor semver
        ("1.70000", "2.0"),
        ("1", "3000000000"),  # upstream wraps at 32 bits
        ("", "0.1"),
        ("1.9", "1.10"),
        ("1.0-rc1", "1.0"),
        ("1.0-1", "1.0-alpha"),
        ("1.0-alpha", "1.0-alpha.1"),
        ("1.2.3.4", "1.2.3.5"),
        ("1.0-beta.2", "1.0-beta.11"),
        ("99999.0.0-x", "100000.0.0-x"),
        ("Z", "a"),
        ("a", "ä"),
        ("9" * 5000, "9" * 5000 + "x"),
    ],
)
def test_a_version_is_lower(lower: str, higher: str) -> None:
    assert compare(lower, higher) < 0
    assert compare(higher, lower) > 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.2", "1.2.0.0"),
        ("1.2.3.4", "1.2.3.4.70000"),
        ("1.2.3+b1", "1.2.3+b2"),
        ("1.2.3.9-x", "1.2.3.1-x"),
        ("1..2", "1.2"),
        ("1..2-x", "1.0.2-x"),
        ("", "0"),
        (".", "0.0"),
        ("01.002", "1.2"),
        ("1.2.3.x-y", "1.2.3.z-y"),
    ],
)
def test_versions_are_equal(one: str, other: str) -> None:
    assert compare(one, other) == 0
    assert compare(other, one) == 0


@given(one=VERSIONS, other=VERSIONS)
def test_both_orders_agree(one: str, other: str) -> None:
    assert sign(compare(one, other)) == -sign(compare(other, one))
    assert compare(one, one) == 0


@given(one=NUMBERS, other=NUMBERS)
def test_numbers_are_compared_as_numbers(one: list[int], other: list[int]) -> None:
    padded = [fields + [0] * (4 - len(fields)) for fields in (one, other)]
    expected = (padded[0] > padded[1]) - (padded[0] < padded[1])
    assert sign(compare(".".join(map(str, one)), ".".join(map(str, other)))) == expected


@given(core=NUMBERS, prerelease=IDENTIFIERS, metadata=IDENTIFIERS)
def test_a_release_is_above_its_prereleases_and_metadata_is_ignored(
    core: list[int], prerelease: str, metadata: str
) -> None:
    version = ".".join(map(str, core[:3]))
    assert compare(f"{version}-{prerelease}", f"{version}+{metadata}") < 0
    assert compare(f"{version}-{prerelease}+{metadata}", f"{version}-{prerelease}") == 0


@given(versions=st.lists(st.tuples(NUMBERS, IDENTIFIERS), min_size=3, max_size=3))
def test_semver_is_an_order(versions: list[tuple[list[int], str]]) -> None:
    a, b, c = (".".join(map(str, core[:3])) + "-" + prerelease for core, prerelease in versions)
    if compare(a, b) <= 0 and compare(b, c) <= 0:
        assert compare(a, c) <= 0


@given(one=st.text("0123456789.", max_size=6000), other=st.text("0123456789.-+a", max_size=400))
def test_no_length_is_too_much(one: str, other: str) -> None:
    compare(one, other)
    compare("1" + one, "1" * 5000)


@pytest.mark.parametrize("text", ["", ",", ">=1,", ">=", "=>1", ">= 1 2", ">=1 <2", "1;2", "1@2", "\u0661"])
def test_what_is_no_constraint(text: str) -> None:
    with pytest.raises(ValueError, match="is not a comparison"):
        read_constraint(text)


def test_constraints_are_read() -> None:
    assert read_constraint(" >=1.2 , <3-rc1,!=2") == ((">=", "1.2"), ("<", "3-rc1"), ("!=", "2"))
    assert read_constraint("4.1") == (("=", "4.1"),)
