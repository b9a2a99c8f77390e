//! Observers see every call in order, change nothing, and may end an evaluation. The folded stacks were written by 2.34.8
//! (`nix-instantiate --eval --strict --eval-profiler flamegraph --eval-profiler-frequency 0`).

use std::cell::RefCell;

use super::*;
use crate::eval::{CallCounter, ErrorKind, EvalOptions, Profiler, session, statistics_json};
use crate::host::MemoryHost;
use crate::source::Origin;

fn with_eval<R: Send>(body: impl for<'h> FnOnce(&Evaluator<'h>) -> R + Send) -> R {
    session(|| Box::new(MemoryHost::default()), EvalOptions::default(), body).expect("a thread is there")
}

#[track_caller]
fn check_folded(text: &str, expected: &[&str]) {
    with_eval(|eval| {
        let profiler = Rc::new(Profiler::every_call());
        eval.set_observer(Some(profiler.clone()));
        let _ = eval.eval_text(text.as_bytes(), Origin::String, b"/").and_then(|value| eval.force_deep(value));
        let folded = profiler.folded(eval);
        let lines: Vec<&str> = folded.lines().collect();
        assert_eq!(lines, expected, "{text}");
    });
}

#[test]
fn stacks_are_those_of_the_reference() {
    check_folded("let f = arg: arg; in f 1", &["«string»:1:22:f 1"]);
    check_folded("(arg: arg) 1", &["«string»:1:1 1"]);
    check_folded("let a = builtins.all (let f = x: x; in f); in a [1]", &["«string»:1:9:primop all 1", "«string»:1:47:primop all 1", "«string»:1:47:primop all;«string»:1:31:f 1"]);
    check_folded("{__functor = x: arg: arg;} 1", &["«string»:1:1:functor 1", "«string»:1:1:functor;«string»:1:2 1"]);
    check_folded("let f = ({ x }: x); in f { }", &["«string»:1:24:f 1"]);
    check_folded("1 2", &["«string»:1:1 1"]);
    check_folded("builtins.derivationStrict { name = \"somepackage\"; }", &["«string»:1:1:primop derivationStrict:somepackage 1"]);
    let nested = ["«string»:1:6 2", "«string»:1:6;«string»:1:15:primop lessThan 2", "«string»:1:6;«string»:1:15:primop lessThan;«string»:1:11:primop sub 2", "«string»:1:1:primop map 1"];
    check_folded("map (x: x - 1 < 2) [1 2]", &nested);
}

#[test]
fn functions_are_counted_with_what_they_allocate() {
    with_eval(|eval| {
        let profiler = Rc::new(Profiler::every_call());
        eval.set_observer(Some(profiler.clone()));
        let text = b"let big = n: builtins.length (builtins.genList (x: x) n); twice = n: big n + big n; in twice 1000";
        eval.eval_text(text, Origin::String, b"/").expect("it evaluates");
        let of = |name: &str| {
            let symbol = Some(eval.symbols.intern(name.as_bytes()));
            let functions = profiler.functions();
            functions.into_iter().find(|(callee, _)| matches!(callee, Callee::Lambda(name, _) if *name == symbol)).expect("it was called").1
        };
        assert_eq!((of("big").calls, of("twice").calls), (2, 1));
        assert!(of("twice").total_bytes >= of("big").total_bytes && of("big").total_bytes > 2 * 1000 * 8);
        assert!(of("twice").own_bytes < of("big").total_bytes);
        assert!(profiler.table(eval, 10).contains("big at «string»:1:11"));
    });
}

#[test]
fn calls_are_counted() {
    with_eval(|eval| {
        let counter = CallCounter::new();
        eval.set_observer(Some(counter.clone()));
        eval.eval_text(b"let f = x: x + 1; s = { a = [ 1 ]; } // { b = [ 2 3 ]; }; in builtins.deepSeq (map f (s.a ++ s.b)) null", Origin::String, b"/").expect("it evaluates");
        let json = statistics_json(eval, 0.5, &counter, true);
        assert_eq!((json["nrFunctionCalls"].as_u64(), json["nrPrimOpCalls"].as_u64()), (Some(3), Some(2)));
        assert_eq!(json["primops"]["map"], 1);
        let numbers = ["nrLookups", "nrOpUpdates", "nrOpUpdateValuesCopied"].map(|key| json[key].as_u64());
        assert_eq!((numbers, json["list"]["concats"].as_u64()), ([Some(2), Some(1), Some(2)], Some(1)));
        assert_eq!(json["functions"][0], serde_json::json!({ "name": "f", "line": 1, "column": 9, "count": 3 }));
        for key in ["cpuTime", "time", "envs", "list", "values", "symbols", "sets", "sizes", "nrThunks", "gc"] {
            assert!(!json[key].is_null(), "{key}");
        }
    });
}

/// Notes what it is told, and refuses calls of a function called `forbidden`.
#[derive(Default)]
struct Notes(RefCell<Vec<String>>);

impl<'h> Observer<'h> for Notes {
    fn enter(&self, eval: &Evaluator<'h>, call: &Call<'_, 'h>) -> EvalResult<()> {
        let name = match eval.callee(call.function) {
            Callee::Lambda(Some(name), _) | Callee::Builtin(name) => eval.text(name),
            other => format!("{other:?}"),
        };
        self.0.borrow_mut().push(format!("+{name}"));
        if name == "forbidden" { Err(EvalError::new(ErrorKind::Interrupted, "not this one")) } else { Ok(()) }
    }

    fn leave(&self, _eval: &Evaluator<'h>, _call: &Call<'_, 'h>, error: Option<&EvalError>) {
        self.0.borrow_mut().push(error.map_or("-".into(), |error| format!("-{error}")));
    }

    fn pause(&self, eval: &Evaluator<'h>, value: Value<'h>) -> EvalResult<()> {
        // What the observer itself evaluates is not reported.
        let shown = eval.force(value).and_then(|value| eval.print_plain(value))?;
        self.0.borrow_mut().push(format!("break {}", String::from_utf8_lossy(&shown)));
        Ok(())
    }
}

#[test]
fn calls_are_seen_in_order_and_may_be_refused() {
    let check = |text: &str, expected: &[&str]| {
        with_eval(|eval| {
            let notes = Rc::new(Notes::default());
            eval.set_observer(Some(notes.clone()));
            let result = eval.eval_text(text.as_bytes(), Origin::String, b"/");
            assert_eq!(*notes.0.borrow(), expected, "{text}");
            eval.set_observer(None);
            let _ = eval.eval_text(b"(x: x) 1", Origin::String, b"/");
            assert_eq!(notes.0.borrow().len(), expected.len(), "nobody is told any more");
            if let Err(error) = result {
                assert!(matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Throw), "{error}");
            }
        });
    };
    check("let f = x: x; g = x: f x; in g (f 1)", &["+g", "+f", "+f", "-", "-", "-"]);
    check("let forbidden = x: x; in forbidden 1", &["+forbidden"]);
    check("let f = x: throw x; in f \"no\"", &["+f", "+throw", "-no", "-no"]);
    check("builtins.break ((x: x + 1) 1)", &["+break", "break 2", "-"]);
}

#[test]
fn an_observed_evaluation_gives_the_same() {
    for text in [
        "let f = { a, b ? a, ... }@args: [ a b args ]; in f { a = 1; c = 2; }",
        "builtins.foldl' (a: b: a * b - 1) 1 [ 1 2 3 4 ]",
        "builtins.tryEval (builtins.head [ ])",
        "(x: y: z: [ x y z ]) 1 2 3",
        "let s = { __functor = self: x: self.y + x; y = 1; }; in [ (s 1) (s 2) ]",
        "builtins.seq (throw \"a\") 1",
        "(x: x) 1 2",
    ] {
        let outcomes = [false, true].map(|observed| {
            with_eval(|eval| {
                if observed {
                    eval.set_observer(Some(CallCounter::new()));
                }
                let result = eval.eval_text(text.as_bytes(), Origin::String, b"/").and_then(|value| eval.force_deep(value)).and_then(|value| eval.print_plain(value));
                result.map_err(|error| crate::diagnostics::render(&crate::diagnostics::Diagnostic::from_error(&error, &eval.sources), &Default::default()))
            })
        });
        assert_eq!(outcomes[0], outcomes[1], "{text}");
    }
}
