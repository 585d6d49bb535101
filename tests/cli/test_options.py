import pytest
from hypothesis import given
from hypothesis import strategies as st

from swagent.cli.options import Args, Command, Option, help_text, nearest, parse
from swagent.errors import UsageError

VERB = Command(
    "make",
    "Make an image",
    "make:run",
    options=(
        Option("key", "k", "FILE", "key to sign with", group="trust"),
        Option("select", "e", "SET,MODE", "what to install", aliases=("selection",)),
        Option("file", "f", "FILE", "a file; may be repeated", repeat=True),
        Option("verbose", "v", help="say more"),
        Option("quiet", "q", help="say less"),
        Option("webserver", "w", "OPTIONS", "for the web server", dashes=True),
        Option("scheme", "", "NAME", "how to sign", choices=("rsa", "cms")),
    ),
    arguments=("OUT", "[EXTRA]"),
    examples=("swagent make out.swu  # the least",),
)


def read(*words: str) -> Args:
    return parse(VERB, words)


@pytest.mark.parametrize(
    "words",
    [("-k", "a.pem", "out"), ("-ka.pem", "out"), ("-k=a.pem", "out"), ("--key", "a.pem", "out"),
     ("--key=a.pem", "out"), ("out", "--key", "a.pem"), ("-vk", "a.pem", "out"), ("-k", "b", "-k", "a.pem", "out")],
)  # fmt: skip
def test_every_spelling_of_an_option(words: tuple[str, ...]) -> None:
    args = read(*words)
    assert args.get("key") == "a.pem"
    assert args.arguments == ["out"]


def test_switches_bundle_and_repeats_collect() -> None:
    args = read("-vq", "-f", "a", "--file", "b", "-fc", "out")
    assert args.on("verbose") and args.on("quiet") and not args.on("key")
    assert args.all("file") == ["a", "b", "c"]
    assert args.all("select") == [] and args.get("select") is None


def test_an_alias_lands_under_the_one_name() -> None:
    assert read("--selection", "stable,copy2", "out").get("select") == "stable,copy2"


def test_two_dashes_end_the_options_and_one_is_an_argument() -> None:
    assert read("--", "-v").arguments == ["-v"]
    assert read("-k", "-", "-").get("key") == "-"
    assert read("-").arguments == ["-"]


def test_some_values_may_begin_with_a_dash() -> None:
    assert (
        read("-w", "-document_root /www -port 8080", "out").get("webserver")
        == "-document_root /www -port 8080"
    )


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("--kye", "x", "out"), "unknown option --kye", "did you mean --key?"),
        (("-x", "out"), "unknown option -x", "see `swagent make --help`"),
        (("-vx", "out"), "unknown option -x", ""),
        (("-k",), "--key needs FILE", ""),
        (("out", "--key"), "--key needs FILE", ""),
        (("-k", "-v", "out"), "looks like an option", ""),
        (("--verbose=1", "out"), "--verbose takes no value", ""),
        (("--scheme", "md5", "out"), "--scheme takes rsa or cms, not 'md5'", ""),
        ((), "OUT is missing", ""),
        (("a", "b", "c"), "unexpected argument 'c'", ""),
    ],
)
def test_what_is_wrong_is_named(words: tuple[str, ...], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(*words)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_an_inline_value_is_taken_as_it_is() -> None:
    assert read("--key=", "out").get("key") == ""
    assert read("--key=a=b", "out").get("key") == "a=b"


@given(st.lists(st.text(max_size=8), max_size=8))
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    try:
        parse(VERB, words)
    except UsageError as exc:
        assert exc.message


@given(st.text(max_size=20).filter(lambda text: text[:1] != "-"))
def test_what_is_typed_arrives(value: str) -> None:
    assert read("--key", value, "out").get("key") == value
    assert read(f"--key={value}", "out").get("key") == value


def test_help_names_every_option_in_its_group_and_fits() -> None:
    text = help_text(VERB, 80)
    for option in VERB.options:
        assert f"--{option.long}" in text and option.help in text
    assert text.startswith("swagent make [OPTIONS] OUT [EXTRA]\n")
    assert text.index("trust:") < text.index("--key") < text.index("options:")
    assert "swagent make out.swu  # the least" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_nothing_near_is_no_hint() -> None:
    assert nearest("zzzz", ["key"]) == ""
