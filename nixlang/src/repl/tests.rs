//! Sessions: lines in, what is shown out.

use super::{Output, Repl, ReplOptions, Request, Step};
use crate::eval::{EvalOptions, session};
use crate::host::MemoryHost;

/// Submits lines and compares all that is shown: answers as they are, notices after `# `, errors after `error: `, other steps after `> `.
#[track_caller]
fn check(lines: &str, expected: &str) {
    let host = || {
        MemoryHost::with_files([
            ("/set.nix", "{ a = 1; \"b c\" = 2; }"),
            ("/function.nix", "{ x ? 1 }: { inherit x; }"),
            ("/dir/default.nix", "{ d = 1; }"),
            ("/eof.nix", "{ a ="),
            ("/doc.nix", "{\n  /** Adds. */\n  add = x: y: x + y;\n  /** Fixed. */\n  n.m = 1;\n  plain = 1;\n}"),
        ])
    };
    let shown = session(move || Box::new(host()), EvalOptions::default(), |eval| {
        let mut repl = Repl::new(eval, ReplOptions::default());
        let mut shown = String::new();
        let mut pending = String::new();
        for line in lines.lines() {
            pending.push_str(line);
            pending.push('\n');
            let step = repl.submit(pending.as_bytes(), &mut |output| match output {
                Output::Text(text) => shown.push_str(&String::from_utf8_lossy(text)),
                Output::Notice(text) => shown.push_str(&format!("# {text}\n")),
            });
            match step {
                Ok(Step::NeedMore) => continue,
                Ok(Step::Done) => {}
                Ok(Step::Quit) => shown.push_str("> quit\n"),
                Ok(Step::Request(Request::Documentation(text))) => shown.push_str(&format!("{text}\n")),
                Ok(Step::Request(request)) => shown.push_str(&format!("> {request:?}\n")),
                Err(error) => shown.push_str(&format!("error: {error}\n")),
            }
            pending.clear();
        }
        if !pending.is_empty() {
            shown.push_str("> incomplete\n");
        }
        shown
    });
    assert_eq!(shown.expect("a session starts").trim_end(), expected, "{lines}");
}

#[test]
fn bindings_stay_and_hide_older_ones() {
    check("x = 1\nf = y: x + y\nx = 5\nf 1\nx", "2\n5");
    check("a = 1; b = 2;\na + b", "3");
    check("a.b.c = 1\na.b", "{ c = 1; }");
    check("s = { p = 10; }\ninherit (s) p; q = 20\np + q", "30");
    check("x = x", "error: undefined variable 'x'");
    check("x = 1; x = 2", "error: syntax error, unexpected '=', expecting end of file");
}

#[test]
fn lines_that_go_on() {
    check("x = ''\n  hello\n''\nx", "\"hello\\n\"");
    check("(1\n+ 2)", "3");
    check("[ 1", "> incomplete");
    check("import /eof.nix", "error: syntax error, unexpected end of file");
    check(")", "error: syntax error, unexpected ')'");
}

#[test]
fn values_are_shown_on_their_surface() {
    check("{ b = { c = 1; }; a = [ 1 ]; e = { }; }", "{\n  a = [ ... ];\n  b = { ... };\n  e = { ... };\n}");
    check(":p { b = { c = 1; }; }", "{\n  b = { c = 1; };\n}");
    check(":p \"a\\nb\"", "a\nb");
    check("[ (throw \"no\") 1 ]", "[\n  «error: no»\n  1\n]");
}

#[test]
fn loading() {
    check(":l ./set.nix\na", "# Added 2 variables.\n# a, \"b c\"\n1");
    check(":l function.nix\nx", "# Added 1 variables.\n# x\n1");
    check(":l /dir\nd\n:r\nd", "# Added 1 variables.\n# d\n1\n# Loading \"/dir\"...\n# Added 1 variables.\n# d\n1");
    check("y = 1\n:r\ny", "error: undefined variable 'y'");
    check(":ll", "error: nothing has been loaded yet");
    check(":a { a = 1; }\n:ll", "# Added 1 variables.\n# a\n> Names([\"a\"])");
    check(":a [ ]", "error: expected a set but found a list: [ ]");
}

#[test]
fn more_variables_than_the_first_frame_has() {
    check(
        ":a builtins.listToAttrs (builtins.genList (i: { name = \"v${toString i}\"; value = i; }) 3000)\nf = v2999\ng = v0\nf + g",
        "# Added 3000 variables.\n# v0, v1, v10, v100, v1000, v1001, v1002, v1003, v1004, v1005, v1006, v1007, v1008, v1009, v101, v1010, v1011, v1012, v1013, v1014\n# ... and 2980 more; view with :ll\n2999",
    );
}

#[test]
fn types() {
    check(":t 1\n:t 1.0\n:t {}\n:t x: x\n:t map\n:t map (x: x)\n:t null", "an integer\na float\na set\na function\nthe built-in function 'map'\nthe partially applied built-in function 'map'\nnull");
}

#[test]
fn documentation() {
    check(":l doc.nix\n:doc add\n:doc add 1", "# Added 3 variables.\n# add, n, plain\nFunction `add`\\\n  … defined at /doc.nix:3:9\n\nAdds.\nFunction `add`\\\n  … defined at /doc.nix:3:12\n\nAdds.");
    check(":l doc.nix\n:doc n.m\n:doc (import ./doc.nix).plain\n:doc plain", "# Added 3 variables.\n# add, n, plain\nAttribute `m`\n\n  … defined at /doc.nix:5:3\n\nFixed.\nAttribute `plain`\n\n  … defined at /doc.nix:6:3\n\nNo documentation found.\nerror: value does not have documentation");
    check(":doc { __functor = self: x: x; }", "Function `__functor`\\\n  … defined at «string»:1:21");
    check(":doc { f = a: a; }.f.g", "error: expected a set but found a function: «lambda f @ «string»:1:7»");
    check(":doc rec { __functor = self: self.__functor self; }", "error: stack overflow; max-call-depth exceeded");
}

#[test]
fn every_builtin_is_documented() {
    let without: Vec<_> = crate::builtins::definitions().filter(|definition| definition.doc.is_empty()).map(|definition| definition.name).collect();
    assert_eq!(without, [""; 0]);
}

#[test]
fn requests() {
    check(":lf .\n:lf", "> LoadFlake { reference: \".\" }\nerror: cannot use ':load-flake' without a path specified. (Use '.' for the current working directory.)");
    check(":te\n:te\n:te x", "showing error traces\n> ShowTrace(true)\nnot showing error traces\n> ShowTrace(false)\nerror: unexpected argument 'x' to :te");
    check(":e ./set.nix\n:e 1", "> Edit { path: [47, 115, 101, 116, 46, 110, 105, 120], line: 0 }\nerror: package '1' has no source location information");
    check(":b 1\n:zz\n:q", "error: expression does not evaluate to a derivation, so I can't build it\nerror: unknown command ':zz'\n> quit");
    check(
        ":log derivation { name = \"x\"; builder = \"x\"; system = \"x\"; }",
        "> Log { derivation: \"/nix/store/7ifhwn82wl0m6cdpy7zr59lkwqgwpf28-x.drv\" }",
    );
}

#[test]
fn completion() {
    let complete = |line: &str| -> Vec<String> {
        let host = || MemoryHost::with_files([("/dir/file.nix", "1"), ("/dir/.hidden", "1"), ("/dir/other", "1")]);
        let line = line.to_owned();
        session(move || Box::new(host()), EvalOptions::default(), move |eval| {
            let mut repl = Repl::new(eval, ReplOptions::default());
            repl.submit(b"set = { one = 1; once = 2; \"two words\" = 3; }", &mut |_| {}).expect("it is right");
            repl.complete(&line)
        })
        .expect("a session starts")
    };
    assert_eq!(complete("1 + (se"), ["1 + (set"]);
    assert_eq!(complete("set.on"), ["set.once", "set.one"]);
    assert_eq!(complete("set.two"), ["set.\"two words\""]);
    assert_eq!(complete("[ builtins.listTo"), ["[ builtins.listToAttrs"]);
    assert_eq!(complete("import ./dir/f"), ["import ./dir/file.nix"]);
    assert_eq!(complete(":loa"), [":load", ":load-flake"]);
    assert_eq!(complete("(throw \"x\").a"), [""; 0]);
    assert_eq!(complete("nothing.a"), [""; 0]);
}
