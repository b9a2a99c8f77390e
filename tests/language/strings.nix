--- string-escapes ---
# => "tab\there \"quoted\" \\ $ \${x} q"
"tab\there \"quoted\" \\ \$ \${x} \q"

--- string-newline-prints-escaped ---
# => "a\nb"
"a
b"

--- string-dollar-alone ---
# => "$ $a $$ $\${x} costs 5$"
"$ $a $$ $${x} costs 5$"

--- string-interpolation ---
# => "hello world!"
let name = "world"; in "hello ${name}!"

--- string-interpolation-nested ---
# => "abc"
"a${"b${"c"}"}"

--- string-interpolates-integer ---
# error: cannot coerce an integer to a string: 1
"${1}"

--- string-interpolates-list ---
# error: cannot coerce a list to a string: [ 1 ]
"${[ 1 ]}"

--- string-interpolates-set-with-outpath ---
# => "/x"
"${{ outPath = "/x"; }}"

--- string-interpolates-set-with-tostring ---
# => "n is 1"
"${{ n = 1; __toString = self: "n is ${toString self.n}"; }}"

--- string-interpolates-function ---
# error: cannot coerce a function to a string: «lambda @ «string»:1:4»
"${x: x}"

--- string-plus-integer ---
# error: cannot coerce an integer to a string: 1
"a" + 1

--- string-to-string-of-things ---
# => [ "1" "1" "" "" "a" "1 2 3 1" "1.500000" ]
map toString [ 1 true false null "a" [ 1 [ 2 3 ] true ] 1.5 ]

--- string-to-string-of-set ---
# error: cannot coerce a set to a string: { }
toString { }

--- string-indented-strips ---
# => "first\n  second\nthird\n"
''
    first
      second
    third
  ''

--- string-indented-first-line-kept ---
# => "a\n  b"
''a
  b''

--- string-indented-escapes ---
# => "a \${b} '' \n \t $\${c}"
''a ''${b} ''' ''\n ''\t $${c}''

--- string-indented-tabs-are-not-spaces ---
# => "\ta\nb\n"
''
  	a
  b
''

--- string-indented-interpolation-counts-as-text ---
# => "a\n  1\n2\nb\n"
let x = "1\n2"; in ''
  a
    ${x}
  b
''

--- string-indented-blank-lines-do-not-count ---
# => "a\n\nb\n"
''
    a

    b
  ''

--- string-length-is-in-bytes ---
# => [ 0 6 ]
[ (builtins.stringLength "") (builtins.stringLength "äöü") ]

--- substring ---
# => [ "ell" "lo" "" "hello" "" ]
map (f: f "hello") [ (builtins.substring 1 3) (builtins.substring 3 100) (builtins.substring 10 1) (builtins.substring 0 (-1)) (builtins.substring 2 0) ]

--- substring-negative-start ---
# error: negative start position in 'substring'
builtins.substring (-1) 2 "hello"

--- replace-strings ---
# => [ "baab" "-a-b-" "12" ]
[ (builtins.replaceStrings [ "a" "b" ] [ "b" "a" ] "abba") (builtins.replaceStrings [ "" ] [ "-" ] "ab") (builtins.replaceStrings [ "ab" "a" ] [ "1" "2" ] "aba") ]

--- replace-strings-lengths-differ ---
# error: 'from' and 'to' arguments passed to builtins.replaceStrings have different lengths
builtins.replaceStrings [ "a" ] [ ] "a"

--- replace-strings-is-lazy-in-replacements ---
# => "abc"
builtins.replaceStrings [ "x" ] [ (throw "never") ] "abc"

--- concat-strings-sep ---
# => "a, b, c"
builtins.concatStringsSep ", " [ "a" "b" "c" ]

--- concat-strings-sep-not-strings ---
# error: cannot coerce an integer to a string: 1
builtins.concatStringsSep "," [ 1 ]

--- split-keeps-groups ---
# => [ "" [ "a" "1" ] "-" [ "b" null ] "-" ]
builtins.split "([a-z])([0-9])?" "a1-b-"

--- split-empty-pattern ---
# => [ "" [ ] "a" [ ] "b" [ ] "" ]
builtins.split "" "ab"

--- match-groups ---
# => [ "name" "tar.gz" ]
builtins.match "([^.]*)\\.(.*)" "name.tar.gz"

--- match-none ---
# => null
builtins.match "a" "ab"

--- match-optional-group ---
# => [ null "b" ]
builtins.match "(a)|(b)" "b"

--- match-bad-pattern ---
# error: invalid regular expression '('
builtins.match "(" "a"

--- parse-drv-name ---
# => [ { name = "hello"; version = "2.10"; } { name = "a-b"; version = ""; } { name = "x"; version = "1-y"; } { name = "nix"; version = "0.12pre12876"; } { name = ""; version = "1"; } ]
map builtins.parseDrvName [ "hello-2.10" "a-b" "x-1-y" "nix-0.12pre12876" "-1" ]

--- split-version ---
# => [ [ "1" "2" "3" ] [ "1" "2" "pre" "3" ] [ "a" "b" ] [ ] ]
map builtins.splitVersion [ "1.2.3" "1.2pre3" "a--b" "" ]

--- string-compare-by-bytes ---
# => [ true true false true ]
[ ("a" < "b") ("B" < "a") ("ä" < "z") ("" < "a") ]

--- hash-string ---
# => [ "900150983cd24fb0d6963f7d28e17f72" "a9993e364706816aba3e25717850c26c9cd0d89d" "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f" ]
map (a: builtins.hashString a "abc") [ "md5" "sha1" "sha256" "sha512" ]

--- hash-string-unknown ---
# error: unknown hash algorithm 'crc', expect 'blake3', 'md5', 'sha1', 'sha256', or 'sha512'
builtins.hashString "crc" "abc"

--- convert-hash ---
# => [ "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s" "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=" "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=" ]
let h = builtins.hashString "sha256" "abc"; in map (toHashFormat: builtins.convertHash { hash = h; hashAlgo = "sha256"; inherit toHashFormat; }) [ "base16" "nix32" "base64" "sri" ]

--- to-json ---
# => "{\"a\":\"x\\\"\\n\",\"b\":[1,null,true,1.5]}"
builtins.toJSON { b = [ 1 null true 1.5 ]; a = "x\"\n"; }

--- to-json-uses-outpath ---
# => "\"/x\""
builtins.toJSON { outPath = "/x"; a = 1; }

--- to-json-of-function ---
# error: cannot convert a function to JSON
builtins.toJSON (x: x)

--- from-json ---
# => { a = [ 1 2.5 null "ä" ]; "a b" = { }; }
builtins.fromJSON "{\"a\": [1, 2.5, null, \"\\u00e4\"], \"a b\": {}}"

--- from-json-trailing-text ---
# error: [json.exception.parse_error.101] parse error at line 1, column 3: syntax error while parsing value - unexpected number literal; expected end of input
builtins.fromJSON "1 2"

--- from-toml ---
# => { a = { b = { list = [ 1 2 ]; n = 16; }; }; title = "x"; }
builtins.fromTOML ''
  title = "x"
  [a.b]
  n = 0x10
  list = [ 1, 2 ]
''

--- to-xml ---
# => "<?xml version='1.0' encoding='utf-8'?>\n<expr>\n  <attrs>\n    <attr name=\"a\">\n      <list>\n        <int value=\"1\" />\n        <string value=\"&lt;\" />\n      </list>\n    </attr>\n    <attr name=\"f\">\n      <function>\n        <attrspat>\n          <attr name=\"x\" />\n          <attr name=\"y\" />\n        </attrspat>\n      </function>\n    </attr>\n  </attrs>\n</expr>\n"
builtins.toXML { a = [ 1 "<" ]; f = { x, y ? 1 }: x; }
