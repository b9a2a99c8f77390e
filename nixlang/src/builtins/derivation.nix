# The `derivation` function: what `derivationStrict` computes, as a set with one attribute per output.
drvAttrs@{ outputs ? [ "out" ], ... }:
let
  strict = derivationStrict drvAttrs;
  common = drvAttrs // builtins.listToAttrs byOutput // {
    all = map (output: output.value) byOutput;
    inherit drvAttrs;
  };
  byOutput = map (name: {
    inherit name;
    value = common // {
      outPath = builtins.getAttr name strict;
      drvPath = strict.drvPath;
      type = "derivation";
      outputName = name;
    };
  }) outputs;
in
(builtins.head byOutput).value
