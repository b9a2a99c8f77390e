builtins.mapAttrs (name: value: throw "${name} is ${value}") { a = "b"; }
