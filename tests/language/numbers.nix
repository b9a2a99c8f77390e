--- integer-max ---
# => 9223372036854775807
9223372036854775807

--- integer-too-large-literal ---
# error: invalid integer '9223372036854775808'
9223372036854775808

--- integer-negative-literal ---
# => -9223372036854775807
(-9223372036854775807)

--- integer-add-overflows ---
# error: integer overflow in adding 9223372036854775807 + 1
9223372036854775807 + 1

--- integer-subtract-overflows ---
# error: integer overflow in subtracting -9223372036854775807 - 2
(-9223372036854775807 - 2)

--- integer-multiply-overflows ---
# error: integer overflow in multiplying 4611686018427387904 * 2
4611686018427387904 * 2

--- integer-negate-smallest ---
# error: integer overflow in subtracting 0 - -9223372036854775808
(-(-9223372036854775807 - 1))

--- integer-divide-smallest-by-minus-one ---
# error: integer overflow in dividing -9223372036854775808 / -1
(-9223372036854775807 - 1) / (-1)

--- integer-divide-by-zero ---
# error: division by zero
1 / 0

--- integer-divide-truncates ---
# => [ 3 -3 -3 ]
[ (7 / 2) (-7 / 2) (7 / -2) ]

--- float-divide-by-zero ---
# error: division by zero
1.0 / 0

--- float-literals ---
# => [ 1.5 0.5 1 1000 0.0015 ]
[ 1.5 .5 1. 1.0e3 1.5e-3 ]

--- float-needs-a-dot ---
# error: undefined variable 'e3'
1e3

--- float-prints-six-digits ---
# => [ 0.1 3.14159 1e+10 1e+100 1.23457e+08 1e-07 ]
[ 0.1 3.14159265358979 1.0e10 1.0e100 123456789.0 1.0e-7 ]

--- float-to-string-has-six-decimals ---
# => [ "0.100000" "1.000000" "3.141593" "10000000000.000000" ]
map toString [ 0.1 1.0 3.14159265358979 1.0e10 ]

--- float-to-json ---
# => "[0.1,1.0,3.14159265358979,1e+100]"
builtins.toJSON [ 0.1 1.0 3.14159265358979 1.0e100 ]

--- float-and-integer-mix ---
# => [ 1.5 3 3.5 ]
[ (1 + 0.5) (2 * 1.5) (7 / 2.0) ]

--- float-equals-integer ---
# => [ true true true ]
[ (1 == 1.0) (1.0 == 1) (1 < 1.5) ]

--- float-nan-is-not-itself ---
# => false
let nan = 1.0e308 * 10 - 1.0e308 * 10; in nan == nan

--- number-unary-minus-binds-tight ---
# => [ 2 -8 ]
[ (- 3 + 5) (- (3 + 5)) ]

--- number-minus-of-string ---
# error: expected an integer but found a string: "a"
(- "a")

--- ceil-floor ---
# => [ 2 -1 1 -2 3 ]
[ (builtins.ceil 1.2) (builtins.ceil (-1.2)) (builtins.floor 1.8) (builtins.floor (-1.2)) (builtins.floor 3) ]

--- bit-operations ---
# => [ 8 14 6 255 ]
[ (builtins.bitAnd 12 10) (builtins.bitOr 12 10) (builtins.bitXor 12 10) (builtins.bitAnd (-1) 255) ]

--- compare-versions ---
# => [ -1 1 1 -1 1 ]
map (p: builtins.compareVersions (builtins.elemAt p 0) (builtins.elemAt p 1)) [ [ "1.0" "1.1" ] [ "1.0" "1.0pre1" ] [ "2.3a" "2.3" ] [ "1" "1.0" ] [ "10" "9" ] ]

--- less-than-of-lists ---
# => [ true true false ]
[ ([ 1 2 ] < [ 1 3 ]) ([ 1 ] < [ 1 0 ]) ([ ] < [ ]) ]

--- less-than-of-sets ---
# error: cannot compare a set with a set; values of that type are incomparable (values are { } and { })
{ } < { }

--- less-than-string-and-integer ---
# error: cannot compare a string with an integer; values are "a" and 1
"a" < 1
