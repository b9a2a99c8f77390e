//! Addresses of stores that are not on this machine's disk: binary caches, in a directory or on a server.

use std::collections::BTreeMap;
use std::sync::Arc;

use nixlang_store::binary_cache::{BinaryCache, BinaryCacheOptions};
use nixlang_store::path::StoreDir;
use nixlang_store::transfer::Transport;
use nixlang_store::transfer::file::FileTransport;
use nixlang_store::transfer::http::{HttpOptions, HttpTransport};

use crate::settings::Settings;
use crate::stores::{OpenStore, error_text, render};

/// Opens the store of an address that is not a local one.
pub(crate) fn open(base: &str, parameters: &BTreeMap<String, String>, store_dir: StoreDir, settings: &Settings) -> Result<OpenStore, String> {
    let scheme = base.split(':').next().unwrap_or_default();
    let transport: Arc<dyn Transport> = match scheme {
        "file" => Arc::new(FileTransport),
        "http" | "https" => Arc::new(HttpTransport::new(HttpOptions::default())),
        _ if base.contains(':') => return Err(format!("don't know how to open Nix store with scheme '{scheme}'")),
        _ => return Err(format!("don't know how to open Nix store '{base}'")),
    };
    let mut options = BinaryCacheOptions::default();
    options.store_dir = store_dir;
    options.n_parallel = usize::try_from(settings.integer("http-connections")).unwrap_or(25).max(1);
    let cache = BinaryCache::open(base, transport, options).map_err(|error| error_text(&error))?;
    Ok(OpenStore { store: Arc::new(cache), local: None, address: render(base, parameters), is_writable: scheme == "file" })
}
