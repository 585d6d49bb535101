import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swagent.errors import DescriptionError
from swagent.parser.jsonlang import DEPTH_MAX, read

TEXTS = st.text().filter(lambda text: "\0" not in text)  # st.text() has no halves of surrogate pairs
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(TEXTS, children, max_size=3),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(tree=st.dictionaries(st.text("ab"), VALUES, max_size=3), ascii_only=st.booleans())
def test_what_json_writes_is_read_back(tree: dict[str, Any], ascii_only: bool) -> None:
    assert read(json.dumps(tree, ensure_ascii=ascii_only).encode()) == tree


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"a": {"b": 1, "b": 1}}', "'b' stands twice"),
        (b'{"a": 9223372036854775808}', "more than 64 bits"),
        (b'{"a": -9223372036854775809}', "more than 64 bits"),
        (b'{"a": ' + b"9" * 5000 + b"}", "more than 64 bits"),
        (b'{"a": NaN}', "NaN is not"),
        (b'{"a": -Infinity}', "-Infinity is not"),
        (b'{"a":\n 1,}', ":2: this is not JSON"),
        (b'{"a": 1} x', ":1: this is not JSON"),
        (b'{"a": 1 /* c */}', "this is not JSON"),
        (b"{'a': 1}", "this is not JSON"),
        (b'{"a": "\\u0000"}', "NUL"),
        (b'{"\\u0000": 1}', "NUL"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"a": 1}\0', "NUL"),
        (b"[]", "not an object"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'\xef\xbb\xbf{"a": 1}', "byte order mark"),
        (b'{"a": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"[" * DEPTH_MAX + b"]" * DEPTH_MAX + b"}", "nested more than"),
    ],
)
def test_what_is_not_strict_json_is_refused(text: bytes, problem: str) -> None:
    with pytest.raises(DescriptionError) as caught:
        read(text)
    assert problem in caught.value.message


def test_nesting_up_to_the_limit_is_read() -> None:
    assert read(b'{"a": ' + b"[" * (DEPTH_MAX - 2) + b"]" * (DEPTH_MAX - 2) + b"}")
