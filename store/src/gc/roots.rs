//! Roots: links that keep paths alive.
//!
//! Below `gcroots` and `profiles` every symbolic link into the store is a root. Links elsewhere are made known by
//! another link to them in `gcroots/auto`, named by a hash of their path; such a root lives as long as the user's link.
//! In a store rooted elsewhere a user's link may point to the real or to the logical path.

use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::error::{IoContext, Result, StoreError};
use crate::hash::{Algorithm, Hash, HashFormat};
use crate::local::Layout;
use crate::path::StorePath;

/// Makes the link in `gcroots/auto`.
pub(crate) fn add_indirect(layout: &Layout, link: &Path) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let link = std::path::absolute(link).at("resolving", link)?;
    let name = Hash::digest(Algorithm::Sha1, link.as_os_str().as_bytes()).format(HashFormat::Nix32, false);
    let auto = layout.state_dir.join("gcroots").join("auto");
    crate::local::make_dirs(&auto)?;
    replace_symlink(&link, &auto.join(name))
}

/// Makes a link to a store path, real where the files are, and a root of it.
pub(crate) fn add_permanent(layout: &Layout, path: &StorePath, link: &Path) -> Result<()> {
    let link = std::path::absolute(link).at("resolving", link)?;
    let is_ours = |target: &Path| {
        target.starts_with(layout.store_dir.as_str()) || target.starts_with(&layout.real_store_dir)
    };
    if is_ours(&link) {
        let error = std::io::Error::new(ErrorKind::InvalidInput, "a root can't be in the store itself");
        return Err(StoreError::io("creating a garbage collector root at", &link, error));
    }
    match link.symlink_metadata() {
        Ok(_) if std::fs::read_link(&link).is_ok_and(|target| is_ours(&target)) => {}
        Ok(_) => return Err(StoreError::io("creating symlink", &link, std::io::Error::from(ErrorKind::AlreadyExists))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(parent) = link.parent() {
                crate::local::make_dirs(parent)?;
            }
        }
        Err(error) => return Err(StoreError::io("reading the status of", &link, error)),
    }
    replace_symlink(&layout.real_store_dir.join(path.base_name()), &link)?;
    add_indirect(layout, &link)
}

/// Makes a symbolic link, replacing in one step what is there.
pub(crate) fn replace_symlink(target: &Path, link: &Path) -> Result<()> {
    for attempt in 0..1000u32 {
        let mut name = std::ffi::OsString::from(format!(".{attempt}-{}-", std::process::id()));
        name.push(link.file_name().unwrap_or_default());
        let temporary = link.with_file_name(name);
        match symlink(target, &temporary) {
            Ok(()) => {
                return std::fs::rename(&temporary, link).map_err(|error| {
                    let _ = std::fs::remove_file(&temporary);
                    StoreError::io("creating symlink", link, error)
                });
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(StoreError::io("creating symlink", link, error)),
        }
    }
    Err(StoreError::io("creating symlink", link, std::io::Error::from(ErrorKind::AlreadyExists)))
}
