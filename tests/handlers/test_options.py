"""Properties become typed options, or a message that says which one is wrong."""

from typing import Any, NamedTuple

import pytest

from swagent.errors import DescriptionError, RegistrationError
from swagent.handlers import BUILT_INS, registry
from swagent.handlers.api import handler
from swagent.handlers.options import (
    NoOptions,
    Numbered,
    check_handler,
    describe_options,
    load,
    plain_size,
    read_options,
)
from swagent.model import Artifact, Compression, Kind
from swagent.plugins import Entry


class Options(NamedTuple):
    name_of_it: str
    amount: int = 7
    flag: bool = False
    maybe: str | None = None
    many: tuple[str, ...] = ()
    later: "int | None" = None


def art(**properties: Any) -> Artifact:
    values = {
        key.replace("_", "-"): value if isinstance(value, tuple) else (value,)
        for key, value in properties.items()
    }
    return Artifact(Kind.IMAGE, "thing", filename="file", properties=values, where="images[0] file")


def test_all_types() -> None:
    given = art(name_of_it="n", amount="0x10K", flag="TRUE", maybe="m", many=("a", "b"), later="010")
    assert read_options(Options, given) == (Options("n", 16384, True, "m", ("a", "b"), 8), [])


def test_defaults() -> None:
    assert read_options(Options, art(name_of_it="n")) == (Options("n"), [])


@pytest.mark.parametrize("properties", [{}, {"amount": "1"}])
def test_missing_mandatory_property_is_named(properties: dict[str, str]) -> None:
    with pytest.raises(
        DescriptionError, match=r"images\[0\] file: handler thing needs the property name-of-it"
    ):
        read_options(Options, art(**properties))


@pytest.mark.parametrize(
    ("key", "value"),
    [("amount", "x"), ("amount", ""), ("amount", "-1"), ("amount", "08"), ("amount", "1.5"), ("amount", "9" * 19),
     ("amount", "8G iB"), ("amount", "9" * 99), ("flag", "True"), ("flag", "1"), ("flag", "yes"), ("flag", "")],
)  # fmt: skip
def test_values_of_the_wrong_type(key: str, value: str) -> None:
    with pytest.raises(DescriptionError, match=f"property {key}"):
        read_options(Options, art(name_of_it="n", **{key: value}))


def test_unknown_and_generic_properties() -> None:
    _, warnings = read_options(
        Options, art(name_of_it="n", amuont="1", decompressed_size="5", verify_first="true", qqq="x")
    )
    assert len(warnings) == 2
    assert "no property amuont; did you mean amount?" in warnings[0]
    assert warnings[1].endswith("no property qqq")


def test_the_last_of_a_list_counts() -> None:
    options, warnings = read_options(Options, art(name_of_it=("a", "b")))
    assert options.name_of_it == "b"
    assert "2 values" in warnings[0]


def test_handlers_without_options() -> None:
    options, warnings = read_options(NoOptions, art(some="x"))
    assert isinstance(options, NoOptions)
    assert warnings


def test_plain_size() -> None:
    sizes = {"decompressed-size": ("10",), "decrypted-size": ("20",)}
    assert plain_size(Artifact(Kind.IMAGE, "raw", size_bytes=5, properties=sizes)) == 5
    squeezed = Artifact(Kind.IMAGE, "raw", size_bytes=5, properties=sizes, compression=Compression.ZSTD)
    assert plain_size(squeezed) == 10
    assert plain_size(Artifact(Kind.IMAGE, "raw", size_bytes=5, cipher="aes-cbc", properties=sizes)) == 20
    assert plain_size(Artifact(Kind.IMAGE, "raw", size_bytes=5, cipher="aes-cbc")) is None


@pytest.mark.parametrize("name", [name for name, _ in BUILT_INS])
def test_every_built_in_is_a_handler_and_documents_its_options(name: str) -> None:
    cls = load(registry(), name)
    assert cls is not None
    assert cls.__doc__
    for option, _, _, text in describe_options(cls.Options):
        assert text, f"{name}: {option} is not described"


def test_descriptions_for_people() -> None:
    cls = load(registry(), "copy")
    assert cls is not None
    described = {option: facts for option, *facts in describe_options(cls.Options)}
    assert described["copyfrom"][:2] == ["str", ""]
    assert described["chain"][:2] == ["str", "raw"]
    assert described["create-destination"][:2] == ["bool", "false"]
    assert described["offset"][1] == "0"
    assert describe_options(NoOptions) == []


class NumberedOptions(NamedTuple):
    """Of a handler.

    Attributes:
        swap: two names.
    """

    swap: Numbered


def test_numbered_properties() -> None:
    properties = {"swap-10": ("c", "d"), "swap-0": ("a", "b"), "swap-01": ("e", "f"), "swapping": ("g",)}
    options, warnings = read_options(NumberedOptions, Artifact(Kind.SCRIPT, "x", properties=properties))
    assert list(options.swap.items()) == [(0, ("a", "b")), (10, ("c", "d"))]
    assert len(warnings) == 2
    assert describe_options(NumberedOptions) == [("swap-N", "list", "", "two names")]


def test_one_numbered_property_is_needed() -> None:
    with pytest.raises(DescriptionError, match="needs properties swap-N"):
        read_options(NumberedOptions, Artifact(Kind.SCRIPT, "x", properties={"swap": ("a", "b")}))


def test_a_description_over_several_lines_is_one_sentence() -> None:
    class Options(NamedTuple):
        """Of a handler.

        Attributes:
            first: it begins here
                and ends there.
            second: alone.
        """

        first: str
        second: str = ""

    assert [text for *_, text in describe_options(Options)] == ["it begins here and ends there", "alone"]


def test_what_is_no_handler() -> None:
    class Plain:
        pass

    @handler("half", kinds=Kind.IMAGE | Kind.SCRIPT | Kind.PARTITION)
    class Half:
        Options = NoOptions

        def run(self) -> None: ...

    @handler("bare", kinds=Kind.IMAGE)
    class Bare:
        def install(self) -> None: ...

    with pytest.raises(RegistrationError, match="no card"):
        check_handler("plain", Plain)
    with pytest.raises(RegistrationError, match="no install and no apply"):
        check_handler("half", Half, origin="package x")
    with pytest.raises(RegistrationError, match="no Options"):
        check_handler("bare", Bare)
    shelf = registry()
    shelf.add(Entry("plain", "a test", lambda: Plain))
    with pytest.raises(RegistrationError):
        load(shelf, "plain")
    assert load(shelf, "nothing of the kind") is None


def test_option_types_that_nobody_can_read() -> None:
    class Odd(NamedTuple):
        ratio: float = 1.0

    with pytest.raises(RegistrationError, match="float"):
        read_options(Odd, art(ratio="1"))
