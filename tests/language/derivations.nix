--- derivation-path ---
# => "/nix/store/97qlv6h78lxlm9zc8849ahsbcklhsi2y-x.drv"
(derivation { name = "x"; builder = "/bin/sh"; system = "x86_64-linux"; }).drvPath

--- derivation-output ---
# => "/nix/store/s668cfx1vrqfjryf96jj8wfhg7f67dhj-x"
(derivation { name = "x"; builder = "/bin/sh"; system = "x86_64-linux"; }).outPath

--- derivation-outputs ---
# => [ "/nix/store/2ngj8i671753afgdfaac2icfpann4kf8-x" "/nix/store/3qb5aqi3wxx9cipz0418a9w1nvqjsx4m-x-dev" "dev" [ "out" "dev" ] ]
let d = derivation { name = "x"; builder = "/bin/sh"; system = "x86_64-linux"; outputs = [ "out" "dev" ]; }; in [ d.out.outPath d.dev.outPath d.dev.outputName (map (o: o.outputName) d.all) ]

--- derivation-arguments-are-strings ---
# => "/nix/store/7k7znb5iv5ns82yrl9j14ark2ryxmwig-x.drv"
(derivation { name = "x"; builder = "/bin/sh"; system = "s"; args = [ 1 true "a" ]; list = [ 1 "b" ]; yes = true; no = false; none = null; n = 1.5; }).drvPath

--- derivation-of-derivations ---
# => "/nix/store/95x4hn71gp2yj9khrdka6dyvriaa5rzc-top.drv"
let d = n: inputs: derivation { name = n; builder = "/bin/sh"; system = "s"; inherit inputs; }; in (d "top" [ (d "a" [ ]) (d "b" [ (d "a" [ ]) ]) ]).drvPath

--- derivation-fixed-output ---
# => [ "/nix/store/yplc6kklcg6k8aln037jq8jxq5v92wln-x" "/nix/store/yplc6kklcg6k8aln037jq8jxq5v92wln-x" ]
let d = hash: (derivation { name = "x"; builder = "b"; system = "s"; outputHashAlgo = "sha256"; outputHash = hash; }).outPath; in [ (d "0000000000000000000000000000000000000000000000000000") (d "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=") ]

--- derivation-fixed-output-recursive ---
# => "/nix/store/130c0ks0fyxky4j4qx02apy69hasc6nf-x"
(derivation { name = "x"; builder = "b"; system = "s"; outputHashMode = "recursive"; outputHashAlgo = "sha256"; outputHash = "0000000000000000000000000000000000000000000000000000"; }).outPath

--- derivation-fixed-inputs-do-not-matter ---
# => true
let f = b: derivation { name = "f"; builder = b; system = "s"; outputHashAlgo = "sha256"; outputHash = "0000000000000000000000000000000000000000000000000000"; }; g = b: (derivation { name = "g"; builder = "x"; system = "s"; src = f b; }).outPath; in g "a" == g "b"

--- derivation-structured-attributes ---
# => "/nix/store/alh2028ig8bzs2vcwk9cnkxbyry2y2lr-x.drv"
(derivation { name = "x"; builder = "b"; system = "s"; __structuredAttrs = true; list = [ 1 { a = null; } ]; }).drvPath

--- derivation-without-name ---
# error: attribute 'name' missing
(derivation { builder = "b"; system = "s"; }).drvPath

--- derivation-bad-name ---
# error: invalid derivation name: name 'a b' contains illegal character ' '. Please pass a different 'name'.
(derivation { name = "a b"; builder = "b"; system = "s"; }).drvPath

--- derivation-without-builder ---
# error: required attribute 'builder' missing
(derivation { name = "x"; system = "s"; }).drvPath

--- derivation-name-with-drv ---
# error: derivation names are allowed to end in '.drv' only if they produce a single derivation file
(derivation { name = "x.drv"; builder = "b"; system = "s"; }).drvPath

--- derivation-bad-outputs ---
# error: 'builtins.head' called on an empty list
(derivation { name = "x"; builder = "b"; system = "s"; outputs = [ ]; }).drvPath

--- derivation-duplicate-outputs ---
# error: duplicate derivation output 'a'
(derivation { name = "x"; builder = "b"; system = "s"; outputs = [ "a" "a" ]; }).drvPath

--- derivation-attribute-is-function ---
# error: cannot coerce a function to a string: «lambda f @ «string»:1:60»
(derivation { name = "x"; builder = "b"; system = "s"; f = x: x; }).drvPath

--- derivation-ignore-nulls ---
# => true
(derivation { name = "x"; builder = "b"; system = "s"; __ignoreNulls = true; a = null; }).outPath == (derivation { name = "x"; builder = "b"; system = "s"; __ignoreNulls = true; }).outPath

--- derivation-equality ---
# => true
let d = derivation { name = "x"; builder = "b"; system = "s"; }; in d == d // { a = 1; }

--- derivation-prints ---
# => [ "all" "builder" "drvAttrs" "drvPath" "name" "out" "outPath" "outputName" "system" "type" ]
builtins.attrNames (derivation { name = "x"; builder = "b"; system = "s"; })

--- context-of-output ---
# => { "/nix/store/5wq5jx7219pmi3xklyhl77fjbqvy6qaj-x.drv" = { outputs = [ "out" ]; }; }
builtins.getContext "${derivation { name = "x"; builder = "b"; system = "s"; }}"

--- context-of-drv-path ---
# => { "/nix/store/5wq5jx7219pmi3xklyhl77fjbqvy6qaj-x.drv" = { allOutputs = true; }; }
builtins.getContext (derivation { name = "x"; builder = "b"; system = "s"; }).drvPath

--- context-survives-substring ---
# => true
builtins.hasContext (builtins.substring 0 1 "${derivation { name = "x"; builder = "b"; system = "s"; }}")

--- context-discarded ---
# => false
builtins.hasContext (builtins.unsafeDiscardStringContext "${derivation { name = "x"; builder = "b"; system = "s"; }}")

--- context-in-attribute-name ---
# error: the string '/nix/store/gwwjwi08fyrbrz2d8zkfvy65nzzq2czp-x' is not allowed to refer to a store path (such as '/nix/store/5wq5jx7219pmi3xklyhl77fjbqvy6qaj-x.drv^out')
{ "${derivation { name = "x"; builder = "b"; system = "s"; }}" = 1; }

--- placeholder ---
# => "/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9"
builtins.placeholder "out"

--- to-file-with-context ---
# error: files created by builtins.toFile may not reference derivations, but x references !out!5wq5jx7219pmi3xklyhl77fjbqvy6qaj-x.drv
builtins.toFile "x" "${derivation { name = "x"; builder = "b"; system = "s"; }}"

--- path-hash-is-of-content ---
# => "/nix/store/39rrvy9ncixwpwfv998qw77cjsgsv0db-src"
builtins.path { path = ./derivations-src; name = "src"; }

--- path-filtered ---
# => "/nix/store/kdww9z99rlcfx0mlk5pj78bydcv8ji2l-derivations-src"
builtins.filterSource (path: type: baseNameOf path != "b.txt") ./derivations-src

--- path-in-string-is-copied ---
# => "/nix/store/19mw70w8drkgn53791gs2mwvyl34s5v6-a.txt"
"${./derivations-src/a.txt}"

--- path-wrong-hash ---
# error: store path mismatch in (possibly filtered) path added from 'DIRECTORY/derivations-src'
builtins.path { path = ./derivations-src; name = "src"; sha256 = "0000000000000000000000000000000000000000000000000000"; }

--- derivation-positions ---
# => [ [ "/derivation-internal.nix" 50 7 ] [ "/derivation-internal.nix" 51 7 ] [ "/derivation-internal.nix" 52 7 ] [ "/derivation-internal.nix" 53 15 ] [ "/derivation-internal.nix" 43 7 ] [ "/derivation-internal.nix" 44 15 ] [ "/derivation-internal.nix" 49 5 ] { column = 3; file = "/derivation-internal.nix"; line = 31; } ]
let
  d = derivation { name = "j"; system = "x"; builder = "y"; };
  at = n: let p = builtins.unsafeGetAttrPos n d; in [ p.file p.line p.column ];
in
map at [ "outPath" "drvPath" "type" "outputName" "all" "drvAttrs" "out" ] ++ [ (builtins.unsafeGetAttrPos "outputs" (builtins.functionArgs derivation)) ]

--- internal-files ---
# => [ <nix/fetchurl.nix> "/fetchurl.nix" <nix/nothing.nix> true false "regular" true "fetchurl.nix" <nix/> true "\"/b\"" ]
[ <nix/fetchurl.nix> (toString <nix/fetchurl.nix>) <nix/nothing.nix> (builtins.pathExists <nix/fetchurl.nix>) (builtins.pathExists <nix/nothing.nix>) (builtins.readFileType <nix/fetchurl.nix>) (builtins.readFile <nix/fetchurl.nix> != "") (baseNameOf <nix/fetchurl.nix>) (dirOf <nix/fetchurl.nix>) (<nix/fetchurl.nix> == <nix/fetchurl.nix>) (builtins.toJSON (toString <nix/a/../b>)) ]

--- internal-files-are-files ---
# => [ true "directory" true true false ]
[ (builtins.pathExists (<nix/fetchurl.nix> + "/..")) (builtins.readFileType (<nix/fetchurl.nix> + "/..")) (builtins.isString "${<nix/fetchurl.nix>}") (builtins.hashFile "md5" <nix/fetchurl.nix> != "") (builtins.pathExists (<nix/fetchurl.nix> + "/x")) ]
