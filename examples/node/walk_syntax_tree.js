// A tree that has every byte of the source, comments and mistakes too. Run: node walk_syntax_tree.js
const nix = require("./nixlang");
const { C } = nix;

const tree = nix.get(C.parse, nix.text('{ # who\n  name = "x"\n  size = 1;\n}\n'));
let tokens = 0, bytes = 0;
const walk = (node) => {
  for (; !C.node_is_null(node); node = C.node_next_sibling(node)) {
    if (C.node_is_token(node)) {
      const text = nix.js(C.node_text(node));
      tokens++;
      bytes += text.length;
      if (text.startsWith("#")) console.log(`comment: ${text}`);
    }
    walk(C.node_first_child(node));
  }
};
walk(C.tree_root(tree));
console.log(`${tokens} tokens, ${bytes} bytes`);
for (let i = 0, error = {}; C.tree_error(tree, i, error); i++) console.log(`${error.start}: ${nix.js(error.message)}`);
C.tree_free(tree);
