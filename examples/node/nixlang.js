// What the Node examples share: libnixlang through koffi (npm install koffi).
const koffi = require("koffi");

const lib = koffi.load(process.env.NIXLANG_LIBRARY || "libnixlang.so");
const string = koffi.struct("nixlang_string", { data: "void *", length: "size_t" });
koffi.struct("nixlang_bytes", { data: "void *", length: "size_t" });
koffi.struct("nixlang_place", { file: string, line: "uint32_t", column: "uint32_t" });
koffi.struct("nixlang_frame", { message: string, place: "nixlang_place", always: "bool" });
koffi.struct("nixlang_budget", { size: "size_t", steps: "uint64_t", heap_bytes: "uint64_t", time_ms: "uint64_t", cancel: "void *" });
koffi.struct("nixlang_node", { tree: "void *", index: "uint32_t" });
koffi.struct("nixlang_syntax_error", { message: string, start: "uint32_t", end: "uint32_t" });
koffi.struct("nixlang_event", { kind: "int", derivation: string, text: string, done: "size_t", total: "size_t", running: "size_t", failed: "size_t" });
koffi.struct("nixlang_output", { derivation: string, name: string, path: string });
koffi.struct("nixlang_stored", {
  nar_hash: string, nar_size: "uint64_t", references: "void *", n_references: "size_t", deriver: string, signatures: "void *", n_signatures: "size_t",
});
koffi.proto("bool nixlang_sink(void *data, const void *bytes, size_t length)");
koffi.proto("void nixlang_found(void *data, const nixlang_stored *info)");
koffi.proto("void *nixlang_query(void *data, nixlang_string path, nixlang_found *found, void *found_data)");
koffi.proto("void *nixlang_write_nar(void *data, nixlang_string path, nixlang_sink *sink, void *sink_data)");
koffi.proto("void *nixlang_add_nar(void *data, nixlang_string path, void *info, nixlang_string nar)");
koffi.struct("nixlang_store_functions", { size: "size_t", query: "nixlang_query *", write_nar: "nixlang_write_nar *", add_nar: "nixlang_add_nar *", valid_paths: "void *" });
koffi.proto("void *nixlang_function(void *data, void *arguments, size_t n_arguments, void *result)");

// Functions by name, declared when they are first used.
const declarations = {
  error_new: "void *nixlang_error_new(int code, nixlang_string message)",
  error_free: "void nixlang_error_free(void *error)",
  error_code: "int nixlang_error_code(void *error)",
  error_message: "nixlang_string nixlang_error_message(void *error)",
  error_place: "nixlang_place nixlang_error_place(void *error)",
  error_frame: "bool nixlang_error_frame(void *error, size_t index, _Out_ nixlang_frame *frame)",
  error_suggestion: "nixlang_string nixlang_error_suggestion(void *error, size_t index)",
  bytes_free: "void nixlang_bytes_free(nixlang_bytes *bytes)",
  config_new: "void *nixlang_config_new()",
  config_free: "void nixlang_config_free(void *config)",
  config_set: "void *nixlang_config_set(void *config, nixlang_string name, nixlang_string value)",
  config_set_store: "void *nixlang_config_set_store(void *config, void *store)",
  engine_new: "void *nixlang_engine_new(void *config, _Out_ void **result)",
  engine_free: "void nixlang_engine_free(void *engine)",
  engine_add_builtin: "void *nixlang_engine_add_builtin(void *engine, nixlang_string name, void *value)",
  cancel_new: "void *nixlang_cancel_new()",
  cancel_fire: "void nixlang_cancel_fire(void *cancel)",
  cancel_free: "void nixlang_cancel_free(void *cancel)",
  evaluate: "void *nixlang_evaluate(void *engine, nixlang_string text, nixlang_string base, nixlang_budget *budget, _Out_ void **result)",
  value_free: "void nixlang_value_free(void *value)",
  value_force: "void *nixlang_value_force(void *value, void *budget)",
  value_int: "bool nixlang_value_int(void *value, _Out_ int64_t *result)",
  value_string: "bool nixlang_value_string(void *value, _Out_ nixlang_string *result)",
  value_to_json: "void *nixlang_value_to_json(void *value, nixlang_budget *budget, _Out_ nixlang_bytes *result)",
  value_derivation: "void *nixlang_value_derivation(void *value, void *budget, _Out_ nixlang_bytes *result)",
  make_string: "void *nixlang_make_string(void *engine, nixlang_string text, void *references, size_t n_references, _Out_ void **result)",
  make_int: "void *nixlang_make_int(void *engine, int64_t value, _Out_ void **result)",
  make_null: "void *nixlang_make_null(void *engine, _Out_ void **result)",
  make_function: "void *nixlang_make_function(void *engine, nixlang_string name, size_t n, nixlang_function *function, void *data, void *drop, _Out_ void **result)",
  parse: "void *nixlang_parse(nixlang_string text, _Out_ void **result)",
  tree_free: "void nixlang_tree_free(void *tree)",
  tree_root: "nixlang_node nixlang_tree_root(void *tree)",
  tree_error: "bool nixlang_tree_error(void *tree, size_t index, _Out_ nixlang_syntax_error *result)",
  node_is_null: "bool nixlang_node_is_null(nixlang_node node)",
  node_is_token: "bool nixlang_node_is_token(nixlang_node node)",
  node_text: "nixlang_string nixlang_node_text(nixlang_node node)",
  node_first_child: "nixlang_node nixlang_node_first_child(nixlang_node node)",
  node_next_sibling: "nixlang_node nixlang_node_next_sibling(nixlang_node node)",
  store_open: "void *nixlang_store_open(nixlang_string address, void *config, _Out_ void **result)",
  store_new: "void *nixlang_store_new(nixlang_store_functions *functions, nixlang_string address, nixlang_string directory, void *data, void *drop, _Out_ void **result)",
  store_copy: "void *nixlang_store_copy(void *from, void *to, nixlang_string path, _Out_ void **result)",
  paths_count: "size_t nixlang_paths_count(void *paths)",
  paths_free: "void nixlang_paths_free(void *paths)",
  store_free: "void nixlang_store_free(void *store)",
  build_start: "void *nixlang_build_start(void *store, void *config, nixlang_string *paths, size_t n_paths, _Out_ void **result)",
  build_free: "void nixlang_build_free(void *build)",
  build_next_event: "bool nixlang_build_next_event(void *build, int64_t timeout, _Out_ nixlang_event *event)",
  build_wait: "void *nixlang_build_wait(void *build)",
  build_output: "bool nixlang_build_output(void *build, size_t index, _Out_ nixlang_output *output)",
};
const C = {};
for (const name of Object.keys(declarations)) {
  Object.defineProperty(C, name, { configurable: true, get() {
    const value = lib.func(declarations[name]);
    Object.defineProperty(C, name, { value });
    return value;
  } });
}

// Returns a borrowed string for C.
const text = (it) => { const bytes = Buffer.from(it); return { data: bytes, length: bytes.length }; };
// Returns a string of the library.
const js = (it) => (it.data && it.length ? koffi.decode(it.data, koffi.array("char", Number(it.length), "String")) : "");

// Returns bytes of the library as a buffer of their own.
const buffer = (it) => Buffer.from(koffi.decode(it.data, koffi.array("uint8_t", Number(it.length))));
const nothing = { data: null, length: 0 };
const emptyStored = { nar_hash: nothing, nar_size: 0, references: null, n_references: 0, deriver: nothing, signatures: null, n_signatures: 0 };

// Throws what a call returned, if it failed.
function must(error) {
  if (!error) return;
  const message = js(C.error_message(error));
  C.error_free(error);
  throw new Error(message);
}
// Calls a function whose last pointer is for a result, and returns that.
function get(call, ...args) {
  const result = [null];
  must(call(...args, result));
  return result[0];
}
function bytes(call, ...args) {
  const result = {};
  must(call(...args, result));
  const it = js(result);
  C.bytes_free(result);
  return it;
}
const engine = (config) => get(C.engine_new, config || null);
const evaluate = (engine, it, budget) => get(C.evaluate, engine, text(it), text("/"), budget || null);

module.exports = { koffi, C, text, js, buffer, emptyStored, must, get, bytes, engine, evaluate };
