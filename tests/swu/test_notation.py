"""Trees written out and read again (tests/examples has SWUpdate read them)."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from swagent.parser import jsonlang, libconfig
from swagent.swu.notation import dump

NAMES = st.from_regex(r"[A-Za-z*][A-Za-z0-9*_-]{0,10}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
SCALARS = st.one_of(st.booleans(), INTEGERS, TEXTS, st.floats(allow_nan=False, allow_infinity=False))
ARRAYS = st.one_of(*(st.lists(kind, max_size=4) for kind in (st.booleans(), INTEGERS, TEXTS)))
VALUES = st.recursive(
    SCALARS | ARRAYS,
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
JSON_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
@settings(deadline=None)
def test_libconfig_comes_back(tree: dict[str, Any]) -> None:
    text = dump(tree, json=False)
    assert libconfig.read(text) == tree
    assert dump(libconfig.read(text), json=False) == text


@given(st.dictionaries(TEXTS, JSON_VALUES, max_size=4))
@settings(deadline=None)
def test_json_comes_back(tree: dict[str, Any]) -> None:
    assert jsonlang.read(dump(tree, json=True)) == tree


def test_numbers_beyond_32_bits_are_marked() -> None:
    text = dump({"a": 2**31, "b": 2**31 - 1, "c": [1, 2**40], "d": -(2**31) - 1}, json=False)
    assert text == b"a = 2147483648L;\nb = 2147483647;\nc = [ 1L, 1099511627776L ];\nd = -2147483649L;\n"
