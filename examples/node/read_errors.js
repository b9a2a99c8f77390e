// An error is data: a code, a message, a place, the way to it, names that may have been meant. Run: node read_errors.js
const nix = require("./nixlang");
const { C } = nix;

const engine = nix.engine();
const it = 'let paint = set: set.color; in builtins.seq 1 (paint { colour = "red"; })';
const error = C.evaluate(engine, nix.text(it), nix.text("/"), null, [null]);
const place = C.error_place(error);
console.log(`code ${C.error_code(error)}: ${nix.js(C.error_message(error))}`);
console.log(`at ${nix.js(place.file)}:${place.line}:${place.column}`);
console.log(`meant: ${nix.js(C.error_suggestion(error, 0))}`);
for (let i = 0, frame = {}; C.error_frame(error, i, frame); i++) console.log(nix.js(frame.message));
C.error_free(error);
C.engine_free(engine);
