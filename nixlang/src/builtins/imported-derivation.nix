# What `import` of a `.drv` file gives: the set made of the file, with one attribute per output.
attrs@{ drvPath, name, outputs, ... }:
let
  output = outputName: attrs // all // {
    inherit drvPath name outputName;
    type = "derivation";
    outPath = builtins.getAttr outputName attrs;
  };
  all = builtins.listToAttrs (map (name: { inherit name; value = output name; }) outputs);
in
output (builtins.head outputs)
