import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swagent.errors import DeviceError
from swagent.installer.inventory import (
    from_pairs,
    merge,
    parse_versions,
    read_versions,
    skip_reason,
    write_versions,
)
from swagent.model import Artifact, Kind

WORDS = st.text(st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=8)


def component(name: str, version: str, *, different: bool = False, higher: bool = False) -> Artifact:
    return Artifact(
        Kind.IMAGE,
        "raw",
        name=name,
        version=version,
        install_if_different=different,
        install_if_higher=higher,
    )


@pytest.mark.parametrize(
    ("offered", "installed", "different", "higher"),
    [
        ("1.0", "1.0", True, True),
        ("1.0", "1.0.0", True, True),  # the same version, whatever the text
        ("0.9", "1.0", False, True),
        ("1.1", "1.0", False, False),
        ("1.0-rc1", "1.0", False, True),
    ],
)
def test_when_an_entry_is_skipped(offered: str, installed: str, different: bool, higher: bool) -> None:
    there = {"x": (installed,), "y": (offered,)}
    assert bool(skip_reason(component("x", offered, different=True), there)) is different
    assert bool(skip_reason(component("x", offered, higher=True), there)) is higher
    assert bool(skip_reason(component("x", offered, different=True, higher=True), there)) is (
        different or higher
    )
    assert skip_reason(component("x", offered), there) == ""


def test_what_can_never_be_skipped() -> None:
    there = {"": ("1",), "x": ("1", "")}
    assert skip_reason(component("", "1", different=True), there) == ""
    assert skip_reason(component("x", "", different=True, higher=True), there) == ""
    assert skip_reason(component("new", "1", different=True, higher=True), there) == ""


def test_any_listed_version_may_be_the_reason() -> None:
    assert skip_reason(component("x", "2", different=True), {"x": ("1", "2")}) == "x 2 is installed"
    reason = skip_reason(component("x", "2", higher=True), {"x": ("1", "3")})
    assert reason == "x 3 is installed, and 2 is not higher"


def test_the_list_after_an_update() -> None:
    before = {"a": ("1", "2"), "b": ("1",), "c": ("1",)}
    after = merge(before, [component("a", "3"), component("b", ""), component("d", "4"), component("", "5")])
    assert after == {"a": ("3",), "c": ("1",), "d": ("4",)}
    assert before["a"] == ("1", "2")


def test_malformed_lines_are_left_out_and_told() -> None:
    content = b"boot 1.0\n\n  app\t\t2.0  \nalone\n\xff 1\nboot 1.1 more\n"
    found, warnings = parse_versions(content, where="/etc/sw-versions")
    assert found == {"boot": ("1.0", "1.1"), "app": ("2.0",)}
    assert [warning.split(": ")[0] for warning in warnings] == [
        f"/etc/sw-versions:{line}" for line in (4, 5, 6)
    ]


def test_a_file_that_is_not_there_is_an_empty_list(tmp_path: Path) -> None:
    assert read_versions(str(tmp_path / "none")) == ({}, [])


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot read"):
        read_versions(str(tmp_path))
    large = tmp_path / "large"
    large.write_bytes(b"a 1\n" * 300_000)
    with pytest.raises(DeviceError, match="larger than"):
        read_versions(str(large))


def test_lines_are_written_as_swupdate_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "sw-versions"
    path.write_text("old")
    assert write_versions(str(path), {"boot": ("1.0", "1.1"), "app": ("2",)}) == []
    assert path.read_bytes() == b"boot\t\t1.0\nboot\t\t1.1\napp\t\t2\n"
    assert os.listdir(tmp_path) == ["sw-versions"]


@given(pairs=st.lists(st.tuples(WORDS, WORDS), max_size=5))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    path = str(tmp_path_factory.mktemp("v") / "sw-versions")
    assert write_versions(path, from_pairs(pairs)) == []
    assert read_versions(path) == (from_pairs(pairs), [])


@pytest.mark.parametrize(
    ("name", "version"), [("a b", "1"), ("a", "1 2"), ("a", ""), ("a\nb", "1"), ("", "1")]
)
def test_what_would_be_another_line_is_left_out(tmp_path: Path, name: str, version: str) -> None:
    path = tmp_path / "sw-versions"
    assert write_versions(str(path), {name: (version,), "ok": ("1",)}) == [name]
    assert path.read_bytes() == b"ok\t\t1\n"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DeviceError):
        write_versions(str(tmp_path / "no" / "sw-versions"), {})
