let
  f = n: if n == 0 then throw "the bottom" else builtins.addErrorContext "level ${toString n}" (f (n - 1));
in
f 6
