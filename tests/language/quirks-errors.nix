--- error-names-are-quoted-where-the-grammar-wants-it ---
# error: attribute '"a b"' missing
{ }."a b"

--- error-names-that-are-keywords-are-quoted ---
# error: attribute '"if"' missing
builtins.getAttr "if" { }

--- error-unexpected-argument-is-quoted ---
# error: function 'anonymous lambda' called with unexpected argument '"b c"'
({ a }: a) { a = 1; "b c" = 2; }

--- error-function-names-are-not-quoted ---
# error: function 'a b' called without required argument 'x'
let f."a b" = { x }: 1; in f."a b" { }

--- error-dynamic-duplicate-is-quoted ---
# error: dynamic attribute '"a b"' already defined at «string»:1:3
{ ${"a b" + ""} = 1; ${"a b" + ""} = 2; }

--- error-with-of-no-set ---
# error: expected a set but found an integer: 2
with 2; with { }; a

--- error-division-forces-left-first ---
# error: L
(throw "L") / (throw "R")

--- error-update-of-no-sets ---
# error: expected a set but found an integer: 1
{ } // { } // 1

--- error-condition-of-another-type ---
# error: expected a Boolean but found a string: "1"
assert "1"; 2

--- error-multiplication-of-strings ---
# error: expected an integer but found a string: "a"
"a" * 2

--- error-default-of-a-selection ---
# error: default
{ a = { }; }.a.b.c or (throw "default")

--- error-empty-sets-are-delayed ---
# error: cannot coerce a list to a string: [ «thunk» ]
(x: x + 1) [ { } ]

--- error-arguments-that-are-sets-are-delayed ---
# error: cannot coerce a list to a string: [ «thunk» ]
(x: [ x ]) { } + 1

--- error-selections-of-builtins-are-delayed ---
# error: cannot coerce a list to a string: [ «thunk» «primop toString» ]
"${[ builtins.toString toString ]}"

--- error-inherited-builtins-are-delayed ---
# error: cannot coerce a list to a string: [ «thunk» ]
let inherit (builtins) length; in "${[ length ]}"

--- error-list-repeats-itself-by-its-cell ---
# error: expected a function but found a list: [ «repeated» 7 1 ]
let a = [ a 7 ] ++ [ 1 ]; in builtins.map a [ 1 ]

--- error-list-repeats-itself-in-a-comparison ---
# error: cannot compare a list with an integer; values are [ «repeated» 7 1 ] and 1
let a = [ a 7 ] ++ [ 1 ]; in a < 1

--- error-list-repeats-itself-in-a-list ---
# error: expected a set but found a list: [ «repeated» 7 1 ]
let a = [ a 7 ] ++ [ 1 ]; in builtins.catAttrs "x" [ a ]

--- error-list-repeats-itself-as-an-attribute ---
# error: expected a set but found a list: [ «repeated» 7 1 ]
let a = [ a 7 ] ++ [ 1 ]; b = { inherit a; }; in b.a.c

--- error-list-repeats-itself-as-a-scope ---
# error: expected a set but found a list: [ «repeated» 7 1 ]
let a = [ a 7 ] ++ [ 1 ]; in with a; c

--- error-list-repeats-itself-in-a-sum ---
# error: expected an integer but found a list: [ «repeated» 7 1 ]
let a = [ a 7 ] ++ [ 1 ]; in builtins.add a a

--- error-list-repeats-itself-in-a-quotient ---
# error: expected a float but found a list: [ «repeated» 7 1 ]
let a = [ a 7 ] ++ [ 1 ]; in builtins.div 1 a

--- error-list-repeats-itself-as-a-key ---
# error: cannot compare an integer with a list; values are 1 and [ «repeated» «thunk» 1 ]
let a = [ a { } ] ++ [ 1 ]; in builtins.genericClosure { startSet = [ { key = a; } { key = 1; } ]; operator = x: [ ]; }

--- error-list-that-was-copied-does-not-repeat-itself ---
# error: cannot coerce a list to a string: [ [ «repeated» 7 1 ] 7 1 ]
let a = [ a 7 ] ++ [ 1 ]; in "${a}"

--- position-is-lost-by-map-attrs ---
# => null
builtins.unsafeGetAttrPos "a" (builtins.mapAttrs (n: v: v) { a = 1; })
