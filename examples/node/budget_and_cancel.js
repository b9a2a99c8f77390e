// Expressions that never end, or want all memory, and an engine that works afterwards. The cancelled one runs on another thread, as asynchronous calls of koffi
// do. Run: node budget_and_cancel.js
const nix = require("./nixlang");
const { C, koffi } = nix;

const forever = "let many = builtins.genList (n: n) 3000; each = f: all: builtins.foldl' f all many; in each (a: x: each (b: y: each (c: z: c + 1) b) a) 0";
const names = { 11: "step limit", 12: "memory limit", 13: "time limit", 14: "cancelled" };
const engine = nix.engine();
const budget = (limits) => ({ size: koffi.sizeof("nixlang_budget"), steps: 0, heap_bytes: 0, time_ms: 0, cancel: null, ...limits });
const show = (error) => {
  console.log("stopped: " + (names[C.error_code(error)] || nix.js(C.error_message(error))));
  C.error_free(error);
};
const run = (it, limits) => show(C.evaluate(engine, nix.text(it), nix.text("/"), budget(limits), [null]));

run(forever, { steps: 100000 });
run("builtins.foldl' (all: n: all ++ [ n ]) [] (builtins.genList (n: n) 1000000)", { heap_bytes: 64 << 20 });
run(forever, { time_ms: 50 });
const cancel = C.cancel_new();
C.evaluate.async(engine, nix.text(forever), nix.text("/"), budget({ cancel }), [null], (failed, error) => {
  show(error);
  C.cancel_free(cancel);
  const two = [0], value = nix.evaluate(engine, "1 + 1");
  C.value_int(value, two);
  console.log(`still works: ${two[0]}`);
  C.value_free(value);
  C.engine_free(engine);
});
setTimeout(() => C.cancel_fire(cancel), 50);
