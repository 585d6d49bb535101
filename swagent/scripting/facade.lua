-- SPDX-License-Identifier: Apache-2.0
--
-- The module `swupdate`, as scripts and handlers see it. Called once as chunk(host, names); `host(verb, ...)` asks the
-- session, and gives true and the results, or false and a text. `names` are the handlers there are.
--
-- Gives a table of functions for the session: run, knows, call, hook, handle.

local host, names = ...

local error, pcall, select, type, tostring = error, pcall, select, type, tostring
local pairs, next, rawget, setmetatable = pairs, next, rawget, setmetatable
local format = string.format
local load = loadstring or load

local swupdate = {}
local registered = {}

local function answer(ok, first, ...)
  if not ok then error(tostring(first), 0) end
  return first, ...
end

local function ask(verb, ...)
  return answer(host(verb, ...))
end

-- -- telling

for _, level in pairs({ "error", "warn", "info", "debug", "trace" }) do
  swupdate[level] = function(text, ...)
    -- a lone text is no format: "100%" is said as it is
    if select("#", ...) > 0 then text = format(text, ...) end
    ask("log", level, tostring(text))
  end
end

function swupdate.notify(status, code, text)
  ask("notify", status, code, tostring(text))
end

function swupdate.progress(text, cause)
  ask("progress", tostring(text), cause)
end

function swupdate.progress_update(percent)
  ask("progress_update", percent)
end

-- -- asking, and changing

for _, name in pairs({
  "is_dryrun", "mount", "umount", "stat", "getroot", "get_hw", "getversion", "emmcbootpart", "tmpdir",
  "tmpdirscripts", "get_bootenv", "set_bootenv", "get_selection", "get_cmdline",
}) do
  swupdate[name] = function(...)
    return ask(name, ...)
  end
end

-- -- constants

swupdate.RECOVERY_STATUS = {
  IDLE = 0, START = 1, RUN = 2, SUCCESS = 3, FAILURE = 4, DOWNLOAD = 5, DONE = 6, SUBPROCESS = 7, PROGRESS = 8,
}
swupdate.ROOT_DEVICE = { PATH = 0, UUID = 1, PARTUUID = 2, PARTLABEL = 3, PARTUNKNOWN = 4 }
swupdate.HANDLER_MASK = {
  IMAGE_HANDLER = 1, FILE_HANDLER = 2, SCRIPT_HANDLER = 4, BOOTLOADER_HANDLER = 8, PARTITION_HANDLER = 16,
  NO_DATA_HANDLER = 32, ANY_HANDLER = 63,
}
swupdate.handler = {}
for _, name in pairs(names) do
  swupdate.handler[name] = 1
end
-- those of other packages and of the device are looked for when they are asked for
setmetatable(swupdate.handler, {
  __index = function(_, name)
    if type(name) == "string" and ask("has_handler", name) then return 1 end
  end,
})

-- -- handlers

function swupdate.register_handler(name, fn, mask)
  if type(name) ~= "string" then error("register_handler: the name must be a string", 2) end
  if type(fn) ~= "function" then error("register_handler: what is registered must be a function", 2) end
  if ask("register", name, mask) then
    registered[name] = fn
    swupdate.handler[name] = 1
  end
end

-- The data of a table, without functions and what else cannot leave this state.
local function plain(value, depth)
  local kind = type(value)
  if kind == "table" then
    if depth > 8 then error("the table is nested too deeply", 0) end
    local copy = {}
    for key, item in next, value do
      local kept = plain(item, depth + 1)
      if kept ~= nil and (type(key) == "string" or type(key) == "number") then copy[key] = kept end
    end
    return copy
  end
  if kind == "string" or kind == "number" or kind == "boolean" then return value end
  return nil
end

function swupdate.call_handler(name, image)
  if type(image) ~= "table" then error("call_handler: the second argument must be an image", 2) end
  local fn = registered[name]
  if not fn then return ask("call_handler", name, plain(image, 0)) end
  local own = image.type
  image.type = name
  local result = fn(image)
  image.type = own
  if result == 0 then return 0 end
  return 1, "the handler " .. name .. " failed"
end

-- What `read` was given may say stop with a negative number; saying nothing means to go on.
local function image_read(_, take)
  if type(take) ~= "function" then return -1, "read needs a function" end
  while true do
    local chunk, text = ask("read")
    if not chunk then return -1, text end
    if chunk == "" then return 0 end
    local result = take(chunk)
    if type(result) == "number" and result < 0 then return -1, "the function that was given to read stopped it" end
  end
end

local function image_copy(_, path)
  if type(path) ~= "string" then return -1, "copy2file needs a path" end
  return ask("copy2file", path)
end

local function with_methods(image)
  image.copy2file = image_copy
  image.read = image_read
  return image
end

_G.swupdate = swupdate
package.loaded.swupdate = swupdate

-- -- for the session

-- A text for whatever was raised; nothing of it is run.
local function told(problem)
  if type(problem) == "string" or type(problem) == "number" then return tostring(problem) end
  return "an error that is a " .. type(problem) .. ", not a text"
end

local function outcome(ok, ...)
  if not ok then return false, told((...)) end
  return true, ...
end

local session = {}

-- Run the text of a file.
function session.run(text, name)
  local chunk, message = load(text, name)
  if not chunk then return false, message end
  local ok, problem = pcall(chunk)
  if not ok then return false, told(problem) end
  return true
end

-- Whether there is a global function of this name.
function session.knows(name)
  return true, type(rawget(_G, name)) == "function"
end

-- Call a global function with plain values.
function session.call(name, ...)
  local fn = rawget(_G, name)
  if type(fn) ~= "function" then return false, "there is no function " .. tostring(name) end
  return outcome(pcall(fn, ...))
end

-- Call a global function with an image; what it made of the image comes third.
function session.hook(name, image)
  local fn = rawget(_G, name)
  if type(fn) ~= "function" then return false, "there is no function " .. tostring(name) end
  local ok, good, changed = pcall(fn, image)
  if not ok then return false, told(good) end
  if type(changed) == "table" then return true, good, plain(changed, 0) end
  return true, good, (type(changed) ~= "nil" and changed ~= false)
end

-- Call a registered handler.
function session.handle(name, image, phase)
  local fn = registered[name]
  if not fn then return false, "there is no handler " .. tostring(name) .. " here any more" end
  if phase == nil then return outcome(pcall(fn, with_methods(image))) end
  return outcome(pcall(fn, with_methods(image), phase))
end

return session
