"""Runs the commands of the documentation, as a reader would type them, and compares what they print.

In a fenced block marked ``console``, a line that begins with ``$`` is a command (a here-document or a trailing
backslash continues it) and the lines below are what it prints: each must appear, in that order, with ``…`` for
anything. A command must succeed, unless it ends with ``# exit N``. All commands of a page run in one fresh folder.
Other blocks are not run.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DEADLINE_S = 60


@dataclass
class Sample:
    """One command of a page."""

    line: int
    command: str
    printed: list[str] = field(default_factory=list)
    status: int = 0


def samples(text: str) -> list[Sample]:
    """The commands of a page, in order."""
    found: list[Sample] = []
    inside = False
    until = ""  # the word that ends a here-document
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            inside = not inside and line.strip() == "```console"
            assert not until, f"line {number}: here-document without {until}"
        elif not inside:
            continue
        elif until or (found and found[-1].command.endswith("\\") and not found[-1].printed):
            found[-1].command += "\n" + line
            until = "" if line == until else until
        elif line.startswith("$ "):
            found.append(Sample(number, line[2:]))
            if heredoc := re.search(r"<<\s*'?(\w+)'?", line):
                until = heredoc[1]
        elif line.strip():
            found[-1].printed.append(line)
    for sample in found:
        if status := re.search(r"\s+# exit (\d+)$", sample.command):
            sample.status = int(status[1])
    return found


def first_missing(expected: list[str], output: str) -> str:
    """The first expected line that the output does not have where it should; "" when all are there."""
    lines = (re.sub(r"\s+", " ", line).strip() for line in output.splitlines())
    for line in expected:
        pattern = ".*".join(re.escape(part) for part in re.sub(r"\s+", " ", line).strip().split("…"))
        if not any(re.fullmatch(pattern, printed) for printed in lines):
            return line
    return ""


WITH_COMMANDS = [page for page in PAGES if page.is_file() and samples(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    env = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
        "HOME": str(tmp_path),
        "RUNTIME_DIRECTORY": str(tmp_path),  # tests beside us hold a lock of their own
        "STATE_DIRECTORY": str(tmp_path / "state"),
        "LC_ALL": "C.UTF-8",
        "CHECKOUT": str(ROOT),
    }
    text = page.read_text(encoding="utf-8")
    for program, package in re.findall(r"<!-- needs (\S+): (\S+) -->", text):
        if shutil.which(program, path=env["PATH"]) is None:
            pytest.skip(f"needs {program}: apt-get install {package}")
    for sample in samples(text):
        run = subprocess.run(
            ["bash", "-c", sample.command],
            cwd=tmp_path,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DEADLINE_S,
            check=False,
        )
        output = run.stdout.decode(errors="replace")
        where = f"{page.name}:{sample.line}: {sample.command}\n{output}"
        assert run.returncode == sample.status, f"exit {run.returncode}, {sample.status} expected at {where}"
        missing = first_missing(sample.printed, output)
        assert not missing, f"no {missing!r} at {where}"


def test_how_samples_are_read() -> None:
    page = """
```console
$ cat > a <<'EOF'
$ not a command
EOF
$ false    # exit 1
$ echo one \\
  two
one …
three
```
```text
$ not run
```
"""
    heredoc, fails, long = samples(page)
    assert heredoc.command == "cat > a <<'EOF'\n$ not a command\nEOF"
    assert fails.status == 1
    assert (long.command, long.printed) == ("echo one \\\n  two", ["one …", "three"])


def test_how_output_is_compared() -> None:
    assert first_missing(["a … c", "d"], "x\na   b c  \ny\nd\n") == ""
    assert first_missing(["d", "a … c"], "a b c\nd\n") == "a … c"
    assert first_missing(["a"], "ab\n") == "a"
