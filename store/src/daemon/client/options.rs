//! [`DaemonStoreOptions`]: how a daemon is used.

use std::path::PathBuf;
use std::sync::Arc;

use crate::content_rules::ContentRules;
use crate::path::StoreDir;
use crate::wire::log::LogSink;
use crate::wire::operations::ClientOptions;

/// How a daemon is used.
pub struct DaemonStoreOptions {
    /// The logical directory of the daemon's paths.
    pub store_dir: StoreDir,
    /// Where the files of paths are on this machine; nothing if they are elsewhere.
    pub real_store_dir: Option<PathBuf>,
    /// What the daemon is told to do builds with, if anything. Nothing of the process goes there by itself.
    pub settings: Option<ClientOptions>,
    /// Where logs of builds are on this machine.
    pub log_dir: Option<PathBuf>,
    /// Whether the daemon makes links that are to be roots, rather than this process: on the machine where it is.
    pub daemon_makes_links: bool,
    /// Which rules the daemon's derivations are thought to follow. For those of 2.35 the form of realisations that belongs to them is
    /// offered to it, for others it is not: what is asked for in one form can't be kept by a store of the other.
    pub content_rules: ContentRules,
    /// Takes what the daemon says while it works.
    pub log: Arc<dyn LogSink>,
}

impl DaemonStoreOptions {
    /// The reference's defaults, for a daemon whose files are elsewhere.
    pub fn new(store_dir: StoreDir) -> DaemonStoreOptions {
        DaemonStoreOptions {
            store_dir,
            real_store_dir: None,
            settings: None,
            log_dir: None,
            daemon_makes_links: false,
            content_rules: ContentRules::default(),
            log: Arc::new(()),
        }
    }
}
