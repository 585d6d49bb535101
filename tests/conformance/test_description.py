"""What sw-description can say: languages, boards, selections, links, versions, hardware."""

import json
from pathlib import Path

import pytest

from tests.conftest import KeyRing

from .bench import (
    Case,
    check,
    files,
    params,
    software,
    to_file,
)

A, B = b"content of a\n", b"content of b\n"
AB = {"a": A, "b": B}
VERSIONS = 'globals: {{ verbose = false; }};\nversions: ( {{ name = "app"; version = "{}"; }} );\n'


def only_a(filename: str = "a") -> str:
    return files(to_file(filename))


def chosen(name: str, text: str, *words: str, **more: object) -> Case:
    """a for the choice that is meant, b for the others."""
    return Case(name=name, description=text, members=AB, words=words, holds={"a": A}, **more)  # type: ignore[arg-type]  # fields of Case


def json_text(**more: object) -> str:
    return json.dumps({"software": {"version": "1.0", "hardware-compatibility": ["1.0"], **more}})


A_JSON = {"filename": "a", "path": "@ROOT@/a", "sha256": "@SHA:a@"}
SETS = "stable: { copy1: { %s }; copy2: { %s }; };"

CASES = [
    chosen("libconfig", software(only_a())),
    chosen("json", json_text(files=[A_JSON])),
    chosen("json-comment", "/* first */ " + json_text(files=[A_JSON]), slow=True),
    chosen("json-lone-object", json_text(files=A_JSON), slow=True),
    chosen(
        "json-properties",
        json_text(files=[{**A_JSON, "path": "@ROOT@/a", "properties": {"atomic-install": "true"}}]),
        slow=True,
    ),
    chosen("selection", software(SETS % (only_a("b"), only_a("a"))), "-e", "stable,copy2"),
    chosen("selection-beats-common", software(only_a("b"), SETS % (only_a("b"), only_a())), "-e", "stable,copy2"),
    chosen("board", software("board: { %s };" % only_a(), "other: { %s };" % only_a("b"))),
    chosen(
        "board-and-selection",
        software("board: { %s };" % (SETS % (only_a("a"), only_a("b"))), SETS % (only_a("b"), only_a("b"))),
        "-e", "stable,copy1",
    ),
    chosen("selection-beats-board", software(SETS % (only_a(), only_a("b")), "board: { %s };" % only_a("b")),
           "-e", "stable,copy1", slow=True),
    chosen("board-beats-common", software(only_a("b"), "board: { %s };" % only_a()), slow=True),
    chosen("unknown-selection-uses-common", software(only_a(), SETS % (only_a("b"), only_a("b"))), "-e", "stable,copy3"),
    Case(name="selection-of-nothing", description=software(SETS % (only_a(), only_a())), members=AB,
         words=("-e", "beta,copy1"), ok=False, exit=33),
    Case(name="no-selection", description=software(SETS % (only_a(), only_a())), members=AB, ok=False, exit=11),
    chosen("ref-section", software('common: { f: ( %s ); };' % to_file("a"),
                                   'stable: { copy1: { files: { ref = "#./../../common/f"; }; }; };'),
           "-e", "stable,copy1"),
]


@pytest.mark.parametrize("case", params(CASES))
def test_description(case: Case, tmp_path: Path, key_ring: KeyRing) -> None:
    check(case, tmp_path, key_ring)
