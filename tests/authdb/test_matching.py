"""Records compared with a datum."""

import fnmatch
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swagent.authdb import matching
from swagent.errors import MetadataError, RegistrationError


def block(*records: bytes, width: int) -> bytes:
    return b"".join(record.ljust(width, b"\0") for record in records)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.text("AB\0", max_size=5), max_size=8),
    st.text("AB", min_size=1, max_size=6),
    st.integers(5, 7),
)
def test_raw_finds_what_is_there(records: list[str], datum: str, width: int) -> None:
    data = block(*(record.encode() for record in records), width=width)
    assert matching.raw(datum)(data, width) == (datum in [record.partition("\0")[0] for record in records])


def test_a_record_ends_at_its_first_nul() -> None:
    assert matching.raw("AB")(b"AB\0garbage", 10)
    assert not matching.raw("garbage")(b"AB\0garbage", 10)
    assert not matching.raw("B")(b"AB\0\0\0\0", 3)


@settings(max_examples=500, deadline=None)
@given(st.text("ab*?[]!-", max_size=10), st.text("ab-]![", max_size=8))
def test_patterns_are_those_of_the_shell(pattern: str, text: str) -> None:
    try:
        expected = fnmatch.fnmatchcase(text, pattern)
    except re.error:
        return  # what fnmatch makes of it is no expression
    if re.search(r"\[[^]]*.-", pattern):
        return  # ranges that run backwards: tested below
    assert matching.fits_glob(pattern, text) == expected


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("SN[0-4]*", "SN412", True),
        ("SN[0-4]*", "SN512", False),
        ("SN[!0-4]*", "SN512", True),
        ("SN[z-a]", "SNb", False),
        ("v*p??", "v02p48", True),
        ("*a*b*c", "xaxbxbxc", True),
        ("*a*b*c", "xaxbxbxcd", False),
        ("ab", "aab", False),
        ("ä?", "äö", True),
    ],
)
def test_patterns(pattern: str, text: str, fits: bool) -> None:
    assert matching.glob(text)(pattern.encode(), len(pattern.encode())) is fits


def test_no_pattern_takes_long() -> None:
    began = time.process_time()
    assert not matching.fits_glob("*a" * 500 + "*b", "a" * 256)
    pytest.importorskip("re2")
    assert not matching.regular("a" * 256)(b"(a|a)*(a|a)*(a|aa)*b", 20)
    assert time.process_time() - began < 1


def test_expressions_fit_the_whole_datum() -> None:
    pytest.importorskip("re2")
    assert matching.regular("SN123")(block(b"X.*", b"SN[0-9]+", width=10), 10)
    assert not matching.regular("SN123X")(block(b"X.*", b"SN[0-9]+", width=10), 10)


@pytest.mark.parametrize("pattern", [b"(", b"(a{1000}){1000}", b"(?=a)a", b"a" * 1025, b"\xff"])
def test_expressions_that_are_none(pattern: bytes) -> None:
    pytest.importorskip("re2")
    with pytest.raises(MetadataError):
        matching.regular("a")(pattern, len(pattern))


def test_without_its_package_a_list_of_expressions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "re2", None)
    with pytest.raises(RegistrationError, match="google-re2"):
        matching.regular("a")
