"""The sample handlers: their syntax, and what they do when SWUpdate's side of the bargain is played by a table."""

import shutil
import subprocess
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "lua" / "swupdate_handlers.lua"

# `require("swupdate")` gives this; every call is printed, and fails or succeeds as the first argument says.
SWUPDATE = """
local outcome = tonumber(arg[1])
local registered = {}
local swupdate = {
  HANDLER_MASK = { IMAGE_HANDLER = 1 },
  handler = { rawfile = arg[3] ~= "bare" and 1 or nil },
  register_handler = function(name, fn, mask) assert(mask == 1); registered[name] = fn end,
  call_handler = function(name, image) print("call", name, image.path); return outcome, "no luck" end,
  error = function(text) print("error", text) end,
  info = function(text) print("info", text) end,
}
package.preload["swupdate"] = function() return swupdate end
local image = {
  copy2file = function(self, path) print("copy", path); return outcome, "no luck" end,
  read = function(self, take) take("abc"); take("defg"); return outcome, "no luck" end,
}
dofile(arg[4])
print("result", registered[arg[2]](image))
"""


def lua() -> str:
    for name in ("lua5.3", "lua5.4", "lua"):
        if found := shutil.which(name):
            return found
    pytest.skip("needs Lua: apt-get install lua5.3")


def run(tmp_path: Path, handler: str, *, outcome: int, world: str = "whole") -> list[list[str]]:
    script = tmp_path / "world.lua"
    script.write_text(SWUPDATE)
    words = [lua(), str(script), str(outcome), handler, world, str(FILE)]
    out = subprocess.run(words, capture_output=True, text=True, check=True, timeout=10).stdout
    return [line.split("\t") for line in out.splitlines()]


def test_syntax() -> None:
    luac = shutil.which("luac5.3") or shutil.which("luac5.4") or shutil.which("luac")
    if luac is None:
        pytest.skip("needs luac: apt-get install lua5.3")
    subprocess.run([luac, "-p", FILE], check=True, timeout=10)


def test_success_is_0(tmp_path: Path) -> None:
    assert run(tmp_path, "sample_chain", outcome=0)[-2:] == [
        ["call", "rawfile", "/tmp/swagent-sample.bin"],
        ["result", "0"],
    ]
    assert run(tmp_path, "sample_copy", outcome=0) == [["copy", "/tmp/swagent-sample.bin"], ["result", "0"]]
    assert run(tmp_path, "sample_read", outcome=0) == [["info", "sample_read: 7 bytes"], ["result", "0"]]


@pytest.mark.parametrize("handler", ["sample_chain", "sample_copy", "sample_read"])
def test_failure_is_1_with_the_reason(tmp_path: Path, handler: str) -> None:
    *_, error, result = run(tmp_path, handler, outcome=-1)
    assert error[0] == "error" and error[1].startswith(handler) and error[1].endswith("no luck")
    assert result == ["result", "1"]


def test_chaining_to_what_is_not_there(tmp_path: Path) -> None:
    error, result = run(tmp_path, "sample_chain", outcome=0, world="bare")
    assert "rawfile is not there" in error[1]
    assert result == ["result", "1"]
