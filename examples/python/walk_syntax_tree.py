"""A tree that has every byte of the source, comments and mistakes too. Run: python3 walk_syntax_tree.py"""

import nixlang

tree = nixlang.Tree('{ # who\n  name = "x"\n  size = 1;\n}\n')
tokens = [node for node in tree.root.walk() if node.is_token]
for token in tokens:
    if token.text.startswith("#"):
        print(f"comment: {token.text}")
print(f"{len(tokens)} tokens, {sum(len(token.text) for token in tokens)} bytes")
for start, message in tree.errors:
    print(f"{start}: {message}")
