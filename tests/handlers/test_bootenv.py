from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swagent.errors import BootEnvError, HashError, SizeError
from swagent.handlers.bootenv import parse_list
from swagent.model import Artifact, Kind
from swagent.testing import FakeContext, FakeData, FakeEnv, install

ART = Artifact(Kind.IMAGE, "uboot", filename="vars.txt")


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        (b"a=1", ("a", "1")),
        (b"a=1\r", ("a", "1")),
        (b"bootargs=console=ttyS0 root=/dev/sda", ("bootargs", "console=ttyS0 root=/dev/sda")),
        (b"a= b  ", ("a", " b  ")),
        (b"  sp = v  w ", ("  sp ", " v  w ")),
        (b" #not a comment=1", (" #not a comment", "1")),
        # the next four as SWUpdate 2022.12 stores them
        (b"k==x", ("k", "x")),
        (b"m==a=b", ("m", "=a=b")),
        (b"m=a=b=", ("m", "a=b=")),
        (b"t===", ("t", "")),
        # SWUpdate stores abc
        (b"b64=abc==", ("b64", "abc==")),
        (b"gone", ("gone", "")),
        (b"gone=", ("gone", "")),
        (b"\xff=\xfe", ("\udcff", "\udcfe")),
    ],
)
def test_line(line: bytes, pair: tuple[str, str]) -> None:
    assert parse_list(line + b"\n", ART) == [pair]
    assert parse_list(line, ART) == [pair]


@pytest.mark.parametrize("line", [b"", b"#a=1", b"  ", b"\r", b"\t"])
def test_lines_that_say_nothing(line: bytes) -> None:
    assert parse_list(line + b"\nx=1", ART) == [("x", "1")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"=x", "line 1 has no name"),
        (b"a=1\nb=\0", "line 2 has a NUL"),
        (b"a=" + b"x" * 1022, "line 1 is longer"),
    ],
)
def test_refused(text: bytes, said: str) -> None:
    with pytest.raises(BootEnvError, match=said):
        parse_list(text, ART)


def test_longest_line() -> None:
    assert parse_list(b"a=" + b"x" * 1021 + b"\r\n", ART) == [("a", "x" * 1021)]


@given(st.binary(max_size=300))
def test_any_bytes(text: bytes) -> None:
    try:
        pairs = parse_list(text, ART)
    except BootEnvError:
        return
    assert all(name and "\0" not in name + value and "=" not in name for name, value in pairs)


def context(tmp_path: Path) -> FakeContext:
    ctx = FakeContext(str(tmp_path), env=FakeEnv({"old": "1"}))
    ctx.env.stage("a", "from bootenv")
    return ctx


@pytest.mark.parametrize("handler", ["uboot", "bootloader"])
def test_stages_and_overrides(tmp_path: Path, handler: str) -> None:
    ctx = context(tmp_path)
    art = Artifact(Kind.IMAGE, handler, filename="vars.txt")
    install(art, FakeData(b"# vars\na=1\nold\n\nb=2\n", chunk_bytes=3), ctx)
    assert ctx.env.staged == {"a": "1", "old": "", "b": "2"}
    assert ctx.env.stored == {"old": "1"}


def test_nooverride(tmp_path: Path) -> None:
    ctx = context(tmp_path)
    art = Artifact(Kind.IMAGE, "uboot", filename="vars.txt", properties={"nooverride": ("true",)})
    install(art, FakeData(b"a=1\nb=2\n"), ctx)
    assert ctx.env.staged == {"a": "from bootenv", "b": "2"}


def test_nothing_is_staged_when_the_verdict_or_a_line_is_wrong(tmp_path: Path) -> None:
    for data, error in (
        (FakeData(b"z=1\n", verdict=HashError("wrong digest")), HashError),
        (FakeData(b"z=1\n=2\n"), BootEnvError),
    ):
        ctx = context(tmp_path)
        with pytest.raises(error):
            install(ART, data, ctx)
        assert ctx.env.staged == {"a": "from bootenv"}


def test_bounded(tmp_path: Path) -> None:
    data = FakeData(b"#" * 50_000_000)
    with pytest.raises(SizeError):
        install(ART, data, context(tmp_path))
    assert data.read_bytes < 3_000_000
