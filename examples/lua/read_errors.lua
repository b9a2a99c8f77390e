-- An error is data: a code, a message, a place, the way to it, names that may have been meant. Run: luajit read_errors.lua
local nix = require("nixlang")
local C, ffi = nix.C, nix.ffi

local engine, result = nix.engine(), ffi.new("nixlang_value *[1]")
local text = 'let paint = set: set.color; in builtins.seq 1 (paint { colour = "red"; })'
local err = C.nixlang_evaluate(engine, nix.text(text), nix.text("/"), nil, result)
local place, frame, i = C.nixlang_error_place(err), ffi.new("nixlang_frame"), 0
print(("code %d: %s"):format(tonumber(C.nixlang_error_code(err)), nix.lua(C.nixlang_error_message(err))))
print(("at %s:%d:%d"):format(nix.lua(place.file), place.line, place.column))
print("meant: " .. nix.lua(C.nixlang_error_suggestion(err, 0)))
while C.nixlang_error_frame(err, i, frame) do
  print(nix.lua(frame.message))
  i = i + 1
end
C.nixlang_error_free(err)
