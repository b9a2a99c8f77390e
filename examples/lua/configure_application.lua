-- An application that its users configure in Nix: with a value of the application, and with limits, since users make mistakes.
-- Run: luajit configure_application.lua
local nix = require("nixlang")
local C, ffi = nix.C, nix.ffi

local config = ffi.gc(C.nixlang_config_new(), C.nixlang_config_free)
-- Nothing but what the application gives: no files, no environment, no time.
nix.must(C.nixlang_config_set(config, nix.text("pure-eval"), nix.text("true")))
local engine = nix.engine(config)
nix.must(C.nixlang_engine_add_builtin(engine, nix.text("cpus"), nix.new("value", C.nixlang_make_int, engine, 4)))
local limits = ffi.new("nixlang_budget", { size = ffi.sizeof("nixlang_budget"), heap_bytes = 64 * 1024 * 1024, time_ms = 1000 })
local text = '{ port = 8000 + 80; workers = cpus * 2; greeting = "hello, ${builtins.toString cpus} processors"; }'
local settings = nix.evaluate(engine, text, limits)

-- Reads one setting, or fails with a message that helps its user.
local function setting(name, type, read)
  local value, result = nix.new("value", C.nixlang_value_select, settings, nix.text(name), limits), ffi.new(type .. "[1]")
  assert(read(value, result), "setting '" .. name .. "' is of the wrong type")
  return result[0]
end

local port, workers = setting("port", "int64_t", C.nixlang_value_int), setting("workers", "int64_t", C.nixlang_value_int)
local greeting = nix.lua(setting("greeting", "nixlang_string", C.nixlang_value_string))
print(("port %d, %d workers: %s"):format(tonumber(port), tonumber(workers), greeting))
