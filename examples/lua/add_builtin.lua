-- A Lua function, called from Nix. Run: luajit add_builtin.lua
local nix = require("nixlang")
local C, ffi = nix.C, nix.ffi

local engine, n_calls = nix.engine(), 0
local shout = ffi.cast("nixlang_function", function(_, arguments, _, result)
  local err, text = C.nixlang_value_force(arguments[0], nil), ffi.new("nixlang_string")
  if err ~= nil then
    return err
  end
  if not C.nixlang_value_string(arguments[0], text) then
    return C.nixlang_error_new(C.NIXLANG_TYPE, nix.text("shout wants a string"))
  end
  n_calls = n_calls + 1
  local loud = nix.lua(text):upper()
  return C.nixlang_make_string(engine, nix.text(loud), nil, 0, result)
end)
local value = nix.new("value", C.nixlang_make_function, engine, nix.text("shout"), 1, shout, nil, nil)
nix.must(C.nixlang_engine_add_builtin(engine, nix.text("shout"), value))
-- Calls that call back are not compiled.
jit.off()
local text = ffi.new("nixlang_string")
local joined = nix.evaluate(engine, 'builtins.concatStringsSep " " (map shout [ "hello" "from" "the" "host" ])')
C.nixlang_value_string(joined, text)
print(nix.lua(text))
print("called " .. n_calls .. " times")
