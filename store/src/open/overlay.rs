//! `local-overlay://` addresses: stores of this machine on top of others.

use std::path::PathBuf;

use super::{OpenError, Opener, StorePlace};
use crate::error::StoreError;
use crate::local::{LocalStore, OverlayOptions};

/// What an address says about the layers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OverlayPlace {
    /// `lower-store`: the address of the store below.
    pub lower: String,
    /// `upper-layer`: the upper layer of the mount.
    pub upper_layer: PathBuf,
    /// `check-mount`: whether to look whether the mount is there.
    pub check_mount: bool,
    /// `remount-hook`: a program that mounts the store directory, its argument, anew.
    pub remount_hook: Option<PathBuf>,
}

impl Default for OverlayPlace {
    fn default() -> OverlayPlace {
        OverlayPlace { lower: "auto".into(), upper_layer: PathBuf::new(), check_mount: true, remount_hook: None }
    }
}

impl OverlayPlace {
    /// Opens the store below and the one on top of it.
    pub(super) fn open(&self, opener: &Opener, place: &StorePlace) -> Result<LocalStore, OpenError> {
        const FEATURE: &str = "local-overlay-store";
        if !opener.configuration().list("experimental-features").iter().any(|feature| feature == FEATURE) {
            let message = format!("experimental Nix feature '{FEATURE}' is disabled; add '--extra-experimental-features {FEATURE}' to enable it");
            return Err(OpenError::new(message));
        }
        let lower_place = StorePlace::choose(opener.configuration(), &self.lower)?;
        let lower = opener.open(&lower_place)?;
        let lower_dir = match &lower.local {
            Some(local) => local.layout().real_store_dir.clone(),
            None => lower_place.real_store_dir().unwrap_or_else(|| lower_place.options.store_dir.as_str().into()),
        };
        let (observer, hook) = (opener.observer.clone(), self.remount_hook.clone());
        let options = OverlayOptions {
            lower: lower.store,
            lower_dir,
            upper_layer: self.upper_layer.clone(),
            check_mount: self.check_mount,
            remount: Box::new(move |dir| {
                let Some(hook) = &hook else {
                    observer.warn(&format!("\"{}\" needs remounting, set remount-hook to do this automatically", dir.display()));
                    return Ok(());
                };
                let failed = |source| StoreError::Io { action: "running", path: hook.clone(), source };
                let status = std::process::Command::new(hook).arg(dir).status().map_err(failed)?;
                if status.success() { Ok(()) } else { Err(failed(std::io::Error::other(format!("it ended with {status}")))) }
            }),
        };
        Ok(LocalStore::open_overlay(place.options.clone(), options)?)
    }
}
