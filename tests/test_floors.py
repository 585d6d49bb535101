"""The floors of the house: who may import whom, read from the syntax trees (CONTRIBUTING.md describes them)."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "swagent"

FLOORS: dict[str, int] = {
    # F0: words, stdlib only, no I/O
    "errors": 0, "model": 0, "events": 0, "plugins": 0, "versions": 0, "settings": 0, "sizes": 0,
    "clock": 0,
    # F1: tools
    "stream": 1, "crypto": 1, "hw": 1, "net": 1, "store": 1, "bootloader": 1, "scripting": 1, "remote": 1,
    # F2: formats and what they mean
    "parser": 2, "handlers": 2, "ipc": 2, "authdb": 2, "uptane": 2,
    # F3: order and policy
    "installer": 3, "uptane_client": 3, "swu": 3,
    # F4: doors
    "sockets": 4, "vehicle": 4, "web": 4, "suricatta": 4, "uptane_server": 4, "lab": 4,
    # F5: keys
    "__main__": 5, "app": 5, "sources": 5, "state": 5, "facts": 5, "daemon": 5, "cli": 5, "testbed": 5, "testing": 5,
}  # fmt: skip
SIBLINGS = {
    ("stream", "crypto"),
    ("bootloader", "hw"),
    ("bootloader", "store"),
    ("app", "cli"),
    ("cli", "app"),
}
OWNERS: dict[str, set[str]] = {
    "libconf": {"parser"},
    "cryptography": {"crypto"},
    "pkcs11": {"crypto"},
    "lupa": {"scripting"},
    "serial": {"hw"},
    "pyte": {"cli"},  # the terminal inside the terminal
    "gpiod": {"hw"},
    "pyudev": {"hw"},
    "usb": {"hw"},
    "zmq": {"remote"},
    "grpc": {"lab"},
    "pytest": {"testing"},  # its fixtures for integrators
    "google": {"lab"},  # protobuf
    "jwt": {"lab"},
    "yaml": {"bootloader", "lab"},
    "isal": {"stream", "swu"},  # reading is stream's, writing swu's
    "backports": {"stream", "swu"},
    "compression": {"stream", "swu"},
    "re2": {"authdb"},
    "urllib3": {"net"},
    "websockets": {"net"},
    "aiohttp": {"web", "uptane_server", "lab"},  # the one HTTP server
    "sqlalchemy": {"uptane_server"},
    "alembic": {"uptane_server"},
    "psycopg": {"uptane_server"},
    "jinja2": {"uptane_server"},
}
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """``swagent/cli/options.py`` -> ``cli``; ``swagent/errors.py`` -> ``errors``; the package itself -> ""."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0].removesuffix(".py") if parts[0] != "__init__.py" else ""


def imports(tree: ast.AST, path: Path) -> Iterator[tuple[str, int]]:
    """Absolute names of what a module imports, and the line."""
    here = ["swagent", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = here[: len(here) - node.level + 1]
                module = ".".join([*base, *([node.module] if node.module else [])])
            else:
                module = node.module or ""
            if module == "swagent" or (node.level and not node.module):
                for alias in node.names:
                    yield f"{module}.{alias.name}", node.lineno
            else:
                yield module, node.lineno


def faults(source: str, path: Path) -> list[str]:
    """What a module does that its room may not."""
    tree = ast.parse(source)
    room = room_of(path)
    found: list[str] = []
    if room and room not in FLOORS:
        return [f"{path.name}: room {room} is not on the plan (tests/test_floors.py, CONTRIBUTING.md)"]
    floor = FLOORS.get(room, 0)
    for name, line in imports(tree, path):
        where = f"{path.relative_to(PACKAGE)}:{line}"
        top, *rest = name.split(".")
        if top == "swagent":
            other = rest[0] if rest else ""
            if other in ("", room) or other.startswith("__"):
                continue
            if other not in FLOORS:
                found.append(f"{where} imports {name}, which is on no floor")
            elif FLOORS[other] > floor:
                found.append(
                    f"{where}: {room} (F{floor}) imports {other} (F{FLOORS[other]}), which lies above"
                )
            elif FLOORS[other] == floor and floor not in (0, 5) and (room, other) not in SIBLINGS:
                found.append(f"{where}: {room} and {other} live on one floor and must not know each other")
            continue
        if top == "asyncio" and floor < 4:
            found.append(f"{where}: asyncio belongs to doors (F4 and F5)")
        if floor == 0 and top not in sys.stdlib_module_names:
            found.append(f"{where}: F0 uses the standard library only, not {top}")
        if top in OWNERS and room not in OWNERS[top]:
            found.append(f"{where}: {top} belongs to {', '.join(sorted(OWNERS[top]))}, not to {room}")
        elif top not in OWNERS and top not in sys.stdlib_module_names:
            found.append(f"{where}: {top} has no owner (tests/test_floors.py)")
    found += [f"{path.relative_to(PACKAGE)}:{line}: {what}" for what, line in calls(tree, room, floor)]
    return found


def calls(tree: ast.AST, room: str, floor: int) -> Iterator[tuple[str, int]]:
    """Calls that only some rooms may make."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if room not in ("cli", "__main__", "testbed") and name in (
                "print",
                "input",
                "sys.exit",
                "exit",
                "quit",
            ):
                yield f"{name}() belongs to cli", node.lineno
            if name == "os._exit" and room not in ("cli", "daemon", "testing"):
                yield "os._exit() belongs to cli", node.lineno
            if name == "os.system":
                yield "os.system() is never used", node.lineno
            if (
                floor <= 3
                and room != "clock"
                and name in ("time.time", "datetime.now", "datetime.datetime.now")
            ):
                yield f"{name}() belongs to clock", node.lineno
            for keyword in node.keywords:
                if keyword.arg == "shell" and not (
                    isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                ):
                    yield "shell=True is never used", node.lineno
        elif (
            isinstance(node, ast.Raise)
            and node.exc is not None
            and room not in ("cli", "__main__", "testbed")
        ):
            raised = ast.unparse(node.exc)
            if raised.startswith("SystemExit"):
                yield "SystemExit belongs to cli", node.lineno


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_keeps_to_its_floor(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8"), path) == []


def test_rooms_have_names_that_say_what_they_hold() -> None:
    assert not [path for path in MODULES if path.stem in ("utils", "helpers", "common", "misc", "manager")]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("stream/x.py", "from swagent.handlers import api"),
        ("stream/x.py", "from ..handlers import api"),
        ("stream/x.py", "from swagent import handlers"),
        ("handlers/x.py", "def f():\n    import swagent.parser.select"),
        ("hw/x.py", "import swagent.store"),
        ("crypto/x.py", "import swagent.stream"),
        ("model.py", "import swagent.hw"),
        ("model.py", "import cryptography"),
        ("handlers/x.py", "import asyncio"),
        ("handlers/x.py", "from cryptography.hazmat import primitives"),
        ("handlers/x.py", "import requests"),
        ("installer/x.py", "print('x')"),
        ("installer/x.py", "import sys\nsys.exit(1)"),
        ("app.py", "raise SystemExit(1)"),
        ("installer/x.py", "import time\ntime.time()"),
        ("hw/x.py", "import subprocess\nsubprocess.run('x', shell=True)"),
        ("nowhere/x.py", ""),
    ],
)
def test_a_breach_is_seen(path: str, source: str) -> None:
    assert faults(source, PACKAGE / path)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("stream/x.py", "from swagent.crypto import digest\nfrom .source import Reader"),
        ("bootloader/x.py", "from swagent.hw import block\nfrom swagent.store import atomic"),
        ("installer/x.py", "from swagent.handlers.api import Context\nfrom swagent.model import Plan"),
        ("cli/x.py", "import asyncio\nprint('x')\nfrom swagent import app, __version__"),
        ("model.py", "from .errors import SwagentError"),
    ],
)
def test_what_is_allowed_passes(path: str, source: str) -> None:
    assert faults(source, PACKAGE / path) == []


def test_contributing_names_every_room() -> None:
    page = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    rooms = {room_of(path) for path in MODULES} - {"", "__main__"}
    missing = [room for room in sorted(rooms) if not re.search(rf"`{room}(/|\.py)?`", page)]
    assert missing == [], "add them to the table of floors in CONTRIBUTING.md"
