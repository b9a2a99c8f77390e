// Evaluates a derivation into a store of its own, builds it, and shows what happens meanwhile. Run: node build_with_progress.js DIRECTORY
const nix = require("./nixlang");
const { C } = nix;

const config = C.config_new();
const store = nix.get(C.store_open, nix.text(`local?root=${process.argv[2] || "/tmp/nixlang-example-store"}`), config);
nix.must(C.config_set_store(config, store));
const engine = nix.engine(config);
const value = nix.evaluate(engine, 'derivation { name = "greeting"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo working; echo hello > $out" ]; }');
const derivation = nix.bytes(C.value_derivation, value, null);
const build = nix.get(C.build_start, store, config, [nix.text(derivation)], 1);
for (let event = {}; C.build_next_event(build, -1, event); ) {
  if (event.kind === 1) console.log("started");
  if (event.kind === 3) console.log(`log: ${nix.js(event.text)}`);
  if (event.kind === 5) console.log(Number(event.failed) ? "failed" : "finished");
}
nix.must(C.build_wait(build));
for (let i = 0, output = {}; C.build_output(build, i, output); i++) console.log(`${nix.js(output.name)}: ${nix.js(output.path).slice(44)}`);
C.build_free(build);
C.value_free(value);
C.engine_free(engine);
C.store_free(store);
C.config_free(config);
