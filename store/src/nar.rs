//! NAR, the archive format of file trees: deterministic, so that its hash identifies the tree.
//!
//! The whole format, where `str(x)` is a 64-bit little-endian length, the bytes of `x`, and zeros up
//! to the next multiple of 8:
//!
//! ```text
//! archive   = str("nix-archive-1") node
//! node      = str("(") str("type") body str(")")
//! body      = str("regular") [ str("executable") str("") ] str("contents") str(bytes)
//!           | str("symlink") str("target") str(bytes)
//!           | str("directory") entry*
//! entry     = str("entry") str("(") str("name") str(bytes) str("node") node str(")")
//! ```
//!
//! Entries are in strictly ascending order of their names' bytes. There are no owners, times or
//! other permissions, no hard links and no special files. The surprising thing: nothing bounds the
//! format itself; the bounds below are the reference's ([`MAX_DEPTH`] and its neighbours) and keep
//! a hostile archive from exhausting memory or escaping from its directory.
//!
//! An archive is a sequence of [`Event`]s: [`read::NarReader`] turns bytes into them,
//! [`write::NarWriter`] the other way, [`listing`] collects them into a directory listing.
//!
//! Format source: manual of Nix 2.34, "Nix Archive (NAR) format".

pub mod listing;
pub mod read;
pub mod write;

pub use listing::Listing;
pub use read::NarReader;
pub use write::NarWriter;

/// The first string of every archive.
pub const MAGIC: &[u8] = b"nix-archive-1";

/// Number of nodes on the way from the root to the deepest file, at most: 63 directories and what
/// is in the last one.
pub const MAX_DEPTH: usize = 64;

/// Longest name of a directory entry, in bytes.
pub const MAX_NAME_LEN: usize = 255;

/// Longest target of a symbolic link, in bytes.
pub const MAX_TARGET_LEN: usize = 4095;

/// A step through an archive, in the order of its bytes.
///
/// A tree is `Directory`, then `Entry` and the entry's own events for each name, then
/// `EndDirectory`; or `File`, its `Contents` in pieces, `EndFile`; or `Symlink`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A directory begins.
    Directory,
    /// The next node is called this. Names are valid file names and strictly ascending.
    Entry(&'a [u8]),
    /// The innermost directory ends.
    EndDirectory,
    /// A regular file begins.
    File {
        /// Whether its owner may execute it.
        executable: bool,
        /// Number of bytes that will come as contents.
        size: u64,
    },
    /// Some of the file's bytes, never none.
    Contents(&'a [u8]),
    /// The file ends.
    EndFile,
    /// A symbolic link to this target, which is not empty and has no zero byte.
    Symlink(&'a [u8]),
}

/// What is wrong with an archive, or with what should become one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NarError {
    /// Reading or writing failed. An archive that ends early is `UnexpectedEof`.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The first string is not the magic.
    #[error("bad archive: input doesn't look like a Nix archive")]
    NoMagic,
    /// Another string than the format has here.
    #[error("bad archive: expected {expected}, got '{found}'")]
    UnexpectedTag {
        /// What the format has.
        expected: &'static str,
        /// What the archive has.
        found: String,
    },
    /// Something that is neither file, directory nor link.
    #[error("bad archive: unknown file type '{found}'")]
    UnknownType {
        /// The type.
        found: String,
    },
    /// The value after `executable`.
    #[error("bad archive: executable marker has non-empty value")]
    ExecutableValue,
    /// A string longer than the bound for its place.
    #[error("bad archive: string is too long ({length} bytes, at most {limit})")]
    TooLong {
        /// Its length in bytes.
        length: u64,
        /// The bound.
        limit: usize,
    },
    /// Bytes after a string that are not zero.
    #[error("bad archive: non-zero padding")]
    Padding,
    /// A name that is empty, `.`, `..`, or contains a slash or a zero byte.
    #[error("bad archive: NAR contains invalid file name '{name}'")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// A name that does not come after the one before.
    #[error("bad archive: NAR directory is not sorted: '{name}' after '{previous}'")]
    Unsorted {
        /// The name.
        name: String,
        /// The name before.
        previous: String,
    },
    /// A target that is empty or contains a zero byte.
    #[error("bad archive: NAR contains invalid symlink target")]
    InvalidTarget,
    /// Directories nested more deeply than [`MAX_DEPTH`] allows.
    #[error("bad archive: NAR directory nesting exceeds maximum depth of {MAX_DEPTH}")]
    TooDeep,
    /// The events of a writer's caller make no archive.
    #[error("{found} where the archive needs {expected}")]
    Misplaced {
        /// The event.
        found: &'static str,
        /// What has to come.
        expected: &'static str,
    },
    /// The contents of a file are more or less than its size said, so it changed meanwhile.
    #[error("file has {found} bytes where {expected} were announced")]
    WrongSize {
        /// Bytes that came.
        found: u64,
        /// Bytes announced.
        expected: u64,
    },
}

/// Checks a name against the one before it in the same directory, which is empty for the first.
fn check_name(name: &[u8], previous: &[u8]) -> Result<(), NarError> {
    let lossy = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    if matches!(name, b"" | b"." | b"..") || memchr::memchr2(b'/', 0, name).is_some() {
        return Err(NarError::InvalidName { name: lossy(name) });
    }
    if name <= previous {
        return Err(NarError::Unsorted { name: lossy(name), previous: lossy(previous) });
    }
    Ok(())
}

fn check_target(target: &[u8]) -> Result<(), NarError> {
    if target.is_empty() || memchr::memchr(0, target).is_some() {
        return Err(NarError::InvalidTarget);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
