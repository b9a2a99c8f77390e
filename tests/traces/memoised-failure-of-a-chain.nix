rec {
  a = throw "deep inside";
  b = [ a ];
  c = builtins.tryEval (builtins.addErrorContext "looking at b" (builtins.head b));
  result = builtins.seq c.success (builtins.length [ ] + b);
}
