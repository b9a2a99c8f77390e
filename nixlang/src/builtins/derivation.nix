/*
  The `derivation` function: what `derivationStrict` computes, as a set with
  one attribute per output.

  `derivationStrict` hands back the path of the derivation and those of its
  outputs, as strings. What people pass around is the set made here: the
  attributes that were given; one attribute per output, `all` of them as a
  list, and `drvAttrs`, the attributes alone; and for the output that this very
  set stands for (without a selection the first of `outputs`) its `outPath`,
  `drvPath`, `type` and `outputName`.

  The sets of all outputs are in each other, so `d.dev.out.dev` is `d.dev`.

  Everything is lazy: the derivation is made once, when a path is asked for,
  and asking for another attribute, for another output or for their number does
  not make it. What `derivationStrict` refuses is reported at the first use of
  a path therefore, and not where `derivation` was called.

  Attributes of the set take part in the derivation as variables of the build.

  Positions in this file are seen from outside: `builtins.unsafeGetAttrPos`
  gives them as values, and traces of errors quote the lines around them. They
  agree with what the reference implementation answers to the same questions
  (the tests `derivation-*` of `tests/traces` and `derivations.nix` of
  `tests/language` hold its answers), which is why the function begins in line
  30, and why the names inside are those that its messages show. Whoever edits
  this comment keeps its number of lines.

*/
drvAttrs@{
  outputs ? [ "out" ],
  ...
}:

let

  strict = derivationStrict drvAttrs;

  commonAttrs =
    drvAttrs
    // (builtins.listToAttrs outputsList)
    // {
      all = map (x: x.value) outputsList;
      inherit drvAttrs;
    };

  outputToAttrListElement = outputName: {
    name = outputName;
    value = commonAttrs // {
      outPath = builtins.getAttr outputName strict;
      drvPath = strict.drvPath;
      type = "derivation";
      inherit outputName;
    };
  };

  outputsList = map outputToAttrListElement outputs;

in
(builtins.head outputsList).value
