"""What sw-description can say: languages, boards, selections, links, versions, hardware."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.conftest import KeyRing

from .bench import (
    Case,
    check,
    entry,
    files,
    images,
    params,
    section,
    software,
    to_file,
)

A, B = b"content of a\n", b"content of b\n"
AB = {"a": A, "b": B}
SHA_A = hashlib.sha256(A).hexdigest()
GLOBALS = "globals: { loglevel = 5; %s };\n"


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
    chosen("libconfig", software(only_a()), quick=True),
    chosen("json", json_text(files=[A_JSON]), quick=True),
    chosen(
        "json-comment",
        json_text(files=[A_JSON]).replace("{", "{ /* first */", 1),
        exit=11,
        ours={},
        differs="lax JSON",
        quick=True,
    ),
    chosen(
        "json-comment-first", "/* first */ " + json_text(files=[A_JSON]), exit=11, ours={}, differs="lax JSON"
    ),
    chosen(
        "json-single-quotes",
        json_text(files=[A_JSON]).replace('"', "'"),
        exit=11,
        ours={},
        differs="lax JSON",
    ),
    chosen("json-trailing-junk", json_text(files=[A_JSON]) + " junk", exit=11, ours={}, differs="lax JSON"),
    chosen(
        "json-duplicate-name",
        json_text(files=[A_JSON])[:-2] + ', "version": "2.0"}}',
        exit=11,
        ours={},
        differs="lax JSON",
    ),
    chosen("json-big-size", json_text(files=[{**A_JSON, "size": 13}])),
    Case(
        name="json-lone-object",
        description=json_text(files=A_JSON),
        members=AB,
        ok=False,
        exit=0,
        ours={"a": A},
        differs="a section that is one JSON object",
    ),
    chosen(
        "json-properties",
        json_text(files=[{**A_JSON, "path": "@ROOT@/a", "properties": {"atomic-install": "true"}}]),
    ),
    chosen("selection", software(SETS % (only_a("b"), only_a("a"))), "-e", "stable,copy2", quick=True),
    chosen(
        "selection-beats-common", software(only_a("b"), SETS % (only_a("b"), only_a())), "-e", "stable,copy2"
    ),
    chosen("board", software(f"board: {{ {only_a()} }};", "other: {{ {} }};".format(only_a("b")))),
    chosen(
        "board-and-selection",
        software("board: { %s };" % (SETS % (only_a("a"), only_a("b"))), SETS % (only_a("b"), only_a("b"))),
        "-e",
        "stable,copy1",
        quick=True,
    ),
    chosen(
        "selection-beats-board",
        software(SETS % (only_a(), only_a("b")), "board: {{ {} }};".format(only_a("b"))),
        "-e",
        "stable,copy1",
    ),
    chosen("board-beats-common", software(only_a("b"), f"board: {{ {only_a()} }};")),
    chosen(
        "unknown-selection-uses-common",
        software(only_a(), SETS % (only_a("b"), only_a("b"))),
        "-e",
        "stable,copy3",
    ),
    Case(
        name="selection-of-nothing",
        description=software(SETS % (only_a(), only_a())),
        members=AB,
        words=("-e", "beta,copy1"),
        ok=False,
        exit=33,
        quick=True,
    ),
    Case(
        name="no-selection", description=software(SETS % (only_a(), only_a())), members=AB, ok=False, exit=11
    ),
    chosen(
        "ref-section",
        software(
            "common: {{ f: ( {} ); }};".format(to_file("a")),
            'stable: { copy1: { files: { ref = "#./../../common/f"; }; }; };',
        ),
        "-e",
        "stable,copy1",
        quick=True,
    ),
    chosen(
        "ref-chain",
        software(
            "common: {{ f: ( {} ); }};".format(to_file("a")),
            'other: { files: { ref = "#./../common/f"; }; };',
            'stable: { copy1: { files: { ref = "#./../../other/files"; }; }; };',
        ),
        "-e",
        "stable,copy1",
    ),
    chosen(
        "ref-whole-mode",
        software(
            "common: {{ files: ( {} ); }};".format(to_file("a")),
            'stable: { copy1: { ref = "#./../common"; }; };',
        ),
        "-e",
        "stable,copy1",
    ),
    Case(
        name="ref-element",
        description=software(
            "common: ( {} );".format(to_file("b")), files(to_file("a"), '{ ref = "#./common"; }')
        ),
        members=AB,
        holds=AB,
        quick=True,
    ),
    chosen(
        "ref-from-the-root",
        software(
            "common: {{ f: ( {} ); }};".format(to_file("a")),
            'stable: { copy1: { files: { ref = "#software/common/f"; }; }; };',
        ),
        "-e",
        "stable,copy1",
    ),
    chosen(
        "ref-attribute",
        software(only_a()).replace('version = "1.0"', 'v = "1.0"; version = { ref = "#./v"; }'),
        "-N",
        "1.0",
    ),
    chosen(
        "ref-dangling",
        software(files(to_file("a"), '{ ref = "#./nowhere"; }')),
        exit=11,
        ours={},
        differs="dangling ref",
        quick=True,
    ),
    Case(
        name="ref-malformed",
        description=software(files(to_file("a"), '{ ref = "nowhere"; }')),
        members=AB,
        ok=False,
        exit=11,
    ),
    Case(
        name="ref-to-itself",
        description=software('stable: { copy1: { files: { ref = "#./files"; }; }; };'),
        members=AB,
        words=("-e", "stable,copy1"),
        ok=False,
        exit=11,
    ),
    chosen("hardware-in-list", software(only_a(), hardware='[ "2.0", "1.0" ]')),
    chosen("hardware-in-parentheses", software(only_a(), hardware='( "2.0", "1.0" )')),
    Case(
        name="hardware-other",
        description=software(only_a(), hardware='[ "2.0" ]'),
        members=AB,
        ok=False,
        exit=30,
        quick=True,
    ),
    Case(
        name="hardware-prefix",
        description=software(only_a(), hardware='[ "1" ]'),
        members=AB,
        ok=False,
        exit=30,
    ),
    chosen("hardware-regex", software(only_a(), hardware='[ "#RE:^[12]\\\\.0$" ]'), quick=True),
    chosen("hardware-regex-unanchored", software(only_a(), hardware='[ "#RE:0" ]')),
    chosen("hardware-regex-class", software(only_a(), hardware='[ "#RE:^[[:digit:]]+.[[:digit:]]$" ]')),
    chosen("hardware-regex-or", software(only_a(), hardware='[ "#RE:^(2|1).0$" ]')),
    chosen("hardware-regex-interval", software(only_a(), hardware='[ "#RE:^1.0{1,2}$" ]')),
    Case(
        name="hardware-regex-other",
        description=software(only_a(), hardware='[ "#RE:^2" ]'),
        members=AB,
        ok=False,
        exit=30,
    ),
    Case(
        name="hardware-regex-broken",
        description=software(only_a(), hardware='[ "#RE:(" ]'),
        members=AB,
        ok=False,
        exit=30,
    ),
    chosen("hardware-regex-broken-and-right", software(only_a(), hardware='[ "#RE:(", "1.0" ]')),
    Case(
        name="hardware-no-list",
        description=software(only_a()).replace("hardware-compat", "x"),
        members=AB,
        ok=False,
        exit=30,
    ),
    Case(
        name="hardware-text", description=software(only_a(), hardware='"1.0"'), members=AB, ok=False, exit=11
    ),
    Case(
        name="hardware-empty", description=software(only_a(), hardware="[ ]"), members=AB, ok=False, exit=30
    ),
    Case(
        name="hardware-in-mode",
        description=software(f'stable: {{ copy1: {{ hardware-compatibility: [ "2.0" ]; {only_a()} }}; }};'),
        members=AB,
        words=("-e", "stable,copy1"),
        ok=False,
        exit=30,
    ),
    Case(
        name="no-version",
        description=software(only_a()).replace("version", "verzion"),
        members=AB,
        ok=False,
        exit=11,
        quick=True,
    ),
    Case(name="nothing", description=software(), members=AB, ok=False, exit=11, quick=True),
    Case(name="empty-list", description=software("files: ( );"), members=AB, ok=False, exit=11),
    Case(name="syntax-error", description=software(only_a())[:-3], members=AB, ok=False, exit=11, quick=True),
    Case(
        name="no-software",
        description=software(only_a()).replace("software", "softwaer"),
        members=AB,
        ok=False,
        exit=11,
    ),
    Case(
        name="duplicate-name",
        description=software(only_a(), 'description = "x";', 'description = "y";'),
        members=AB,
        ok=False,
        exit=11,
    ),
    Case(name="no-text-at-all", description="", members=AB, ok=False, exit=11),
    Case(name="byte-order-mark", description="\ufeff" + software(only_a()), members=AB, ok=False, exit=11),
    chosen("comments", "# one\n// two\n/* three */\n" + software(only_a())),
    chosen(
        "colons-commas-no-semicolons",
        'software: {{ version: "1.0", hardware-compatibility: ["1.0"] files: ({}) }}'.format(to_file("a")),
    ),
    Case(
        name="trailing-comma",
        description=software("files: ( {}, );".format(to_file("a"))),
        members=AB,
        ok=False,
        exit=0,
        ours={"a": A},
        differs="trailing commas",
    ),
    chosen(
        "adjacent-strings", software(only_a()).replace('version = "1.0"', 'version = "1." "0"'), "-N", "1.0"
    ),
    chosen("hex-escape", software(only_a(), 'description = "\\x41\\t";')),
    chosen(
        "include",
        software(only_a(), '\n@include "/dev/null"\n'),
        exit=11,
        ours={},
        differs="@include",
        quick=True,
    ),
    chosen("unknown-section", software(only_a(), 'colours: ( { name = "blue"; } );')),
    chosen(
        "version-number",
        software(only_a()).replace('"1.0";', "1;", 1),
        exit=11,
        ours={},
        differs="malformed values",
    ),
    Case(
        name="long-name", description=software(files(to_file("b", "x" * 300))), members=AB, ok=False, exit=11
    ),
    Case(
        name="unknown-handler",
        description=software(files(to_file("a", type="frobnicate"))),
        members=AB,
        ok=False,
        exit=11,
        quick=True,
    ),
    Case(name="image-without-type", description=software(images(entry("a"))), members=AB, ok=False, exit=11),
    chosen(
        "file-without-filename",
        software(files(to_file("a"), entry(path="@ROOT@/b"))),
        exit=11,
        ours={},
        differs="entries without filename",
    ),
    Case(
        name="hash-missing",
        description=software(files(to_file("a", sha256=None))),
        members=AB,
        ok=False,
        exit=11,
        quick=True,
    ),
    Case(
        name="hash-too-short",
        description=software(files(to_file("a", sha256="abcd"))),
        members=AB,
        ok=False,
        exit=11,
    ),
    chosen("hash-upper-case", software(files(to_file("a", sha256=SHA_A.upper())))),
    Case(
        name="hash-zero",
        description=software(files(to_file("a", sha256="00" * 32))),
        members=AB,
        ok=False,
        exit=11,
    ),
    Case(
        name="partition-without-device",
        description=software(files(to_file("a")), section("partitions", entry(type="uniqueuuid"))),
        members=AB,
        holds={"a": A},
        exit=11,
        ours={},
        differs="partitions",
    ),
    # versions of the release
    chosen("no-downgrading-equal", software(only_a()), "-N", "1.0"),
    chosen("no-downgrading-lower", software(only_a()), "-N", "0.9.9"),
    Case(
        name="no-downgrading-higher",
        description=software(only_a()),
        members=AB,
        words=("-N", "1.0.1"),
        ok=False,
        exit=31,
    ),
    Case(
        name="no-downgrading-numbers",
        description=software(only_a(), version="1.9"),
        members=AB,
        words=("-N", "1.10"),
        ok=False,
        exit=31,
        quick=True,
    ),
    Case(
        name="no-reinstalling",
        description=software(only_a()),
        members=AB,
        words=("-R", "1.0"),
        ok=False,
        exit=31,
        quick=True,
    ),
    chosen("no-reinstalling-other-text", software(only_a()), "-R", "1.0.0"),
    Case(
        name="max-version",
        description=software(only_a(), version="2.0"),
        members=AB,
        words=("--max-version", "1.9"),
        ok=False,
        exit=31,
        quick=True,
    ),
    chosen("max-version-equal", software(only_a()), "--max-version", "1.0"),
    Case(
        name="semver-prerelease",
        description=software(only_a(), version="1.0.0-rc1"),
        members=AB,
        words=("-N", "1.0.0"),
        ok=False,
        exit=31,
    ),
    chosen("semver-metadata", software(only_a(), version="1.0.0+b1"), "-N", "1.0.0+b2"),
    chosen("settings-no-downgrading", software(only_a()), settings=GLOBALS % 'no-downgrading = "1.0";'),
    Case(
        name="settings-refuse",
        description=software(only_a()),
        members=AB,
        settings=GLOBALS % 'no-downgrading = "1.1";',
        ok=False,
        exit=31,
    ),
    chosen(
        "command-line-beats-settings",
        software(only_a()),
        "-N",
        "1.0",
        settings=GLOBALS % 'no-downgrading = "1.1";',
    ),
    chosen(
        "settings-select",
        software(SETS % (only_a("b"), only_a())),
        settings=GLOBALS % 'select = "stable,copy2";',
        quick=True,
    ),
    chosen(
        "settings-with-other-sections",
        software(only_a()),
        settings=GLOBALS % ""
        + 'webserver: { document_root = "/tmp"; };\nidentify: ( { name = "x"; value = "y"; } );\n',
    ),
    Case(
        name="settings-without-globals",
        description=software(only_a()),
        members=AB,
        settings="suricatta: { };\n",
        ok=False,
        exit=70,
    ),
    Case(
        name="settings-syntax",
        description=software(only_a()),
        members=AB,
        settings="globals: {\n",
        ok=False,
        exit=70,
    ),
    chosen(
        "settings-unknown",
        software(only_a()),
        settings=GLOBALS % 'colour = "blue";',
        exit=70,
        ours={},
        differs="unknown settings",
    ),
    chosen(
        "update-type-unknown",
        software(only_a(), 'update-type = "blue";'),
        exit=31,
        ours={},
        differs="update types",
    ),
    Case(
        name="hardware-unknown",
        description=software(only_a()).replace("hardware-compat", "x"),
        members=AB,
        hardware=(),
        ok=False,
        exit=0,
        ours={"a": A},
        differs="hardware that nobody names",
        quick=True,
    ),
    # versions of components
    *(
        Case(
            name=f"{flag}-{offered}-on-{installed}",
            quick=quick,
            members=AB,
            description=software(
                files(to_file("a", name="app", version=offered, **{flag: True}), to_file("b"))
            ),
            settings=GLOBALS % "" + f'versions: ( {{ name = "app"; version = "{installed}"; }} );\n',
            holds=AB if goes else {"b": B},
        )
        for flag, offered, installed, goes, quick in (
            ("install_if_different", "1.0", "1.0", False, False),
            ("install_if_different", "1.0", "1.0.0.0", False, False),
            ("install_if_different", "1.0", "1.1", True, False),
            ("install_if_different", "abc", "abd", True, False),
            ("install_if_higher", "1.1", "1.0", True, False),
            ("install_if_higher", "1.0", "1.0", False, False),
            ("install_if_higher", "0.9", "1.0", False, False),
            ("install_if_higher", "1.10", "1.9", True, False),
            ("install_if_higher", "1.0.0-rc.10", "1.0.0-rc.9", True, False),
            ("install_if_higher", "v1.10", "v1.9", False, False),
        )
    ),
    Case(
        name="everything-is-installed",
        description=software(files(to_file("a", name="app", version="1", install_if_different=True))),
        members=AB,
        settings=GLOBALS % "" + 'versions: ( { name = "app"; version = "1"; } );\n',
        ok=False,
        exit=31,
        quick=True,
    ),
    chosen(
        "component-not-listed",
        software(files(to_file("a", name="new", version="1", install_if_higher=True))),
        settings=GLOBALS % "" + 'versions: ( { name = "app"; version = "2"; } );\n',
    ),
    # an attribute of ours, which SWUpdate ignores
    chosen(
        "requires-met",
        software('requires = { app = ">=2,<3"; };', only_a()),
        settings=GLOBALS % "" + 'versions: ( { name = "app"; version = "2.1"; } );\n',
        quick=True,
    ),
    chosen(
        "requires-missing",
        software('requires = { app = ">=3"; };', only_a()),
        settings=GLOBALS % "" + 'versions: ( { name = "app"; version = "2.1"; } );\n',
        exit=31,
        ours={},
        differs="requires",
        quick=True,
    ),
]


@pytest.mark.parametrize("case", params(CASES))
def test_description(case: Case, tmp_path: Path, key_ring: KeyRing) -> None:
    check(case, tmp_path, key_ring)
