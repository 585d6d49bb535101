-- SPDX-License-Identifier: Apache-2.0
--
-- Takes away from the standard library what a script is not granted, and counts its instructions. Works in Lua 5.1 to
-- 5.4. Called once, before any other code, as chunk(grants, instructions, stop, program):
--
--   grants        set of words: execute, popen, exit, bytecode, debug, endless
--   instructions  how many may be run in one call
--   stop          function(text) that does not return
--   program       function(command, input) that runs a shell command; gives its output and how it ended
--
-- Gives function() that starts the count anew.

local grants, instructions, stop, program = ...
local STEP = 100000

local assert, error, pairs, select, setmetatable, type, tostring =
  assert, error, pairs, select, setmetatable, type, tostring
local find, gsub, gmatch, byte, concat = string.find, string.gsub, string.gmatch, string.byte, table.concat
local unpack = table.unpack or unpack
local sethook, getinfo = debug.sethook, debug.getinfo
local open, load, loadstring, loadfile = io.open, load, loadstring, loadfile
local modes = _VERSION ~= "Lua 5.1" -- load takes a mode

-- Python's objects cannot be looked into, whatever comes by
local foreign = debug.getregistry().POBJECT
if foreign then foreign.__metatable = false end

-- -- instructions

local left = 0

local function where()
  local level = getinfo(3, "Sl")
  return level and level.currentline > 0 and " (" .. level.short_src .. ":" .. level.currentline .. ")" or ""
end

local function tick()
  left = left - STEP
  if left <= 0 then stop("more than " .. instructions .. " instructions" .. where()) end
end

if not grants.endless then
  -- a hook belongs to one coroutine, so each new one is given it
  local create, resume, status = coroutine.create, coroutine.resume, coroutine.status
  sethook(tick, "", STEP)

  function coroutine.create(fn)
    local co = create(fn)
    sethook(co, tick, "", STEP)
    return co
  end

  local function passed(ok, ...)
    if not ok then error((...), 0) end
    return ...
  end

  local hooked = coroutine.create
  function coroutine.wrap(fn)
    local co = hooked(fn)
    return function(...)
      if status(co) == "dead" then error("cannot resume dead coroutine", 2) end
      return passed(resume(co, ...))
    end
  end
end

-- -- code from elsewhere is text

local function is_binary(text)
  return byte(text, 1) == 27
end

local function refuse(name)
  return nil, "attempt to load a binary chunk" .. (name and " (" .. tostring(name) .. ")" or "")
end

local function text_of(path)
  local file, message = open(path, "rb")
  if not file then return nil, "cannot open " .. message end
  local text = file:read("*a")
  file:close()
  if not text then return nil, "cannot read " .. path end
  if byte(text, 1) == 35 then text = gsub(text, "^[^\n]*", "", 1) end -- #!
  return text
end

if not grants.bytecode then
  string.dump = nil
  if modes then
    function _G.load(chunk, name, mode, ...)
      if type(chunk) == "string" and is_binary(chunk) then return refuse(name) end
      return load(chunk, name, "t", ...)
    end
  else
    local function from_text(text, name)
      if is_binary(text) then return refuse(name) end
      return loadstring(text, name)
    end
    function _G.loadstring(text, name)
      text = tostring(text)
      return from_text(text, name or text)
    end
    function _G.load(fn, name)
      local pieces = {}
      for piece in fn do
        if piece == "" then break end
        pieces[#pieces + 1] = piece
      end
      return from_text(concat(pieces), name or "=(load)")
    end
  end
  function _G.loadfile(path, _, ...)
    if path == nil then return nil, "there is no standard input here" end
    local text, message = text_of(path)
    if not text then return nil, message end
    if is_binary(text) then return refuse(path) end
    if modes then return load(text, "@" .. path, "t", ...) end
    return loadstring(text, "@" .. path)
  end
  local text_file = _G.loadfile
  function _G.dofile(path)
    local fn, message = text_file(path)
    if not fn then error(message, 2) end
    return fn()
  end
end

-- -- modules: those that are there, and those that are text below package.path

local loaded = package.loaded
local mine = { loaded = loaded, preload = {}, path = package.path, config = package.config, cpath = "" }
local load_file = _G.loadfile

function _G.require(name)
  if type(name) ~= "string" then error("bad argument #1 to 'require' (string expected)", 2) end
  if loaded[name] ~= nil then return loaded[name] end
  local loader, where_from = mine.preload[name], ":preload:"
  local tried = {}
  if not loader and not find(name, "%.%.") then
    local path = gsub(name, "%.", "/")
    for template in gmatch(tostring(mine.path), "[^;]+") do
      where_from = gsub(template, "%?", (gsub(path, "%%", "%%%%")))
      local file = open(where_from, "rb")
      if file then
        file:close()
        local message
        loader, message = load_file(where_from)
        if not loader then
          error("error loading module '" .. name .. "' from file '" .. where_from .. "':\n\t" .. tostring(message), 2)
        end
        break
      end
      tried[#tried + 1] = "\n\tno file '" .. where_from .. "'"
    end
  end
  if not loader then error("module '" .. name .. "' not found:" .. concat(tried), 2) end
  local value = loader(name, where_from)
  if value ~= nil then
    loaded[name] = value
  elseif loaded[name] == nil then
    loaded[name] = true
  end
  return loaded[name]
end

package = mine
loaded.package = mine
module = nil -- of Lua 5.1; it would need the original loaders

-- -- programs with pipes; the Lua that comes with lupa has none of its own

local function pipe(file, finish)
  local methods = {}
  for _, name in pairs({ "read", "lines", "write", "flush", "seek", "setvbuf" }) do
    methods[name] = function(self, ...)
      local result = { file[name](file, ...) }
      if result[1] == file then return self end
      return unpack(result)
    end
  end
  function methods.close()
    local code = finish()
    file:close()
    if not modes then return code == 0 end
    if code == 0 then return true, "exit", 0 end
    return nil, code < 0 and "signal" or "exit", code < 0 and -code or code
  end
  return setmetatable({}, { __index = methods, __name = "FILE*" })
end

local tmpfile = io.tmpfile
function io.popen(command, mode)
  local file = assert(tmpfile())
  if mode == nil or mode == "r" then
    local output, code = program(command)
    file:write(output)
    file:seek("set")
    return pipe(file, function() return code end)
  end
  if mode ~= "w" then error("bad argument #2 to 'popen' (invalid mode)", 2) end
  return pipe(file, function()
    file:seek("set")
    local output, code = program(command, file:read("*a") or "")
    io.stdout:write(output)
    return code
  end)
end
if not grants.popen then io.popen = nil end

-- -- the rest

if not grants.execute then os.execute = nil end
if not grants.exit then os.exit = nil end
if not grants.debug then
  debug = nil
  package.loaded.debug = nil
end
os.setlocale = nil -- it would change how numbers are read and written
python = nil
package.loaded.python = nil
package.loaded.lupa = nil
io.stdout:setvbuf("line")

return function()
  left = instructions
end
