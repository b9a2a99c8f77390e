--- syntax-unexpected-end ---
# error: syntax error, unexpected end of file, expecting 'inherit'
{ a = 1;

--- syntax-missing-semicolon ---
# error: syntax error, unexpected '=', expecting ';'
{ a = 1 b = 2; }

--- syntax-missing-value ---
# error: syntax error, unexpected ';'
{ a = ; }

--- syntax-unclosed-string ---
# error: syntax error, unexpected end of file, expecting '"'
"abc

--- syntax-unclosed-indented-string ---
# error: syntax error, unexpected end of file, expecting indented string or '${' or end of an indented string
''abc

--- syntax-unclosed-comment ---
# error: syntax error, unexpected '/'
/* abc

--- syntax-unclosed-list ---
# error: syntax error, unexpected end of file
[ 1 2

--- syntax-missing-else ---
# error: syntax error, unexpected end of file, expecting 'else'
if true then 1

--- syntax-let-without-in ---
# error: syntax error, unexpected end of file, expecting 'in' or 'inherit'
let a = 1;

--- syntax-keyword-as-name ---
# error: syntax error, unexpected 'if', expecting 'inherit'
{ if = 1; }

--- syntax-keyword-as-variable ---
# error: syntax error, unexpected '='
let in = 1; in in

--- syntax-unexpected-operator ---
# error: syntax error, unexpected '*'
1 + * 2

--- syntax-bad-character ---
# error: syntax error, unexpected invalid token, expecting end of file
a ` b

--- syntax-let-takes-a-name-that-is-a-plain-string ---
# => 1
let ${"a"} = 1; in a

--- syntax-two-expressions ---
# error: syntax error, unexpected ';', expecting end of file
1; 2

--- syntax-lambda-in-list ---
# error: syntax error, unexpected ':'
[ x: x ]

--- syntax-empty ---
# error: syntax error, unexpected end of file
/* nothing */

--- syntax-comment-forms ---
# => 3
/* a */ 1 # b
+ /* c */ 2

--- syntax-hash-in-string ---
# => "# not a comment /* nor this */"
"# not a comment /* nor this */"
