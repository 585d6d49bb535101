"""Lua in an update: what it may change, what becomes of the update when it fails, and what it leaves behind."""

import json
import os
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from swagent.errors import (
    BootEnvError,
    Cancelled,
    DescriptionError,
    HashError,
    PreflightRefused,
    RegistrationError,
    ScriptError,
)
from swagent.installer.rig import LuaRules
from tests.faults.images import CRC, Member, archive, described, entry, signed
from tests.scripting.test_limits import processes

from .test_session import WAYS, Unit1

pytest.importorskip("lupa", reason="needs lupa: pip install 'swagent[lua]'")
A = Member("a", b"content of a\n")


@pytest.fixture
def unit(tmp_path: Path) -> Unit1:
    return Unit1(tmp_path)


def image(code: str, *sections: str, members: tuple[Member, ...] = (A,)) -> bytes:
    """A signed archive with this embedded script and these sections."""
    text = described({}).decode().replace("};\n", "", 1)
    quoted = json.dumps(code)
    return archive(
        signed(f"{text}\n  embedded-script = {quoted};\n  {' '.join(sections)} }};".encode(), *members), CRC
    )


def images(*entries: str) -> str:
    return f"images = ( {', '.join(entries)} );"


def said(unit: Unit1) -> list[str]:
    return [event.message for event in unit.events if event.event == "log"]


@WAYS
def test_variables_of_a_script_are_stored_with_the_others(unit: Unit1, pipe: bool) -> None:
    raw = image(
        "swupdate.set_bootenv('slot', 'b') assert(swupdate.get_bootenv('slot') == 'a')",
        images(entry(A, type="note")),
    )
    before = processes()
    assert unit.install(raw, pipe=pipe) == "installed"
    assert unit.did[-1] == ("env", "slot=b", "recovery_status=", "ustate=1")
    assert processes() == before


def test_variables_need_a_boot_loader(unit: Unit1) -> None:
    raw = image("swupdate.set_bootenv('a=b', 'c')", images(entry(A, type="note")))
    with pytest.raises(ScriptError, match="set_bootenv: a name has no '='"):
        unit.install(raw)
    assert unit.writing() == []


@WAYS
def test_a_handler_of_the_image_lives_for_one_update(unit: Unit1, tmp_path: Path, pipe: bool) -> None:
    code = f"""swupdate.register_handler("mine", function(image)
  assert(image.size == {len(A.data)} and image.offset == 0)
  return (image:copy2file("{tmp_path}/copy"))
end, swupdate.HANDLER_MASK.IMAGE_HANDLER)"""
    entries = images(entry(A, type="mine"))
    assert unit.install(image(code, entries), pipe=pipe) == "installed"
    assert (tmp_path / "copy").read_bytes() == A.data
    with pytest.raises(DescriptionError, match="no handler named 'mine'"):
        unit.install(image("x = 1", entries), pipe=pipe)


def test_a_built_in_keeps_its_name(unit: Unit1) -> None:
    raw = image("swupdate.register_handler('note', function() return 1 end)", images(entry(A, type="note")))
    assert unit.install(raw) == "installed"
    assert any("the name 'note' of Lua, this image is taken by test" in line for line in said(unit))


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("error('no')", ScriptError),
        ("while true do end", ScriptError),
        ("local t = {} while true do t[#t + 1] = ('x'):rep(99999) .. #t end", ScriptError),
        ("return 1", ScriptError),
        ("image:read(function() end) return 2", ScriptError),
        ("return (image:copy2file('/nowhere/at/all'))", None),
        ("return (swupdate.call_handler('nothing', image))", DescriptionError),
        ("image.device = 5 return (swupdate.call_handler('note', image))", DescriptionError),
        ("image.path = '\\255' return (swupdate.call_handler('note', image))", ScriptError),
    ],
)
def test_a_handler_that_fails_fails_the_update(unit: Unit1, wrong: str, error: Any) -> None:
    code = f"swupdate.register_handler('mine', function(image) {wrong} end)"
    member = Member("one", b"#!/bin/sh\n")
    raw = image(
        code,
        images(entry(A, type="mine")),
        f"scripts = ( {entry(member, type='notescript')} );",
        members=(A, member),
    )
    rules = LuaRules(instructions=3_000_000, memory_bytes=8 << 20)
    before = processes()
    with pytest.raises(error or Exception) as caught:
        unit.install(raw, lua=rules)
    assert "images[0] a" in caught.value.message or caught.value.artifact == "a"
    assert unit.verdict()["result"] == "failed"
    assert ("run", "one", "postfailure") in unit.did
    assert unit.loader.get("slot") == "a"
    assert processes() == before


@WAYS
def test_a_damaged_image_fails_whatever_its_handler_says(unit: Unit1, pipe: bool) -> None:
    code = "swupdate.register_handler('mine', function(image) image:read(function() end) return 0 end)"
    damaged = Member("a", b"Content of a\n")
    raw = image(code, images(entry(A, type="mine", installed_directly=True)), members=(damaged,))
    with pytest.raises(HashError):
        unit.install(raw, pipe=pipe)


def test_functions_around_an_entry(unit: Unit1, tmp_path: Path) -> None:
    code = f"""
function before(image) image.path = "{tmp_path}/b" image.type = "nothing" return true, image end
function after(image) assert(image.path == "{tmp_path}/b" and swupdate.stat(image.path)) return true, image end"""
    files = f"files = ( {entry(A, path=str(tmp_path / 'a'), preinstall='before', postinstall='after')} );"
    assert unit.install(image(code, files)) == "installed"
    assert (tmp_path / "b").read_bytes() == A.data
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("name", "back"),
    [
        *product(["preinstall", "postinstall"], ["false, image", "true", "nil", "true, nil"]),
        ("preinstall", "true, {path = 5}"),
        ("preinstall", "true, {path = '\\255'}"),
    ],
)
def test_a_function_that_says_no(unit: Unit1, tmp_path: Path, name: str, back: str) -> None:
    files = f"files = ( {entry(A, path=str(tmp_path / 'a'), **{name: 'asked'})} );"
    with pytest.raises((ScriptError, DescriptionError)):
        unit.install(image(f"function asked(image) return {back} end", files))
    assert (tmp_path / "a").exists() == (name == "postinstall")


def test_where_a_function_leads_is_looked_at_again(unit: Unit1, tmp_path: Path) -> None:
    files = f"files = ( {entry(A, path=str(tmp_path / 'a'), preinstall='astray')} );"
    with pytest.raises(PreflightRefused, match="not absolute"):
        unit.install(image("function astray(image) image.path = 'a' return true, image end", files))


@pytest.mark.parametrize("section", ["scripts", "partitions"])
def test_functions_are_for_images_and_files(unit: Unit1, section: str) -> None:
    text = f"{section} = ( {entry(A, type='notescript', device='/dev/null', preinstall='x')} );"
    with pytest.raises(DescriptionError, match="for images and files only"):
        unit.install(image("x = 1", text))


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        ("image.path = '\\255' return true, image", ScriptError, "bytes into path that are no UTF-8"),
        ("image.properties = 5 return true, image", ScriptError, "properties"),
        ("image.properties = {a = {b = {}}} return true, image", ScriptError, "property"),
        ("image.offset = -1 return true, image", DescriptionError, "offset is negative"),
        ("image.offset = 0.5 return true, image", DescriptionError, "offset must be"),
        ("image.filename = '../a' return true, image", DescriptionError, "filename"),
        ("image.filename = '' return true, image", DescriptionError, "filename is empty"),
        ("image.sha256 = image.sha256:sub(2) return true, image", DescriptionError, "sha256"),
        ("image.device = ('x'):rep(300) return true, image", DescriptionError, "300 bytes long"),
        ("return true, setmetatable({}, {__index = function() error('x') end})", None, ""),
        ("return true, 5", None, ""),
        ("return true, {}", None, ""),
        ("while true do end", ScriptError, "the hook h failed"),
        ("return coroutine.yield()", ScriptError, "the hook h failed"),
    ],
)
def test_what_a_hook_gives_back_is_judged(unit: Unit1, body: str, error: Any, says: str) -> None:
    raw = image(f"function h(image) {body} end", images(entry(A, type="note", hook="h")))

    def install() -> str:
        return unit.install(raw, lua=LuaRules(instructions=2_000_000))

    if error is None:
        assert install() == "installed"
        return
    with pytest.raises(error) as caught:
        install()
    assert says in caught.value.message
    assert "images[0] a" in caught.value.message
    assert unit.writing() == []


def test_properties_keep_their_order(unit: Unit1, tmp_path: Path) -> None:
    code = f"""
function h(image)
  assert(image.properties.list[1] == "c" and image.properties.list[3] == "a" and image.properties.reads == "all")
  image.properties.list[4] = "z"
  return true, image
end
swupdate.register_handler("mine", function(image)
  assert(table.concat(image.properties.list, "") == "cbaz")
  return (image:copy2file("{tmp_path}/copy"))
end)"""
    text = entry(A, type="mine", hook="h").replace(
        " }", ' properties = { list = [ "a", "b", "c" ]; reads = "all"; }; }'
    )
    assert unit.install(image(code, images(text))) == "installed"


def test_a_dry_run_runs_hooks_alone(unit: Unit1, tmp_path: Path) -> None:
    code = f"""
function say(word) local f = io.open("{tmp_path}/said", "a") f:write(word, " ") f:close() end
say(tostring(swupdate.is_dryrun()))
swupdate.register_handler("mine", function() say("handler") return 0 end)
function h(image) say("hook") return true, image end
function f(image) say("function") return true, image end
swupdate.set_bootenv("slot", "b")"""
    raw = image(code, images(entry(A, type="mine", hook="h", preinstall="f", postinstall="f")))
    assert unit.install(raw, dry_run=True) == "checked"
    assert (tmp_path / "said").read_text() == "true hook "
    assert unit.loader.get("slot") == "a"


def test_what_is_left_mounted_is_told(unit: Unit1, tmp_path: Path) -> None:
    folder = tmp_path / "volume"
    folder.mkdir()
    unit.hw.volumes["/dev/disk"] = str(folder)
    code = """
local path = swupdate.mount("/dev/disk", "ext4")
local file = io.open(path .. "/new", "w") file:write("x") file:close()
assert(swupdate.umount(path) == true and swupdate.umount(path) == nil and swupdate.umount("/") == nil)
assert(swupdate.mount("/dev/other", "ext4") == nil)
swupdate.mount("/dev/disk", "ext4")"""
    assert unit.install(image(code, images(entry(A, type="note")))) == "installed"
    assert (folder / "new").read_text() == "x"
    assert any("was left mounted by a script" in line for line in said(unit))


def test_the_module_answers(unit: Unit1) -> None:
    code = """
assert(swupdate.tmpdir():find("^/.*/$") and swupdate.tmpdirscripts() == swupdate.tmpdir() .. "scripts/")
local set, mode = swupdate.get_selection() assert(set == "stable" and mode == "copy2")
local version = swupdate.getversion() assert(version[1] == 2026 and version.patchlevel == version[2])
assert(type(swupdate.get_cmdline()) == "table" and swupdate.get_hw() == nil)
assert(swupdate.getroot().value ~= nil and swupdate.emmcbootpart("/nowhere") == nil)
assert(swupdate.emmcbootpart("/dev/null") == -1)
swupdate.info("%d of %s", 1, "x") swupdate.info("100%") swupdate.notify(2, 0, "noted") swupdate.progress("on its way")
swupdate.progress_update(50) print("printed")
assert(not pcall(swupdate.info, "%d", "x") and not pcall(swupdate.progress_update, 101))
assert(not pcall(swupdate.stat) and swupdate.stat("\\0") == nil and swupdate.stat("\\255") == nil)
assert(swupdate.stat("/").mode == "directory" and swupdate.stat("/").permissions == "rwxr-xr-x")
assert(swupdate.call_handler("note", {}) == 1)
assert(not pcall(swupdate.register_handler, "", print) and not pcall(swupdate.register_handler, "x", print, 64))
assert(not pcall(swupdate.register_handler, "x", print, 5) and not pcall(swupdate.register_handler, "x", 5))
assert(swupdate.handler["rawfile"] and swupdate.handler["note"] and not swupdate.handler["nothing"])"""
    from swagent.model import Selection

    raw = image(code, images(entry(A, type="note")))
    assert unit.install(raw, selection=Selection("stable", "copy2")) == "installed"
    logged = said(unit)
    for line in ("1 of x", "100%", "[2] noted", "on its way", "50 %", "printed"):
        assert line in logged


def test_device_handlers_are_loaded_when_they_are_needed(unit: Unit1, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    (tmp_path / "swupdate_handlers.lua").write_text(f"""
local mark = io.open("{marks}", "a") mark:write(type(os.execute), " ") mark:close()
swupdate.register_handler("theirs", function(image) return (swupdate.call_handler("note", image)) end)""")
    rules = LuaRules(path=f"{tmp_path}/?.lua", device_grants=frozenset({"execute"}))
    plain = archive(signed(described({"images": [entry(A, type="note")]}), A), CRC)
    assert unit.install(plain, lua=rules) == "installed"
    assert not marks.exists()
    theirs = archive(signed(described({"images": [entry(A, type="theirs")]}), A), CRC)
    assert unit.install(theirs, lua=rules) == "installed"
    assert marks.read_text() == "function "
    assert ("installed", "a", str(len(A.data))) in unit.did
    assert unit.install(image("x = 1", images(entry(A, type="note"))), lua=rules) == "installed"
    assert marks.read_text() == "function nil "  # into the image's state too, with the image's rights


def test_lua_that_is_not_there(unit: Unit1) -> None:
    with pytest.raises(RegistrationError, match=r"Lua 5.9 is not to be had here"):
        unit.install(image("x = 1", images(entry(A, type="note"))), lua=LuaRules(version="5.9"))
    assert unit.writing() == []


def test_boot_loader_trouble_goes_through(unit: Unit1, monkeypatch: pytest.MonkeyPatch) -> None:
    def get(_: object, name: str) -> str:
        raise BootEnvError("the environment is damaged")

    monkeypatch.setattr("swagent.installer.env.SessionEnv.get", get)
    with pytest.raises(BootEnvError):
        unit.install(image("pcall(swupdate.get_bootenv, 'x')", images(entry(A, type="note"))))


def test_a_pipe_that_nobody_reads_is_no_target(unit: Unit1, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    code = f"""swupdate.register_handler("mine", function(image)
  assert(image:copy2file("{tmp_path}/fifo") == -1 and image:copy2file("{tmp_path}") == -1)
  return (image:copy2file("/dev/null"))
end)"""
    assert unit.install(image(code, images(entry(A, type="mine")))) == "installed"


def test_who_stops_an_update_does_not_stop_what_undoes_it(unit: Unit1, tmp_path: Path) -> None:
    code = f"""function postfailure()
  swupdate.info("undoing")
  local until_s = os.time() + 2
  while os.time() < until_s do end
  io.open("{tmp_path}/undone", "w"):close()
  return true
end"""
    script = Member("one.lua", code.encode())
    text = described({"images": [entry(A, type="note")], "scripts": [entry(script, type="lua")]})
    unit.cancel_at = ("install", "a")
    with pytest.raises(Cancelled):
        unit.install(archive(signed(text, A, script), CRC), lua=LuaRules(instructions=10**12))
    assert (tmp_path / "undone").exists()
