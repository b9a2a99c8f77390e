//! Flakes: a tree with a `flake.nix` that says what it needs (`inputs`) and what it gives (`outputs`), and a `flake.lock` that says which
//! trees are meant by what it needs.
//!
//! [`read`] turns a `flake.nix` into a [`Flake`]. [`lock`] finds out what all inputs are, from the lock file as far as that fits, and
//! [`call`] makes of it the value that `builtins.getFlake` returns. All trees, registries and lock files come through
//! [`Host`](crate::host::Host). The surprising thing: a `flake.nix` is evaluated only as far as it is plain data; a description that has to be
//! computed is an error.

mod call;
mod diff;
mod get;
mod lock;
mod lock_file;
mod lock_file_json;
mod locking;
mod read;

use std::collections::BTreeMap;

pub use call::call;
pub use get::get_flake;
pub use lock::{LockOptions, LockedFlake, ReferenceLockFile, lock};
pub use lock_file::{Edge, InputPath, LockFile, LockedNode, Node, NodeIndex, parse_input_path, print_input_path};
pub use lock_file_json::{LockFileError, LockFileReader};
pub use nixlang_store::input::FlakeRef;

use nixlang_store::input::Attrs;
use nixlang_store::path::StorePath;

/// Which registries are asked for references such as `nixpkgs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseRegistries {
    /// None.
    No,
    /// Those that are the same for everybody.
    Limited,
    /// All.
    All,
}

/// An input as a `flake.nix` has it.
#[derive(Clone, Debug)]
pub struct FlakeInput {
    /// What it refers to; where this and `follows` are missing, what the registries have for its name.
    pub reference: Option<FlakeRef>,
    /// Whether it is a flake itself, rather than any tree.
    pub is_flake: bool,
    /// The input that it is the same as, from the root of the lock file.
    pub follows: Option<InputPath>,
    /// What it says of the inputs of this input.
    pub overrides: FlakeInputs,
}

impl Default for FlakeInput {
    fn default() -> Self {
        FlakeInput { reference: None, is_flake: true, follows: None, overrides: FlakeInputs::new() }
    }
}

/// Inputs by name.
pub type FlakeInputs = BTreeMap<String, FlakeInput>;

/// A setting of `nixConfig`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigValue {
    /// A string, or a path that was copied to the store.
    Text(String),
    /// An integer.
    Number(i64),
    /// A truth value.
    Bool(bool),
    /// A list of strings.
    List(Vec<String>),
}

/// As settings are written in files.
impl std::fmt::Display for ConfigValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConfigValue::Text(text) => f.write_str(text),
            ConfigValue::Number(number) => write!(f, "{number}"),
            ConfigValue::Bool(value) => write!(f, "{value}"),
            ConfigValue::List(words) => f.write_str(&words.join(" ")),
        }
    }
}

/// A flake whose `flake.nix` was read.
#[derive(Clone, Debug)]
pub struct Flake {
    /// The reference that somebody wrote.
    pub original: FlakeRef,
    /// What the registries made of it.
    pub resolved: FlakeRef,
    /// What was fetched: with commit, hash and times as far as there are any.
    pub locked: FlakeRef,
    /// The directory of `flake.nix`.
    pub directory: Vec<u8>,
    /// The tree, if it is one that was fetched. A flake at a relative path is part of another's.
    pub tree: Option<StorePath>,
    /// What tells its contents from others, if anything does without a look at all of them.
    pub fingerprint: Option<String>,
    /// Whether it is to be treated as if it had changes, since its lock file is not the one that was used.
    pub is_dirty: bool,
    /// What it says of itself.
    pub description: Option<String>,
    /// What it needs.
    pub inputs: FlakeInputs,
    /// How its own tree is to be fetched (`inputs.self`).
    pub self_attrs: Attrs,
    /// Settings that it wants (`nixConfig`).
    pub config: BTreeMap<String, ConfigValue>,
}

impl Flake {
    /// Returns the path of its `flake.nix`.
    pub fn file(&self) -> Vec<u8> {
        crate::path::join(&self.directory, b"flake.nix")
    }

    /// Returns the path of its lock file, which need not be there.
    pub fn lock_file(&self) -> Vec<u8> {
        crate::path::join(&self.directory, b"flake.lock")
    }
}

/// A directory of a tree whose `flake.nix` is still to be read. Fields as in [`Flake`].
struct FetchedFlake {
    original: FlakeRef,
    resolved: FlakeRef,
    locked: FlakeRef,
    tree: Option<StorePath>,
    directory: Vec<u8>,
    fingerprint: Option<String>,
}

/// Returns the day that a time in seconds since 1970 lies on: `2026-11-22`.
fn day(seconds: u64) -> String {
    let date = crate::builtins::fetch::tree::date(seconds);
    format!("{}-{}-{}", &date[..date.len() - 10], &date[date.len() - 10..date.len() - 8], &date[date.len() - 8..date.len() - 6])
}

/// What settings say of flakes.
#[derive(Clone, Debug)]
pub struct FlakeOptions {
    /// Whether registries are asked at all (`use-registries`).
    pub use_registries: bool,
    /// Whether trees with changes may be fetched (`allow-dirty`).
    pub allow_dirty: bool,
    /// Whether a lock file may have inputs that only a hash tells from others (`allow-dirty-locks`).
    pub allow_dirty_locks: bool,
    /// Whether it is warned of trees with changes (`warn-dirty`).
    pub warn_dirty: bool,
    /// The first line of the message of a commit of a lock file (`commit-lock-file-summary`); empty for one that follows from what is done.
    pub commit_lock_file_summary: String,
}

impl Default for FlakeOptions {
    fn default() -> Self {
        FlakeOptions { use_registries: true, allow_dirty: true, allow_dirty_locks: false, warn_dirty: true, commit_lock_file_summary: String::new() }
    }
}
