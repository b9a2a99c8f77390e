//! The Nix language: text → tokens → lossless tree or arena IR → lazy values → derivations.
//!
//! To read the code start with `eval/expr.rs`, the one match over expressions, then `heap/thunk_cell.rs` and any file in `builtins/`.
//! Everything outside of the language comes through [`host::Host`].
//!
//! # Evaluate an expression
//! A [`session`](eval::session()) is one heap with one evaluator on it, on a stack of its own. Values stay inside; what you want of them you turn into
//! types of your own.
//! ```
//! use nixlang::eval::{EvalOptions, session};
//! use nixlang::heap::Kind;
//! use nixlang::host::MemoryHost;
//! use nixlang::source::Origin;
//!
//! let answer = session(|| Box::new(MemoryHost::default()), EvalOptions::default(), |eval| {
//!     let value = eval.eval_text(b"let answer = 6 * 7; in { inherit answer; }.answer", Origin::String, b"/").ok()?;
//!     match value.kind() {
//!         Kind::Int(int) => Some(int),
//!         _ => None,
//!     }
//! })?;
//! assert_eq!(answer, Some(42));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Call a function, with files of your own
//! ```
//! # use nixlang::eval::{EvalOptions, session};
//! # use nixlang::host::MemoryHost;
//! # use nixlang::source::{Origin, Pos};
//! let host = || MemoryHost::with_files([("/area.nix", "{ width, height ? width }: width * height")]);
//! let area = session(move || Box::new(host()), EvalOptions::default(), |eval| {
//!     let function = eval.import(b"/area.nix")?;
//!     let argument = eval.attrs_of([(eval.symbols.intern(b"width"), eval.heap.int(12))]);
//!     let area = eval.call(function, &[argument], Pos::NONE)?;
//!     eval.print_plain(area)
//! })?;
//! assert_eq!(area.expect("it evaluates"), b"144");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Add a builtin
//! ```
//! # use std::sync::Arc;
//! # use nixlang::eval::{EvalOptions, session};
//! # use nixlang::host::MemoryHost;
//! # use nixlang::source::{Origin, Pos};
//! let shouted = session(|| Box::new(MemoryHost::default()), EvalOptions::default(), |eval| {
//!     let shout = nixlang::builtins::host_function(eval.heap, "shout", 1, Arc::new(|eval, arguments| {
//!         let text = eval.force_string(arguments[0], Pos::NONE, "while evaluating what to shout")?;
//!         Ok(eval.heap.string(&text.bytes().to_ascii_uppercase()))
//!     }));
//!     eval.set_global(eval.symbols.intern(b"shout"), shout);
//!     eval.eval_text(b"map shout [ \"hey\" ]", Origin::String, b"/").and_then(|value| eval.force_deep(value)).and_then(|value| eval.print_plain(value))
//! })?;
//! assert_eq!(shouted.expect("it evaluates"), b"[ \"HEY\" ]");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Read an error
//! An error is data: a kind, a message, a place, the way to it. [`diagnostics`] makes it readable outside of the session, and text.
//! ```
//! # use nixlang::eval::{ErrorKind, EvalOptions, session};
//! # use nixlang::host::MemoryHost;
//! # use nixlang::source::Origin;
//! session(|| Box::new(MemoryHost::default()), EvalOptions::default(), |eval| {
//!     let error = eval.eval_text(b"{ colour = 1; }.color", Origin::String, b"/").expect_err("it is spelt otherwise");
//!     assert_eq!(error.kind(), ErrorKind::MissingAttribute);
//!     assert_eq!(error.data().suggestions, ["colour"]);
//!     assert_eq!(eval.show_pos(error.data().pos), "«string»:1:1");
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
#![deny(unsafe_code)]

pub mod builtins;
pub mod diagnostics;
pub mod eval;
pub mod flake;
pub mod format;
pub mod heap;
pub mod host;
pub mod lower;
pub mod packages;
pub mod path;
pub mod repl;
pub mod source;
mod source_dump;
pub mod symbol;
pub mod syntax;
pub(crate) mod text;
pub mod tools;
pub mod value;
