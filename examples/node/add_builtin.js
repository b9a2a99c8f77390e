// A JavaScript function, called from Nix. Run: node add_builtin.js
const nix = require("./nixlang");
const { C, koffi } = nix;

const engine = nix.engine();
let calls = 0;
const shout = koffi.register((data, args, count, result) => {
  const argument = koffi.decode(args, "void *");
  const failed = C.value_force(argument, null);
  if (failed) return failed;
  const found = {};
  if (!C.value_string(argument, found)) return C.error_new(6, nix.text("shout wants a string"));
  calls++;
  const made = [null];
  const error = C.make_string(engine, nix.text(nix.js(found).toUpperCase()), null, 0, made);
  if (!error) koffi.encode(result, "void *", made[0]);
  return error;
}, koffi.pointer("nixlang_function"));
const value = nix.get(C.make_function, engine, nix.text("shout"), 1, shout, null, null);
nix.must(C.engine_add_builtin(engine, nix.text("shout"), value));
const joined = nix.evaluate(engine, 'builtins.concatStringsSep " " (map shout [ "hello" "from" "the" "host" ])');
const found = {};
C.value_string(joined, found);
console.log(nix.js(found));
console.log(`called ${calls} times`);
for (const it of [joined, value]) C.value_free(it);
C.engine_free(engine);
koffi.unregister(shout);
