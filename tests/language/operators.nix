--- and-or-implies ---
# => [ false true true false ]
[ (true && false) (true || throw "never") (false -> throw "never") (true -> false) ]

--- and-not-boolean ---
# error: expected a Boolean but found an integer: 1
true && 1

--- not ---
# => [ false true ]
[ (!true) (! false == true) ]

--- not-of-integer ---
# error: expected a Boolean but found an integer: 1
!1

--- equality-of-kinds ---
# => [ false false false true false ]
[ (1 == "1") (null == false) ([ ] == { }) ("a" == "a") (1 == true) ]

--- equality-of-functions ---
# => false
(x: x) == (x: x)

--- inequality ---
# => [ true false ]
[ (1 != 2) ("a" != "a") ]

--- comparison-does-not-chain ---
# error: syntax error, unexpected '<'
1 < 2 < 3

--- equality-does-not-chain ---
# error: syntax error, unexpected '=='
1 == 1 == true

--- update-associates-right ---
# => { a = 3; }
{ a = 1; } // { a = 2; } // { a = 3; }

--- precedence-of-implication ---
# => true
false && false -> true || false

--- plus-of-path-and-string ---
# => /a/b
/a + "/b"

--- plus-of-two-paths ---
# => /a/b
/a + /b

--- plus-of-lists ---
# error: cannot coerce a list to a string: [ 1 ]
[ 1 ] + [ 2 ]

--- plus-of-null ---
# error: cannot coerce null to a string: null
null + 1

--- minus-needs-no-space-in-names ---
# => [ 1 3 ]
let a-b = 1; a = 5; b = 2; in [ a-b (a - b) ]

--- minus-of-booleans ---
# error: expected an integer but found a Boolean: true
true - 1

--- concat-binds-tighter-than-equality ---
# => true
[ 1 ] ++ [ 2 ] == [ 1 2 ]

--- has-attribute-binds-tighter-than-not ---
# => true
! { } ? a

--- division-needs-a-space-behind ---
# => 3
6/ 2
