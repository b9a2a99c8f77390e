--- throw ---
# error: boom
throw "boom"

--- throw-multi-line ---
# error: one
#        two
throw "one\ntwo"

--- abort ---
# error: evaluation aborted with the following error message: 'boom'
abort "boom"

--- try-eval-throw ---
# => { success = false; value = false; }
builtins.tryEval (throw "x")

--- try-eval-assert ---
# => { success = false; value = false; }
builtins.tryEval (assert false; 1)

--- try-eval-value-is-shallow ---
# => true
(builtins.tryEval { a = throw "x"; }).success

--- try-eval-does-not-catch-abort ---
# error: evaluation aborted with the following error message: 'x'
builtins.tryEval (abort "x")

--- try-eval-does-not-catch-missing-attribute ---
# error: attribute 'a' missing
builtins.tryEval { }.a

--- try-eval-does-not-catch-type-errors ---
# error: cannot add a string to an integer
builtins.tryEval (1 + "a")

--- trace-prints ---
# stderr: trace: note
# => 1
builtins.trace "note" 1

--- trace-prints-values ---
# stderr: trace: { a = «thunk»; }
# => 1
builtins.trace { a = [ 1 (throw "never") ]; } 1

--- warn-prints ---
# stderr: evaluation warning: careful
# => 1
builtins.warn "careful" 1

--- warn-not-a-string ---
# error: expected a string but found an integer: 1
builtins.warn 1 1

--- seq ---
# => 2
builtins.seq 1 2

--- seq-throws ---
# error: seen
builtins.seq (throw "seen") 2

--- deep-seq-cycle ---
# => 1
let x = { a = x; }; in builtins.deepSeq x 1

--- add-error-context ---
# error: boom
builtins.addErrorContext "while testing" (throw "boom")

--- type-of ---
# => [ "int" "float" "string" "path" "null" "bool" "list" "set" "lambda" "lambda" ]
map builtins.typeOf [ 1 1.0 "" /a null true [ ] { } (x: x) builtins.add ]

--- is-tests ---
# => [ true false true true true false true true true ]
with builtins; [ (isInt 1) (isFloat 1) (isString "") (isPath /a) (isNull null) (isBool 1) (isList [ ]) (isAttrs { }) (isFunction map) ]

--- lang-version ---
# => 6
builtins.langVersion

--- nix-version-is-dotted ---
# => true
builtins.match "2\\.[0-9]+.*" builtins.nixVersion != null

--- store-dir ---
# => "/nix/store"
builtins.storeDir

--- current-system-is-a-string ---
# => "string"
builtins.typeOf builtins.currentSystem

--- break-is-identity ---
# => 1
builtins.break 1

--- call-depth-just-fits ---
# => 9990
let f = n: if n == 0 then 0 else 1 + f (n - 1); in f 9990

--- call-depth-too-deep ---
# error: stack overflow; max-call-depth exceeded
let f = n: if n == 0 then 0 else 1 + f (n - 1); in f 10001

--- tail-calls-count-too ---
# error: stack overflow; max-call-depth exceeded
let f = n: if n == 0 then 0 else f (n - 1); in f 10001

--- fold-is-not-deep ---
# => 4999950000
builtins.foldl' (a: b: a + b) 0 (builtins.genList (i: i) 100000)

--- nested-forces-are-not-calls ---
# => 1
let s = builtins.foldl' (acc: _: { v = acc.v; }) { v = 1; } (builtins.genList (x: x) 20000); in s.v
