//! Builtins on text: expressions with what Nix 2.34.8 prints for them, or the last line of its error.

use super::testing::answer;

const CASES: &[(&str, &str)] = &[
    (r#"builtins.match "a(b)?c" "ac""#, "[ null ]"),
    (r#"builtins.match "(" "x""#, "error: invalid regular expression '('"),
    (r#"builtins.match "a{60000}{2}" "x""#, "error: memory limit exceeded by regular expression 'a{60000}{2}'"),
    (r#"builtins.split "(a)|(c)" "abc""#, r#"[ "" [ "a" null ] "b" [ null "c" ] "" ]"#),
    (r#"builtins.split "x" "abc""#, r#"[ "abc" ]"#),
    (r#"builtins.toJSON { b = 1.0; a = [ null true "x\n" ]; c = { outPath = "y"; }; }"#, r#""{\"a\":[null,true,\"x\\n\"],\"b\":1.0,\"c\":\"y\"}""#),
    (r#"builtins.toJSON { __toString = self: "z" + self.x; x = "1"; }"#, r#""\"z1\"""#),
    (r#"builtins.toJSON (x: x)"#, "error: cannot convert a function to JSON"),
    (r#"builtins.toJSON { a = builtins.toString; }"#, "error: cannot convert the built-in function 'toString' to JSON"),
    (r#"builtins.fromJSON ''{"a":[1,-0,1e3,18446744073709551616,"x"],"a":2,"b":{}}''"#, "{ a = 2; b = { }; }"),
    (r#"builtins.fromJSON ''[1,-0,1e3,18446744073709551616,"x",null]''"#, r#"[ 1 0 1000 1.84467e+19 "x" null ]"#),
    (
        r#"builtins.fromJSON "[1""#,
        "error: [json.exception.parse_error.101] parse error at line 1, column 3: syntax error while parsing array - unexpected end of input; expected ']'",
    ),
    (r#"builtins.fromJSON ''"a\u0000b"''"#, "error: input string 'a␀b' cannot be represented as Nix string because it contains null bytes"),
    (r#"builtins.fromTOML "a.b = [1, 2.5, 'x']\n[t]\nd = 1979-05-27""#, r#"{ a = { b = [ 1 2.5 "x" ]; }; t = { d = { _type = "timestamp"; value = "1979-05-27"; }; }; }"#),
    (r#"fromTOML "a = 07""#, "error: while parsing TOML: [error] bad integer: invalid digit after an integer"),
    (
        r#"builtins.toXML { a = x: y: x; b = (x: y: x) 1; c = {a,b?1,...}@z: a; d= builtins.map; e=1.5; f=/x; g=null;}"#,
        r#""<?xml version='1.0' encoding='utf-8'?>\n<expr>\n  <attrs>\n    <attr name=\"a\">\n      <function>\n        <varpat name=\"x\" />\n      </function>\n    </attr>\n    <attr name=\"b\">\n      <function>\n        <varpat name=\"y\" />\n      </function>\n    </attr>\n    <attr name=\"c\">\n      <function>\n        <attrspat ellipsis=\"1\" name=\"z\">\n          <attr name=\"a\" />\n          <attr name=\"b\" />\n        </attrspat>\n      </function>\n    </attr>\n    <attr name=\"d\">\n      <unevaluated />\n    </attr>\n    <attr name=\"e\">\n      <float value=\"1.5\" />\n    </attr>\n    <attr name=\"f\">\n      <path value=\"/x\" />\n    </attr>\n    <attr name=\"g\">\n      <null />\n    </attr>\n  </attrs>\n</expr>\n""#,
    ),
    (r#"map (builtins.compareVersions "2.3") [ "2.3.1" "2.3" "2.3pre1" ]"#, "[ -1 0 1 ]"),
    (r#"builtins.splitVersion "1.2.3-4pre5""#, r#"[ "1" "2" "3" "4" "pre" "5" ]"#),
    (r#"builtins.parseDrvName "nix-0.12pre12876""#, r#"{ name = "nix"; version = "0.12pre12876"; }"#),
    (r#"builtins.substring 2 (-1) "foobar""#, r#""obar""#),
    (r#"builtins.substring 2 3 "foobar""#, r#""oba""#),
    (r#"builtins.substring 20 3 "foobar""#, r#""""#),
    (r#"builtins.substring (builtins.sub 0 1) 1 "x""#, "error: negative start position in 'substring'"),
    (r#"builtins.substring 0 0 null"#, "error: cannot coerce null to a string: null"),
    (r#"builtins.stringLength "é""#, "2"),
    (r#"builtins.concatStringsSep ", " [ "a" "b" "c" ]"#, r#""a, b, c""#),
    (r#"builtins.concatStringsSep "," [1]"#, "error: cannot coerce an integer to a string: 1"),
    (r#"toString [ 1 null true [ ] [ 1.5 "x" ] /y ]"#, r#""1  1 1.500000 x /y""#),
    (r#"builtins.replaceStrings [ "oo" "a" ] [ "a" "i" ] "foobar""#, r#""fabir""#),
    (r#"builtins.replaceStrings [ "" ] [ "X" ] "abc""#, r#""XaXbXcX""#),
    (r#"builtins.replaceStrings [ "" "a" ] [ "X" "_" ] "abc""#, r#""XaXbXcX""#),
    (r#"builtins.replaceStrings [ "a" "" ] [ "X" "_" ] "abc""#, r#""X_b_c_""#),
    (r#"builtins.replaceStrings [ "-" ] [ "_" ] "a-b""#, r#""a_b""#),
    (r#"builtins.replaceStrings [ "z" ] [ (throw "unused") ] "a-b""#, r#""a-b""#),
    (r#"builtins.replaceStrings [ "a" ] [ ] "x""#, "error: 'from' and 'to' arguments passed to builtins.replaceStrings have different lengths"),
    (r#"builtins.hashString "md5" "abc""#, r#""900150983cd24fb0d6963f7d28e17f72""#),
    (r#"builtins.hashString "foo" "x""#, "error: unknown hash algorithm 'foo', expect 'blake3', 'md5', 'sha1', 'sha256', or 'sha512'"),
    (
        r#"builtins.hashString "blake3" "x""#,
        "error: experimental Nix feature 'blake3-hashes' is disabled; add '--extra-experimental-features blake3-hashes' to enable it",
    ),
    (
        r#"builtins.convertHash { hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; toHashFormat = "sri"; hashAlgo = "sha256"; }"#,
        r#""sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=""#,
    ),
    (r#"builtins.convertHash { }"#, "error: attribute 'hash' missing"),
    (r#"builtins.convertHash {hash="";toHashFormat="x";}"#, "error: unknown hash format 'x', expect 'base16', 'base32', 'base64', or 'sri'"),
    (r#"builtins.convertHash {hash="abc";toHashFormat="sri";hashAlgo="md5";}"#, "error: hash 'abc' has wrong length for hash algorithm 'md5'"),
    (r#"builtins.appendContext "a" {a={};}"#, "error: context key 'a' is not a store path"),
    (r#"builtins.addDrvOutputDependencies """#, "error: context of string '' must have exactly one element, but has 0"),
    (
        r#"let p = "/nix/store/arhvjaf6zmlyn8vh8fgn55rpwnxq0n7l-a.drv"; in builtins.getContext (builtins.appendContext "x" { ${p} = { path = true; allOutputs = true; outputs = [ "out" "dev" ]; }; })"#,
        r#"{ "/nix/store/arhvjaf6zmlyn8vh8fgn55rpwnxq0n7l-a.drv" = { allOutputs = true; outputs = [ "dev" "out" ]; path = true; }; }"#,
    ),
    (
        r#"let p = "/nix/store/arhvjaf6zmlyn8vh8fgn55rpwnxq0n7l-a.drv"; s = builtins.appendContext "xyz" { ${p} = { path = true; }; }; in map builtins.hasContext [ (builtins.substring 0 0 s) (builtins.head (builtins.split "y" s)) (builtins.head (builtins.split "a" s)) (builtins.unsafeDiscardStringContext s) (builtins.addDrvOutputDependencies s) ]"#,
        "[ true false true false true ]",
    ),
    (r#"builtins.fetchurl { }"#, "error: 'url' argument required"),
    (r#"builtins.fetchurl { url = "x"; foo = 1; }"#, "error: unsupported argument 'foo' to 'fetchurl'"),
    (r#"builtins.getFlake "x""#, "error: experimental Nix feature 'flakes' is disabled; add '--extra-experimental-features flakes' to enable it"),
];

#[test]
fn answers() {
    let wrong: Vec<String> = CASES
        .iter()
        .map(|(expression, expected)| (expression, expected, answer(expression, "parse-toml-timestamps")))
        .filter(|(_, expected, actual)| actual != **expected)
        .map(|(expression, expected, actual)| format!("{expression}\n  expected {expected}\n  got      {actual}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
