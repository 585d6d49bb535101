"""The project stands on its own: what it says can be understood, and works, with nothing but this repository."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
THIS = Path(__file__).name

# Places and things that a reader of this repository does not have.
ELSEWHERE = {
    "a folder outside of the checkout": r"(?<![\w.])(?:\.\./)+shared\b|(?<![\w/.-])/work/",
    "a tracker": r"\b[Ii]ssues?\b(?! (?:a|the) certificate)",
    "a conversation": r"\bsession of work\b|\b[Hh]elpers? (?:wrote|made)\b",
    "a registry's host": r"files\.pythonhosted\.org|\bpypi\.org/simple\b|--index-url|--extra-index-url",
}
# What importing costs milliseconds, and `swagent -i` of a plain image does without.
HEAVY = (
    "argparse", "asyncio", "asn1crypto", "configparser", "cryptography.x509", "ctypes", "datetime", "email", "http",
    "http.client", "importlib.metadata", "inspect", "json", "libconf", "logging", "pathlib", "random", "shutil",
    "socket", "ssl", "subprocess", "tarfile", "tempfile", "threading", "unittest", "urllib.request", "zstandard",
)  # fmt: skip


def git(*words: str) -> str:
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True).stdout


def tracked() -> list[Path]:
    return [ROOT / name for name in git("ls-files", "-z").split("\0") if name]


def mentions(text: str) -> list[str]:
    return [
        f"{what}: {match[0]!r}" for what, words in ELSEWHERE.items() for match in re.finditer(words, text)
    ]


def test_no_file_speaks_of_what_is_elsewhere() -> None:
    found: list[str] = []
    for path in tracked():
        if path.name in (THIS, "LICENSE") or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a golden binary
        found += [f"{path.relative_to(ROOT)}: {mention}" for mention in mentions(text)]
    assert found == []


def test_no_commit_message_does() -> None:
    assert mentions(git("log", "--format=%s%n%b")) == []


def test_a_mention_is_seen() -> None:
    for text in ("see ../shared/x", "in /work/main", "fixes issue 3", "from an earlier session of work"):
        assert mentions(text), text
    assert mentions("the network/work/x and a certificate's issuer") == []


def test_links_between_pages_lead_somewhere() -> None:
    broken: list[str] = []
    for page in tracked():
        if page.suffix != ".md" or not page.is_file():
            continue
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", target) or target.startswith("#"):
                continue
            aim = (page.parent / target.partition("#")[0]).resolve()
            if not aim.exists() or ROOT not in [aim, *aim.parents]:
                broken.append(f"{page.relative_to(ROOT)} -> {target}")
    assert broken == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "swagent").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert len(words) > 20 and "TODO" not in words


def loaded_by(statement: str) -> set[str]:
    run = subprocess.run(
        [
            sys.executable,
            "-X",
            "importtime",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); {statement}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        line.rsplit("|", 1)[1].strip() for line in run.stderr.splitlines() if line.startswith("import time:")
    }


def test_starting_loads_nothing_heavy() -> None:
    modules = loaded_by("import swagent.cli.main")
    assert "swagent.cli.main" in modules
    assert sorted(modules & set(HEAVY)) == []
    assert not [name for name in modules if name.startswith(("cryptography", "asyncio", "concurrent"))]


def test_something_heavy_would_be_seen() -> None:
    assert "json" in loaded_by("import json")
