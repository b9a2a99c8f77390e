--- attrset-prints-sorted ---
# => { a = 2; b = 1; "c d" = 3; "if" = 4; }
{ b = 1; a = 2; "c d" = 3; "if" = 4; }

--- attrset-nested-path ---
# => { a = { b = { c = 1; d = 2; }; e = 3; }; }
{ a.b.c = 1; a.b.d = 2; a.e = 3; }

--- attrset-merges-literal ---
# => { a = { b = 1; c = 2; }; }
{ a = { b = 1; }; a.c = 2; }

--- attrset-duplicate ---
# error: attribute 'a' already defined at «string»:1:3
{ a = 1; a = 2; }

--- attrset-duplicate-nested ---
# error: attribute 'a.b' already defined at «string»:1:3
{ a.b = 1; a.b = 2; }

--- attrset-path-into-value ---
# error: attribute 'a' already defined at «string»:1:3
{ a = 1; a.b = 2; }

--- attrset-dynamic-name ---
# => { x = 1; xy = 2; }
let n = "x"; in { ${n} = 1; "${n}y" = 2; }

--- attrset-dynamic-null-is-dropped ---
# => { a = 2; }
{ ${null} = 1; a = 2; }

--- attrset-dynamic-duplicate ---
# error: dynamic attribute 'x' already defined at «string»:1:29
let n = "x"; in { ${n} = 1; x = 2; }

--- attrset-dynamic-not-a-string ---
# error: expected a string but found an integer: 1
{ ${1} = 1; }

--- attrset-rec ---
# => { a = 1; b = 1; c = { b = 1; }; }
rec { a = b; b = 1; c = { inherit b; }; }

--- attrset-rec-shadows ---
# => { x = 2; y = 2; }
let x = 1; in rec { x = 2; y = x; }

--- attrset-inherit ---
# => { a = 1; b = 2; }
let a = 1; b = 2; in { inherit a b; }

--- attrset-inherit-from ---
# => { a = 1; }
let s = { a = 1; b = throw "never"; }; in { inherit (s) a; }

--- attrset-inherit-in-rec-looks-outside ---
# => { a = 1; b = 1; }
let a = 1; in rec { inherit a; b = a; }

--- attrset-inherit-undefined ---
# error: undefined variable 'nothing'
{ inherit nothing; }

--- attrset-select ---
# => 1
{ a.b = 1; }.a.b

--- attrset-select-missing ---
# error: attribute 'b' missing
#        Did you mean a?
{ a = 1; }.b

--- attrset-select-missing-suggests ---
# error: attribute 'verson' missing
#        Did you mean version?
{ version = 1; }.verson

--- attrset-select-of-integer ---
# error: expected a set but found an integer: 1
(1).a

--- attrset-select-or ---
# => [ 1 2 3 ]
[ ({ }.a or 1) ({ a = 1; }.a.b or 2) (null.a or 3) ]

--- attrset-select-or-does-not-hide-errors ---
# error: seen
{ a = throw "seen"; }.a or 1

--- attrset-has ---
# => [ true false false false true ]
[ ({ a.b = 1; } ? a.b) ({ a = 1; } ? a.b) ({ } ? a) (1 ? a) ({ a = throw "x"; } ? a) ]

--- attrset-update ---
# => { a = 1; b = 3; c = 4; }
{ a = 1; b = 2; } // { b = 3; c = 4; }

--- attrset-update-is-shallow ---
# => { a = { c = 2; }; }
{ a.b = 1; } // { a.c = 2; }

--- attrset-update-with-list ---
# error: expected a set but found a list: [ ]
{ } // [ ]

--- attrset-update-values-are-lazy ---
# => 1
({ a = throw "never"; } // { a = 1; }).a

--- attrset-equality ---
# => [ true false false ]
[ ({ a = 1; } == { a = 1.0; }) ({ a = 1; } == { }) ({ f = x: x; } == { f = x: x; }) ]

--- attrset-equality-of-derivations-by-outpath ---
# => true
{ type = "derivation"; outPath = "/x"; a = 1; } == { type = "derivation"; outPath = "/x"; a = 2; }

--- attrset-self-reference-prints ---
# => 1
let s = { a = s; b = 1; }; in s.a.a.b

--- attr-names ---
# => [ "1" "B" "a" "b" ]
builtins.attrNames { b = 1; a = 2; B = 3; "1" = 4; }

--- attr-values ---
# => [ 2 1 ]
builtins.attrValues { b = 1; a = 2; }

--- get-attr-missing ---
# error: attribute 'b' missing
builtins.getAttr "b" { a = 1; }

--- map-attrs ---
# => { a = "a1"; b = "b2"; }
builtins.mapAttrs (n: v: n + toString v) { a = 1; b = 2; }

--- intersect-attrs ---
# => { b = 3; }
builtins.intersectAttrs { a = 1; b = 2; } { b = 3; c = 4; }

--- remove-attrs ---
# => { b = 2; }
removeAttrs { a = 1; b = 2; } [ "a" "z" ]

--- list-to-attrs-first-wins ---
# => { a = 1; b = 3; }
builtins.listToAttrs [ { name = "a"; value = 1; } { name = "a"; value = 2; } { name = "b"; value = 3; } ]

--- list-to-attrs-no-value ---
# error: attribute 'value' missing
builtins.listToAttrs [ { name = "a"; } ]

--- cat-attrs ---
# => [ 1 3 ]
builtins.catAttrs "a" [ { a = 1; } { b = 2; } { a = 3; } ]

--- zip-attrs-with ---
# => { a = { n = "a"; vs = [ 1 2 ]; }; b = { n = "b"; vs = [ 3 ]; }; }
builtins.zipAttrsWith (n: vs: { inherit n vs; }) [ { a = 1; } { a = 2; b = 3; } ]

--- group-by ---
# => { big = [ 3 4 ]; small = [ 1 2 ]; }
builtins.groupBy (x: if x > 2 then "big" else "small") [ 1 2 3 4 ]

--- function-args ---
# => [ { a = false; b = true; } { } { } ]
map builtins.functionArgs [ ({ a, b ? 1, ... }: a) (x: x) ({ }: 1) ]

--- attrset-legacy-let ---
# => 2
let { x = 1; body = x + 1; }

--- unsafe-get-attr-pos-in-a-string-is-null ---
# => null
builtins.unsafeGetAttrPos "a" { a = 1; }

--- attrset-overrides ---
# => 2
rec { a = b; b = 1; __overrides = { b = 2; }; }.a

--- attrset-functor ---
# => 42
let f = { n = 2; __functor = self: x: self.n * x; }; in f 21

--- attrset-not-callable ---
# error: attempt to call something which is not a function but a set: { }
{ } 1
