//! The Nix C API's names: the functions, prototypes and semantics of 2.34 (and the three that its master added), over the same engine as our own API.
//!
//! Facts are from the reference's `lib*-c` directories, 2.34.8. Deviations, all where the reference ends the process or can't be right: a getter of the wrong type, an index
//! out of range of a list builder and a bad value of a setting are errors; an error without a context to put it into is dropped (the reference throws a C++
//! exception through the C frame); messages have no terminal colours; argument names of a primop are kept as given; `nix_get_external` works.
//!
//! What the reference keeps per process is per process here too, and only here: the settings, and the heap that values of all states live in, which is freed
//! with the last state and value.

// Each exported function's contract is its header's: handles are NULL or live handles of the right type, strings are NUL-terminated, and pointers for
// results are NULL or writable.
#![allow(clippy::missing_safety_doc, reason = "see above")]
#![allow(unreachable_pub, missing_docs, non_camel_case_types, reason = "C is who reaches these; the headers document them")]

mod context;
mod derivation;
mod expr;
mod external;
mod flake;
mod getters;
mod handles;
mod init;
mod primop;
mod realise;
mod store;
mod util;
