//! Nix store objects: pure formats and rules, and a local store.
//!
//! # The two halves
//!
//! The **pure half** is always there: bytes in, values out. It has no file system, clock, process or
//! thread in it, takes a [`path::StoreDir`] where a directory matters, and asks its caller through a
//! closure where it needs something it does not have. It runs in a browser as well as in a daemon.
//! `default-features = false` gives exactly this half.
//!
//! The **effect half** (feature `effects`, on by default) puts it on disks: stores, locks, garbage
//! collection, copying.
//!
//! The layer rule: a module uses only modules above it in this list, and nothing in the pure half
//! knows the effect half.
//!
//! 1. [`hash`], [`json`]: digests and their four encodings; JSON text as the reference prints it
//! 2. [`path`] and [`content_address`]: store paths and how they are computed
//! 3. [`nar`], [`git_hash`], [`references`], [`signature`], [`wire`]: archives, scanning, keys, protocol numbers
//! 4. [`derivation`], [`path_info`], [`narinfo`], [`realisation`]: what is known of objects; [`input`]: what a fetcher is asked for
//! 5. the effect half; on top of it [`mod@open`]: from addresses and settings to stores, substituters and fetchers
//!
//! # One path through it
//!
//! From a build step as an evaluator makes it to the file that a store keeps:
//!
//! ```
//! use std::collections::HashMap;
//! use nixlang_store::derivation::{Derivation, DerivationOutput};
//! use nixlang_store::path::StoreDir;
//!
//! let mut derivation = Derivation {
//!     name: "hello".into(),
//!     system: b"x86_64-linux".to_vec(),
//!     builder: b"/bin/sh".to_vec(),
//!     ..Derivation::default()
//! };
//! derivation.outputs.insert("out".into(), DerivationOutput::Deferred);
//! for (key, value) in [("name", "hello"), ("builder", "/bin/sh"), ("system", "x86_64-linux"), ("out", "")] {
//!     derivation.env.insert(key.into(), value.into());
//! }
//!
//! // Input derivations that are not in the memo are asked for; this one has none.
//! let mut memo = HashMap::new();
//! let mut lookup = |_: &_| Err("no inputs".into());
//! let dir = StoreDir::default();
//! let instantiated = derivation.instantiate(&dir, &mut memo, &mut lookup)?;
//!
//! assert_eq!(dir.display(&instantiated.path), "/nix/store/x0sj6ynccvc1a8kxr8fifnlf7qlxw6hd-hello.drv");
//! let DerivationOutput::InputAddressed(out) = &derivation.outputs["out"] else { unreachable!() };
//! assert_eq!(dir.display(out), "/nix/store/pnwh4xsfs4j508bs9iw6bpkyc4zw6ryx-hello");
//! assert!(instantiated.contents.starts_with(b"Derive([(\"out\",\"/nix/store/"));
//! # Ok::<(), nixlang_store::derivation::OutputPathError>(())
//! ```
//!
//! # Terminology
//!
//! - **store object**: a file tree together with its references.
//! - **store directory**: the directory that store paths are written with, `/nix/store` by default.
//! - **store path**: names a store object: a *hash part* of 20 bytes and a *name*. Its **base name** is
//!   its file name in the store directory.
//! - **reference**: a store path whose hash part occurs in an object. The **closure** of a path is all
//!   that its references lead to.
//! - **NAR**: the archive format whose hash identifies a file tree.
//! - **content address**: method and hash from which a store path follows.
//! - **derivation**: a build step; **instantiate**: turn one into a `.drv` file. The **deriver** of a
//!   path is the derivation that built it.
//! - **output**: what a derivation makes, by name. It is *input-addressed*, *fixed*, *floating*,
//!   *deferred* or *impure*.
//! - **hash modulo**: the hash of a derivation in which each input stands for what it makes.
//! - **placeholder**: a string that stands for a path that is not known yet.
//! - **realisation**: which path an output of a content-addressed derivation turned out to be.
//! - **narinfo**: what a binary cache says about an object; **fingerprint**: the line that is signed.
//! - **valid path**: one that a store has registered with its path info.
#![deny(unsafe_code)]

// The pure half: bytes in, values out. No file system, clock, process or thread.
pub mod hash;
pub mod json;

pub mod content_address;
pub mod content_rules;
pub mod path;

pub mod git_hash;
pub mod nar;
pub mod references;
pub mod signature;
pub mod wire;

pub mod derivation;
pub mod input;
pub mod narinfo;
pub mod path_info;
pub mod realisation;

// The half with effects: disks, databases, other processes.
#[cfg(feature = "effects")]
mod addressed;
#[cfg(feature = "compression")]
pub mod binary_cache;
#[cfg(feature = "effects")]
pub mod closure;
#[cfg(feature = "compression")]
pub mod compression;
#[cfg(feature = "effects")]
pub mod configuration;
#[cfg(feature = "effects")]
pub mod copy;
#[cfg(feature = "effects")]
pub mod daemon;
#[cfg(feature = "effects")]
pub mod error;
#[cfg(feature = "effects")]
pub mod export;
#[cfg(feature = "effects")]
pub mod fs;
#[cfg(feature = "effects")]
pub mod gc;
#[cfg(feature = "effects")]
pub mod local;
#[cfg(feature = "effects")]
pub mod make_content_addressed;
#[cfg(feature = "effects")]
pub mod memory;
#[cfg(feature = "http")]
pub mod open;
#[cfg(feature = "effects")]
mod parallel;
#[cfg(feature = "effects")]
pub mod serve;
#[cfg(feature = "effects")]
pub mod ssh;
#[cfg(feature = "effects")]
pub mod profile;
#[cfg(feature = "effects")]
pub mod store;
#[cfg(feature = "compression")]
pub mod substituter;
#[cfg(feature = "effects")]
pub mod transfer;
#[cfg(feature = "fetchers")]
pub mod extract;
#[cfg(feature = "fetchers")]
pub mod fetchers;
