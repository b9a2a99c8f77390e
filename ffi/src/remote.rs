//! Addresses of stores that are not on this machine's disk.

use std::collections::BTreeMap;

use nixlang_store::path::StoreDir;

use crate::settings::Settings;
use crate::stores::OpenStore;

/// Opens the store of an address that is not a local one.
pub(crate) fn open(base: &str, parameters: &BTreeMap<String, String>, store_dir: StoreDir, settings: &Settings) -> Result<OpenStore, String> {
    let _ = (parameters, store_dir, settings);
    match base.split_once(':') {
        Some((scheme, _)) => Err(format!("don't know how to open Nix store with scheme '{scheme}'")),
        None => Err(format!("don't know how to open Nix store '{base}'")),
    }
}
