"""The sample handlers of ``lua/`` in updates by swagent; tests/conformance does the same with SWUpdate beside it."""

import re
import sys
from pathlib import Path

import pytest

from swagent.swu.make import make
from swagent.swu.sign import SigningSpec
from tests.conftest import KeyRing
from tests.programs import PROJECT, run, run_swagent

pytest.importorskip("lupa", reason="needs lupa: pip install 'swagent[lua]'")
CONTENT = b"bytes of an image: \0\xff\n" * 5000
HANDLERS = PROJECT / "lua" / "swupdate_handlers.lua"


def built(folder: Path, key: Path, text: str, content: bytes = CONTENT) -> Path:
    """A signed image with one member."""
    (folder / "data.bin").write_bytes(content)
    (folder / "sw-description").write_text(
        f'software = {{ version = "1.0"; hardware-compatibility: [ "1.0" ]; {text} }};\n'
    )
    make(
        str(folder / "sw-description"),
        output=str(folder / "update.swu"),
        search=[str(folder)],
        signing=SigningSpec(str(key)),
    )
    return folder / "update.swu"


def entry(handler: str) -> str:
    return f'images: ( {{ filename = "data.bin"; type = "{handler}"; }} );'


@pytest.mark.parametrize("handler", ["sample_chain", "sample_copy", "sample_read"])
@pytest.mark.parametrize("version", [pytest.param("5.1", marks=pytest.mark.slow), "5.4"])
def test_a_sample_installs(handler: str, version: str, tmp_path: Path, key_ring: KeyRing) -> None:
    (tmp_path / "lua").mkdir()
    target = tmp_path / "sample.bin"
    text = HANDLERS.read_text().replace("/tmp/swagent-sample.bin", str(target))
    (tmp_path / "lua" / "swupdate_handlers.lua").write_text(text)
    update = built(tmp_path, key_ring.key, entry(handler))
    done = run_swagent(
        ["-i", update, "-k", key_ring.public, "-H", "b:1.0", "--json"],
        tmp_path,
        SWAGENT_LUA_PATH=f"{tmp_path}/lua/?.lua",
        SWAGENT_LUA_VERSION=version,
    )
    assert done.ok, done.text
    if handler == "sample_read":
        assert f"sample_read: {len(CONTENT)} bytes" in done.text
    else:
        assert target.read_bytes() == CONTENT


def test_what_a_handler_prints_does_not_get_between_the_lines(tmp_path: Path, key_ring: KeyRing) -> None:
    """As in SWUpdate's manual: the image itself is printed, through globals."""
    (tmp_path / "swupdate_handlers.lua").write_text(
        'require("swupdate")\n'
        'swupdate.register_handler("my_handler", function(image)\n'
        "  err, msg = image:read(function(data) print(data) end)\n"
        "  if err ~= 0 then swupdate.error(msg) return 1 end\n"
        "  return 0\n"
        "end, swupdate.HANDLER_MASK.IMAGE_HANDLER)\n"
    )
    update = built(tmp_path, key_ring.key, entry("my_handler"))
    words: list[str | Path] = ["-i", update, "-k", key_ring.public, "-H", "b:1.0", "--json"]
    done = run_swagent(words, tmp_path, SWAGENT_LUA_PATH=f"{tmp_path}/?.lua")
    assert done.ok, done.text
    assert all(line.startswith("{") for line in done.text.splitlines())


def test_the_list_of_handlers_tells_where_they_are_from(tmp_path: Path) -> None:
    environ = {"SWAGENT_LUA_PATH": f"{HANDLERS.parent}/?.lua"}
    done = run_swagent(["handlers"], tmp_path, stdin=None, **environ)
    assert re.search(rf"^sample_copy\s+image\s+yes\s+Lua, {HANDLERS}$", done.text, re.MULTILINE), done.text
    (tmp_path / "swupdate_handlers.lua").write_text("x = =\n")
    done = run_swagent(["handlers"], tmp_path, SWAGENT_LUA_PATH=f"{tmp_path}/?.lua")
    assert done.ok
    assert "cannot be loaded" in done.text
    assert re.search(r"^raw\s", done.text, re.MULTILINE)


def test_without_lupa(tmp_path: Path, key_ring: KeyRing) -> None:
    (tmp_path / "lupa").mkdir()
    (tmp_path / "lupa" / "__init__.py").write_text("raise ImportError('there is no lupa here')\n")
    script = 'embedded-script = "x = 1";'
    words: list[str | Path] = ["-k", key_ring.public, "-H", "b:1.0", "-i"]
    env = {"PYTHONPATH": f"{tmp_path}:{PROJECT}"}
    refused = run_swagent(
        [*words, built(tmp_path, key_ring.key, script + entry("dummy"))], tmp_path, stdin=None, **env
    )
    assert refused.code == 71, refused.text
    assert "Lua 5.4 is not to be had here" in refused.text and "swagent[lua]" in refused.text
    assert run_swagent(
        [*words, built(tmp_path, key_ring.key, entry("dummy"))], tmp_path, stdin=None, **env
    ).ok


def test_an_update_without_lua_imports_none_of_it(tmp_path: Path, key_ring: KeyRing) -> None:
    update = built(tmp_path, key_ring.key, entry("dummy"))
    program = (
        "import os, sys; from swagent.cli.main import main; code = main();"
        "print(sorted(name for name in sys.modules if 'lupa' in name or name.startswith('swagent.scripting')"
        " or name in ('swagent.installer.luamodule', 'swagent.handlers.lua', 'subprocess')), code)"
    )
    words: list[str | Path] = [
        sys.executable,
        "-c",
        program,
        "-i",
        update,
        "-k",
        key_ring.public,
        "-H",
        "b:1.0",
    ]
    env = {"PYTHONPATH": str(PROJECT), "TMPDIR": str(tmp_path), "RUNTIME_DIRECTORY": str(tmp_path)}
    done = run(words, cwd=tmp_path, env=env)
    assert done.text.splitlines()[-1] == "[] 0", done.text


def test_only_what_is_vouched_for_is_run(tmp_path: Path, key_ring: KeyRing) -> None:
    mark = tmp_path / "ran"
    script = f"embedded-script = \"io.open('{mark}', 'w'):close() function h(i) return true, i end\";"
    update = built(
        tmp_path, key_ring.key, script + 'images: ( { filename = "data.bin"; type = "dummy"; hook = "h"; } );'
    )
    rows: list[tuple[list[str | Path], int, bool]] = [
        (["-i", update, "-k", key_ring.stranger_public], 20, False),
        (["check", update, "-k", key_ring.stranger_public], 20, False),
        (["check", update, "--allow-unsigned"], 0, False),
        (["info", update], 0, False),
        (["verify", update, "-k", key_ring.public], 0, False),
        (["check", update, "-k", key_ring.public], 0, True),
        (["-i", update, "-k", key_ring.public, "-n"], 0, True),
        (["-i", update, "--allow-unsigned"], 0, True),
    ]
    for words, code, runs in rows:
        hardware = ["-H", "b:1.0"] if words[0] == "-i" else ["--as", "b:1.0"] if words[0] == "check" else []
        done = run_swagent([*words, *hardware], tmp_path)
        assert done.code == code, done.text
        assert mark.exists() == runs, done.text
        if words[0] == "check" and "--allow-unsigned" in words:
            assert "was not run" in done.text
        mark.unlink(missing_ok=True)
