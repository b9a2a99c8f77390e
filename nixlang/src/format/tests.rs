//! Small texts and what becomes of them.

use super::{FormatOptions, format};

#[track_caller]
fn check(text: &str, expected: &str) {
    let options = FormatOptions { width: 40, ..FormatOptions::default() };
    let formatted = format(text, options).expect("it is right");
    assert_eq!(formatted, expected, "{text}");
    assert_eq!(format(&formatted, options).expect("it is right"), expected, "twice: {text}");
}

#[test]
fn sets_and_lists() {
    check("{}", "{ }\n");
    check("{a=1;}", "{ a = 1; }\n");
    check("{a=1;b=2;}", "{\n  a = 1;\n  b = 2;\n}\n");
    check("[1]", "[ 1 ]\n");
    check("[1 2]", "[\n  1\n  2\n]\n");
    check("{a={b=1;};}", "{\n  a = {\n    b = 1;\n  };\n}\n");
    check("{\n}", "{\n}\n");
}

#[test]
fn bindings() {
    check("{a=f x;}", "{ a = f x; }\n");
    check("{a=f {b=1;};}", "{ a = f { b = 1; }; }\n");
    check("{a=[1]++b;}", "{ a = [ 1 ] ++ b; }\n");
    check("{a=x: y:{};}", "{ a = x: y: { }; }\n");
    check("{inherit a b;inherit(c)d e f g;}", "{\n  inherit a b;\n  inherit (c)\n    d\n    e\n    f\n    g\n    ;\n}\n");
    check("{a=aaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbb;}", "{\n  a = aaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbb;\n}\n");
}

#[test]
fn functions_and_calls() {
    check("{a,b?1,...}@c: a", "{\n  a,\n  b ? 1,\n  ...\n}@c:\na\n");
    check("a: b: c", "a: b: c\n");
    check("f (x: {y=1;})", "f (x: {\n  y = 1;\n})\n");
    check("fffffffffffff (a b) cccccccccccccc (d eeeeeeeeeeeeeee)", "fffffffffffff (a b) cccccccccccccc (\n  d eeeeeeeeeeeeeee\n)\n");
}

#[test]
fn keywords() {
    check("let a=1;in a", "let\n  a = 1;\nin\na\n");
    check("if a then b else if c then d else e", "if a then\n  b\nelse if c then\n  d\nelse\n  e\n");
    check("if a then b else c", "if a then b else c\n");
    check("with a;assert b;c", "with a;\nassert b;\nc\n");
}

#[test]
fn operators() {
    check("aaaaaaaaaaaaaaaaaaaaa&&bbbbbbbbbbbbbbbbbbbbb||c", "aaaaaaaaaaaaaaaaaaaaa\n&& bbbbbbbbbbbbbbbbbbbbb\n|| c\n");
    check("!a.b or c?d", "!a.b or c ? d\n");
    check("1 .a", "1 .a\n");
    check("./x .a", "./x .a\n");
}

#[test]
fn strings() {
    check("''a''", "\"a\"\n");
    check("''\n    a\n      b\n''", "''\n  a\n    b\n''\n");
    check("\"a${b}c\"", "\"a${b}c\"\n");
    check("http://a.b", "\"http://a.b\"\n");
}

#[test]
fn comments() {
    check("/* a */ 1", "# a\n1\n");
    check("{ # a\n b = 1; # c\n\n\n /* d\n e */ f = 2; }", "{\n  # a\n  b = 1; # c\n\n  /*\n    d\n    e\n  */\n  f = 2;\n}\n");
    check("[\n  # only\n]", "[\n  # only\n]\n");
    check("/* bash */ ''\n  x\n''", "/* bash */ ''\n  x\n''\n");
    check("{\n/*nixfmt:disable*/\n a=1;\n/*nixfmt:enable*/\n b=1;}", "{\n/*nixfmt:disable*/\n a=1;\n/*nixfmt:enable*/\n  b = 1;\n}\n");
}

#[test]
fn what_is_wrong_is_refused() {
    assert!(format("{ a = ; }", FormatOptions::default()).is_err());
}

#[test]
fn deep_nesting_ends() {
    // Each level could be laid out in several ways.
    let text = format!("{}x{}", "f (a: [ ".repeat(80), " ]) y z".repeat(80));
    let formatted = format(&text, FormatOptions::default()).expect("it is right");
    assert_eq!(format(&formatted, FormatOptions::default()).expect("it is right"), formatted);
}
