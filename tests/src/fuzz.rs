//! Fuzz targets: functions that take any bytes and panic when something is not as it must be.
//!
//! The same functions run on a corpus in `cargo test` (`tests/fuzz.rs`), under the plain driver (`cargo run --bin fuzz`), which needs nothing but
//! the stable compiler, and under libFuzzer (`tests/fuzz/`), which sees what code an input reaches.

mod bytes;
mod corpus;
mod expressions;
mod language;
mod mutate;
mod oracle;
mod store;

pub use bytes::Bytes;
pub use corpus::corpus;
pub use expressions::expression;
pub use mutate::{Mutator, Random};
pub use oracle::{Disagreement, compare_with_reference};

/// A target: its name, what must hold, and the function.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// What it checks.
    pub checks: &'static str,
    /// Panics when that doesn't hold for these bytes.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "parser", checks: "the tree keeps every byte, agrees with the evaluator's parser, and all tools walk it", run: language::parser },
    Target { name: "evaluator", checks: "generated expressions give the same twice, within their budgets", run: language::evaluator },
    Target { name: "printer", checks: "printed values are read back as what they are", run: language::printer },
    Target { name: "formatter", checks: "what is formatted stays as it is when formatted again, and parses", run: language::formatter },
    Target { name: "regex", checks: "what `split` gives is the whole text, and `match` agrees with it", run: language::regex },
    Target { name: "json", checks: "what `fromJSON` takes survives `toJSON`, and only what is JSON is taken", run: language::json },
    Target { name: "toml", checks: "what `fromTOML` takes is a set of plain values", run: language::toml },
    Target { name: "nar", checks: "an archive that is read is written again as it was", run: store::nar },
    Target { name: "narinfo", checks: "what is read is written and read as the same", run: store::narinfo },
    Target { name: "derivation", checks: "what is read is written and read as the same", run: store::derivation },
    Target { name: "wire", checks: "a message that is read is written and read as the same, in every version", run: store::wire },
];
