"""Whatever a script does, it costs its own process, is told, and leaves nothing behind."""

import os
import time
from pathlib import Path

import pytest

from swagent.errors import Cancelled, ScriptError
from swagent.settings import LUA_VERSIONS

from .states import MIB, Noting, state

INSTRUCTIONS = "more than 20000000 instructions"
TIME = "longer than 0.5 s"
MEMORY = "not enough memory"

# name, code, what the error says; time-outs run with half a second
RUNAWAYS = [
    ("loop", "while true do end", INSTRUCTIONS),
    ("recursion", "local function f() return 1 + f() end f()", ""),  # memory or stack, by version
    ("tail-calls", "local function f() return f() end f()", INSTRUCTIONS),
    ("coroutine", "coroutine.wrap(function() while true do end end)()", INSTRUCTIONS),
    (
        "coroutine-resume",
        "coroutine.resume(coroutine.create(function() while true do end end))",
        INSTRUCTIONS,
    ),
    (
        "coroutine-in-coroutine",
        "coroutine.wrap(function() coroutine.wrap(function() while true do end end)() end)()",
        INSTRUCTIONS,
    ),
    ("pcall", "while true do pcall(function() while true do end end) end", INSTRUCTIONS),
    ("xpcall", "xpcall(function() while true do end end, function() while true do end end)", INSTRUCTIONS),
    ("pcall-error", "while true do pcall(error, 'x') end", INSTRUCTIONS),
    (
        "metamethod",
        "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) return t[1]",
        "",
    ),
    ("tostring", "error(setmetatable({}, {__tostring = function() while true do end end}))", "a table"),
    ("error-nil", "error(nil)", "a nil"),
    ("error-false", "error(false)", "a boolean"),
    ("error-function", "error(print)", "a function"),
    (
        "sort",
        "local t = {} for n = 1, 1e5 do t[n] = n end table.sort(t, function() while true do end end)",
        "",
    ),
    ("table", "local t = {} for n = 1, 1e12 do t[n] = n end", ""),
    ("strings", "local t = {} for n = 1, 1e12 do t[n] = ('x'):rep(1000) .. n end", MEMORY),
    ("doubling", "local s = 'x' while true do s = s .. s end", MEMORY),
    ("rep", "return ('x'):rep(2^33)", ""),
    ("concat", "local t = {} for n = 1, 1e4 do t[n] = ('x'):rep(1e4) end table.concat(t)", MEMORY),
    ("gsub", "return (('x'):rep(1e4):gsub('x', ('y'):rep(1e5)))", MEMORY),
    ("format", "return string.format('%99999d', 1)", ""),
    ("load-pieces", "load(function() return ' ' end)", ""),
    ("nesting", "assert((loadstring or load)(('('):rep(1e5)))", ""),
    ("pattern", "string.find(('a'):rep(1e5), ('.-'):rep(30) .. 'b')", TIME),
    ("rep-nothing", "for n = 1, 1e9 do (''):rep(2^52) end", ""),
    ("read-fifo", "io.open('@FIFO@')", TIME),
    ("finalizer", "setmetatable({}, {__gc = function() while true do end end}) collectgarbage()", TIME),
    ("logging", "while true do swupdate.info('x') end", ""),
    ("printing", "while true do print(('x'):rep(10000)) end", ""),
    ("move", "table.move({}, 1, 2^52, 2)", TIME),
    ("insert", "table.insert(setmetatable({}, {__len = function() return 2^52 end}), 1, 1)", TIME),
    (
        "close",
        "local x <close> = setmetatable({}, {__close = function() while true do end end})",
        INSTRUCTIONS,
    ),
]
NEWER = {"rep": "5.3", "finalizer": "5.2", "move": "5.3", "insert": "5.3", "close": "5.4"}
QUICK = {"loop", "coroutine", "pcall", "tostring", "strings", "rep", "pattern", "finalizer", "move", "close"}


def processes() -> set[str]:
    """Processes that are children of this one."""
    found = set()
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1] == str(
                os.getpid()
            ):
                found.add(name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("version", "name", "code", "says"),
    [
        pytest.param(
            version,
            *row,
            id=f"{version}-{row[0]}",
            marks=[] if version == "5.4" and row[0] in QUICK else [pytest.mark.slow],
        )
        for version in LUA_VERSIONS
        for row in RUNAWAYS
        if NEWER.get(row[0], "5.1") <= version
    ],
)
def test_a_runaway_is_stopped(version: str, name: str, code: str, says: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    code = code.replace("@FIFO@", str(tmp_path / "fifo"))
    before, open_before = processes(), len(os.listdir("/proc/self/fd"))
    begun_s = time.monotonic()
    seconds = 0.5 if says in (TIME, "") else 60.0
    with state(version=version, seconds=seconds) as lua, pytest.raises(ScriptError) as caught:
        lua.run(code.encode(), "bomb.lua")
    assert says in caught.value.message
    assert time.monotonic() - begun_s < 30
    assert processes() == before and len(os.listdir("/proc/self/fd")) == open_before
    with state(version=version) as lua:  # the next one works
        lua.run(b"answer = 42", "next.lua")
        assert lua.knows("answer") is False


def test_what_is_stopped_stays_so() -> None:
    with state() as lua:
        with pytest.raises(ScriptError):
            lua.run(b"while true do end", "bomb.lua")
        with pytest.raises(ScriptError, match="its Lua state is gone: it ran more than"):
            lua.run(b"x = 1", "next.lua")


def test_a_failure_leaves_the_state() -> None:
    with state() as lua:
        with pytest.raises(ScriptError, match=r"one.lua:1: no"):
            lua.run(b"x = 1 error('no')", "one.lua")
        lua.run(b"assert(x == 1)", "two.lua")


def test_each_call_has_its_own_count() -> None:
    with state(instructions=1_000_000) as lua:
        lua.run(b"function some() for n = 1, 1e5 do end return true end", "some.lua")
        for _ in range(20):
            assert lua.call("some") == (True,)


def test_printing_without_end_is_no_memory() -> None:
    services = Noting()
    with state(services, seconds=0.5) as lua, pytest.raises(ScriptError):
        lua.run(b"while true do io.write(('x'):rep(100000)) end", "bomb.lua")
    assert services.lines
    assert max(len(line) for line in services.lines) <= 4096


def test_somebody_wants_to_stop_while_it_runs() -> None:
    services = Noting({"waiting": Cancelled("stopped on request")})
    begun_s = time.monotonic()
    with state(services, grants="endless") as lua, pytest.raises(Cancelled):
        lua.run(b"while true do end", "endless.lua")
    assert time.monotonic() - begun_s < 10


def test_an_error_that_is_none_of_its_business_ends_it() -> None:
    services = Noting({"tmpdir": Cancelled("stopped on request")})
    with state(services) as lua:
        with pytest.raises(Cancelled):
            lua.run(b"pcall(swupdate.tmpdir) while true do end", "catches.lua")
        with pytest.raises(ScriptError, match="gone"):
            lua.run(b"x = 1", "next.lua")


def test_a_process_that_dies_is_told() -> None:
    with state(grants="exit") as lua, pytest.raises(ScriptError, match="its process ended by status 3"):
        lua.run(b"os.exit(3)", "exit.lua")


@pytest.mark.slow
def test_what_it_started_dies_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "alive"
    with state(grants="execute popen", seconds=1.0) as lua, pytest.raises(ScriptError):
        lua.run(f"os.execute('(sleep 3; touch {mark}) & while :; do sleep 1; done')".encode(), "runs.lua")
    time.sleep(3.5)
    assert not mark.exists()


def test_memory_is_what_the_setting_says() -> None:
    code = b"kept = ('x'):rep(8 * 1024 * 1024)"
    with state(memory_bytes=32 * MIB) as lua:
        lua.run(code, "some.lua")
    with state(memory_bytes=4 * MIB) as lua, pytest.raises(ScriptError, match="memory"):
        lua.run(code, "some.lua")
