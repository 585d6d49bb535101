-- SPDX-License-Identifier: Apache-2.0
--
-- Three sample image handlers for SWUpdate's Lua interpreter, one for each way in which a handler can consume its
-- artifact: hand it to another handler, copy it to a file, or read it piece by piece. README.md says how to use them.

local swupdate = require("swupdate")

-- Where the samples put what they are given.
local destination = "/tmp/swagent-sample.bin"

-- Hand the image to the built-in handler for files. Images have no path of their own, so one is set first.
local function chain(image)
  if swupdate.handler["rawfile"] == nil then
    swupdate.error("sample_chain: the handler rawfile is not there")
    return 1
  end
  image.path = destination
  local err, msg = swupdate.call_handler("rawfile", image)
  if err ~= 0 then
    swupdate.error("sample_chain: rawfile failed: " .. tostring(msg))
    return 1
  end
  return 0
end

-- Copy the image to a file, decrypted and decompressed.
local function copy(image)
  local err, msg = image:copy2file(destination)
  if err ~= 0 then
    swupdate.error("sample_copy: cannot copy to " .. destination .. ": " .. tostring(msg))
    return 1
  end
  return 0
end

-- Read the image piece by piece; `data` is a string.
local function read(image)
  local size = 0
  local err, msg = image:read(function(data)
    size = size + #data
  end)
  if err ~= 0 then
    swupdate.error("sample_read: cannot read: " .. tostring(msg))
    return 1
  end
  swupdate.info("sample_read: " .. size .. " bytes")
  return 0
end

swupdate.register_handler("sample_chain", chain, swupdate.HANDLER_MASK.IMAGE_HANDLER)
swupdate.register_handler("sample_copy", copy, swupdate.HANDLER_MASK.IMAGE_HANDLER)
swupdate.register_handler("sample_read", read, swupdate.HANDLER_MASK.IMAGE_HANDLER)
