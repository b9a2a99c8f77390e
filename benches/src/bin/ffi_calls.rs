//! What calls of the C ABI cost, beside the same from Rust: `cargo run --release -p nixlang-benches --bin ffi_calls PREFIX`, where PREFIX is what
//! `nixlang-ffi-install --nix-c-api PREFIX` made of a release build. Needs `cc`.

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use nixlang::eval::EvalOptions;
use nixlang::heap::{Engine, Kind, OwnedValue};
use nixlang::host::MemoryHost;
use nixlang::source::{Origin, Pos};

/// Nanoseconds of the best of five rounds.
fn measure(count: u32, mut body: impl FnMut()) -> f64 {
    let round = |body: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..count).for_each(|_| body());
        start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
    };
    (0..5).map(|_| round(&mut body)).fold(f64::INFINITY, f64::min)
}

fn main() {
    let Some(prefix) = std::env::args().nth(1) else {
        eprintln!("usage: ffi_calls PREFIX");
        std::process::exit(2);
    };
    from_rust();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/ffi_calls.c");
    let program = std::env::temp_dir().join(format!("ffi_calls-{}", std::process::id()));
    let status = Command::new("cc")
        .args(["-std=gnu11", "-O2", source, "-o"])
        .arg(&program)
        .args([format!("-I{prefix}/include"), format!("-I{prefix}/include/nix"), format!("-L{prefix}/lib"), "-lnixlang".into(), format!("-Wl,-rpath,{prefix}/lib")])
        .status();
    assert!(status.expect("cc runs").success(), "the C program compiles");
    println!("\nfrom C, ns per call");
    let ran = Command::new(&program).status();
    let _ = std::fs::remove_file(&program);
    assert!(ran.expect("it runs").success(), "the C program succeeds");
}

fn from_rust() {
    let engine = Engine::new().expect("address space");
    let evaluator = engine.evaluator(Box::new(MemoryHost::default()), EvalOptions::default());
    let eval = |text: &str| -> OwnedValue {
        evaluator.enter(|eval| eval.eval_text(text.as_bytes(), Origin::String, b"/").map(|value| engine.own(eval.heap, value))).expect("it evaluates")
    };
    let (integer, list, set, function) = (eval("42"), eval("[ 1 2 3 4 ]"), eval("{ a = 1; b = 2; c = 3; }"), eval("x: x"));
    println!("from Rust, ns per call");
    let show = |name: &str, nanoseconds: f64| println!("{name} {nanoseconds:.1}");
    show("peek at an integer", measure(5_000_000, || {
        black_box(integer.peek(|value| if let Kind::Int(int) = value.kind() { int } else { 0 }));
    }));
    show("own an element of a list", measure(1_000_000, || {
        black_box(engine.with_heap(|heap| match list.on(heap).map(|value| value.kind()) {
            Some(Kind::List(list)) => Some(engine.own(heap, list.slots()[2].get())),
            _ => None,
        }));
    }));
    evaluator.enter(|eval| {
        let symbol = eval.symbols.intern(b"b");
        let (Some(set), Some(function), Some(integer)) = (set.get(eval), function.get(eval), integer.get(eval)) else { return };
        let Kind::Attrs(attrs) = set.kind() else { return };
        show("attribute by symbol, inside", measure(5_000_000, || {
            black_box(attrs.get(black_box(symbol)));
        }));
        show("call (x: x), inside", measure(300_000, || {
            black_box(eval.call(function, &[integer], Pos::NONE)).expect("it evaluates");
        }));
    });
    show("enter and leave", measure(1_000_000, || {
        black_box(evaluator.enter(|eval| eval.options.pure));
    }));
    let big = eval("builtins.genList (n: { name = \"package-${toString n}\"; version = [ 1 n 3 ]; meta = { broken = false; rate = 1.5; }; }) 50000");
    let mut best = 0.0_f64;
    for round in 0..5 {
        let start = Instant::now();
        let length = evaluator.enter(|eval| eval.to_json(big.get(eval).expect("of this engine"), Pos::NONE, false).map(|(json, _)| json.len())).expect("it evaluates");
        let rate = length as f64 / start.elapsed().as_secs_f64() / 1e6;
        if round > 0 {
            best = best.max(rate);
        }
    }
    println!("to_json, MB/s {best:.0}");
}
