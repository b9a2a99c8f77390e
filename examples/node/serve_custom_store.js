// A store of the host: evaluations write to it, and others copy from it. Run: node serve_custom_store.js
const nix = require("./nixlang");
const { C, koffi } = nix;

const kept = new Map();
const callback = (prototype, body) => koffi.register(body, koffi.pointer(prototype));
const functions = {
  size: koffi.sizeof("nixlang_store_functions"),
  query: callback("nixlang_query", (data, path, found, foundData) => {
    const it = kept.get(nix.js(path));
    if (it) koffi.call(found, "nixlang_found", foundData, { ...nix.emptyStored, nar_hash: nix.text(it.hash), nar_size: it.nar.length });
    return null;
  }),
  write_nar: callback("nixlang_write_nar", (data, path, sink, sinkData) => {
    const it = kept.get(nix.js(path));
    if (!it) return C.error_new(19, nix.text("no such path"));
    koffi.call(sink, "nixlang_sink", sinkData, it.nar, it.nar.length);
    return null;
  }),
  add_nar: callback("nixlang_add_nar", (data, path, info, nar) => {
    const { nar_hash } = koffi.decode(info, "nixlang_stored");
    kept.set(nix.js(path), { hash: nix.js(nar_hash), nar: nix.buffer(nar) });
    return null;
  }),
  valid_paths: null,
};

const store = nix.get(C.store_new, functions, nix.text("example"), nix.text(""), null, null);
const config = C.config_new();
nix.must(C.config_set_store(config, store));
const engine = nix.engine(config);
C.value_free(nix.evaluate(engine, 'builtins.toFile "greeting" "hello"'));
const memory = nix.get(C.store_open, nix.text("dummy://?read-only=false"), null);

// Copying asks both stores from threads of its own, so this thread must be free to answer: an asynchronous call.
async function copy(path) {
  const copied = [null];
  nix.must(await new Promise((resolve, reject) => C.store_copy.async(store, memory, nix.text(path), copied, (failed, error) => (failed ? reject(failed) : resolve(error)))));
  console.log(`copied: ${C.paths_count(copied[0])}`);
  C.paths_free(copied[0]);
}

async function main() {
  for (const [path, it] of kept) {
    console.log(`kept: ${path.slice(44)}, ${it.nar.length} bytes`);
    await copy(path);
  }
  for (const it of [memory, store]) C.store_free(it);
  C.engine_free(engine);
  C.config_free(config);
  for (const name of ["query", "write_nar", "add_nar"]) koffi.unregister(functions[name]);
}
main();
