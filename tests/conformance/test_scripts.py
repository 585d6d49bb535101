"""Scripts, commands and boot variables: when they run, with which words, and what their status does."""

from pathlib import Path

import pytest

from tests.conftest import KeyRing

from .bench import Case, check, entry, files, images, params, scripts, section, software, to_device, to_file

A = b"content of a\n"
# the second word of shellscript, the first of the others, is the log
TELL = b'#!/bin/sh\necho "$0 $1 $3 $4" | sed "s,.*/,," >> "$2"\n'
TELL_ONE = b'#!/bin/sh\necho "$0 $2 $3" | sed "s,.*/,," >> "$1"\n'
FAILS_BEFORE = b'#!/bin/sh\necho "fails $1" >> "$2"\n[ "$1" != preinst ]\n'
FAILS_AFTER = b'#!/bin/sh\necho "fails $1" >> "$2"\n[ "$1" != postinst ]\n'
UNTIL_POSTINST = b"fails preinst\ntwo preinst  \nfails postinst\n"
SEES_A = b'#!/bin/sh\n[ -e "$3" ] && echo "$1 a is there" >> "$2" || echo "$1 a is not there" >> "$2"\n'


def shell(filename: str, data: str = "@ROOT@/log", **attributes: object) -> str:
    return entry(filename, type="shellscript", data=data, **attributes)


def bootenv(*entries: str) -> str:
    return section("bootenv", *entries)


CASES = [
    Case(
        name="shellscript-phases",
        description=software(files(to_file("a")), scripts(shell("one"), shell("two"))),
        members={"a": A, "one": TELL, "two": TELL},
        holds={"a": A, "log": b"one preinst  \ntwo preinst  \none postinst  \ntwo postinst  \n"},
        quick=True,
    ),
    Case(
        name="shellscript-words",
        description=software(scripts(shell("one", "@ROOT@/log with 'two words'"))),
        members={"one": TELL},
        holds={"log": b"one preinst with two words\none postinst with two words\n"},
    ),
    Case(
        name="shellscript-order",
        description=software(files(to_file("a")), scripts(shell("one", "@ROOT@/log @ROOT@/a"))),
        members={"a": A, "one": SEES_A},
        holds={"a": A, "log": b"preinst a is not there\npostinst a is there\n"},
    ),
    Case(
        name="direct-is-before-preinst",
        description=software(
            files(to_file("a", installed_directly=True)), scripts(shell("one", "@ROOT@/log @ROOT@/a"))
        ),
        members={"a": A, "one": SEES_A},
        holds={"a": A, "log": b"preinst a is there\npostinst a is there\n"},
        quick=True,
    ),
    Case(
        name="preinstall-and-postinstall",
        description=software(
            files(to_file("a")),
            scripts(
                entry("after", type="postinstall", data="@ROOT@/log x y"),
                entry("before", type="preinstall", data="@ROOT@/log x y"),
            ),
        ),
        members={"a": A, "after": TELL_ONE, "before": TELL_ONE},
        holds={"a": A, "log": b"before x y\nafter x y\n"},
        quick=True,
    ),
    Case(
        name="preinst-fails",
        description=software(files(to_file("a")), scripts(shell("one"), shell("two"))),
        members={"a": A, "one": FAILS_BEFORE, "two": TELL},
        ok=False,
        exit=42,
        holds={"log": b"fails preinst\n"},
        ours={"log": b"fails preinst\nfails postfailure\ntwo postfailure  \n"},
        differs="postfailure",
        quick=True,
    ),
    Case(
        name="postinst-fails",
        description=software(files(to_file("a")), scripts(shell("one"), shell("two"))),
        members={"a": A, "one": FAILS_AFTER, "two": TELL},
        ok=False,
        exit=42,
        holds={"a": A, "log": UNTIL_POSTINST},
        ours={"a": A, "log": UNTIL_POSTINST + b"fails postfailure\ntwo postfailure  \n"},
        differs="postfailure",
        quick=True,
    ),
    Case(
        name="artifact-fails",
        description=software(images(to_device("a")), scripts(shell("one"))),
        members={"a": A, "one": TELL},
        ok=False,
        exit=41,
        holds={"log": b"one preinst  \n"},
        ours={"log": b"one preinst  \none postfailure  \n"},
        differs="postfailure",
    ),
    Case(
        name="direct-artifact-fails",
        description=software(images(to_device("a", installed_directly=True)), scripts(shell("one"))),
        members={"a": A, "one": TELL},
        ok=False,
        exit=34,
    ),
    Case(
        name="script-without-hash",
        description=software(scripts(shell("one", sha256=None))),
        members={"one": TELL},
        ok=False,
        exit=11,
    ),
    Case(
        name="script-wrong-hash",
        description=software(files(to_file("a")), scripts(shell("one", sha256="ab" * 32))),
        members={"a": A, "one": TELL},
        ok=False,
        exit=21,
    ),
    Case(
        name="script-missing",
        description=software(files(to_file("a")), scripts(shell("one"))),
        members={"a": A, "one": TELL},
        names=("sw-description", "sw-description.sig", "a"),
        ok=False,
        exit=10,
    ),
    Case(
        name="script-type-default",
        description=software(scripts(entry("one"))),
        members={"one": b'function preinst() return true, "" end\nfunction postinst() return true, "" end\n'},
    ),
    Case(
        name="image-type-in-scripts",
        description=software(scripts(entry("one", type="raw"))),
        members={"one": TELL},
        ok=False,
        exit=11,
    ),
    Case(
        name="script-type-in-images",
        description=software(images(entry("one", type="shellscript"))),
        members={"one": TELL},
        ok=False,
        exit=11,
    ),
    Case(
        name="script-in-files",
        description=software(files(entry("one", type="preinstall"))),
        members={"one": TELL},
        ok=False,
        exit=11,
    ),
    Case(
        name="one-member-image-and-script",
        description=software(files(to_file("one")), scripts(shell("one"))),
        members={"one": TELL},
        ok=False,
        exit=0,
        ours={"one": TELL, "log": b"one preinst  \none postinst  \n"},
        differs="one member for an image and a script",
    ),
    Case(
        name="scripts-alone",
        description=software(scripts(entry("one", type="preinstall", data="@ROOT@/log"))),
        members={"one": TELL_ONE},
        holds={"log": b"one  \n"},
    ),
    Case(
        name="preupdate",
        description=software(files(to_file("a"))),
        members={"a": A},
        words=("-P", "echo before $(ls @ROOT@) >> @ROOT@/log"),
        holds={"a": A, "log": b"before\n"},
    ),
    Case(
        name="preupdate-fails",
        description=software(files(to_file("a"))),
        members={"a": A},
        words=("-P", "exit 3"),
        ok=False,
        exit=42,
        quick=True,
    ),
    Case(
        name="postupdate",
        description=software(files(to_file("a"))),
        members={"a": A},
        words=("-p", "echo after $(ls @ROOT@) >> @ROOT@/log"),
        holds={"a": A, "log": b"after a\n"},
    ),
    Case(
        name="postupdate-fails",
        description=software(files(to_file("a"))),
        members={"a": A},
        words=("-p", "exit 3"),
        holds={"a": A},
        ok=False,
        exit=42,
        quick=True,
    ),
    Case(
        name="postupdate-not-after-failure",
        description=software(files(to_file("a", "x/a"))),
        members={"a": A},
        words=("-p", "echo after >> @ROOT@/log"),
        ok=False,
        exit=41,
    ),
    Case(
        name="bootenv-none",
        description=software(files(to_file("a")), bootenv(entry(name="slot", value="b"))),
        members={"a": A},
        words=("-B", "none"),
        holds={"a": A},
        quick=True,
    ),
    Case(
        name="bootenv-alone",
        description=software(bootenv(entry(name="slot", value="b"))),
        words=("-B", "none"),
    ),
    Case(
        name="uboot-section",
        description=software(files(to_file("a")), section("uboot", entry(name="slot", value="b"))),
        members={"a": A},
        words=("-B", "none"),
        holds={"a": A},
    ),
    Case(
        name="bootenv-default-bootloader",
        description=software(files(to_file("a")), bootenv(entry(name="slot", value="b"))),
        members={"a": A},
        holds={"a": A},
        exit=45,
        ours={},
        differs="no boot loader",
        quick=True,
    ),
    Case(
        name="bootenv-without-name",
        description=software(files(to_file("a")), bootenv(entry(value="b"))),
        members={"a": A},
        words=("-B", "none"),
        holds={"a": A},
        exit=11,
        ours={},
        differs="bootenv without name",
    ),
    Case(
        name="bootenv-twice",
        description=software(
            files(to_file("a")), bootenv(entry(name="slot", value="b"), entry(name="slot", value="c"))
        ),
        members={"a": A},
        words=("-B", "none"),
        holds={"a": A},
    ),
    Case(
        name="bootloader-artifact",
        description=software(images(entry("env", type="bootloader"))),
        members={"env": b"slot=b\n"},
        words=("-B", "none"),
    ),
    Case(
        name="vars",
        description=software(files(to_file("a")), section("vars", entry(name="slot", value="b"))),
        members={"a": A},
        holds={"a": A},
        exit=34,
        ours={},
        differs="vars without a namespace",
    ),
    Case(
        name="dry-run",
        description=software(
            files(to_file("a")), scripts(shell("one")), bootenv(entry(name="slot", value="b"))
        ),
        members={"a": A, "one": TELL},
        words=("-n", "-B", "none", "-P", "echo before >> @ROOT@/log", "-p", "echo after >> @ROOT@/log"),
        quick=True,
    ),
    Case(
        name="check",
        description=software(files(to_file("a")), scripts(shell("one"))),
        members={"a": A, "one": TELL},
        words=("-c",),
    ),
    Case(
        name="check-finds-bad-hash",
        description=software(files(to_file("a", sha256="ab" * 32))),
        members={"a": A},
        words=("-c",),
        ok=False,
        exit=21,
        quick=True,
    ),
    Case(
        name="check-finds-bad-script",
        description=software(files(to_file("a")), scripts(shell("one", sha256="ab" * 32))),
        members={"a": A, "one": TELL},
        words=("-c",),
        ok=False,
        exit=21,
    ),
]


@pytest.mark.parametrize("case", params(CASES))
def test_scripts(case: Case, tmp_path: Path, key_ring: KeyRing) -> None:
    check(case, tmp_path, key_ring)
