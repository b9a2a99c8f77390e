-- A tree that has every byte of the source, comments and mistakes too. Run: luajit walk_syntax_tree.lua
local nix = require("nixlang")
local C, ffi = nix.C, nix.ffi

local tree = nix.new("tree", C.nixlang_parse, nix.text('{ # who\n  name = "x"\n  size = 1;\n}\n'))
local n_tokens, n_bytes = 0, 0

local function walk(node)
  while not C.nixlang_node_is_null(node) do
    if C.nixlang_node_is_token(node) then
      local text = nix.lua(C.nixlang_node_text(node))
      n_tokens, n_bytes = n_tokens + 1, n_bytes + #text
      if text:sub(1, 1) == "#" then
        print("comment: " .. text)
      end
    end
    walk(C.nixlang_node_first_child(node))
    node = C.nixlang_node_next_sibling(node)
  end
end

walk(C.nixlang_tree_root(tree))
print(n_tokens .. " tokens, " .. n_bytes .. " bytes")
local err, i = ffi.new("nixlang_syntax_error"), 0
while C.nixlang_tree_error(tree, i, err) do
  print(err.start .. ": " .. nix.lua(err.message))
  i = i + 1
end
