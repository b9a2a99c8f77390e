//! How a local store is opened: where it lies and how careful it is.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::SpaceGuard;
use super::canonicalise;
use crate::content_rules::ContentRules;
use crate::path::{StoreDir, StorePath};
use crate::signature::{SecretKey, TrustedKeys};

/// Where a local store is and how careful it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalStoreOptions {
    /// Everything lies below this directory; paths keep naming `store_dir`. `None` is the file system's root.
    pub root: Option<PathBuf>,
    /// The directory that paths name.
    pub store_dir: StoreDir,
    /// Where the files are; otherwise `nix/store` below the root.
    pub real_store_dir: Option<PathBuf>,
    /// Database, roots and locks; otherwise `nix/var/nix` below the root.
    pub state_dir: Option<PathBuf>,
    /// Logs of builds; otherwise `nix/var/log/nix` below the root.
    pub log_dir: Option<PathBuf>,
    /// Nothing is written, made or locked.
    pub read_only: bool,
    /// Whether links that are made roots lead to logical paths, as the reference makes them, also where the files are
    /// elsewhere. Otherwise they lead to the files.
    pub logical_links: bool,
    /// Let the store directory be, or be below, a symbolic link.
    pub allow_symlinked_store: bool,
    /// `use-sqlite-wal`: write-ahead log. Without it, locks that work on network file systems.
    pub use_wal: bool,
    /// `fsync-metadata`: SQLite syncs.
    pub fsync_metadata: bool,
    /// `fsync-store-paths`: files are synced before they are registered.
    pub fsync_store_paths: bool,
    /// `sync-before-registering`: the whole file system is synced before a registration.
    pub sync_before_registering: bool,
    /// `ignored-acls`: extended attributes that stay.
    pub ignored_acls: Vec<String>,
    /// `gc-reserved-space` in bytes.
    pub reserved_space: u64,
    /// `min-free` and its like. Off by default.
    pub space_guard: SpaceGuard,
    /// `auto-optimise-store`: equal files are linked whenever a path is registered.
    pub auto_optimise: bool,
    /// `require-sigs`: what others bring must be content-addressed or signed by one of `trusted_keys`.
    pub require_signatures: bool,
    /// `trusted-public-keys`. The default trusts nobody.
    pub trusted_keys: TrustedKeys,
    /// The keys of `secret-key-files`: what this store has built is signed with them.
    pub secret_keys: Vec<SecretKey>,
    /// Which rules content-addressed derivations follow.
    pub content_rules: ContentRules,
    /// Paths whose locks another program holds for this one, so that they are not taken.
    pub held_locks: BTreeSet<StorePath>,
}

impl Default for LocalStoreOptions {
    /// The reference's defaults.
    fn default() -> LocalStoreOptions {
        LocalStoreOptions {
            root: None,
            store_dir: StoreDir::default(),
            real_store_dir: None,
            state_dir: None,
            log_dir: None,
            read_only: false,
            logical_links: false,
            allow_symlinked_store: false,
            use_wal: true,
            fsync_metadata: true,
            fsync_store_paths: false,
            sync_before_registering: false,
            ignored_acls: canonicalise::default_ignored_acls(),
            reserved_space: 8 * 1024 * 1024,
            space_guard: SpaceGuard::default(),
            auto_optimise: false,
            require_signatures: true,
            trusted_keys: TrustedKeys::default(),
            secret_keys: Vec::new(),
            content_rules: ContentRules::default(),
            held_locks: BTreeSet::new(),
        }
    }
}

impl LocalStoreOptions {
    /// A store rooted in this directory, otherwise with the defaults.
    pub fn rooted(root: impl Into<PathBuf>) -> LocalStoreOptions {
        LocalStoreOptions { root: Some(root.into()), ..LocalStoreOptions::default() }
    }
}
