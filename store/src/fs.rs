//! File trees on disk to NARs and back.
//!
//! All work is relative to held directory descriptors with one name at a time, never following a symbolic link and
//! never opening what exists for writing, so that neither an archive nor somebody who changes the tree meanwhile can
//! lead it elsewhere. Nothing here recurses; nothing holds a file in memory.

pub mod dump;
pub mod remove;
pub mod restore;
pub(crate) mod tree;

use std::ffi::CString;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, RawDir};

pub use dump::{dump, dump_into_file, dump_with};
pub use remove::{remove_tree, remove_tree_at};
pub use restore::{Metadata, restore, restore_from_file, restore_with};

/// What follows a name on disk, with a number behind, where the file system takes it and another one for the same. In
/// archives the name is without it.
pub const CASE_HACK: &str = "~nix~case~hack~";

/// Contents of at least this size, in bytes, are moved by the kernel where it can: below that one more call costs more than copying.
const LARGE: u64 = 256 * 1024;

/// How many directories may be nested below each other: what an archive allows.
pub(crate) const MAX_DEPTH: usize = crate::nar::MAX_DEPTH - 1;

/// Lists a directory, but for `.` and `..`. The kind of a file may be unknown.
///
/// The descriptor itself is read, from where it stands: it must have been opened for this. (The comfortable way opens
/// the directory anew, which is five calls more for each of the many small directories of a tree.)
pub(crate) fn list(dir: BorrowedFd<'_>) -> rustix::io::Result<Vec<(CString, FileType)>> {
    // An entry takes at most 280 bytes.
    let mut buffer: Vec<u8> = Vec::with_capacity(8 * 1024);
    let mut reader = RawDir::new(dir, buffer.spare_capacity_mut());
    let mut entries = Vec::new();
    while let Some(entry) = reader.next() {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            entries.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    Ok(entries)
}
