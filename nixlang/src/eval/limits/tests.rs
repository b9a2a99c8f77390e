//! Each budget runs out, says so, and leaves an evaluator that goes on. Nothing here depends on how fast the machine is.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::eval::{EvalOptions, session};
use crate::heap::Value;
use crate::host::{Host, HostLayer, MemoryHost};
use crate::source::Origin;

const FOREVER: &[u8] = b"let f = x: f (x + 1); in f 0";

fn with_budgets<R: Send>(budgets: Budgets, body: impl for<'h> FnOnce(&Evaluator<'h>) -> R + Send) -> R {
    session(|| Box::new(MemoryHost::default()), EvalOptions { budgets, ..EvalOptions::default() }, body).expect("a thread is there")
}

fn eval_int(eval: &Evaluator<'_>, text: &[u8]) -> Result<i64, ErrorKind> {
    let value = eval.eval_text(text, Origin::String, b"/").map_err(|error| error.kind())?;
    eval.force_int(value, Pos::NONE, "").map_err(|error| error.kind())
}

/// Runs out of a budget within a thunk, gives more, and forces the same thunk again.
#[track_caller]
fn goes_on_afterwards(budgets: Budgets, more: Budgets, text: &[u8], kind: ErrorKind) {
    with_budgets(budgets, |eval| {
        let value = eval.eval_text(text, Origin::String, b"/").expect("only the attribute is too much");
        let crate::heap::Kind::Attrs(attrs) = value.kind() else { panic!("it is a set") };
        let slot = attrs.get(eval.symbols.intern(b"a")).expect("it has an attribute a");
        for _ in 0..2 {
            assert_eq!(eval.force(slot.get()).expect_err("it is too much").kind(), kind);
        }
        eval.set_budgets(more);
        assert!(eval.force(slot.get()).is_ok(), "the thunk has not remembered that it was stopped");
        assert_eq!(eval_int(eval, b"1 + 1"), Ok(2));
    });
}

#[test]
fn steps() {
    let few = Budgets { steps: Some(10_000), ..Budgets::default() };
    with_budgets(few.clone(), |eval| {
        assert_eq!(eval_int(eval, FOREVER), Err(ErrorKind::StepLimit));
        assert_eq!(eval.steps(), 10_000);
        assert_eq!(eval_int(eval, b"builtins.length (builtins.genList (x: x) 3)"), Err(ErrorKind::StepLimit));
    });
    let text = b"{ a = builtins.foldl' (a: b: a + b) 0 (builtins.genList (x: x) 20000); }";
    goes_on_afterwards(few, Budgets::default(), text, ErrorKind::StepLimit);
}

#[test]
fn steps_are_counted_exactly() {
    let text = b"builtins.foldl' (a: b: a + b) 0 (builtins.genList (x: x) 5000)";
    let taken = with_budgets(Budgets::default(), |eval| {
        assert_eq!(eval_int(eval, text), Ok(12_497_500));
        eval.steps()
    });
    for (steps, expected) in [(taken, Ok(12_497_500)), (taken - 1, Err(ErrorKind::StepLimit))] {
        let budgets = Budgets { steps: Some(steps), ..Budgets::default() };
        with_budgets(budgets, |eval| assert_eq!(eval_int(eval, text), expected, "{steps} of {taken}"));
    }
}

#[test]
fn heap_bytes() {
    let budgets = |mib: usize| Budgets { heap_bytes: Some(mib << 20), ..Budgets::default() };
    let text = b"{ a = builtins.length (builtins.genList (x: x) 100000); }";
    goes_on_afterwards(budgets(1), budgets(64), text, ErrorKind::HeapLimit);
    // What grows by doubling, by one large allocation, by many, outside of the heap, and only when it is printed.
    for text in [
        "let f = n: s: if n == 0 then builtins.stringLength s else f (n - 1) (s + s); in f 60 \"xxxxxxxx\"",
        "let f = n: l: if n == 0 then builtins.length l else f (n - 1) (l ++ l); in f 60 [ 1 ]",
        "builtins.length (builtins.genList (x: x) 4000000000)",
        "let f = s: f (s + \"x\"); in f \"\"",
        "let f = n: builtins.seq (builtins.tryEval (throw \"x\")) (f (n + 1)); in f 0",
        "let f = n: if n == 0 then [ ] else [ (f (n - 1)) (f (n - 1)) ]; in builtins.stringLength (builtins.toJSON (f 50))",
        "let f = n: v: if n == 0 then v else f (n - 1) [ v v ]; in builtins.stringLength (builtins.toJSON (f 50 \"abc\"))",
        "let f = n: v: if n == 0 then v else f (n - 1) [ v v ]; in builtins.stringLength (builtins.toXML (f 50 \"abc\"))",
        "let s = builtins.concatStringsSep \"x\" (builtins.genList (x: \"\") 30000); in builtins.stringLength (builtins.replaceStrings [ \"x\" ] [ s ] s)",
        "let s = builtins.concatStringsSep \"x\" (builtins.genList (x: \"\") 100000); in builtins.deepSeq (builtins.genList (i: builtins.substring i 90000 s) 1000) 1",
    ] {
        let kind = with_budgets(budgets(16), |eval| {
            let kind = eval_int(eval, text.as_bytes());
            assert!(eval.heap.used_bytes() < 48 << 20, "{text}: {} bytes", eval.heap.used_bytes());
            kind
        });
        assert!(matches!(kind, Err(ErrorKind::HeapLimit | ErrorKind::CallDepth)), "{text}: {kind:?}");
    }
}

#[test]
fn more_than_the_machine_has_is_an_error() {
    with_budgets(Budgets::default(), |eval| {
        assert_eq!(eval.charge(1 << 62).expect_err("no machine has that").kind(), ErrorKind::HeapLimit);
    });
    // 2.34.8 says "out of memory" to both.
    for text in ["builtins.length (builtins.genList (x: x) 9223372036854775807)", "builtins.addErrorContext (1 + [ ]) (builtins.length (builtins.genList (x: x) 3074457345618258602))"] {
        with_budgets(Budgets::default(), |eval| assert_eq!(eval_int(eval, text.as_bytes()), Err(ErrorKind::HeapLimit), "{text}"));
    }
}

/// A host whose clock goes a second further whenever it is looked at.
struct Clock(MemoryHost, Instant, AtomicU64);

impl HostLayer for Clock {
    fn inner(&self) -> &dyn Host {
        &self.0
    }

    fn now(&self) -> Instant {
        self.1 + Duration::from_secs(self.2.fetch_add(1, Ordering::Relaxed))
    }
}

#[test]
fn wall_time() {
    let options = EvalOptions { budgets: Budgets { time: Some(Duration::from_secs(3)), ..Budgets::default() }, ..EvalOptions::default() };
    let host = || -> Box<dyn Host> { Box::new(Clock(MemoryHost::default(), Instant::now(), AtomicU64::new(0))) };
    session(host, options, |eval| {
        assert_eq!(eval_int(eval, b"1 + 1"), Ok(2));
        assert_eq!(eval_int(eval, FOREVER), Err(ErrorKind::TimeLimit));
        eval.set_budgets(Budgets::default());
        assert_eq!(eval_int(eval, b"1 + 1"), Ok(2));
    })
    .expect("a thread is there");
}

#[test]
fn another_thread_cancels() {
    let token = CancelToken::new();
    let budgets = Budgets { cancel: Some(token.clone()), ..Budgets::default() };
    // The evaluation itself says that it has begun, so that this does not depend on time.
    let (begun, wait) = std::sync::mpsc::channel();
    let canceller = std::thread::spawn(move || {
        wait.recv().expect("the evaluation begins");
        token.cancel();
    });
    with_budgets(budgets, |eval| {
        let tell = crate::builtins::host_function(
            eval.heap,
            "tell",
            1,
            Arc::new(move |eval, _| {
                // Nobody listens any more the second time.
                let _ = begun.send(());
                Ok(eval.heap.int(0))
            }),
        );
        eval.set_global(eval.symbols.intern(b"tell"), tell);
        assert_eq!(eval_int(eval, b"let f = x: f (x + 1); in builtins.seq (tell 0) (f 0)"), Err(ErrorKind::Cancelled));
        assert_eq!(eval_int(eval, FOREVER), Err(ErrorKind::Cancelled));
        eval.set_budgets(Budgets::default());
        assert_eq!(eval_int(eval, b"1 + 1"), Ok(2));
    });
    canceller.join().expect("it ends");
}

#[test]
fn call_depth() {
    let options = EvalOptions { max_call_depth: 50, ..EvalOptions::default() };
    session(|| Box::new(MemoryHost::default()), options, |eval| {
        let text = b"rec { f = n: if n == 0 then 0 else 1 + f (n - 1); a = f 40; g = n: if n == 0 then a else 0 + g (n - 1); b = g 30; }";
        let value = eval.eval_text(text, Origin::String, b"/").expect("nothing is called yet");
        let crate::heap::Kind::Attrs(attrs) = value.kind() else { panic!("it is a set") };
        let force = |name: &[u8]| eval.force(attrs.get(eval.symbols.intern(name)).expect("it is there").get()).map_err(|error| error.kind());
        assert_eq!(force(b"b").expect_err("too deep there"), ErrorKind::CallDepth);
        // Forced from less deep, it fits.
        assert!(force(b"a").is_ok());
        assert!(force(b"b").is_ok());
    })
    .expect("a thread is there");
}

#[test]
fn nested_operands_are_an_error_where_the_stack_is_nearly_full() {
    // The text is read where the stack is empty, and evaluated where there is next to nothing left of it.
    for (open, middle, close) in [
        ("(1 + ", "x", ")"),
        ("(1 - ", "x", ")"),
        ("(", "x", ").a"),
        ("(if ", "x", " then true else false)"),
        ("(", "x", " // { })"),
        ("[ 1 ] ++ ", "x", ""),
        ("\"a${", "x", "}\""),
        ("(", "x", " == 1)"),
        ("(", "x", " && true)"),
        ("(assert ", "x", "; true)"),
        ("(", "x", " ? a)"),
        ("(x.${", "x", "})"),
    ] {
        const DEPTH: usize = 3000;
        let text = format!("x: {}{middle}{}", open.repeat(DEPTH), close.repeat(DEPTH));
        with_budgets(Budgets::default(), |eval| {
            let function = eval.eval_text(text.as_bytes(), Origin::String, b"/").expect("it parses");
            let before = eval.set_stack(STACK_RESERVE + 300 * 1024);
            let error = eval.call(function, &[Value::NULL], Pos::NONE).expect_err("it is too deep");
            eval.restore_stack(before);
            assert_eq!(error.kind(), ErrorKind::StackOverflow, "{open}: {error}");
        });
    }
}

#[test]
fn what_ends_in_another_expression_does_not_nest() {
    for (open, middle) in [("if true then x else ", "x"), ("assert true; ", "x"), ("with { }; ", "x"), ("let a = 1; in ", "x"), ("!!", "true"), ("{ }: ", "x")] {
        let text = format!("x: {}{middle}", open.repeat(3000));
        with_budgets(Budgets::default(), |eval| {
            let function = eval.eval_text(text.as_bytes(), Origin::String, b"/").expect("it parses");
            let before = eval.set_stack(STACK_RESERVE + 300 * 1024);
            let result = eval.call(function, &[Value::NULL], Pos::NONE);
            eval.restore_stack(before);
            assert!(result.is_ok(), "{open}: {:?}", result.err());
        });
    }
}
