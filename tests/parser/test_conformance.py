"""What SWUpdate itself finds in a description, against what we find."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from swagent.errors import SwagentError
from swagent.model import Hardware, Selection
from swagent.parser import parse
from tests.parser.test_describe import LEVELS

COMMON = 'common = { images: ( { filename = "a"; device = "d"; type = "raw"; } ); files: ( { filename = "c"; } ); };'
VIA = "stable = { copy1 = { " + COMMON[11:-3] + ' } }; via = { ref = "#./stable"; };'
BOARD = 'bd = { ref = "#./common"; s = { m = { files: ( { filename = "b"; } ); } }; files: ( { filename = "d"; } ); };'

CASES = {
    "levels": (LEVELS, None),
    "levels of a selection": (LEVELS, "stable,copy1"),
    "levels of another selection": (LEVELS, "stable,copy2"),
    "no such selection": (LEVELS, "x,y"),
    "link to a group beside": (COMMON + 'stable = { copy1 = { ref = "#./../common"; } };', "stable,copy1"),
    "link from the root": (COMMON + 'stable = { copy1 = { ref = "#software/common"; } };', "stable,copy1"),
    "section and element": (
        COMMON + 'x = { y = { images = { ref = "#./../../common/images"; };'
        ' files: ( { filename = "b"; }, { ref = "#../../common/files"; }, { filename = "d"; } ) } };',
        "x,y",
    ),
    "link on the way": (VIA, "via,copy1"),
    "link of a board": (COMMON + BOARD, None),
    "path through a link": (COMMON + BOARD, "s,m"),
    "texts": (
        r"""files: ( { filename = "b" /* and */ "c"; path = "/x"; }, { filename = "\x61\x62\"; \q"; } );""",
        None,
    ),
    "list of one": ('files = { filename = "a"; };', None),
}


def run(*command: str, folder: Path, text: str | None = None) -> str:
    return subprocess.run(
        command,
        cwd=folder,
        input=text,
        text=True,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ).stdout


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for program, package in (
        ("swupdate", "swupdate"),
        ("openssl", "openssl"),
        ("cpio", "cpio"),
        ("unshare", "util-linux"),
    ):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: apt-get install {package}")
    if os.geteuid() != 0:
        pytest.skip(
            "needs root, for a /tmp of its own: the sockets of the installed swupdate have fixed names"
        )
    folder = tmp_path_factory.mktemp("signer")
    run(
        *[
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=x",
            "-days",
            "30",
            "-keyout",
            "k.pem",
            "-out",
            "c.pem",
        ],
        folder=folder,
    )
    return folder


def hashed(text: str) -> str:
    """Every entry gets a hash, as signed images must have; members hold their own names."""
    digest = {
        name: hashlib.sha256(name.encode()).hexdigest() for name in re.findall(r'filename = "(\w+)"', text)
    }
    return re.sub(r'filename = "(\w+)";', lambda m: f'{m[0]} sha256 = "{digest[m[1]]}";', text)


def found_by_swupdate(folder: Path, signer: Path, text: str, selection: str | None) -> list[str]:
    (folder / "sw-description").write_text(text)
    sign = f"openssl cms -sign -in sw-description -out sw-description.sig -signer {signer}/c.pem -inkey {signer}/k.pem"
    run(*sign.split(), *["-outform", "DER", "-nosmimecap", "-binary"], folder=folder)
    members = ["sw-description", "sw-description.sig"]
    for name in sorted(set(re.findall(r'filename = "(\w+)"', text))):
        (folder / name).write_text(name)
        members.append(name)
    run("cpio", "-o", "-H", "crc", "-O", "x.swu", folder=folder, text="\n".join(members) + "\n")
    choice = f"-e {selection}" if selection else ""
    # a /tmp of its own hides the folder, so it is entered before
    script = f"mount -t tmpfs tmpfs /tmp && swupdate -v -c -i x.swu -k c.pem -H bd:1.0 {choice}"
    shutil.copy(signer / "c.pem", folder)
    log = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        cwd=folder,
        text=True,
        capture_output=True,
        timeout=30,
        check=False,
    )
    if "unshare" in log.stderr or "mount" in log.stderr:
        pytest.skip("needs a mount namespace of its own")
    output = log.stdout + log.stderr
    assert "Software Update started" in output
    return sorted(
        re.findall(r"Found (?:Image|File|Script): (.*?)(?: in device| -->|$)", output, re.MULTILINE)
    )


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_same_entries_are_found(case: str, tmp_path: Path, signer: Path) -> None:
    inside, selection = CASES[case]
    text = hashed(f'software = {{ version = "1"; hardware-compatibility: [ "1.0" ]; {inside} }};')
    theirs = found_by_swupdate(tmp_path, signer, text, selection)
    try:
        release = parse(
            text.encode(),
            hardware=Hardware("bd", "1.0"),
            selection=Selection(*selection.split(",")) if selection else None,
        )
        ours = sorted(art.filename for art in (*release.installables, *release.scripts))
    except SwagentError:
        ours = []
    assert ours == theirs
