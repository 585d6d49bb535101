import ctypes
import ctypes.util
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swagent.errors import DescriptionError, SettingsError
from swagent.parser import read_libconfig
from swagent.parser.libconfig import DEPTH_MAX, read


def value_of(text: str) -> Any:
    return read(f"v = {text};".encode())["v"]


def problem_with(text: str | bytes) -> str:
    with pytest.raises(DescriptionError) as caught:
        read(text if isinstance(text, bytes) else text.encode())
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"a" "b"\n  /* between */ "c"', "abc"),
        (r'"\\ \" \n \r \t \f \a \b \v"', '\\ " \n \r \t \f \a \b \v'),
        (r'"\x41\xc3\xa9\X42"', "AéB"),
        (r'"\q \' \x4 \u0041"', r"\q \' \x4 \u0041"),
        ('"line\nbreak \\\nkept"', "line\nbreak \\\nkept"),
        ('"@include \\"x\\" // # /* no comment"', '@include "x" // # /* no comment'),
        ("TrUe", True),
        ("FALSE", False),
        ("010", 10),
        ("-7", -7),
        ("0x1F", 31),
        ("0X1fL", 31),
        ("0b101", 5),
        ("0o17", 15),
        ("0q17LL", 15),
        ("4294967296", 4294967296),
        ("9223372036854775807LL", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("0xFFFFFFFF", 0xFFFFFFFF),
        ("1.5e3", 1500.0),
        (".5", 0.5),
        ("-1.", -1.0),
        ("2E-1", 0.2),
        ("[ 1, 2, ]", [1, 2]),
        ('( 1, "a", { b = 2 }, )', (1, "a", {"b": 2})),
        ("()", ()),
        ("{ a = 1, b : 2; c = 3 }", {"a": 1, "b": 2, "c": 3}),
    ],
)
def test_a_value_is_read_as_libconfig_reads_it(text: str, value: Any) -> None:
    read_value = value_of(text)
    assert read_value == value
    assert type(read_value) is type(value)


def test_names_may_have_stars_dashes_and_begin_like_a_boolean() -> None:
    assert read(b"*a-b_2* = 1; true-ish = 2; Falsehood : 3") == {"*a-b_2*": 1, "true-ish": 2, "Falsehood": 3}


@pytest.mark.parametrize("text", ["# c\na = 1 // d\n/* e\n * f **/ b = 2", "a=1b=2", "a = 1 ;\x0c\x0bb = 2"])
def test_comments_blanks_and_terminators_are_optional(text: str) -> None:
    assert read(text.encode()) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = 1;\na = 2;", "'a' stands twice"),
        ("g = { x = 1;\n x = 1; };", ":2: 'x' stands twice"),
        ('@include "/etc/passwd"', ":1: @include"),
        ('a = 1;\n  @include "x"\n', ":2: @include"),
        ("a = .", "is not a number"),
        ("a = 9223372036854775808;", "more than 64 bits"),
        ("a = " + "9" * 5000, "more than 64 bits"),
        ("a = 0x" + "f" * 17, "more than 64 bits"),
        ('a = [ 1, "b" ];', "several types"),
        ("a = [ 1, 1.0 ];", "several types"),
        ("a = [ ( 1 ) ];", "] is needed"),
        ("a = ( 1 2 );", ") is needed"),
        ("a = ( , );", ") is needed"),
        ("a", "is needed"),
        ("a = ;", "expected a value"),
        ("a = { b = 1; ", "the end of the text"),
        ("}", "'}'"),
        ("1a = 2", "'1'"),
        ("a.b = 1", "'.' is not a number"),
        ("true = 1", "'true'"),
        ('a = "b', ":1: a string begins here"),
        ("a = 1; /* b", "a comment begins here"),
        ("a = 'b'", "has no meaning"),
        ("a = \u0663", "has no meaning"),
        ("a\u00a0= 1", "has no meaning"),
        (r'a = "\xff";', "UTF-8"),
        (r'a = "\x00";', "NUL"),
        ("a = 1;\n\0", ":2: there is a NUL"),
        (b"\xef\xbb\xbfa = 1;", "byte order mark"),
        (b'a = 1;\nb = "\xff";', ":2: this is not UTF-8"),
    ],
)
def test_what_is_no_libconfig_text_is_refused_with_its_line(text: str | bytes, problem: str) -> None:
    assert problem in problem_with(text)


@pytest.mark.parametrize("bracket", ["(", "{ a = "])
def test_nesting_is_bounded(bracket: str) -> None:
    assert "deep" in problem_with("a = " + bracket * 100_000)
    inner = "( " * (DEPTH_MAX - 1) + "1" + " )" * (DEPTH_MAX - 1)
    assert value_of("(" + inner + ")")
    assert "deep" in problem_with("a = ((" + inner + "))")


@pytest.mark.parametrize(
    "text",
    [
        '"' + "\\" * 200_001,
        "/*" + "*" * 400_000,
        "a = " + "1" * 400_000,
        "a = " + "-" * 400_000,
        "#\n" * 100_000,
    ],
)
def test_no_text_makes_the_lexer_slow(text: str) -> None:
    begin = time.perf_counter()
    with suppress(DescriptionError):
        read(text.encode())
    assert time.perf_counter() - begin < 1.0


def test_a_settings_file_has_its_own_error() -> None:
    with pytest.raises(SettingsError, match=r"/etc/swupdate.cfg:2: "):
        read_libconfig(b"globals = {\n ] }", where="/etc/swupdate.cfg")


# -- against libconfig itself

GROUP, INT, INT64, FLOAT, STRING, BOOL, ARRAY, LIST = range(1, 9)


class Setting(ctypes.Structure):
    """The front of libconfig's config_setting_t, which its macros read."""

    _fields_ = [("name", ctypes.c_char_p), ("type", ctypes.c_short)]


@pytest.fixture(scope="module")
def libconfig() -> ctypes.CDLL:
    name = ctypes.util.find_library("config")
    if name is None:
        pytest.skip("needs libconfig: apt-get install libconfig9")
    library = ctypes.CDLL(name)
    library.config_setting_get_elem.restype = ctypes.POINTER(Setting)
    library.config_setting_get_float.restype = ctypes.c_double
    library.config_setting_get_int64.restype = ctypes.c_longlong
    library.config_setting_get_string.restype = ctypes.c_char_p
    return library


def original(library: ctypes.CDLL, text: str) -> Any:
    """What libconfig makes of a text, None if it refuses it."""
    config = ctypes.create_string_buffer(1024)
    library.config_init(config)
    try:
        if not library.config_read_string(config, text.encode()):
            return None
        return value_in(library, ctypes.cast(config, ctypes.POINTER(ctypes.POINTER(Setting)))[0])
    finally:
        library.config_destroy(config)


def value_in(library: ctypes.CDLL, setting: Any) -> Any:
    kind = setting.contents.type
    if kind in (GROUP, ARRAY, LIST):
        below = [
            library.config_setting_get_elem(setting, index)
            for index in range(library.config_setting_length(setting))
        ]
        if kind == GROUP:
            return {one.contents.name.decode(): value_in(library, one) for one in below}
        values = [value_in(library, one) for one in below]
        return values if kind == ARRAY else tuple(values)
    if kind == STRING:
        return library.config_setting_get_string(setting).decode("utf-8", "surrogateescape")
    if kind == BOOL:
        return bool(library.config_setting_get_bool(setting))
    if kind == FLOAT:
        return library.config_setting_get_float(setting)
    assert kind in (INT, INT64)
    return library.config_setting_get_int64(setting)


NAMES = st.from_regex(r"\A[A-Za-z*][-A-Za-z0-9_*]{0,6}\Z").filter(
    lambda name: name.lower() not in ("true", "false")
)
BLANKS = st.sampled_from(["", " ", "\n", "\t", " # c\n", "// d\n", "/* e */", "/***/ "])
STRINGS = st.lists(
    st.sampled_from(
        [
            "a",
            "é",
            "\n",
            r"\n",
            r"\\",
            r"\"",
            r"\x41",
            r"\xc3\xa9",
            r"\q",
            "#",
            "//",
            "/*",
            "@include",
            "{",
            " ",
        ]
    ),
    max_size=6,
).map(lambda parts: '"' + "".join(parts) + '"')
SCALARS = st.one_of(
    STRINGS,
    st.lists(STRINGS, min_size=2, max_size=3).map(" ".join),
    st.integers(-(2**31), 2**31 - 1).map(str),
    st.integers(2**31, 2**62).map(lambda number: f"{number}L"),
    st.integers(0, 2**31 - 1).map(hex),
    st.sampled_from(["true", "False", "TRUE", "1.5", "-2.25e2", "1e3"]),
)


def gather(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    lists = st.lists(children, max_size=4).map(lambda items: "(" + ", ".join(items) + ")")
    strings = st.lists(STRINGS, max_size=4).map(lambda items: "[" + ",".join(items) + "]")
    return st.one_of(lists, strings, groups(children).map(lambda inside: "{" + inside + "}"))


def groups(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    setting = st.tuples(
        BLANKS, NAMES, BLANKS, st.sampled_from("=:"), BLANKS, children, st.sampled_from([";", ",", " "])
    )
    return st.lists(setting, max_size=4).map(lambda parts: "".join("".join(part) for part in parts))


DOCUMENTS = groups(st.recursive(SCALARS, gather, max_leaves=8))


@settings(max_examples=100, deadline=None)
@given(text=DOCUMENTS)
def test_texts_mean_what_libconfig_makes_of_them(libconfig: ctypes.CDLL, text: str) -> None:
    expected = original(libconfig, text)
    if expected is None:
        assert problem_with(text)
    else:
        assert read(text.encode()) == expected


@settings(max_examples=100, deadline=None)
@given(text=DOCUMENTS, junk=st.sampled_from('"{}()[]=:;,/*#.-+0x'), place=st.floats(0, 1))
def test_damaged_texts_never_mean_something_else(
    libconfig: ctypes.CDLL, text: str, junk: str, place: float
) -> None:
    at = round(place * len(text))
    broken = text[:at] + junk + text[at:]
    expected = original(libconfig, broken)
    with suppress(DescriptionError):
        ours = read(broken.encode())
        # libconfig 1.5 refuses what later versions take: trailing commas, a comment at the very end
        assert expected is None or ours == expected
