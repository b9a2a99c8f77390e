// A string in, JSON out. Run: node evaluate_expression.js
const nix = require("./nixlang");

const engine = nix.engine();
const value = nix.evaluate(engine, "{ answer = 6 * 7; }");
console.log(nix.bytes(nix.C.value_to_json, value, null));
nix.C.value_free(value);
nix.C.engine_free(engine);
