--- let-is-recursive ---
# => 1
let a = b; b = 1; in a

--- let-shadows ---
# => 2
let x = 1; in let x = 2; in x

--- let-inherit-from-outer ---
# => 1
let x = 1; in let inherit x; in x

--- with-brings-names ---
# => 1
with { a = 1; }; a

--- with-does-not-shadow-let ---
# => 1
let a = 1; in with { a = 2; }; a

--- with-inner-wins ---
# => 2
with { a = 1; }; with { a = 2; }; a

--- with-falls-back-to-outer ---
# => 1
with { a = 1; }; with { b = 2; }; a

--- with-is-lazy ---
# => 1
with throw "never"; 1

--- with-name-missing ---
# error: undefined variable 'b'
with { a = 1; }; b

--- with-not-a-set ---
# error: expected a set but found an integer: 1
with 1; a

--- undefined-variable ---
# error: undefined variable 'x'
x

--- undefined-variable-gets-no-suggestion ---
# error: undefined variable 'valeu'
let value = 1; in valeu

--- builtins-can-be-shadowed ---
# => 1
let map = 1; in map

--- true-can-be-shadowed ---
# => false
let true = false; in true

--- builtins-are-in-scope ---
# => [ true true true ]
[ (builtins ? map) (builtins ? builtins) (builtins.isFunction map) ]

--- infinite-recursion-direct ---
# error: infinite recursion encountered
let x = x; in x

--- infinite-recursion-through-attributes ---
# error: infinite recursion encountered
rec { a = b; b = a; }.a

--- infinite-recursion-by-arithmetic ---
# error: infinite recursion encountered
let x = 1 + x; in x

--- blackhole-is-not-a-cycle-when-lazy ---
# => 1
let x = [ x ]; in builtins.length x

--- assert-holds ---
# => "ok"
assert 1 < 2; "ok"

--- assert-fails ---
# error: assertion '(__lessThan 2 1)' failed
assert 1 > 2; "ok"

--- assert-shows-both-sides ---
# error: an integer with value '1' is not equal to an integer with value '2'
assert { a = 1; } == { a = 2; }; 1

--- if-condition-not-boolean ---
# error: expected a Boolean but found an integer: 1
if 1 then 2 else 3

--- curpos-in-a-string-is-null ---
# => null
__curPos
