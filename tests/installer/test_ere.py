import ctypes
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swagent.installer.ere import PATTERN_MAX, Ere, EreError

REG_EXTENDED, REG_NOSUB = 1, 8


def original(pattern: str, text: str) -> bool | None:
    """What the C library's regcomp and regexec say; None if the expression does not compile."""
    library = ctypes.CDLL(None)
    compiled = ctypes.create_string_buffer(512)
    if library.regcomp(compiled, pattern.encode(), REG_EXTENDED | REG_NOSUB):
        return None
    try:
        return bool(library.regexec(compiled, text.encode(), 0, None, 0) == 0)
    finally:
        library.regfree(compiled)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("2", ["12.0", "2"], ["1.0", ""]),
        ("^1\\.0$", ["1.0"], ["1x0", "11.0", "1.0 "]),
        ("^[[:digit:]]+\\.[0-9]$", ["10.0"], ["a.0", ".0"]),
        ("^(rev)?[A-C]$", ["revA", "C"], ["rev", "D", "revrevA"]),
        ("^a|b$", ["ax", "xb"], ["xa", "bx"]),
        ("^x{2,3}$", ["xx", "xxx"], ["x", "xxxx"]),
        ("^x{2}$", ["xx"], ["x", "xxx"]),
        ("^x{2,}$", ["xx", "xxxxx"], ["x"]),
        ("^x{0}$", [""], ["x"]),
        ("^(ab*)*$", ["", "abba", "aaa"], ["b", "abc"]),
        ("^[^0-9.]$", ["a", "^"], ["1", ".", ""]),
        ("^[]x]$", ["]", "x"], ["a"]),
        ("^[^]x]$", ["a"], ["]", "x"]),
        ("^[a-]$", ["a", "-"], ["b"]),
        ("^[[.-.][=a=]]$", ["-", "a"], ["b"]),
        ("^[\\d]$", ["\\", "d"], ["1"]),
        ("^[[:alpha:]_][[:alnum:]]*$", ["_a1", "Z"], ["1a", "a_"]),
        ("^\\^\\$\\(\\{\\\\$", ["^$({\\"], ["x"]),
        ("a^b", [], ["ab", "a^b"]),
        (".", ["x", "é"], [""]),
        ("^}$", ["}"], ["{"]),
    ],
)
def test_what_an_expression_finds(pattern: str, yes: list[str], no: list[str]) -> None:
    compiled = Ere(pattern)
    assert [text for text in yes if not compiled.search(text)] == []
    assert [text for text in no if compiled.search(text)] == []


@pytest.mark.parametrize(
    "pattern",
    [
        "", "(", ")", "a)", "(a", "()", "a|", "|a", "(|a)", "(?=a)", "(?:a)", "\\d", "\\w", "\\1", "\\",
        "*a", "+", "a**", "a+?", "a*?", "a{2}{3}", "^*", "$+",
        "a{", "a{x}", "a{2", "a{3,2}", "a{256}", "a{,2}", "a{\u0662}",
        "[", "[]", "[a", "[z-a]", "[[:foo:]]", "[[:digit:]", "[a-[:digit:]]", "[[.ab.]]",
        "(" * 33 + "a" + ")" * 33, "(((a{9}){9}){9}){9}", "x" * (PATTERN_MAX + 1),
    ],
)  # fmt: skip
def test_what_is_undefined_or_too_large_does_not_compile(pattern: str) -> None:
    with pytest.raises(EreError):
        Ere(pattern)


ATOMS = st.sampled_from(
    ["a", "b", "1", ".", "\\.", "^", "$", "[ab]", "[^a]", "[[:digit:]]", "[a-b1]", "[]a]", "[[:upper:]-]"]
)


def combine(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(children, children).map("".join),
        st.tuples(children, children).map("|".join),
        children.map(lambda inside: f"({inside})"),
        st.tuples(children, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{0,}"])).map(
            lambda parts: f"({parts[0]}){parts[1]}"
        ),
    )


@settings(max_examples=400, deadline=None)
@given(pattern=st.recursive(ATOMS, combine, max_leaves=8), text=st.text("ab1.]A-", max_size=8))
def test_expressions_find_what_the_c_library_finds(pattern: str, text: str) -> None:
    expected = original(pattern, text)
    assert expected is not None
    assert Ere(pattern).search(text) is expected


@settings(max_examples=400, deadline=None)
@given(pattern=st.text("ab01.*+?{},()[]^$|\\-:d", max_size=10), text=st.text("ab0.\\", max_size=5))
def test_any_text_is_an_expression_or_an_error(pattern: str, text: str) -> None:
    try:
        found = Ere(pattern).search(text)
    except EreError:
        return
    assert original(pattern, text) in (found, None)


@pytest.mark.parametrize(
    "pattern", ["^(a|a)*$", "^(a*)*$", "^(a?){60}a{60}$", "(a*)*(a*)*(a*)*b", "^(([a-z])+.)+[A-Z]$"]
)
def test_no_expression_takes_long(pattern: str) -> None:
    begin = time.perf_counter()
    assert not Ere(pattern).search("a" * 254 + "!")
    assert time.perf_counter() - begin < 1.0
