--- token-integer-leading-zeros ---
# => [ 7 0 ]
[ 007 00 ]

--- token-float-leading-zero-is-two-tokens ---
# error: attempt to call something which is not a function but an integer: 1
01.5

--- token-exponent-without-point-is-a-name ---
# => [ 1 2 1000 5 ]
let e3 = 2; in [ 1 e3 1.e3 .5e1 ]

--- token-no-space-needed ---
# => 3
let a = 1; in builtins.length [a"x"1.5./foo]

--- token-number-before-name ---
# => [ 1 <LAMBDA> ]
let f = x: x; in [1f]

--- token-identifier-with-quotes-and-dashes ---
# => [ 1 2 ]
let a-b' = 1; _c = 2; in [ a-b' _c ]

--- token-dollar-dollar-brace ---
# => "a$\${x}b"
let x = 1; in "a$${x}b"

--- token-dollar-at-the-end ---
# => [ "$" "$" "$$" ]
[ "$" ''$'' "$$" ]

--- token-escape-of-any-character ---
# => "a\"\\q"
"\a\"\\\q"

--- token-newline-in-a-string ---
# => "a\nb"
"a
b"

--- token-indented-dollar-dollar-brace ---
# => "$\${x}"
let x = 1; in ''$${x}''

--- token-indented-escapes-are-not-indentation ---
# => "\t  a\n  b\n"
''
  ''\t  a
    b
''

--- token-indented-interpolation-starts-a-line ---
# => "  y\n  z\n"
let x = "  y"; in ''
    ${x}
      z
''

--- token-indented-first-line-counts ---
# => "a\n  b"
''  a
    b''

--- token-indented-last-line-of-spaces ---
# => "a\n"
''
    a
  ''

--- token-indented-tab-is-no-indentation ---
# => "\ta\n\t  b\n"
''
	a
	  b
''

--- token-indented-quotes ---
# error: syntax error, unexpected end of file, expecting indented string or '${' or end of an indented string
''''''a''''

--- token-indented-single-quote ---
# => "it's 'x' "
''it's 'x' ''

--- token-path-of-words ---
# => "path"
builtins.typeOf a/b

--- token-path-of-numbers ---
# => [ "path" "path" "int" ]
[ (builtins.typeOf 1/2) (builtins.typeOf 1.0/3) (builtins.typeOf (4 / 2)) ]

--- token-path-with-plus-and-dash ---
# => "a+b-c_d.e"
builtins.baseNameOf ./a+b-c_d.e

--- token-path-with-double-slash ---
# error: syntax error, unexpected end of path, expecting '${'
./a//b

--- token-path-interpolation-needs-a-slash ---
# error: syntax error, unexpected '${', expecting end of file
let x = "y"; in a${x}

--- token-path-interpolation-is-made-canonical ---
# => /bar
/foo/${"../bar"}

--- token-path-interpolation-of-number ---
# error: cannot coerce an integer to a string: 1
./${1}

--- token-path-interpolation-of-path ---
# => /a/b/c
/a/${/b/c}

--- token-path-trailing-slash-before-interpolation ---
# => /a/b/c/d
/a/b/${"c"}/d

--- token-search-path-is-an-ordinary-call ---
# => "foo/bar"
let __findFile = a: b: b; in <foo/bar>

--- token-search-path-uses-lexical-nix-path ---
# => /
let __nixPath = [ { prefix = "x"; path = "/"; } ]; in <x>

--- token-less-than-or-search-path ---
# => [ true true ]
let a = 1; b = 2; in [ (a <b) (a<b) ]

--- token-url-is-a-string ---
# => [ "x:x" "http://a.b/c?d=e&f~g" "a:b" ]
[ x:x http://a.b/c?d=e&f~g a:b ]

--- token-url-or-lambda ---
# => [ "string" "lambda" ]
[ (builtins.typeOf x:x) (builtins.typeOf (x: x)) ]

--- token-comment-is-a-space ---
# => [ 1 2 3 ]
[ 1/**/2 /***/ 3 /* * / */ ]

--- token-comment-does-not-nest ---
# => 1
/* /* */ 1

--- token-current-position-cannot-be-shadowed ---
# => null
let __curPos = 1; in __curPos

--- token-or-as-attribute ---
# => 1
{ or = 1; }.or

--- token-or-as-argument ---
# stderr: warning: at «string»:1:44: This expression uses `or` as an identifier in a way that will change in a future Nix release.
# stderr: Wrap this entire expression in parentheses to preserve its current meaning:
# stderr:     (f or)
# stderr: Give feedback at https://github.com/NixOS/nix/pull/11121
# => 1
let or = 1; f = x: x; in builtins.length [ f or ]

--- token-or-is-no-operand ---
# error: syntax error, unexpected 'or'
[ or ]

--- token-keyword-in-quotes ---
# => 1
{ "if" = 1; }."if"

--- token-minus-needs-a-space ---
# => 2
let a = 3; in a -1

--- token-minus-without-space ---
# error: undefined variable 'a-1'
let a = 3; in a-1

--- token-nul-ends-the-source-of-import ---
# error: path 'ymdvg0ip7spxp44k84vpn207j7nvv833-x' is not valid
import (builtins.toFile "x" "1 # a")
