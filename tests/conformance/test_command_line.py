"""A script that calls ``swupdate -i`` works by changing the name: the same words for both programs."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import KeyRing
from tests.programs import run_swagent, run_swupdate

from .bench import Bench, Case, files, no_hardware_here, software, to_file

A = b"content of a\n"
SETS = "stable: { copy1: { %s }; copy2: { %s }; };"
TEXT = software(SETS % (files(to_file("a")), files(to_file("a", "second"))), files(to_file("a", "common")))


@dataclass(frozen=True)
class Line:
    """One command line.

    Attributes:
        words: ``IMAGE``, ``CERT``, ``AES`` and ``TMP`` are replaced.
        ok: SWUpdate's verdict.
        holds: name of the file that is there afterwards, "" for none.
        exit: swagent's status.
        ours: as ``holds`` for swagent; None when it is the same.
        differs: topic of the compatibility page.
        quick: part of ``make test``.
    """

    words: str
    ok: bool = True
    holds: str = "common"
    exit: int = 0
    ours: str | None = None
    differs: str = ""
    quick: bool = False


USUAL = "-i IMAGE -k CERT -H board:1.0"
LINES = [
    Line("-i IMAGE -k CERT -H board:1.0", quick=True),
    Line("--image IMAGE --key CERT --hwrevision board:1.0"),
    Line("--image=IMAGE --key=CERT --hwrevision=board:1.0", quick=True),
    Line("-iIMAGE -kCERT -Hboard:1.0", quick=True),
    Line("-H board:1.0 -k CERT -i IMAGE"),
    Line("--ima IMAGE --key CERT --hw board:1.0", exit=2, ours="", differs="shortened options"),
    Line("--image IMAGE --k CERT --hwrevision board:1.0", ok=False, holds="", exit=2),
    Line("--ca-path CERT -i IMAGE -H board:1.0"),
    Line(f"{USUAL} -e stable,copy2", holds="second", quick=True),
    Line(f"{USUAL} --select stable,copy1", holds="a"),
    Line(f"{USUAL} -e stable", ok=False, holds="", exit=2),
    Line(f"{USUAL} -e ,copy1", ok=False, holds="", exit=2),
    Line(f"{USUAL} -e stable,copy2,x", exit=2, ours="", differs="three words after -e"),
    Line(f"{USUAL} -q stable,copy1 -q stable,copy2"),
    Line(f"{USUAL} -v"),
    Line(f"{USUAL} -l 5"),
    Line(f"{USUAL} -l 0"),
    Line(f"{USUAL} -nv", holds="", quick=True),
    Line(f"{USUAL} -n", holds=""),
    Line(f"{USUAL} --dry-run", holds=""),
    Line(f"{USUAL} -c", holds="", quick=True),
    Line(f"-c {USUAL}", holds=""),
    Line(f"{USUAL} --check", holds=""),
    Line(f"{USUAL} -M -m"),
    Line(f"{USUAL} -B none"),
    Line(f"{USUAL} -B frobnicate", ok=False, holds="", exit=2),
    Line(f"{USUAL} -b 0"),
    Line(f"{USUAL} -K AES"),
    Line(f"{USUAL} -K TMP/nowhere", ok=False, holds="", exit=70),
    Line(f"{USUAL} -N 1.0 -R 0.9 --max-version 1.0"),
    Line(f"{USUAL} --no-downgrading=1.1", ok=False, holds="", exit=31),
    Line(f"{USUAL} -p true -P true"),
    Line(f"{USUAL} -p false", ok=False, exit=42),
    Line(f"{USUAL} -P false", ok=False, holds="", exit=42),
    Line(f"{USUAL} --cert-purpose emailProtection"),
    Line(f"{USUAL} --cert-purpose codeSigning", ok=False, holds="", exit=20),
    Line(f"{USUAL} --cert-purpose other", ok=False, holds="", exit=2),
    Line(f"{USUAL} --forced-signer-name Tests"),
    Line(f"{USUAL} --forced-signer-name Other", ok=False, holds="", exit=20),
    Line("-c -k CERT -H board:1.0", ok=False, holds="", exit=2),
    Line(f"{USUAL} -o TMP/copy", ok=False, holds="", exit=2, quick=True),
    Line(f"{USUAL} more", ok=False, holds="", exit=2, quick=True),
    Line(f"{USUAL} --frobnicate", ok=False, holds="", exit=2),
    Line(f"{USUAL} -Z", ok=False, holds="", exit=2),
    Line(f"{USUAL} -e", ok=False, holds="", exit=2),
    Line(f"{USUAL} -e -v", ok=False, holds="", exit=2, quick=True),
    Line("-i IMAGE -k CERT -H board", ok=False, holds="", exit=2),
    Line("-i IMAGE -k CERT -H :1.0", ok=False, holds="", exit=2),
    Line("-i IMAGE -k CERT -H board:", ok=False, holds="", exit=2),
    Line("-i IMAGE -H board:1.0", ok=False, holds="", exit=70),
    Line("-i IMAGE -k TMP/nowhere -H board:1.0", ok=False, holds="", exit=70),
    Line("-i IMAGE -k AES -H board:1.0", ok=False, holds="", exit=70),
    Line("-i TMP/nowhere.swu -k CERT -H board:1.0", ok=False, holds="", exit=41),
    Line(f"{USUAL} -f TMP/nowhere.cfg", ok=False, holds="", exit=70),
    Line("-i IMAGE -k CERT", ok=False, holds="", exit=30),
    Line(f"{USUAL} -s TMP/versions", ok=False, holds="", ours="common", differs="newer options"),
    Line(f"{USUAL} --digest-provider opensslCMS", ok=False, holds="", ours="common", differs="newer options"),
    Line(f"{USUAL} -i IMAGE"),
    Line(f"{USUAL} -k CERT"),
]


def line_params() -> list[object]:
    found: list[object] = []
    for line in LINES:
        assert bool(line.differs) == (line.ok != (line.exit == 0)), line.words
        found.append(
            pytest.param(
                line, id=line.words.replace(" ", "_"), marks=[] if line.quick else [pytest.mark.slow]
            )
        )
    return found


@pytest.mark.parametrize("line", line_params())
def test_line(line: Line, tmp_path: Path, key_ring: KeyRing) -> None:
    """Exit status and what is there afterwards."""
    if "-H" not in line.words and "--hw" not in line.words:
        no_hardware_here()
    bench = Bench(tmp_path, key_ring)
    bench.fresh({})
    bench.build(Case(name="line", description=TEXT, members={"a": A}))
    names = {"IMAGE": bench.update, "CERT": key_ring.cert, "AES": key_ring.aes, "TMP": bench.other}
    words = [re.sub("|".join(names), lambda found: str(names[found[0]]), word) for word in line.words.split()]
    theirs = run_swupdate(words, tmp_path, fresh=lambda: bench.fresh({}))
    assert theirs.ok == line.ok, theirs.text
    bench.holds({line.holds: A} if line.holds else {}, theirs)
    bench.fresh({})
    ours = run_swagent(words, tmp_path)
    assert ours.code == line.exit, ours.text
    left = line.holds if line.ours is None else line.ours
    bench.holds({left: A} if left else {}, ours)
