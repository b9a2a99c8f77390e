let
  broken = throw "once";
  first = builtins.addErrorContext "on the first way" broken;
  second = builtins.addErrorContext "on the second way" broken;
in
builtins.seq (builtins.tryEval first) second
