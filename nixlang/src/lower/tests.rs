//! Tables of source and tree (as `nix-instantiate --parse` 2.34.8 prints it), source and error,
//! source and value.

use std::sync::Arc;

use super::StaticScope;
use crate::eval::{EvalError, EvalOptions, Evaluator};
use crate::heap::Heap;
use crate::host::MemoryHost;
use crate::source::Origin;

fn with_evaluator<T>(run: impl FnOnce(&Evaluator<'_>) -> T) -> T {
    let heap = Heap::new();
    let options = EvalOptions {
        home: Some("/home/user".into()),
        experimental_features: vec!["pipe-operators".into()],
        ..EvalOptions::default()
    };
    run(&Evaluator::new(&heap, Box::new(MemoryHost::default()), options))
}

fn report(eval: &Evaluator<'_>, error: &EvalError) -> String {
    format!("{} at {}", error, eval.show_pos(error.data().pos))
}

fn shown(source: &str) -> String {
    with_evaluator(|eval| {
        let text: Arc<[u8]> = Arc::from(source.as_bytes());
        let start = eval.sources.add(Origin::String, text).expect("the source is small");
        match super::show(eval, source.as_bytes(), start, b"/base") {
            Ok(shown) => String::from_utf8(shown).expect("the source is UTF-8"),
            Err(error) => report(eval, &error),
        }
    })
}

fn value(source: &str) -> String {
    with_evaluator(|eval| {
        let value = eval
            .eval_text(source.as_bytes(), Origin::String, b"/base")
            .and_then(|value| eval.force_deep(value).map(|_| value))
            .and_then(|value| eval.print_plain(value));
        match value {
            Ok(printed) => String::from_utf8(printed).expect("the source is UTF-8"),
            Err(error) => report(eval, &error),
        }
    })
}

#[test]
fn trees_print_as_the_reference_prints_them() {
    for (source, expected) in [
        ("{x, y, z}: x + y + z", "({ x, y, z }: ((x + y) + z))"),
        ("a: b: a b", "(a: (b: (a b)))"),
        ("f: (f 1) 2", "(f: (f 1 2))"),
        ("f: x: x |> f 1", "(f: (x: (f 1 x)))"),
        ("f: 1 - 2 * 3 / -4 < 5", "(f: (__lessThan (__sub 1 (__div (__mul 2 3) (__sub 0 4))) 5))"),
        ("1 <= 2", "(! (__lessThan 2 1))"),
        ("1 >= 2", "(! (__lessThan 1 2))"),
        ("1 > 2", "(__lessThan 2 1)"),
        ("!true", "(! true)"),
        ("{ x = { y = 3; z = 3; }; x.q = 3; }", "{ x = { q = 3; y = 3; z = 3; }; }"),
        ("{ x.q = 3; x = { y = 3; z = 3; }; }", "{ x = { q = 3; y = 3; z = 3; }; }"),
        ("{ a = rec { x = 1; y = x; }; a.z = 2; }", "{ a = rec { x = 1; y = x; z = 2; }; }"),
        ("let c = {}; b = 2; in { a = 1; inherit b; inherit (c) d e; f = 3; }", "(let b = 2; c = { }; in { inherit b; inherit (c) d e; a = 1; f = 3; })"),
        ("let { body = 1; }", "(rec { body = 1; }).body"),
        ("{ ${\"a\"} = 1; \"b c\" = 2; \"${\"d\"}\" = 3; }", "{ a = 1; \"b c\" = 2; \"${(\"d\")}\" = 3; }"),
        ("x: x.a.\"b\".${x} or 1", "(x: (x).a.b.\"${x}\" or (1))"),
        ("x: x ? a.b", "(x: ((x) ? a.b))"),
        ("__findFile: [ x:x /a/../b ./c ~/d <e> ]", "(__findFile: [ (\"x:x\") (/b) (/base/c) (/home/user/d) ((__findFile __nixPath \"e\")) ])"),
        ("/a/${\"b\"}/c", "(/a/ + \"b\" + \"/c\")"),
        ("''\n  a\n    ${\"b\"}\n  ''", "(\"a\\n  \" + \"b\" + \"\\n\")"),
        ("''${\"x\"}''", "\"x\""),
        ("\"${\"x\"}\"", "(\"x\")"),
        ("\"a\\n\\${b}\r\n\"", "\"a\\n\\${b}\\n\""),
        ("assert true; with {}; if true then 1 else 2.5", "assert true; (with { }; (if true then 1 else 2.5))"),
        ("{ a ? 1, ... }@b: __curPos", "({ a ? 1, ... } @ b: __curPos)"),
        ("{ ... }: 1", "({ ... }: 1)"),
        ("f: let or = 1; in [ (f or 1) ({ or = 1; }.or) ]", "(f: (let or = 1; in [ ((f or 1)) (({ or = 1; }).or) ]))"),
    ] {
        assert_eq!(shown(source), expected, "{source}");
    }
}

#[test]
fn errors_are_the_reference_s() {
    for (source, expected) in [
        ("{ x = 1; y = 2; x = 3; }", "attribute 'x' already defined at «string»:1:3 at «string»:1:17"),
        ("{ x.y.z = 1; x.y = { z = 2; }; }", "attribute 'x.y.z' already defined at «string»:1:3 at «string»:1:22"),
        ("{ x = 1; x.y = 2; }", "attribute 'x' already defined at «string»:1:3 at «string»:1:10"),
        ("{ inherit ({}) x; inherit x; }", "attribute 'x' already defined at «string»:1:16 at «string»:1:27"),
        ("{x, y, x}: x", "duplicate formal function argument 'x' at «string»:1:8"),
        ("args@{args, x}: x", "duplicate formal function argument 'args' at «string»:1:1"),
        ("x: y", "undefined variable 'y' at «string»:1:4"),
        ("if false then nope else 1", "undefined variable 'nope' at «string»:1:15"),
        ("let x = 1; in { inherit y; }", "undefined variable 'y' at «string»:1:25"),
        ("let ${\"a\" + \"b\"} = 1; in 2", "dynamic attributes not allowed in let at «string»:1:1"),
        ("{ inherit ${\"a\" + \"b\"}; }", "dynamic attributes not allowed in inherit at «string»:1:11"),
        ("{ a = rec { x = y; }; a = { y = 1; }; a = rec { z = x; }; }.a.z + { a = { y = 1; }; a = rec { z = y; }; }.a.z", "undefined variable 'y' at «string»:1:99"),
        ("{ a = 1; a = 2; ) }", "attribute 'a' already defined at «string»:1:3 at «string»:1:10"),
        ("{ a = 1; b = ); a = 2; }", "syntax error, unexpected ')' at «string»:1:14"),
    ] {
        assert_eq!(shown(source), expected, "{source}");
    }
}

#[test]
fn programs_evaluate() {
    for (source, expected) in [
        ("let a = 1; b = a + 1; in [ a b ]", "[ 1 2 ]"),
        ("(a: b: c: [ c b a ]) 1 2 3", "[ 3 2 1 ]"),
        ("(a: a: a) 1 2", "2"),
        ("(x: let y = x; z = y; in let x = z; w = x; in [ w ]) 1", "[ 1 ]"),
        ("(x: let inherit ({ y = x; }) y; in let x = 2; in x + y) 1", "3"),
        ("(x: let x' = x; in let inherit x; in x) 5", "5"),
        ("({ a, b ? a + 1, ... }@c: [ a b (c ? b) ]) { a = 1; d = 2; }", "[ 1 2 false ]"),
        ("rec { a = b; b = 1; inherit ({ c = a; }) c; }", "{ a = 1; b = 1; c = 1; }"),
        ("let a = { inherit (b) x y; }; b = { x = 1; y = 2; }; in a", "{ x = 1; y = 2; }"),
        ("let x = 1; in { inherit x; }", "{ x = 1; }"),
        ("with { a = 1; b = 2; }; with { b = 3; }; [ a b ]", "[ 1 3 ]"),
        ("(x: with { a = 1; }; let b = a; in with { c = b; }; [ x a b c ]) 0", "[ 0 1 1 1 ]"),
        ("with { true = false; }; true", "true"),
        ("let __sub = a: b: 7; in 3 - 1", "7"),
        ("let __lessThan = a: b: true; in [ (2 < 1) (2 >= 1) ]", "[ true false ]"),
        ("{ a.b = 1; a = { c = 2; }; a.\"d\".e = 3; }", "{ a = { b = 1; c = 2; d = { e = 3; }; }; }"),
        ("let n = \"x\"; in { ${n} = 1; \"${n}y\" = 2; ${null} = 3; }", "{ x = 1; xy = 2; }"),
        ("rec { x = 1; ${\"y\" + \"\"} = x; }", "{ x = 1; y = 1; }"),
        ("let { x = 1; body = x; }", "1"),
        ("let f = x: if x then let a = 1; in a else let b = 2; c = 3; in b + c; in [ (f true) (f false) ]", "[ 1 5 ]"),
        ("{ a.b.c = 1; }.a.b.c or 2", "1"),
        ("{ }.a.b or 2", "2"),
        ("''\n  a\n    b ${\"c\"}\n''", "\"a\\n  b c\\n\""),
        ("/a/${\"../b\"}", "/b"),
        ("let b = x: x; a = b; in [ a ] == [ b ]", "true"),
        ("let a = b; b = x: x; in [ a ] == [ b ]", "false"),
        ("let f = a: let a' = a; in b: a' + b; in (f 1 2) + (f 3 4)", "10"),
        ("let f = a: b: let c = a; in { inherit c b; }; g = f 1; in [ (g 2) (g 3) ]", "[ { b = 2; c = 1; } { b = 3; c = 1; } ]"),
    ] {
        assert_eq!(value(source), expected, "{source}");
    }
}

#[test]
fn bindings_of_the_line_editor() {
    let printed = with_evaluator(|eval| {
        let source = b"a = 1; b.c = a';";
        let start = eval.sources.add(Origin::Repl, Arc::from(&source[..])).expect("small");
        let scope = StaticScope { names: vec![eval.symbols.intern(b"a'")] };
        let env = eval.heap.env(eval.root(), 1);
        env.slot(0).set(eval.heap.int(5));
        let expr = super::parse_bindings(eval, source, start, b"/", &scope).expect("they parse");
        let value = eval.eval(expr, env).expect("sets evaluate");
        eval.force_deep(value).expect("all attributes evaluate");
        eval.print_plain(value).expect("sets print")
    });
    assert_eq!(str::from_utf8(&printed), Ok("{ a = 1; b = { c = 5; }; }"));
}

#[test]
fn symbols_are_numbered_in_the_order_of_the_reference_s_productions() {
    with_evaluator(|eval| {
        let source = b"zz: { yy = xx: ww: xx; vv.${\"uu\"} = 1; inherit (zz) tt; }";
        let start = eval.sources.add(Origin::String, Arc::from(&source[..])).expect("small");
        let before = eval.symbols.len();
        super::parse(eval, source, start, b"/", &StaticScope::default()).expect("it parses");
        let names: Vec<_> = (before..eval.symbols.len())
            .map(|number| eval.symbols.text(crate::symbol::Symbol(number as u32)))
            .collect();
        let names: Vec<_> = names.iter().map(|name| str::from_utf8(name).expect("ASCII")).collect();
        assert_eq!(names, ["yy", "xx", "ww", "vv", "uu", "zz", "tt"]);
    });
}

#[test]
fn nesting_is_bounded_by_the_stack_that_is_left() {
    const STACK: usize = 24 << 20;
    let run = || {
        with_evaluator(|eval| {
            eval.set_stack(STACK);
            for (open, middle, close) in [
                ("(", "1", ")"),
                ("[", "1", "]"),
                ("!", "true", ""),
                ("-", "1", ""),
                ("{a=", "1", ";}"),
                ("rec {a=", "1", ";}"),
                ("x: ", "1", ""),
                ("{x}: ", "1", ""),
                ("{x ? ", "1", "}: 1"),
                ("1+", "1", ""),
                ("1->", "1", ""),
                ("if ", "true", " then 1 else 1"),
                ("if true then 1 else ", "1", ""),
                ("let a = ", "1", "; in 1"),
                ("let a = 1; in ", "1", ""),
                ("let inherit (", "{}", ") a; in 1"),
                ("with {}; ", "1", ""),
                ("assert ", "true", "; true"),
                ("\"${", "\"a\"", "}\""),
                ("''${", "\"a\"", "}''"),
                ("./${", "\"a\"", "}"),
                ("{${", "\"a\"", "} = 1;}"),
                ("{} ? ${", "\"a\"", "}"),
                ("{}.b or ", "1", ""),
            ] {
                let mut accepted = 0;
                for count in [200, 500, 1_000, 2_000, 4_000, 8_000, 100_000] {
                    let source = open.repeat(count) + middle + &close.repeat(count);
                    let text: Arc<[u8]> = Arc::from(source.as_bytes());
                    let start = eval.sources.add(Origin::String, text).expect("small");
                    match super::show(eval, source.as_bytes(), start, b"/") {
                        Ok(_) => accepted = count,
                        Err(error) => {
                            assert_eq!(error.kind(), crate::eval::ErrorKind::StackOverflow, "{open}: {error}");
                        }
                    }
                }
                assert!((200..100_000).contains(&accepted), "{open}: {accepted}");
            }
        });
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(run).expect("there are threads");
    thread.join().expect("no stack overflow");
}

#[test]
fn discouraged_ways_of_writing() {
    use super::{LintLevel, Lints};
    let messages = |source: &str, level: LintLevel| {
        let heap = Heap::new();
        let lints = Lints {
            urls: level,
            short_paths: level,
            absolute_paths: level,
        };
        let options =
            EvalOptions { lints, home: Some("/home/user".into()), ..EvalOptions::default() };
        let eval = Evaluator::new(&heap, Box::new(MemoryHost::default()), options);
        let text: Arc<[u8]> = Arc::from(source.as_bytes());
        let start = eval.sources.add(Origin::String, text).expect("small");
        let scope = &StaticScope::default();
        let entry = super::Entry::Expression;
        let lowering = super::Lowering { eval: &eval, start, base: b"/base", scope, entry };
        let messages = std::cell::RefCell::new(Vec::new());
        let warn = |text: &str| messages.borrow_mut().push(text.to_owned());
        let result = lowering.lower(source.as_bytes(), super::Wanted::Nothing, &warn, &mut super::Scratch::default());
        let error = result.err().map(|error| super::to_eval_error(&eval, error));
        let mut messages: Vec<String> = messages.take();
        messages.extend(error.map(|error| report(&eval, &error)));
        messages
    };
    for (source, text) in [
        ("x:x", "URL literals are discouraged. Consider using a string literal \"x:x\" instead (lint-url-literals)"),
        ("a/b", "relative path literal 'a/b' should be prefixed with '.' for clarity: './a/b' (lint-short-path-literals)"),
        ("/a", "absolute path literals are not portable. Consider replacing path literal '/a' by a string, relative path, or parameter (lint-absolute-path-literals)"),
        ("~/a", "home path literals are not portable. Consider replacing path literal '~/a' by a string, relative path, or parameter (lint-absolute-path-literals)"),
    ] {
        assert_eq!(messages(source, LintLevel::Ignore), Vec::<String>::new());
        let excerpt = format!("\n         at «string»:1:1:\n              1| {source}\n               | ^");
        assert_eq!(messages(source, LintLevel::Warn), [format!("{text}{excerpt}")]);
        let text = text.replace("discouraged", "disallowed");
        assert_eq!(messages(source, LintLevel::Fatal), [format!("{text} at «string»:1:1")]);
    }
    assert_eq!(messages("[ ./a ../b \"x:x\" ]", LintLevel::Fatal), Vec::<String>::new());
    for (source, warned) in [
        ("let or = 1; in [ (x: x) or ]", true),
        ("let or = 1; in (x: x * 2) (x: x + 1) or", true),
        ("let or = 1; in { a = 2; }.a or (x: x) or", true),
        ("let or = (x: x); in (f: f) or []", false),
        ("let f = (x: x); or = f; in f (f or)", false),
    ] {
        let messages = messages(source, LintLevel::Ignore);
        assert_eq!(messages.len(), usize::from(warned), "{source}");
        assert!(messages.iter().all(|text| text.contains("\n    ((x: x") && text.starts_with("at «string»:1:")));
    }
}
