--- builtin-arithmetic ---
# => [ 3 -1 12 3 0.5 1 0.5 ]
with builtins; [ (add 1 2) (sub 1 2) (mul 3 4) (div 7 2) (sub 1.5 1) (mul 2 0.5) (div 1 2.0) ]

--- builtin-div-by-zero ---
# error: division by zero
builtins.div 1 0

--- builtin-has-attr ---
# => [ true false ]
[ (builtins.hasAttr "a" { a = throw "never"; }) (builtins.hasAttr "b" { }) ]

--- builtin-hash-file ---
# => "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7"
builtins.hashFile "sha256" ./derivations-src/a.txt

--- builtin-read-dir ---
# => { "a.txt" = "regular"; "b.txt" = "regular"; }
builtins.readDir ./derivations-src

--- builtin-read-file ---
# => "a\n"
builtins.readFile ./derivations-src/a.txt

--- builtin-scoped-import ---
# => 3
builtins.scopedImport { a = 2; } ./scoped.txt

--- builtin-trace-verbose-is-silent ---
# => 1
builtins.traceVerbose "note" 1

--- builtin-append-context ---
# => { "/nix/store/97qlv6h78lxlm9zc8849ahsbcklhsi2y-x.drv" = { outputs = [ "out" ]; }; }
builtins.getContext (builtins.appendContext "x" { "/nix/store/97qlv6h78lxlm9zc8849ahsbcklhsi2y-x.drv" = { outputs = [ "out" ]; }; })

--- builtin-append-context-not-a-store-path ---
# error: context key '"/a"' is not a store path
builtins.appendContext "x" { "/a" = { path = true; }; }

--- builtin-add-drv-output-dependencies ---
# => { "/nix/store/5wq5jx7219pmi3xklyhl77fjbqvy6qaj-x.drv" = { allOutputs = true; }; }
builtins.getContext (builtins.addDrvOutputDependencies (builtins.unsafeDiscardOutputDependency (derivation { name = "x"; builder = "b"; system = "s"; }).drvPath))

--- builtin-add-drv-output-dependencies-without-context ---
# error: context of string 'x' must have exactly one element, but has 0
builtins.addDrvOutputDependencies "x"

--- builtin-unsafe-discard-output-dependency ---
# => { "/nix/store/5wq5jx7219pmi3xklyhl77fjbqvy6qaj-x.drv" = { path = true; }; }
builtins.getContext (builtins.unsafeDiscardOutputDependency (derivation { name = "x"; builder = "b"; system = "s"; }).drvPath)

--- builtin-derivation-strict ---
# => [ "drvPath" "out" ]
builtins.attrNames (builtins.derivationStrict { name = "x"; builder = "b"; system = "s"; })

--- builtin-current-time-is-a-number ---
# => true
builtins.isInt builtins.currentTime

--- builtin-nix-path-is-a-list ---
# => true
builtins.isList builtins.nixPath

--- builtin-arity ---
# => <PRIMOP-APP>
builtins.map (x: x)

--- builtin-wrong-type-first ---
# error: expected a list but found an integer: 2
builtins.map 1 2

--- builtin-sort-does-not-force-more-than-compared ---
# => [ 1 ]
builtins.sort (a: b: throw "never") [ 1 ]

--- builtin-all-stops-early ---
# => false
builtins.all (x: x < 2) [ 1 2 (throw "never") ]

--- builtin-cat-attrs-needs-sets ---
# error: expected a set but found an integer: 1
builtins.catAttrs "a" [ 1 ]

--- builtin-group-by-needs-strings ---
# error: expected a string but found an integer: 1
builtins.groupBy (x: x) [ 1 ]

--- builtin-concat-lists-needs-lists ---
# error: expected a list but found an integer: 1
builtins.concatLists [ 1 ]

--- builtin-intersect-attrs-is-lazy ---
# => 1
(builtins.intersectAttrs { a = throw "never"; } { a = 1; }).a

--- builtin-map-attrs-is-lazy ---
# => [ "a" ]
builtins.attrNames (builtins.mapAttrs (n: v: throw "never") { a = 1; })

--- builtin-zip-attrs-with-is-lazy ---
# => [ "a" ]
builtins.attrNames (builtins.zipAttrsWith (n: vs: throw "never") [ { a = 1; } ])

--- builtin-to-string-of-path ---
# => true
builtins.toString ./derivations-src == toString ./. + "/derivations-src"

--- builtin-from-json-numbers ---
# error: unsigned json number 18446744073709551615 outside of Nix integer range
builtins.fromJSON "[1, -1, 1.0, 1e2, 9223372036854775807, 18446744073709551615]"

--- builtin-to-json-of-path-copies-it ---
# => "\"/nix/store/19mw70w8drkgn53791gs2mwvyl34s5v6-a.txt\""
builtins.toJSON ./derivations-src/a.txt

--- builtin-split-version-and-compare ---
# => [ 1 -1 ]
[ (builtins.compareVersions "1.0-rc1" "1.0") (builtins.compareVersions "" "0") ]

--- builtin-match-classes ---
# => [ "abc_1" ]
builtins.match "[[:space:]]*([[:alnum:]_]+)[[:space:]]*" "  abc_1 "

--- builtin-match-newline ---
# => [ ]
builtins.match "a.b" "a\nb"

--- builtin-substring-is-in-bytes ---
# => 1
builtins.stringLength (builtins.substring 0 1 "ä")

--- builtin-ceil-of-huge ---
# error: NixFloat argument 1e+300 is not in the range of NixInt
builtins.ceil 1.0e300

--- builtin-elem-uses-equality ---
# => true
builtins.elem 1.0 [ 1 ]

--- builtin-from-toml-error ---
# error: while parsing TOML: [error] bad format: unknown value appeared
#        --> fromTOML
#        1 | a =
builtins.fromTOML "a = "

--- builtin-placeholder-of-dev ---
# => "/02qcpld1y6xhs5gz9bchpxaw0xdhmsp5dv88lh25r2ss44kh8dxz"
builtins.placeholder "dev"

--- builtin-to-file-bad-name ---
# error: path 'dm85kbl5cy82j2dzvy1874s14y3salv3-a b' is not a valid store path: name 'a b' contains illegal character ' '
builtins.toFile "a b" "x"

--- builtin-filter-source-needs-a-path ---
# error: string 'relative' doesn't represent an absolute path
builtins.filterSource (p: t: true) "relative"

--- builtin-less-than ---
# => [ true false true ]
[ (builtins.lessThan 1 2) (builtins.lessThan "b" "a") (builtins.lessThan [ 1 2 ] [ 1 3 ]) ]

--- builtin-import ---
# => 2
import ./imported.txt { x = 1; }

--- builtin-import-twice-compares-as-two-functions ---
# => false
[ (import ./imported.txt) ] == [ (import ./imported.txt) ]

--- builtin-store-path-of-nothing ---
# => "/nix/store/00000000000000000000000000000000-nothing"
builtins.storePath "/nix/store/00000000000000000000000000000000-nothing"

--- builtin-head-tail-length ---
# => [ 1 [ 2 ] 2 2 ]
[ (builtins.head [ 1 2 ]) (builtins.tail [ 1 2 ]) (builtins.length [ 1 2 ]) (builtins.elemAt [ 1 2 ] 1) ]

--- builtin-get-attr ---
# => 1
builtins.getAttr "a" { a = 1; }

--- builtin-find-file ---
# => "scoped.txt"
baseNameOf (builtins.findFile [ { prefix = ""; path = ./.; } ] "scoped.txt")

--- builtin-to-path ---
# => "/b"
builtins.toPath "/a/../b"

--- from-json-error-shows-the-text-since-the-last-string-or-number ---
# error: [json.exception.parse_error.101] parse error at line 1, column 10: syntax error while parsing value - invalid literal; last read: '"a"  :  x'
builtins.fromJSON "{\"a\"  :  x"

--- builtin-fetch-git-of-nothing ---
# error: Git repository "/definitely/not/there" does not exist.
builtins.fetchGit "/definitely/not/there"
