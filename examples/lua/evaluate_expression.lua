-- A string in, JSON out. Run: luajit evaluate_expression.lua
local nix = require("nixlang")

print(nix.bytes(nix.C.nixlang_value_to_json, nix.evaluate(nix.engine(), "{ answer = 6 * 7; }"), nil))
