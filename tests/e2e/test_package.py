"""What an installed package has: every room, the Lua files, a command that runs without the checkout."""

import os
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=PROJECT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    for name in filter(None, names):
        if (PROJECT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((PROJECT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_has_all(wheel: Path) -> None:
    held = ZipFile(wheel).namelist()
    modules = {str(path.relative_to(PROJECT)) for path in (PROJECT / "swagent").rglob("*.py")}
    assert modules <= set(held)
    assert "swagent/py.typed" in held
    assert any(name.endswith("/data/lib/systemd/system/swagent-uptane.service") for name in held)
    lua = {name.rsplit("/", 1)[1] for name in held if "/data/share/swagent/lua/" in name}
    assert {path.name for path in (PROJECT / "lua").glob("*.lua")} <= lua
    assert not [name for name in held if name.startswith("tests/")]


def test_it_runs_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Its dependencies are those of this environment; nothing else of the checkout is in reach."""
    venv.create(tmp_path / "venv", with_pip=True, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", wheel], check=True, timeout=120)
    assert (tmp_path / "venv" / "share" / "swagent" / "lua" / "swupdate_handlers.lua").is_file()
    libraries = next(Path(entry) for entry in sys.path if entry.endswith("site-packages"))
    done = subprocess.run(
        [tmp_path / "venv" / "bin" / "swagent", "handlers"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(libraries)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "built-in swagent.handlers.raw" in done.stdout
