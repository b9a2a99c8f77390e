//! The way into a heap: a session makes a heap and an evaluator on it, and runs a closure with it on a stack of its own.

use super::{EvalOptions, Evaluator};
use crate::heap::Heap;
use crate::host::Host;

/// Address space for the stack of a session. Only what is used takes memory.
const STACK_BYTES: usize = if cfg!(debug_assertions) { 4 << 30 } else { 1 << 30 };

/// Runs `body` with a new evaluator, on a thread with a large stack of its own; returns what it returns, and frees the heap.
///
/// `host` makes the evaluator's host, on that thread. Values cannot leave: turn them into your own types inside.
///
/// # Errors
/// When the system gives no thread of that stack size.
///
/// ```
/// use nixlang::eval::{session, EvalOptions};
/// use nixlang::host::MemoryHost;
/// use nixlang::source::Origin;
///
/// let printed = session(|| Box::new(MemoryHost::default()), EvalOptions::default(), |eval| {
///     let value = eval.eval_text(b"1 + 1", Origin::String, b"/")?;
///     eval.print_plain(value)
/// })?;
/// assert_eq!(printed.expect("evaluates"), b"2");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn session<R: Send>(
    host: impl FnOnce() -> Box<dyn Host> + Send,
    options: EvalOptions,
    body: impl for<'h> FnOnce(&Evaluator<'h>) -> R + Send,
) -> std::io::Result<R> {
    std::thread::scope(|scope| {
        let run = move || {
            let heap = Heap::new();
            let evaluator = Evaluator::new(&heap, host(), options);
            evaluator.set_stack(STACK_BYTES);
            body(&evaluator)
        };
        let thread = std::thread::Builder::new().name("evaluation".into()).stack_size(STACK_BYTES).spawn_scoped(scope, run)?;
        match thread.join() {
            Ok(result) => Ok(result),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
