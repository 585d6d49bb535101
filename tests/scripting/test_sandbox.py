"""What code finds, and what it does not unless it is granted."""

from pathlib import Path

import pytest

from swagent.errors import RegistrationError, ScriptError
from swagent.scripting import LuaState, Setup
from swagent.settings import LUA_VERSIONS

from .states import Noting, state

GONE = (
    "os.execute",
    "io.popen",
    "os.exit",
    "os.setlocale",
    "debug",
    "package.loadlib",
    "string.dump",
    "python",
)
every_version = pytest.mark.parametrize(
    "version", [pytest.param(v, marks=[] if v == "5.4" else [pytest.mark.slow]) for v in LUA_VERSIONS]
)


@every_version
def test_what_is_not_there(version: str) -> None:
    checks = "\n".join(f"assert({name} == nil, '{name}')" for name in GONE)
    checks += """
assert(package.searchers == nil and package.loaders == nil and package.cpath == "")
for name in pairs(package.loaded) do
  assert(name ~= "debug" and name ~= "python" and not name:find("lupa"), name)
end
for _, name in pairs({ "debug", "ffi", "jit", "python", "lupa", "socket", "no/../way" }) do
  assert(not pcall(require, name), name)
end
"""
    with state(version=version) as lua:
        lua.run(checks.encode(), "checks.lua")


@every_version
def test_what_is_there(version: str) -> None:
    with state(version=version) as lua:
        lua.run(
            b"""
assert(_VERSION and os.time() and os.date() and os.getenv and io.open and string.format and table.concat)
assert(require("swupdate") == swupdate and swupdate.handler.raw == 1)
assert((loadstring or load)("return 1 + 1")() == 2)
local co = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end)
assert(co(1) == 2 and co(4) == 8 and not pcall(co))
local ok, text = pcall(coroutine.wrap(function() error("inside") end))
assert(not ok and text:find("inside"))
""",
            "checks.lua",
        )


@every_version
def test_compiled_code_is_refused_wherever_it_comes_from(version: str, tmp_path: Path) -> None:
    binary = tmp_path / "compiled.lua"
    binary.write_bytes(b"#!/usr/bin/lua\n\x1bLua" + version.encode())
    code = f"""
local compiled = "\\27Lua"
assert(not (loadstring or load)(compiled) and not loadfile("{binary}") and not pcall(dofile, "{binary}"))
local given
assert(not load(function() if not given then given = true return compiled end end))
assert(not pcall(require, "compiled"))
if _VERSION ~= "Lua 5.1" then
  assert(not load(compiled, "name", "b") and not load(compiled, "name", "bt", {{}}))
end
"""
    with state(version=version, path=f"{tmp_path}/?.lua") as lua:
        lua.run(code.encode(), "checks.lua")


def test_modules_in_text_are_found(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mine.lua").write_text("#!/usr/bin/lua\nlocal name = ... return { name = name }\n")
    (tmp_path / "bad.lua").write_text("x = =\n")
    with state(path=f"{tmp_path}/nowhere/?.lua;{tmp_path}/?.lua") as lua:
        lua.run(b"m = require('sub.mine') assert(m.name == 'sub.mine' and require('sub.mine') == m)", "a.lua")
        with pytest.raises(ScriptError, match=r"error loading module 'bad'"):
            lua.run(b"require('bad')", "b.lua")


@pytest.mark.parametrize(
    ("grant", "code"),
    [
        ("execute", "assert(os.execute('true'))"),
        ("popen", "assert(io.popen('echo hello'):read('*l') == 'hello')"),
        ("bytecode", "assert(load(string.dump(function() return 7 end))() == 7)"),
        ("debug", "assert(debug.getinfo(1))"),
        ("endless", "for n = 1, 3e7 do end"),
    ],
)
def test_a_grant_gives_one_thing(grant: str, code: str) -> None:
    with state(grants=grant) as lua:
        lua.run(code.encode(), "granted.lua")
    with state() as lua, pytest.raises(ScriptError):
        lua.run(code.encode(), "not.lua")


@every_version
def test_no_python_object_comes_by(version: str) -> None:
    """Not among globals, not as an error, not by what a state shares with itself."""
    services = Noting({"tmpdir": ScriptError("refused: é"), "mount": ScriptError("")})
    code = """
local seen = {}
local function look(value)
  assert(type(value) ~= "userdata" or tostring(value):find("^file"), tostring(value))
  if type(value) == "table" and not seen[value] then
    seen[value] = true
    for key, item in next, value do look(key) look(item) end
    look(getmetatable(value))
  end
end
look(_G)
local ok, problem = pcall(swupdate.tmpdir)
assert(not ok and problem == "refused: \\195\\169", problem)
assert(type(select(2, pcall(swupdate.mount, "a", "b"))) == "string")
assert(type(select(2, pcall(swupdate.call_handler, "raw", { deep = function() end }))) ~= "userdata")
getmetatable("").__index = function() return "poisoned" end
"""
    with state(services, version=version) as lua:
        lua.run(code.encode(), "looks.lua")
        lua.run(b"assert(('x').anything == 'poisoned')", "own.lua")  # its own strings, not those of others
    with state(version=version) as lua:
        lua.run(b"assert(('x').anything == nil and ('x'):rep(2) == 'xx')", "other.lua")


@every_version
def test_values_keep_their_bytes(version: str) -> None:
    with state(version=version) as lua:
        lua.run(
            b"function back(...) return ... end\n"
            b"function bytes() local t = {} for n = 0, 255 do t[n + 1] = string.char(n) end"
            b" return table.concat(t) end",
            "back.lua",
        )
        everything = bytes(range(256)).decode("utf-8", "surrogateescape")
        assert lua.call("bytes") == (everything,)
        table = {"a": 1, "é\udcff": True, "deep": {"x": -1.5}}
        given = (everything, "", None, True, False, 2**53, table)
        assert lua.call("back", *given) == given
        assert lua.call("back", ["x", "y"]) == ({1: "x", 2: "y"},)


@pytest.mark.parametrize(
    "code",
    [
        "return print",
        "return coroutine.create(print)",
        "return io.stdout",
        "local t = {} t.t = t return t",
        "local t = {} for n = 1, 70000 do t[n] = n end return t",
        "return ('x'):rep(5 * 1024 * 1024)",
    ],
)
def test_what_cannot_leave_is_a_failure(code: str) -> None:
    with state(memory_bytes=64 * 2**20) as lua:
        lua.run(f"function gives() {code} end function fine() return 1 end".encode(), "gives.lua")
        with pytest.raises(ScriptError):
            lua.call("gives")
        try:
            assert lua.call("fine") == (1,)
        except ScriptError as exc:
            assert "too large" in exc.message or "gone" in exc.message


def test_a_version_that_is_not_there() -> None:
    with pytest.raises(RegistrationError, match=r"Lua 5.9 is not to be had here"):
        LuaState(Setup(version="5.9"), Noting(), name="test")


@every_version
def test_programs_with_pipes(version: str) -> None:
    services = Noting()
    code = """
local pipe = io.popen("echo one; echo two; exit 3")
local lines = {}
for line in pipe:lines() do lines[#lines + 1] = line end
assert(table.concat(lines, " ") == "one two")
local ok, how, code = pipe:close()
if _VERSION == "Lua 5.1" then assert(ok == false) else assert(ok == nil and how == "exit" and code == 3) end
local to = io.popen("tr a-z A-Z", "w")
to:write("shout", "ed\\n")
assert(to:close() == true)
assert(not pcall(io.popen, "true", "x"))
"""
    with state(services, version=version, grants="popen") as lua:
        lua.run(code.encode(), "pipes.lua")
    assert services.lines == ["SHOUTED"]
