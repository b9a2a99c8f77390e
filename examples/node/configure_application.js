// An application that its users configure in Nix: with a value of the application, and with limits, since users make mistakes.
// Run: node configure_application.js
const nix = require("./nixlang");
const { C, koffi } = nix;

const config = C.config_new();
// Nothing but what the application gives: no files, no environment, no time.
nix.must(C.config_set(config, nix.text("pure-eval"), nix.text("true")));
const engine = nix.engine(config);
const cpus = nix.get(C.make_int, engine, 4);
nix.must(C.engine_add_builtin(engine, nix.text("cpus"), cpus));
const limits = { size: koffi.sizeof("nixlang_budget"), steps: 0, heap_bytes: 64 << 20, time_ms: 1000, cancel: null };
const configuration = nix.evaluate(engine, '{ port = 8000 + 80; workers = cpus * 2; greeting = "hello, ${builtins.toString cpus} processors"; }', limits);
// One call brings all of it over.
const settings = JSON.parse(nix.bytes(C.value_to_json, configuration, limits));
console.log(`port ${settings.port}, ${settings.workers} workers: ${settings.greeting}`);
for (const it of [cpus, configuration]) C.value_free(it);
C.engine_free(engine);
C.config_free(config);
