//! The directory that store paths are written with, as a value.
//!
//! Paths on the command line, in derivations and in strings carry the directory. Reading one first
//! brings it into canonical form by its text alone (no link is followed), as the reference does:
//! `/nix/store/../store/x//` is `/nix/store/x`.

use std::borrow::Cow;
use std::fmt;

use smol_str::SmolStr;

use super::{StorePath, StorePathError};

/// The text is not usable as a store directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("store directory '{text}' is not an absolute path in canonical form")]
pub struct StoreDirError {
    /// The text.
    pub text: String,
}

/// A store directory: absolute, canonical, without a slash at its end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreDir(SmolStr);

impl StoreDir {
    /// The directory of an ordinary installation.
    pub const DEFAULT: &str = "/nix/store";

    /// Wraps an absolute path; slashes at its end are dropped.
    pub fn new(path: &str) -> Result<Self, StoreDirError> {
        let trimmed = path.trim_end_matches('/');
        let is_canonical = trimmed.starts_with('/')
            && trimmed[1..].split('/').all(|part| !matches!(part, "" | "." | ".."))
            && !trimmed.contains('\0');
        if is_canonical { Ok(Self(trimmed.into())) } else { Err(StoreDirError { text: path.to_owned() }) }
    }

    /// Returns the directory's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads `<directory>/<base name>`.
    ///
    /// # Errors
    /// When the path is not a direct child of the directory or its base name is not valid.
    pub fn parse(&self, path: impl AsRef<[u8]>) -> Result<StorePath, StorePathError> {
        let text = path.as_ref();
        // Almost every path is canonical already.
        if let Some(base_name) = self.strip(text)
            && !base_name.contains(&b'/')
            && !matches!(base_name, b"" | b"." | b"..")
        {
            return StorePath::from_base_name(base_name);
        }
        if text.first() != Some(&b'/') {
            return Err(self.not_in_store(text));
        }
        let canonical = canonicalise(text);
        match self.strip(&canonical) {
            Some(base_name) if !base_name.contains(&b'/') => StorePath::from_base_name(base_name),
            _ => Err(self.not_in_store(text)),
        }
    }

    /// Returns `<directory>/<base name>`.
    pub fn display(&self, path: &StorePath) -> String {
        let mut text = Vec::with_capacity(self.0.len() + 34 + path.name().len());
        self.append_to(path, &mut text);
        String::from_utf8(text).expect("directory and base name are UTF-8")
    }

    /// Appends `<directory>/<base name>` to `text`.
    pub fn append_to(&self, path: &StorePath, text: &mut Vec<u8>) {
        text.extend_from_slice(self.0.as_bytes());
        text.push(b'/');
        path.append_to(text);
    }

    /// Tells whether `path` lies below the directory (the directory itself does not).
    pub fn is_in_store(&self, path: impl AsRef<[u8]>) -> bool {
        self.strip(path.as_ref()).is_some()
    }

    /// Splits `<directory>/<base name>/rest` into the store path and `/rest` in canonical form; the
    /// rest is empty for the store path itself.
    ///
    /// ```
    /// use nixlang_store::path::StoreDir;
    ///
    /// let dir = StoreDir::default();
    /// let text = format!("{dir}/vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo/bin//sh");
    /// let (path, rest) = dir.split_store_path(&text)?;
    /// assert_eq!((path.name(), &*rest), ("foo", b"/bin/sh".as_slice()));
    /// # Ok::<(), nixlang_store::path::StorePathError>(())
    /// ```
    pub fn split_store_path<'t>(
        &self,
        path: &'t (impl AsRef<[u8]> + ?Sized),
    ) -> Result<(StorePath, Cow<'t, [u8]>), StorePathError> {
        let text = path.as_ref();
        let below = self.strip(text).ok_or_else(|| self.not_in_store(text))?;
        let Some(end) = memchr::memchr(b'/', below) else {
            return Ok((self.parse(text)?, Cow::Borrowed(b"")));
        };
        let store_path = self.parse(&text[..text.len() - below.len() + end])?;
        let rest = canonicalise(&below[end..]);
        Ok((store_path, if &*rest == b"/" { Cow::Borrowed(b"") } else { rest }))
    }

    /// Returns what stands after `<directory>/`.
    fn strip<'t>(&self, path: &'t [u8]) -> Option<&'t [u8]> {
        path.strip_prefix(self.0.as_bytes())?.strip_prefix(b"/")
    }

    fn not_in_store(&self, path: &[u8]) -> StorePathError {
        StorePathError::NotInStore { path: String::from_utf8_lossy(path).into_owned() }
    }
}

impl Default for StoreDir {
    fn default() -> Self {
        Self(SmolStr::new_static(Self::DEFAULT))
    }
}

impl fmt::Display for StoreDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StoreDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Resolves `.`, `..` and repeated slashes by text alone. The result begins with a slash.
fn canonicalise(path: &[u8]) -> Cow<'_, [u8]> {
    let parts = || path.split(|byte| *byte == b'/');
    let is_canonical = path.first() == Some(&b'/')
        && parts().skip(1).all(|part| !matches!(part, b"" | b"." | b".."));
    if is_canonical {
        return Cow::Borrowed(path);
    }
    let mut kept: Vec<&[u8]> = Vec::new();
    for part in parts() {
        match part {
            b"" | b"." => {}
            b".." => {
                kept.pop();
            }
            _ => kept.push(part),
        }
    }
    let mut canonical = Vec::with_capacity(path.len() + 1);
    for part in kept {
        canonical.push(b'/');
        canonical.extend_from_slice(part);
    }
    if canonical.is_empty() {
        canonical.push(b'/');
    }
    Cow::Owned(canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo";

    #[test]
    fn paths_round_trip_in_any_directory() {
        for dir in [StoreDir::default(), StoreDir::new("/a").unwrap(), StoreDir::new("/x/y/").unwrap()] {
            let path = StorePath::from_base_name(BASE).unwrap();
            assert_eq!(dir.display(&path), format!("{dir}/{BASE}"));
            assert_eq!(dir.parse(dir.display(&path)).unwrap(), path);
        }
    }

    /// `builtins.appendContext` of Nix 2.34.8 accepts these keys.
    #[test]
    fn detours_are_resolved_by_text() {
        let dir = StoreDir::default();
        for text in [format!("{dir}/../store/{BASE}//"), format!("/{dir}/./{BASE}"), format!("{dir}//{BASE}/x/..")] {
            assert_eq!(dir.parse(&text).unwrap().to_string(), BASE, "{text}");
        }
    }

    #[test]
    fn foreign_paths_are_refused() {
        let dir = StoreDir::default();
        for text in ["", "/", "/tmp/foo", "/nix/store", "/nix/store/", "/nix/store/..", "nix/store/x", "/nix/storex/y"] {
            let message = dir.parse(text).unwrap_err().to_string();
            assert_eq!(message, format!("path '{text}' is not in the Nix store"));
            if text != "/nix/store/" && text != "/nix/store/.." {
                assert!(dir.split_store_path(text).is_err());
            }
        }
        assert!(dir.parse(format!("{dir}/{BASE}/bin")).is_err());
        assert!(dir.is_in_store("/nix/store/x"));
        assert!(!dir.is_in_store("/nix/store"));
    }

    #[test]
    fn rest_of_a_path() {
        let dir = StoreDir::default();
        let split = |rest: &str| {
            let text = format!("{dir}/{BASE}{rest}");
            String::from_utf8(dir.split_store_path(&text).unwrap().1.into_owned()).unwrap()
        };
        assert_eq!(split(""), "");
        assert_eq!(split("/"), "");
        assert_eq!(split("/bin/sh"), "/bin/sh");
        assert_eq!(split("/bin/../lib/./x"), "/lib/x");
    }

    #[test]
    fn directories_must_be_absolute_and_canonical() {
        for text in ["", "/", "nix/store", "/nix//store", "/nix/../store", "/a\0b"] {
            assert!(StoreDir::new(text).is_err(), "{text}");
        }
    }
}
