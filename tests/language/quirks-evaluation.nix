--- evaluation-update-forces-right-first ---
# error: R
(throw "L") // (throw "R")

--- evaluation-concat-forces-left-first ---
# error: L
(throw "L") ++ (throw "R")

--- evaluation-plus-forces-left-first ---
# error: L
(throw "L") + (throw "R")

--- evaluation-equality-forces-left-first ---
# error: L
(throw "L") == (throw "R")

--- evaluation-less-forces-left-first ---
# error: L
(throw "L") < (throw "R")

--- evaluation-greater-forces-right-first ---
# error: R
(throw "L") > (throw "R")

--- evaluation-minus-forces-left-first ---
# error: L
(throw "L") - (throw "R")

--- evaluation-strict-printing-goes-by-symbol-number ---
# error: zz
{ zz = throw "zz"; aa = throw "aa"; }

--- evaluation-deep-seq-goes-by-symbol-number ---
# error: zz
builtins.deepSeq { zz = throw "zz"; aa = throw "aa"; } 1

--- evaluation-equality-goes-by-symbol-number-throws ---
# error: b
{ b = throw "b"; a = 1; } == { b = 3; a = 2; }

--- evaluation-equality-goes-by-symbol-number-false ---
# => false
{ a = 1; b = throw "b"; } == { a = 2; b = 3; }

--- evaluation-to-json-goes-by-name ---
# error: aa
builtins.toJSON { zz = throw "zz"; aa = throw "aa"; }

--- evaluation-same-function-in-lists ---
# => [ false true true ]
let f = x: x; in [ (f == f) ([ f ] == [ f ]) ({ inherit f; } == { inherit f; }) ]

--- evaluation-selected-function-is-another-value ---
# => false
let s = { x = y: y; }; in [ s.x ] == [ s.x ]

--- evaluation-same-thunk-is-equal-without-forcing ---
# error: x
let x = throw "x"; in { inherit x; } == { inherit x; }

--- evaluation-alias-before-its-value ---
# => false
let a = b; b = x: x; in [ a ] == [ b ]

--- evaluation-alias-behind-its-value ---
# => true
let b = x: x; a = b; in [ a ] == [ b ]

--- evaluation-large-integers-equal-floats ---
# => [ true false ]
[ (9007199254740993 == 9007199254740992.0) (9007199254740993 == 9007199254740992) ]

--- evaluation-order-of-paths ---
# => [ true false true ]
[ (/a < /b) (/a/b < /a-b) (/a == /a) ]

--- evaluation-order-of-nulls ---
# error: cannot compare null with null; values of that type are incomparable (values are null and null)
null < null

--- evaluation-order-of-booleans ---
# error: cannot compare a Boolean with a Boolean; values of that type are incomparable (values are true and false)
true < false

--- evaluation-order-of-lists-by-first-difference ---
# => [ true true false false ]
[ ([ 1 (throw "x") ] < [ 2 (throw "y") ]) ([ ] < [ 1 ]) ([ 1 ] < [ ]) ([ 1 2 ] < [ 1 ]) ]

--- evaluation-order-of-lists-of-unordered ---
# => true
[ null 1 ] < [ null 2 ]

--- evaluation-order-of-lists-errors-at-first-difference ---
# error: cannot compare null with a Boolean; values are null and true
[ null ] < [ true ]

--- evaluation-coercion-of-file-copies ---
# => "/nix/store/zph2dl1r5i0zc6vsn0zds56mm79ia2s6-scoped.txt"
"${./scoped.txt}"

--- evaluation-coercion-to-string-before-out-path ---
# => "s"
"${{ __toString = self: self.x; x = "s"; outPath = "o"; }}"

--- evaluation-coercion-is-recursive ---
# => "x"
"${{ outPath = { __toString = self: { outPath = "x"; }; }; }}"

--- evaluation-coercion-of-null ---
# error: cannot coerce null to a string: null
"${null}"

--- evaluation-coercion-of-float ---
# error: cannot coerce a float to a string: 1.5
"${1.5}"

--- evaluation-to-string-of-nested-lists ---
# => "1 2 3  4"
toString [ [ ] 1 [ 2 [ ] [ 3 ] ] [ ] "" 4 ]

--- evaluation-to-string-of-empty-lists ---
# => [ "" " " "a" ]
[ (toString [ [ ] ]) (toString [ "" "" ]) (toString [ [ ] "a" ]) ]

--- evaluation-functor-gets-itself ---
# => 3
{ __functor = self: x: self.n + x; n = 1; } 2

--- evaluation-functor-in-map ---
# => [ 2 3 ]
map { __functor = self: x: x + 1; } [ 1 2 ]

--- evaluation-functor-of-functor ---
# => 3
{ __functor = { __functor = self: self2: x: x; }; } 3

--- evaluation-functor-is-no-function ---
# => false
builtins.isFunction { __functor = self: x: x; }

--- evaluation-function-args-of-functor ---
# error: 'functionArgs' requires a function
builtins.functionArgs { __functor = self: { a }: a; }

--- evaluation-try-eval-missing-file ---
# => false
(builtins.tryEval <nope>).success

--- evaluation-try-eval-infinite-recursion ---
# error: infinite recursion encountered
builtins.tryEval (let x = x; in x)

--- evaluation-try-eval-missing-argument ---
# error: function 'anonymous lambda' called without required argument 'a'
builtins.tryEval (({ a }: a) { })

--- evaluation-failed-thunk-is-remembered ---
# stderr: trace: once
# => [ false false ]
let x = builtins.trace "once" (throw "y"); in [ (builtins.tryEval x).success (builtins.tryEval x).success ]

--- evaluation-printing-repeats ---
# => [ { c = 1; } «repeated» [ 1 ] «repeated» ]
let a = { c = 1; }; l = [ 1 ]; in [ a a l l ]

--- evaluation-printing-repeats-not-empty ---
# => [ { } { } [ ] [ ] ]
let a = { }; l = [ ]; in [ a a l l ]

--- evaluation-printing-cycle-of-list ---
# => [ [ «repeated» ] ]
let x = [ x ]; in x

--- evaluation-printing-cycle-of-set ---
# => { a = «repeated»; }
let x = { a = x; }; in x

--- evaluation-printing-names ---
# => { "" = 6; "1" = 4; _ = 7; "a b" = 1; a-b' = 5; "if" = 2; or = 3; "é" = 8; }
{ "a b" = 1; "if" = 2; "or" = 3; "1" = 4; a-b' = 5; "" = 6; _ = 7; "é" = 8; }

--- evaluation-printing-strings ---
# => [ "a\n\t\r\"\\\${x}$x" "é" ]
[ "a\n\t\r\"\\\${x}$x" "é" ]

--- evaluation-printing-numbers ---
# => [ 1 0.1 1e+20 -1.5 1e+08 1e-07 ]
[ 1.0 0.1 1.0e20 (-1.5) 100000000.0 1.0e-7 ]

--- evaluation-printing-kinds ---
# => [ null true <LAMBDA> <PRIMOP> <PRIMOP-APP> /a <LAMBDA> ]
[ null true (x: x) map (builtins.add 1) /a ({ a }: a) ]

--- evaluation-path-addition-is-made-canonical ---
# => [ /b /ab /a ]
[ (/. + "/a/../b") (/a + "b") (/a + "/") ]

--- evaluation-derivation-equality-ignores-other-attributes ---
# => true
let d = derivation { name = "x"; builder = "b"; system = "s"; }; in d // { x = 1; } == d

--- evaluation-foldl-initial-value-is-not-forced ---
# => 2
builtins.foldl' (a: b: b) (throw "initial") [ 1 2 ]

--- evaluation-all-of-empty-forces-function ---
# error: f
builtins.all (throw "f") [ ]

--- evaluation-map-of-empty-does-not-force-function ---
# => [ ]
map (throw "f") [ ]

--- evaluation-elem-of-empty-does-not-force-needle ---
# => false
builtins.elem (throw "x") [ ]

--- evaluation-elem-at-forces-index-first ---
# error: index
builtins.elemAt (throw "list") (throw "index")

--- evaluation-list-to-attrs-first-duplicate-wins ---
# => { a = 1; }
builtins.listToAttrs [ { name = "a"; value = 1; } { name = "a"; } ]

--- evaluation-base-name-of-strips-one-slash ---
# => [ "b" "" "" "" ]
[ (baseNameOf "a/b/") (baseNameOf "a/b//") (baseNameOf "/") (baseNameOf "") ]

--- evaluation-replace-strings-empty-pattern ---
# => [ "XaXbX" "12b2" ]
[ (builtins.replaceStrings [ "" ] [ "X" ] "ab") (builtins.replaceStrings [ "a" "" ] [ "1" "2" ] "ab") ]

--- evaluation-substring-past-the-end ---
# => [ "" "bc" "" ]
[ (builtins.substring 5 1 "abc") (builtins.substring 1 (-1) "abc") (builtins.substring 1 0 "abc") ]

--- evaluation-partition-forces-elements ---
# error: x
builtins.length (builtins.partition (x: true) [ 1 (throw "x") ]).right

--- evaluation-concat-strings-sep-coerces ---
# => "a,b"
builtins.concatStringsSep "," [ "a" { outPath = "b"; } ]

--- evaluation-remembers-import-failure ---
# error: path 'fhy15d03hv3qjh4xvfa8w8a0hk7y2qbl-x.nix' is not valid
let f = builtins.toFile "x.nix" "builtins.trace \"read\" (throw \"x\")"; in [ (builtins.tryEval (import f)).success (builtins.tryEval (import f)).success ]

--- evaluation-generic-closure-mixes-numbers ---
# => [ { key = 1; } ]
builtins.genericClosure { startSet = [ { key = 1; } { key = 1.0; } ]; operator = x: [ ]; }

--- evaluation-sort-forces-elements-first ---
# error: x
builtins.sort (a: b: true) [ (throw "x") ]

--- evaluation-get-attr-order ---
# error: name
builtins.getAttr (throw "name") (throw "set")

--- evaluation-string-length-coerces ---
# => 3
builtins.stringLength { outPath = "abc"; }

--- evaluation-overflow-wraps-not ---
# error: integer overflow in adding 9223372036854775807 + 1
9223372036854775807 + 1

--- evaluation-infinities ---
# => [ inf -inf ]
[ (1.0e308 * 10) (-1.0e308 * 10) ]

--- evaluation-seq-of-function-argument ---
# error: x
(x: builtins.seq x 1) (throw "x")
