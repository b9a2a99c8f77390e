-- Evaluates a derivation into a store of its own, builds it, and shows what happens meanwhile. Run: luajit build_with_progress.lua DIRECTORY
local nix = require("nixlang")
local C, ffi = nix.C, nix.ffi

local config = ffi.gc(C.nixlang_config_new(), C.nixlang_config_free)
local address = "local?root=" .. (arg[1] or "/tmp/nixlang-example-store")
local store = nix.new("store", C.nixlang_store_open, nix.text(address), config)
nix.must(C.nixlang_config_set_store(config, store))
local engine = nix.engine(config)
local value = nix.evaluate(engine, 'derivation { name = "greeting"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo working; echo hello > $out" ]; }')
local derivation = nix.bytes(C.nixlang_value_derivation, value, nil)
local wanted = ffi.new("nixlang_string[1]", { { derivation, #derivation } })
local build = nix.new("build", C.nixlang_build_start, store, config, wanted, 1)
local event = ffi.new("nixlang_event")
while C.nixlang_build_next_event(build, -1, event) do
  if event.kind == C.NIXLANG_BUILD_STARTED then
    print("started")
  elseif event.kind == C.NIXLANG_BUILD_LOG then
    print("log: " .. nix.lua(event.text))
  elseif event.kind == C.NIXLANG_BUILD_FINISHED then
    print(event.failed == 0 and "finished" or "failed")
  end
end
nix.must(C.nixlang_build_wait(build))
local output, i = ffi.new("nixlang_output"), 0
while C.nixlang_build_output(build, i, output) do
  print(nix.lua(output.name) .. ": " .. nix.lua(output.path):sub(45))
  i = i + 1
end
