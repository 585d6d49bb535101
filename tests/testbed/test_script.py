"""The script of the exercise in three dialects: banner by banner, line by line, file by file (uptane §5.8)."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from swagent.testbed.place import PRIMARY_WINDOW, SECONDARY_WINDOW
from swagent.testbed.script import BANNERS, Heard, Parties, play, started

DIALECTS = ("tuf1", "ref-json", "ref-der")
ROLES = ("root", "timestamp", "snapshot", "targets")
ORDER = {
    "tuf1": ("root", "timestamp", "snapshot", "targets"),
    "ref-json": ("timestamp", "snapshot", "root", "targets"),
    "ref-der": ("timestamp", "snapshot", "root", "targets"),
}
FIRST_IMAGES = {
    "BCU1.0.txt",
    "BCU1.1.txt",
    "BCU1.2.txt",
    "INFO1.0.txt",
    "TCU1.0.txt",
    "TCU1.1.txt",
    "TCU1.2.txt",
}
LYING_ABOUT = {"file1.txt", "infotainment_firmware.txt"}


class Silent:
    """A ``Voice`` that nobody hears."""

    def line(self, party: str, text: str) -> None:
        pass

    def banner(self, party: str, banner: object) -> None:
        pass

    def step(self, number: int) -> None:
        pass


class Moment(NamedTuple):
    """Where the script was when one of its ten parts ended."""

    lines: list[tuple[str, str]]
    banners: list[str]
    steps: list[int]
    files: dict[str, bytes]


class Run(NamedTuple):
    dialect: str
    extension: str
    folder: Path
    moments: list[Moment]


def files_of(folder: Path) -> dict[str, bytes]:
    """What is below the folder, as a person would list it: links followed, names that begin with a dot left out."""
    found: dict[str, bytes] = {}

    def walk(where: Path, name: str) -> None:
        for path in sorted(where.iterdir()):
            if path.name.startswith("."):
                continue
            below = f"{name}/{path.name}".lstrip("/")
            if path.is_dir():
                walk(path, below)
            else:
                found[re.sub(r"(temp_(?:primary|secondary))\w{5}/", r"\1/", below)] = path.read_bytes()

    walk(folder, "")
    return found


@pytest.fixture(scope="module", params=DIALECTS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("testbed")
    heard = Heard(Silent())
    moments: list[Moment] = []
    seen = [0, 0, 0]

    def ended(_: str) -> None:
        moments.append(
            Moment(
                heard.lines[seen[0] :], [*heard.banners[seen[1] :]], heard.steps[seen[2] :], files_of(folder)
            )
        )
        seen[:] = [len(heard.lines), len(heard.banners), len(heard.steps)]

    with started(request.param, heard, folder=str(folder)) as parties:
        play(parties, ended)
        ended("")
        told(parties)
    yield Run(request.param, "der" if request.param == "ref-der" else "json", folder, moments)
    assert not list(folder.glob("temp_*")), "removed in the end"


def told(parties: Parties) -> None:
    """At the end the Director knows what the Secondary runs."""
    found = parties.dd.get_last_ecu_manifest("TCUdemocar")
    path = found["signed"]["installed_image"]["filepath"]
    assert path.lstrip("/") == "firmware.img"
    assert parties.dd.get_last_vehicle_manifest("democar")["signed"]["primary_ecu_serial"] == "INFOdemocar"
    assert parties.dd.get_last_vehicle_manifest("111") is None


def window(moment: Moment, party: str, run: Run) -> list[str]:
    """What a window showed, without what differs from run to run."""
    text = [line for who, line in moment.lines if who == party]
    text = [re.sub(r"localhost:\d+", "localhost:PORT", line) for line in text]
    text = [re.sub(r"(temp_(?:primary|secondary))\w{5}", r"\1XXXXX", line) for line in text]
    return [line.replace(str(run.folder), "/HERE") for line in text]


def test_ten_banners_and_no_other(run: Run) -> None:
    assert [moment.banners for moment in run.moments[1:]] == [[banner] for banner in BANNERS]


def test_the_fifteen_steps(run: Run) -> None:
    delivered, later = run.moments[2], run.moments[3]
    assert delivered.steps == [1, 2, 3, 4, 5, 6, 7, 15, 9, 10, 11, 12, 13, 14], (
        "15: what the empty round had left"
    )
    assert later.steps[:8] == [1, 2, 3, 4, 5, 6, 7, 15]
    first = run.moments[1].steps
    assert [step for step in first if step not in (8, 15)] == [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 14]


def test_the_window_of_the_primary_line_by_line(run: Run) -> None:
    lines = window(run.moments[2], PRIMARY_WINDOW, run)
    attested = lines.pop(2)
    match = re.fullmatch(r"Get a signed time from the Timeserver:(\{.*\})\.", attested)
    assert match
    for word in ("'signatures': [{", "'signed': {", "'time': '20", "'nonces': ["):
        assert word in match[1]
    director = [
        f"Downloading: 'http://localhost:PORT/democar/metadata/{role}.{run.extension}'"
        for role in ORDER[run.dialect]
    ]
    images = [
        f"Downloading: 'http://localhost:PORT/metadata/{role}.{run.extension}'" for role in ORDER[run.dialect]
    ]
    assert lines == [
        "Start Update Primary.",
        "Submitting a request for a signed time to the Timeserver.",
        *director,
        *images,
        "Downloading: 'http://localhost:PORT/democar/targets/firmware.img'",
        "Submitting the Primary's manifest to the Director.",
        "Distributing metadata file /HERE/temp_primaryXXXXX/metadata/full_metadata_archive.zip "
        "from Primary to ECU 'TCUdemocar'",
        "Distributing image to ECU 'TCUdemocar'",
    ]


def test_the_window_of_the_secondary_line_by_line(run: Run) -> None:
    where = "file:////HERE/temp_secondaryXXXXX/unverified"
    assert window(run.moments[2], SECONDARY_WINDOW, run) == [
        "Start Update Secondary.",
        "Submitting a request for a signed time to the Primary.",
        "Get a signed time from the Primary.",
        "Submitting request for a metadata to Primary.",
        *(
            f"Request: '{where}/{repository}/metadata/{role}.{run.extension}'"
            for repository in ("director", "imagerepo")
            for role in ORDER["ref-der"]
        ),
        "Submitting a request for a image to the Primary.",
        "Submitting the Secondary's manifest to the Primary.",
    ]


def test_what_lies_where_after_the_update(run: Run) -> None:
    files = run.moments[2].files
    ext = run.extension
    here = {name.split("/")[0] for name in files}
    assert here == {"director", "imagerepo", "incoming", "keys", "temp_primary", "temp_secondary"}

    def below(*folders: str) -> set[str]:
        top = "/".join(folders) + "/"
        return {name.removeprefix(top) for name in files if name.startswith(top)}

    assert below("imagerepo", "targets") == FIRST_IMAGES | LYING_ABOUT | {"firmware.img"}
    plain = {f"{role}.{ext}" for role in ROLES}
    for folder in (("imagerepo", "metadata"), ("director", "democar", "metadata")):
        versioned = below(*folder) - plain
        assert plain <= below(*folder)
        assert {f"1.root.{ext}", f"2.targets.{ext}"} <= versioned
        assert all(re.fullmatch(rf"\d+\.(root|snapshot|targets)\.{ext}", name) for name in versioned)
    assert plain <= below("imagerepo", "metadata.staged")
    assert plain <= below("director", "democar", "metadata.staged")
    assert {name.split("/")[0] for name in below("director")} == {"111", "112", "113", "democar"}
    assert below("director", "democar", "targets") == {"firmware.img"}
    chain = set() if run.dialect.startswith("ref") else {f"roots/1.root.{ext}"}
    for client in ("temp_primary", "temp_secondary"):
        assert "metadata/pinned.json" in below(client)
        for repository in ("director", "imagerepo"):
            found = below(client, "metadata", repository)
            assert {f"current/{name}" for name in plain} <= found
            assert {f"previous/{role}.{ext}" for role in ("timestamp", "snapshot", "targets")} <= found
            assert found <= {
                f"{state}/{name}" for state in ("current", "previous") for name in plain
            } | chain | {"floors.json"}
    assert below("temp_primary", "targets") == {"firmware.img"}
    assert below("temp_primary", "metadata") >= {"full_metadata_archive.zip", f"director_targets.{ext}"}
    assert {name for name in below("temp_secondary") if not name.startswith("metadata/")} - {
        f"unverified/{repository}/metadata/{name}"
        for repository in ("director", "imagerepo")
        for name in (*plain, f"1.root.{ext}")
    } == {"metadata_archive.zip", "firmware.img", "unverified_targets/firmware.img"}
    fresh = b"Fresh firmware image"
    for name in (
        "imagerepo/targets/",
        "director/democar/targets/",
        "temp_primary/targets/",
        "temp_secondary/",
    ):
        assert files[f"{name}firmware.img"] == fresh
    pinned = json.loads(files["temp_primary/metadata/pinned.json"])
    assert re.fullmatch(r"http://localhost:\d+/democar", pinned["repositories"]["director"]["mirrors"][0])
    keys = below("keys")
    assert {"mainroot", "mainrole1", "directorroot", "director", "timeserver", "primary", "secondary"} <= keys
    assert files["keys/timeserver"].count(b"@@@@") == 4


def test_versions_go_up_as_the_reference_s(run: Run) -> None:
    from swagent.uptane.codecs import codec

    def versions(moment: Moment, where: str) -> dict[str, int]:
        return {
            role: codec(run.dialect).decode(moment.files[f"{where}/metadata/{role}.{run.extension}"]).version
            for role in ROLES
        }

    start, delivered = run.moments[0], run.moments[2]
    assert versions(start, "imagerepo") == dict.fromkeys(ROLES, 1)
    assert versions(start, "director/democar") == dict.fromkeys(ROLES, 1)
    for where in ("imagerepo", "director/democar"):
        assert versions(delivered, where) == {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 2}
    assert versions(run.moments[8], "director/democar")["root"] == 2
    assert versions(run.moments[8], "imagerepo")["root"] == 2


def test_no_attack_leaves_anything_behind(run: Run) -> None:
    left = [name for name in run.moments[-1].files if re.search(r"backup|hidden_|current_timestamp", name)]
    assert left == []
    evil = [
        name
        for name, raw in run.moments[-1].files.items()
        if raw == b"evil content" and "incoming" not in name
    ]
    assert evil == []


def test_as_a_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "swagent", "testbed", "run", "--dialect", "ref-der", "--json", "--seed", "7"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["banner"] for line in lines] == list(BANNERS)
    assert {line["event"] for line in lines} == {"testbed.banner"}
