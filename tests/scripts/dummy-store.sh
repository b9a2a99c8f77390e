# The store that keeps nothing, with another directory; and the one that keeps it in memory.
nix eval --impure --raw --store 'dummy://?store=/foo' --expr builtins.storeDir; echo
nix-instantiate --eval --store 'dummy://?store=/foo' -E 'builtins.toFile "a" "b"'
nix eval --impure --raw --store 'dummy://?store=/foo&read-only=false' --expr '(derivation { name = "a"; builder = "b"; system = "c"; }).drvPath'; echo
