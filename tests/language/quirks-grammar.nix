--- grammar-minus-is-lexical ---
# => [ [ 5 3 ] [ 0 7 ] ]
let __sub = a: b: [ a b ]; in [ (5 - 3) (-7) ]

--- grammar-multiplication-is-lexical ---
# => [ "mul" "div" ]
let __mul = a: b: "mul"; __div = a: b: "div"; in [ (2 * 3) (6 / 3) ]

--- grammar-comparisons-are-lexical ---
# => [ [ 1 2 ] [ 2 1 ] ]
let __lessThan = a: b: [ a b ]; in [ (1 < 2) (1 > 2) ]

--- grammar-less-or-equal-negates ---
# => [ false false ]
let __lessThan = a: b: true; in [ (2 <= 1) (2 >= 1) ]

--- grammar-addition-is-not-lexical ---
# => 3
let __add = a: b: 0; in 1 + 2

--- grammar-comparisons-of-nan ---
# => [ false true false true false true ]
let nan = 1.0e308 * 10 - 1.0e308 * 10; in [ (nan < 1.0) (nan <= 1.0) (nan > 1.0) (nan >= 1.0) (nan == nan) ([ nan ] == [ nan ]) ]

--- grammar-plus-of-numbers ---
# => [ 2.5 2.5 2 ]
[ (1 + 1.5) (1.5 + 1) (1 + 1) ]

--- grammar-plus-of-string-and-path ---
# => "s/nix/store/zph2dl1r5i0zc6vsn0zds56mm79ia2s6-scoped.txt"
"s" + ./scoped.txt

--- grammar-plus-of-set-with-out-path ---
# => "/xy"
{ outPath = "/x"; } + "y"

--- grammar-plus-of-set-with-to-string ---
# => "ty"
{ __toString = self: "t"; } + "y"

--- grammar-plus-of-string-and-integer ---
# error: cannot coerce an integer to a string: 1
"x" + 1

--- grammar-plus-of-integer-and-string ---
# error: cannot add a string to an integer
1 + "x"

--- grammar-plus-of-path-and-set ---
# => /a/b
/a + { outPath = "/b"; }

--- grammar-has-attribute-binds-tighter-than-update ---
# error: expected a set but found a Boolean: true
({ } // { a = 1; } ? a)

--- grammar-not-binds-weaker-than-plus ---
# error: expected a Boolean but found a string: "ab"
!"a" + "b" == "ab"

--- grammar-negation-binds-tightest ---
# error: unrecognised flag '- 2 + 3'
- 2 + 3

--- grammar-negation-twice ---
# => [ 2 true ]
[ (- - 2) (!!true) ]

--- grammar-implication-is-lazy ---
# => [ true true false ]
[ (false -> throw "x") (true || throw "x") (false && throw "x") ]

--- grammar-inherit-source-is-evaluated-once ---
# stderr: trace: once
# => [ 1 2 ]
let s = builtins.trace "once" { a = 1; b = 2; }; t = { inherit (s) a b; }; in [ t.a t.b ]

--- grammar-inherit-call-is-evaluated-once ---
# stderr: trace: call
# => 2
let f = x: builtins.trace "call" { a = x; b = x; }; t = { inherit (f 1) a b; }; in t.a + t.b

--- grammar-inherit-of-strings ---
# => { a = 1; b = 2; }
let a = 1; b = 2; in { inherit "a" ${"b"}; }

--- grammar-inherit-from-missing ---
# => 1
let s = { }; in (let inherit (s) a; in 1)

--- grammar-inherit-from-in-rec-sees-the-set ---
# => { a = 1; b = 1; s = { a = 1; }; }
rec { s = { a = 1; }; inherit (s) a; b = a; }

--- grammar-static-name-in-braces ---
# => 1
let ${"a"} = 1; in a

--- grammar-interpolated-name-in-let ---
# error: dynamic attributes not allowed in let
let "${"a"}" = 1; in 1

--- grammar-static-name-in-braces-is-in-rec ---
# => { a = 1; b = 1; }
rec { ${"a"} = 1; b = a; }

--- grammar-dynamic-name-is-not-in-rec ---
# error: undefined variable 'a'
rec { ${"a" + ""} = 1; b = a; }

--- grammar-dynamic-name-sees-rec ---
# => { n = "x"; xy = "x"; }
rec { n = "x"; ${n + "y"} = n; }

--- grammar-dynamic-null-in-a-path ---
# => { a = { }; }
{ a.${null} = 1; ${null}.b = 2; }

--- grammar-dynamic-name-with-context ---
# error: the string '/nix/store/zph2dl1r5i0zc6vsn0zds56mm79ia2s6-scoped.txt' is not allowed to refer to a store path (such as '/nix/store/zph2dl1r5i0zc6vsn0zds56mm79ia2s6-scoped.txt')
{ ${"${./scoped.txt}"} = 1; }

--- grammar-dynamic-name-evaluated-in-order ---
# stderr: trace: one
# stderr: trace: two
# => { a = 1; b = 2; }
{ ${builtins.trace "one" "a"} = 1; ${builtins.trace "two" "b"} = 2; }

--- grammar-merge-keeps-the-first-rec ---
# => { a = { x = 1; y = 1; z = 2; }; }
{ a = rec { x = 1; y = x; }; a.z = 2; }

--- grammar-merge-drops-the-second-rec ---
# error: undefined variable 'x'
{ a.z = 2; a = rec { x = 1; y = x; }; }

--- grammar-merge-into-rec-is-seen ---
# => { a = { x = 1; y = 1; }; }
{ a = rec { y = x; }; a.x = 1; }

--- grammar-merge-of-three ---
# => { a = { b = 1; c = { d = 2; e = 3; }; }; }
{ a = { b = 1; }; a.c.d = 2; a = { c = { e = 3; }; }; }

--- grammar-merge-in-let ---
# => { b = 1; c = 2; }
let a.b = 1; a.c = 2; in a

--- grammar-merge-of-dynamic-does-not-happen ---
# error: dynamic attribute 'a' already defined at «string»:1:3
{ ${"a" + ""}.b = 1; ${"a" + ""}.c = 2; }

--- grammar-merge-through-parentheses ---
# => { a = { b = 1; c = 2; }; }
{ a.b = 1; a = ({ c = 2; }); }

--- grammar-merge-with-value ---
# error: attribute 'a' already defined at «string»:1:3
{ a.b = 1; a = { } // { c = 2; }; }

--- grammar-select-default-for-a-step-that-is-no-set ---
# => 2
{ a = 1; }.a.b.c or 2

--- grammar-select-default-takes-a-simple-expression ---
# => 2
let f = x: x + 1; in { }.a or f 1

--- grammar-select-default-does-not-catch-throw ---
# error: x
{ a = throw "x"; }.a.b or 1

--- grammar-select-of-dynamic-name ---
# => 1
{ a.b = 1; }.${"a"}."b"

--- grammar-has-attribute-of-a-value ---
# => [ false false true false ]
[ (1 ? a) ({ a = 1; } ? a.b) ({ a.b = 1; } ? a."b") ({ } ? ${"x"}) ]

--- grammar-has-attribute-forces-what-it-looks-into ---
# error: x
{ a = throw "x"; } ? a.b

--- grammar-has-attribute-does-not-force-the-last ---
# => true
{ a = throw "x"; } ? a

--- grammar-formals-missing-before-unexpected ---
# error: function 'anonymous lambda' called without required argument 'a'
({ a }: a) { b = 1; }

--- grammar-formals-unexpected-suggests ---
# error: function 'anonymous lambda' called with unexpected argument 'fooo'
#        Did you mean foo?
({ foo }: foo) { foo = 1; fooo = 2; }

--- grammar-formals-named-argument-has-no-defaults ---
# => false
({ a ? 1, ... }@args: args ? a) { b = 2; }

--- grammar-formals-default-sees-named-argument ---
# => 2
({ a ? args.b, ... }@args: a) { b = 2; }

--- grammar-formals-defaults-see-each-other ---
# => 1
({ a ? b, b ? 1 }: a) { }

--- grammar-formals-default-cycle ---
# error: infinite recursion encountered
({ a ? b, b ? a }: a) { }

--- grammar-formals-trailing-comma ---
# => [ 1 2 3 ]
[ (({ a, }: a) { a = 1; }) (({ ... }: 2) { a = 1; }) (({ }: 3) { }) ]

--- grammar-with-is-lazy ---
# => 1
with throw "x"; 1

--- grammar-with-does-not-shadow-globals ---
# => [ true "lambda" ]
with { true = false; map = 1; }; [ true (builtins.typeOf map) ]

--- grammar-with-inner-lacks-the-name ---
# => 3
with { a = 1; }; with { b = 2; }; a + b

--- grammar-with-name-looked-up-when-used ---
# => 1
let f = with { a = 1; }; b: c; in 1

--- grammar-undefined-variable-in-dead-code ---
# error: undefined variable 'nope'
if true then 1 else nope

--- grammar-lambda-body-reaches-far ---
# => true
let f = x: x + 1 == 2 && true; in f 1

--- grammar-application-is-left ---
# => 2
(a: b: a - b) 5 3

--- grammar-list-elements-select ---
# => [ 1 2 ]
[ { a = 1; }.a ({ }.b or 2) ]

--- grammar-let-in-is-an-expression ---
# => 2
1 + (let a = 1; in a)

--- grammar-if-without-parentheses-behind-operator ---
# error: syntax error, unexpected 'if'
1 + if true then 1 else 2

--- grammar-legacy-let-is-recursive ---
# => 2
let { a = 1; body = a + 1; }

--- grammar-assert-of-non-boolean ---
# error: expected a Boolean but found an integer: 1
assert 1; 2

--- grammar-empty-formals-take-only-the-empty-set ---
# error: function 'anonymous lambda' called with unexpected argument 'a'
({ }: 1) { a = 1; }
