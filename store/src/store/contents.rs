//! What can be put into a store: texts, bytes, archives, file trees, and how they are named.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use crate::content_address::ContentAddressMethod;
use crate::hash::Algorithm;
use crate::path::StorePath;

/// A text file with references: what `builtins.toFile` and derivations are in a store.
#[derive(Debug, Clone)]
pub struct Text<'t> {
    /// The name behind the hash.
    pub name: &'t str,
    /// What the file holds.
    pub contents: &'t [u8],
    /// Store paths that it refers to; they are part of its identity and must be valid.
    pub references: BTreeSet<StorePath>,
}

/// Where the contents of a content-addressed object come from.
pub enum Contents<'c> {
    /// A regular file with these bytes, not executable.
    Bytes(&'c [u8]),
    /// A NAR.
    Nar(&'c mut dyn Read),
    /// A file tree on disk. It is hashed first and copied only if the object is missing.
    Tree {
        /// The tree's root: a file, a symbolic link or a directory.
        path: &'c Path,
        /// Which files below the root to take; all without it.
        filter: Option<&'c mut Filter<'c>>,
    },
}

/// Decides whether a file below a tree's root is taken. Gets its path, which starts with the root's.
pub type Filter<'f> = dyn FnMut(&Path, FileKind) -> bool + 'f;

/// What kind of file a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A file with bytes.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
}

/// How an object is named by its contents.
#[derive(Debug, Clone)]
pub struct Addressing<'a> {
    /// The name behind the hash.
    pub name: &'a str,
    /// What is hashed.
    pub method: ContentAddressMethod,
    /// With which algorithm.
    pub algorithm: Algorithm,
    /// Store paths that it refers to; only texts and NARs with SHA-256 may have some.
    pub references: BTreeSet<StorePath>,
}

impl<'a> Addressing<'a> {
    /// The usual address of sources: NAR, SHA-256, no references.
    pub fn source(name: &'a str) -> Addressing<'a> {
        Addressing {
            name,
            method: ContentAddressMethod::Nar,
            algorithm: Algorithm::Sha256,
            references: BTreeSet::new(),
        }
    }
}

/// How [`Store::add_nar`](super::Store::add_nar) adds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddOptions {
    /// Puts the contents in place again even if the path is valid.
    pub repair: bool,
    /// Whether a path that is not content-addressed needs a signature of a key that the store trusts, if the store
    /// asks for signatures at all. Only somebody who knows where the path comes from may turn this off.
    pub check_signatures: bool,
}

impl Default for AddOptions {
    fn default() -> AddOptions {
        AddOptions { repair: false, check_signatures: true }
    }
}

impl AddOptions {
    /// For paths whose origin is trusted: signatures don't matter.
    pub fn trusted() -> AddOptions {
        AddOptions { check_signatures: false, ..AddOptions::default() }
    }
}
