--- function-curried ---
# => 2
(a: b: a - b) 5 3

--- function-formals ---
# => [ 1 2 ]
({ a, b ? a + 1 }: [ a b ]) { a = 1; }

--- function-formals-missing ---
# error: function 'anonymous lambda' called without required argument 'b'
({ a, b }: a) { a = 1; }

--- function-formals-unexpected ---
# error: function 'anonymous lambda' called with unexpected argument 'alfa'
#        Did you mean alpha?
({ alpha }: alpha) { alpha = 1; alfa = 2; }

--- function-formals-ellipsis ---
# => 1
({ a, ... }: a) { a = 1; b = 2; }

--- function-formals-named ---
# => { a = 1; }
(args@{ a, b ? 2 }: args) { a = 1; }

--- function-formals-named-behind ---
# => 2
({ a, ... }@args: args.b) { a = 1; b = 2; }

--- function-formals-see-each-other ---
# => 1
({ a ? b, b ? 1 }: a) { }

--- function-formals-not-a-set ---
# error: expected a set but found an integer: 1
({ a }: a) 1

--- function-formals-duplicate ---
# error: duplicate formal function argument 'a'
{ a, a }: a

--- function-formals-same-as-name ---
# error: duplicate formal function argument 'a'
a@{ a }: a

--- function-call-of-integer ---
# error: attempt to call something which is not a function but an integer: 1
1 2

--- function-call-binds-tighter-than-operators ---
# => 4
let f = x: x + 1; in f 1 * 2

--- function-argument-is-lazy ---
# => 1
(x: 1) (throw "never")

--- function-is-not-printed ---
# => <LAMBDA>
x: x

--- function-partial-builtin ---
# => <PRIMOP-APP>
builtins.add 1

--- function-builtin-itself ---
# => <PRIMOP>
builtins.add

--- function-fixpoint ---
# => { a = 1; b = 1; }
let fix = f: let x = f x; in x; in fix (self: { a = self.b; b = 1; })

--- function-mutual-recursion ---
# => true
let even = n: if n == 0 then true else odd (n - 1); odd = n: if n == 0 then false else even (n - 1); in even 100
