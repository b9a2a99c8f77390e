//! A store on top of another one: its directory is an OverlayFS mount whose lower layer is the other store's directory.
//!
//! What is valid below is valid here. The database here has only what was added here or once asked for: then rows of the
//! lower store are copied up with all that they refer to, so that new rows can refer to them. Nothing is ever deleted
//! below; and what is there twice is deleted in the upper layer itself, behind the back of the mount, since deleting it
//! through the mount would hide what is below. The mount has to be made anew after that, which is the host's business.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::LocalStore;
use crate::error::{IoContext, Result, StoreError};
use crate::fs::{remove_tree, remove_tree_at};
use crate::local::index::Registration;
use crate::local::{LocalStoreOptions, rows};
use crate::path::StorePath;
use crate::store::{OptimiseStats, Store};

/// Mounts a store directory anew. It is given the directory.
pub type Remount = dyn Fn(&Path) -> Result<()> + Send + Sync;

/// What a store lies on.
pub struct OverlayOptions {
    /// The store below, whose files are on this machine.
    pub lower: Arc<dyn Store>,
    /// Where its files are: the mount's lower layer.
    pub lower_dir: PathBuf,
    /// The mount's upper layer.
    pub upper_layer: PathBuf,
    /// Whether to refuse a directory that isn't mounted with these two layers.
    pub check_mount: bool,
    /// Called after something was deleted in the upper layer itself.
    pub remount: Box<Remount>,
}

/// An open store's lower store.
pub(crate) struct Overlay {
    options: OverlayOptions,
    needs_remount: AtomicBool,
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay").field("lower", &self.options.lower.address()).field("upper_layer", &self.options.upper_layer).finish_non_exhaustive()
    }
}

impl LocalStore {
    /// Opens a store on top of another one, making its database if there is none. The file system must be mounted.
    ///
    /// # Errors
    /// As [`LocalStore::open`]; [`StoreError::BadOverlay`].
    pub fn open_overlay(options: LocalStoreOptions, overlay: OverlayOptions) -> Result<LocalStore> {
        let mut store = LocalStore::open(options)?;
        if overlay.check_mount {
            check_mount(&store.layout.real_store_dir, &overlay)?;
        }
        store.overlay = Some(Overlay { options: overlay, needs_remount: AtomicBool::new(false) });
        Ok(store)
    }

    /// Returns the store below.
    pub(crate) fn lower(&self) -> Option<&dyn Store> {
        self.overlay.as_ref().map(|overlay| &*overlay.options.lower)
    }

    /// Registers those of these paths, which are not valid here, that are valid below, with all that they refer to.
    /// Returns which they were, in the same places.
    pub(crate) fn copy_up(&self, paths: &[StorePath]) -> Result<Vec<bool>> {
        let Some(lower) = self.lower() else { return Ok(vec![false; paths.len()]) };
        let found = lower.are_valid(paths)?;
        let roots: Vec<StorePath> = paths.iter().zip(&found).filter(|(_, found)| **found).map(|(path, _)| path.clone()).collect();
        if roots.is_empty() || self.options.read_only {
            return Ok(found);
        }
        let dir = &self.layout.store_dir;
        let infos = lower.closure_infos(&roots)?;
        let texts: Vec<String> = infos.iter().map(|info| dir.display(&info.path)).collect();
        let known = self.index.are_valid(&texts.iter().map(String::as_str).collect::<Vec<_>>())?;
        let mut registrations = Vec::new();
        for (info, _) in infos.iter().zip(known).filter(|(_, known)| !known) {
            // Whoever registered it below has looked whether its outputs are its own.
            let outputs = if info.path.is_derivation() { self.output_rows(&lower.read_derivation(&info.path)?)? } else { Vec::new() };
            registrations.push(Registration { row: rows::to_row(dir, info), outputs });
        }
        self.index.register(&registrations, super::now())?;
        Ok(found)
    }

    /// Copies up what new rows name and only the store below has.
    pub(crate) fn copy_up_for(&self, registrations: &[Registration]) -> Result<()> {
        if self.overlay.is_none() {
            return Ok(());
        }
        let named = registrations.iter().flat_map(|new| new.row.references.iter().chain([&new.row.path]));
        let paths: Vec<StorePath> = named.map(|path| rows::parse_path(&self.layout.store_dir, path)).collect::<Result<_>>()?;
        self.are_valid(&paths).map(drop)
    }

    /// Deletes the files of something in the store directory. Returns the bytes freed.
    pub(crate) fn remove_entry(&self, name: &OsStr) -> Result<u64> {
        let through_mount = || remove_tree_at(&self.store_fd, &self.layout.real_store_dir, name);
        let Some(overlay) = &self.overlay else { return through_mount() };
        let upper = overlay.options.upper_layer.join(name);
        if upper.symlink_metadata().is_err() {
            return Ok(0);
        }
        let is_below = match StorePath::from_base_name(name.as_bytes()) {
            Ok(path) => overlay.options.lower.is_valid(&path)?,
            Err(_) => false,
        };
        if !is_below {
            return through_mount();
        }
        overlay.needs_remount.store(true, Ordering::Relaxed);
        remove_tree(&upper)
    }

    /// The directory in which what lies around can be deleted.
    pub(crate) fn own_store_dir(&self) -> &Path {
        self.overlay.as_ref().map_or(&self.layout.real_store_dir, |overlay| &overlay.options.upper_layer)
    }

    /// Has the store directory mounted anew if that is necessary.
    pub(crate) fn remount_if_needed(&self) -> Result<()> {
        match &self.overlay {
            Some(overlay) if overlay.needs_remount.swap(false, Ordering::Relaxed) => (overlay.options.remount)(&self.layout.real_store_dir),
            _ => Ok(()),
        }
    }

    /// Deletes in the upper layer what has come to be below too.
    pub(crate) fn remove_duplicates(&self, lower: &dyn Store) -> Result<OptimiseStats> {
        self.writable("linking equal files")?;
        let mut stats = OptimiseStats::default();
        let paths = self.all_valid_paths()?;
        for (path, _) in paths.iter().zip(lower.are_valid(&paths)?).filter(|(_, is_below)| *is_below) {
            stats.bytes_freed += self.remove_entry(path.base_name().as_ref())?;
        }
        self.remount_if_needed()?;
        Ok(stats)
    }
}

/// Makes sure that the last file system mounted at a directory is an overlay of these layers.
fn check_mount(dir: &Path, overlay: &OverlayOptions) -> Result<()> {
    let mounts = Path::new("/proc/self/mounts");
    let text = std::fs::read(mounts).at("reading", mounts)?;
    let options = text
        .split(|byte| *byte == b'\n')
        .rev()
        .map(|line| line.split(|byte| *byte == b' ').collect::<Vec<_>>())
        .find(|fields| fields.len() > 3 && fields[0] == b"overlay" && unescaped(fields[1]) == dir.as_os_str().as_bytes())
        .map(|fields| fields[3].to_owned())
        .unwrap_or_default();
    let has = |name: &str, value: &Path| {
        let wanted = [name.as_bytes(), b"=", value.as_os_str().as_bytes()].concat();
        options.split(|byte| *byte == b',').any(|option| unescaped(option) == wanted)
    };
    if has("lowerdir", &overlay.lower_dir) && has("upperdir", &overlay.upper_layer) {
        return Ok(());
    }
    Err(StoreError::BadOverlay { path: dir.to_owned() })
}

/// Returns a field of a table of mounts without `\040` and the like.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let code = (*byte == b'\\').then(|| after.get(..3)).flatten();
        match code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()) {
            Some(code) => {
                bytes.push(code);
                rest = &after[3..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_mounts_are_unescaped() {
        assert_eq!(unescaped(br"/a\040b\134"), b"/a b\\");
        assert_eq!(unescaped(br"\04 \x"), br"\04 \x");
    }
}
