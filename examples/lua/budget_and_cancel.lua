-- Expressions that never end, or want all memory, and an engine that works afterwards. Lua has one thread: cancelling is what a function of the host does
-- after a while. Run: luajit budget_and_cancel.lua
local nix = require("nixlang")
local C, ffi = nix.C, nix.ffi

jit.off()
local forever = "let many = builtins.genList (n: n) 3000; each = f: all: builtins.foldl' f all many; in each (a: x: each (b: y: each (c: z: c + 1) b) a) 0"
local engine = nix.engine()

local function show(text, limits)
  local budget = ffi.new("nixlang_budget", limits)
  budget.size = ffi.sizeof(budget)
  local result = ffi.new("nixlang_value *[1]")
  local err = C.nixlang_evaluate(engine, nix.text(text), nix.text("/"), budget, result)
  local names = { [11] = "step limit", [12] = "memory limit", [13] = "time limit", [14] = "cancelled" }
  print("stopped: " .. (names[tonumber(C.nixlang_error_code(err))] or nix.lua(C.nixlang_error_message(err))))
  C.nixlang_error_free(err)
end

show(forever, { steps = 100000 })
show("builtins.foldl' (all: n: all ++ [ n ]) [] (builtins.genList (n: n) 1000000)", { heap_bytes = 64 * 1024 * 1024 })
show(forever, { time_ms = 50 })
local cancel = ffi.gc(C.nixlang_cancel_new(), C.nixlang_cancel_free)
local stop = ffi.cast("nixlang_function", function(_, _, _, result)
  C.nixlang_cancel_fire(cancel)
  return C.nixlang_make_null(engine, result)
end)
nix.must(C.nixlang_engine_add_builtin(engine, nix.text("stop"), nix.new("value", C.nixlang_make_function, engine, nix.text("stop"), 1, stop, nil, nil)))
show("builtins.seq (stop null) (" .. forever .. ")", { cancel = cancel })
local two = ffi.new("int64_t[1]")
C.nixlang_value_int(nix.evaluate(engine, "1 + 1"), two)
print("still works: " .. tonumber(two[0]))
