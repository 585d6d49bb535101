"""Units that a database may let in, from the command line to the codes on the lines of ``--json``."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.cli import event_schema

SWAGENT = Path(sys.executable).parent / "swagent"
DESCRIPTION = """
software = {
    version = "2.0";
    files: ( { filename = "motd"; name = "app"; version = "7"; path = "@@PLACE@@"; type = "rawfile"; } );
};
"""


def make_unit(tmp_path: Path) -> Path:
    """A folder with an image, a unit's settings and its serial number."""
    (tmp_path / "sw-description").write_text(DESCRIPTION.replace("@@PLACE@@", str(tmp_path / "installed")))
    (tmp_path / "motd").write_text("hello\n")
    words = ["make", "-s", "sw-description", "-o", "update.swu", "--unsigned"]
    subprocess.run([SWAGENT, *words], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "msn").write_text("SN1\n")
    configure(tmp_path, msn=f"file:{tmp_path}/msn", model_number="cmd:/bin/echo M1")
    return tmp_path


def configure(folder: Path, **keys: Any) -> None:
    lines = [
        f"{key.replace('_file', '-file').replace('public_', 'public-')} = {json.dumps(value)};"
        for key, value in keys.items()
    ]
    (folder / "swupdate.cfg").write_text(f"globals : {{ }};\nauthorization : {{ {' '.join(lines)} }};\n")


def install(
    folder: Path,
    image: str = "update.swu",
    *words: str,
    under: Sequence[str] = (),
    before: Callable[[], None] | None = None,
) -> tuple[int, list[dict[str, Any]]]:
    """The exit code and all lines of ``swagent -i image words``, run by the program ``under``."""
    with open(folder / "update.swu", "rb") as stdin:
        run = subprocess.run(
            [*under, SWAGENT, "-f", "swupdate.cfg", "-i", image, "--allow-unsigned", "--json", *words],
            cwd=folder,
            env={
                "RUNTIME_DIRECTORY": str(folder),
                "STATE_DIRECTORY": str(folder / "state"),
                "PATH": "/usr/bin:/bin:/usr/sbin",
                "TMPDIR": str(folder),
            },
            stdin=stdin,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=before,
        )
    lines = run.stdout.splitlines()
    assert [event_schema.problems(line) for line in lines] == [[] for _ in lines]
    events = [json.loads(line) for line in lines]
    assert (run.returncode == 0) is (folder / "installed").exists()
    return run.returncode, events


def codes_of(events: list[dict[str, Any]]) -> list[int]:
    return [event["code"] for event in events if "code" in event]
