-- What the Lua examples share: libnixlang through LuaJIT's ffi. The declarations are the headers', as the C preprocessor gives them.
local ffi = require("ffi")

local include = os.getenv("NIXLANG_INCLUDE") or "/usr/include"
local pipe = assert(io.popen("cc -E -P -DNIXLANG_FFI '" .. include .. "/nixlang.h' -I'" .. include .. "'"))
local text = pipe:read("*a")
pipe:close()
-- What the library declares begins after the system's headers; the inline function is made anew below.
local first = assert(text:find("typedef struct nixlang_string", 1, true))
text = text:sub(first)
text = text:gsub("static inline nixlang_string nixlang_text.-\n}\n", "")
ffi.cdef(text)
local C = ffi.load(os.getenv("NIXLANG_LIBRARY") or "nixlang")

local M = { C = C, ffi = ffi }

-- Returns a borrowed string for C; the Lua string must stay alive meanwhile.
function M.text(it)
  return ffi.new("nixlang_string", { it, #it })
end

-- Returns a string of the library as a Lua string.
function M.lua(it)
  return ffi.string(it.data, it.length)
end

-- Fails with what a call returned, if it failed.
function M.must(err)
  if err ~= nil then
    local message = M.lua(C.nixlang_error_message(err))
    C.nixlang_error_free(err)
    error(message, 2)
  end
end

-- Calls a function whose last pointer is for a handle of `type`, and returns that, to be freed by the collector.
function M.new(type, call, ...)
  local result = ffi.new("nixlang_" .. type .. " *[1]")
  local arguments = { ... }
  arguments[select("#", ...) + 1] = result
  M.must(call(unpack(arguments, 1, select("#", ...) + 1)))
  return ffi.gc(result[0], C["nixlang_" .. type .. "_free"])
end

function M.engine(config)
  return M.new("engine", C.nixlang_engine_new, config)
end

function M.evaluate(engine, text, budget)
  return M.new("value", C.nixlang_evaluate, engine, M.text(text), M.text("/"), budget)
end

-- Calls a function that gives bytes.
function M.bytes(call, ...)
  local result = ffi.new("nixlang_bytes")
  local arguments = { ... }
  arguments[select("#", ...) + 1] = result
  M.must(call(unpack(arguments, 1, select("#", ...) + 1)))
  local text = ffi.string(result.data, result.length)
  C.nixlang_bytes_free(result)
  return text
end

return M
